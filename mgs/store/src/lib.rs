//! Revisioned key space under the MGS: memory, redb.
