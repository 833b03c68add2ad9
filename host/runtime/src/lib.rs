//! Runs Dermaga plugins.

pub mod contract;
