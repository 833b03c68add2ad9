//! Tools for plugin authors, behind `dermaga plugin ...`: templates, builds, golden cases and the
//! conformance check. The server reads its catalogue and checks uploads with the same functions.

pub mod build;
pub mod case;
pub mod check;
pub mod colour;
pub mod given;
#[cfg(test)]
mod guide;
pub mod letters;
pub mod new;
pub mod open;
pub mod render;
pub mod run;
pub mod template;
pub mod test;
