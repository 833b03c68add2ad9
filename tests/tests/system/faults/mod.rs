//! Databases and files that are lost, older, or read late, or take no change.

pub(crate) mod columns;
pub(crate) mod database_files;
pub(crate) mod keys;
pub(crate) mod readiness;
pub(crate) mod readings;
pub(crate) mod transactions;
