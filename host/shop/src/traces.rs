//! Spans that are for traces alone: the log leaves them out by their target.

/// Target of these spans.
pub const TARGET: &str = "dermaga::traces";
