//! Lustre's nodes that are connected.

use std::time::Duration;

use lustre_api::export::{Export, KernelProxyStatus, LnetStatus};
use lustre_api::{Page, PageQuery, Problem, Time};
use lustre_mgs_core::serve::ExportView;

use super::{Api, page};
use crate::clock;

impl Api {
    /// `get_lnet`
    pub fn get_lnet(&self) -> LnetStatus {
        let Some(nodes) = &self.nodes else { return LnetStatus::default() };
        let (counts, network) = (nodes.counts(), nodes.network());
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        LnetStatus {
            listening: nodes.addresses().iter().map(ToString::to_string).collect(),
            exports: number(counts.exports),
            locks: number(counts.locks),
            pending: number(counts.pending),
            requests: counts.requests,
            refused: counts.refused,
            log_blocks: counts.log_blocks,
            connects: counts.connects,
            evictions: counts.evictions,
            callbacks: counts.callbacks,
            connections: number(network.connections),
            peers: number(network.peers),
            kernel_proxy: nodes.kernel_networks().map(|kernel| KernelProxyStatus {
                is_open: kernel.is_open,
                nids: kernel.nids.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// `list_exports`
    pub fn list_exports(&self, query: &PageQuery) -> Result<Page<Export>, Problem> {
        let now = clock::now();
        let exports = self.nodes.as_ref().map(|nodes| nodes.exports()).unwrap_or_default();
        let named = exports.into_iter().map(|export| (format!("{} {}", export.nid, export.uuid), export));
        let mut items: Vec<_> = named.filter(|(name, _)| super::is_behind(query.after.as_ref(), name)).collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let revision = self.engine.state().revision;
        page(query, revision, items.into_iter().map(|(name, export)| (name, shown(now, export))))
    }
}

fn shown(now: Time, export: ExportView) -> Export {
    let ago = |ms: u64| Time::from_unix_ms(now.unix_ms().saturating_sub(ms));
    let (major, minor, patch, _) = export.version;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Export {
        nid: export.nid.to_string(),
        uuid: export.uuid,
        version: format!("{major}.{minor}.{patch}"),
        filesystems: export.filesystems,
        locks: number(export.locks),
        revoked_locks: number(export.revoked),
        requests: export.requests,
        connects: export.connects,
        imperative_recovery: export.imperative_recovery,
        connected: ago(export.connected_ms),
        silent_s: Duration::from_millis(export.silent_ms).as_secs(),
    }
}
