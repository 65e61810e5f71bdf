//! Lustre's names and numbers, parsed once at the border.
