//! Requests that the MGS answers: targets, config reads, the NID table, set_info.
