//! What is shown of connected clients.

use lustre_types::FsName;
use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::connect_flag;

use crate::serve::Service;

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connected clients.
    pub exports: usize,
    /// Locks that they hold.
    pub locks: usize,
    /// Requests that wait for something.
    pub pending: usize,
    /// Requests since the start.
    pub requests: u64,
    /// Refusals since the start.
    pub refused: u64,
    /// Blocks of config logs sent since the start.
    pub log_blocks: u64,
    /// Connects since the start.
    pub connects: u64,
    /// Evictions since the start.
    pub evictions: u64,
    /// Locks asked for since the start.
    pub callbacks: u64,
}

/// A connected client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportView {
    /// Its uuid.
    pub uuid: String,
    /// Where it is.
    pub nid: WireNid,
    /// Its version: major, minor, patch, fix.
    pub version: (u8, u8, u8, u8),
    /// File systems whose logs it opened.
    pub filesystems: Vec<FsName>,
    /// Locks that it holds.
    pub locks: usize,
    /// Locks that it was asked for and has not given back.
    pub revoked: usize,
    /// Requests since it connected.
    pub requests: u64,
    /// How often it connected.
    pub connects: u32,
    /// Whether it takes part in imperative recovery.
    pub imperative_recovery: bool,
    /// Milliseconds since it connected first.
    pub connected_ms: u64,
    /// Milliseconds since it was heard of.
    pub silent_ms: u64,
}

impl Service {
    /// The connected clients, by NID and uuid.
    pub fn exports(&self, now_ms: u64) -> Vec<ExportView> {
        let view = |export: &crate::serve::export::Export| ExportView {
            uuid: export.uuid.clone(),
            nid: export.nid,
            version: export.data.version_parts(),
            filesystems: export.filesystems.iter().cloned().collect(),
            locks: export.locks.len(),
            revoked: export.locks.iter().filter(|l| self.locks.get(**l).is_some_and(|l| l.revoked.is_some())).count(),
            requests: export.requests,
            connects: export.conn_cnt,
            imperative_recovery: export.data.has(connect_flag::IMP_RECOV),
            connected_ms: now_ms.saturating_sub(export.connected_ms),
            silent_ms: now_ms.saturating_sub(export.heard_ms),
        };
        let mut exports: Vec<ExportView> = self.exports.iter().map(view).collect();
        exports.sort_by(|a, b| (a.nid, &a.uuid).cmp(&(b.nid, &b.uuid)));
        exports
    }

    /// Whether clients of a file system may count on imperative recovery: targets had time to come back after our start,
    /// and no client is without it.
    pub(super) fn is_recovery_on(&self, fsname: &FsName) -> bool {
        let is_started = self.now_ms.saturating_sub(self.started_ms) >= self.limits.recovery_start_ms;
        let mut clients = self.exports.iter().filter(|export| export.filesystems.contains(fsname));
        is_started && clients.all(|export| export.data.has(connect_flag::IMP_RECOV))
    }
}
