//! The deterministic MGS: state, decide, apply.
