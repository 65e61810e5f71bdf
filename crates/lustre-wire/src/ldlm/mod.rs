//! Locks: resource names, enqueue, cancel and callbacks of plain locks.
