//! Threads that carry connections, each with an event loop of its own.
//!
//! On a runtime with several workers, connections with one small request each wake workers all the time, and workers
//! wake each other. A loop reads, handles and answers on one thread, and sleeps when all its connections do.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The loops; they end when this is dropped.
pub(crate) struct Loops {
    loops: Vec<Handle>,
    next: AtomicUsize,
    _running: Vec<oneshot::Sender<()>>,
}

impl Loops {
    /// Starts so many threads; without any, everything runs where the node is started. Errors: no thread to be had.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (mut loops, mut running) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (run, ended) = oneshot::channel::<()>();
            loops.push(runtime.handle().clone());
            running.push(run);
            let carry = move || drop(runtime.block_on(ended));
            std::thread::Builder::new().name(format!("lnet-{number}")).spawn(carry)?;
        }
        if loops.is_empty() {
            loops.push(Handle::current());
        }
        Ok(Self { loops, next: AtomicUsize::new(0), _running: running })
    }

    /// Whose turn it is to take a connection.
    pub(crate) fn next(&self) -> &Handle {
        &self.loops[self.next.fetch_add(1, Ordering::Relaxed) % self.loops.len()]
    }
}
