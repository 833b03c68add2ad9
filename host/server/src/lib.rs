//! Dermaga: a self-hosted shop for managed services on Kubernetes.

pub mod db;
pub mod error;
pub mod money;

pub use error::{Code, Error, Result};
