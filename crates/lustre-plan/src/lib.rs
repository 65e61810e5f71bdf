//! Desired and observed state in, ordered changes out.
