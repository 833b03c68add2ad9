//! Dermaga: a self-hosted shop for managed services on Kubernetes. This crate is its server, its
//! command line and its demo; what they serve is `dermaga-shop`'s.

pub mod api;
pub mod app;
pub mod cli;
mod client;
pub mod config;
pub mod demo;
pub mod http;
pub mod sandbox;
pub mod telemetry;
mod terminal;

/// Requests make many small allocations on one thread that another thread frees.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;
