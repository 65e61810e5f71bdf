//! Whole-system tests: real daemons, real devices, real `terraform`. They are in `tests/`; what they share is in `testkit`.
