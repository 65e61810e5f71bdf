//! What happens by time alone: evictions, early replies.

use lustre_wire::ptlrpc::{early_reply, message_flag};

use crate::serve::connect::client;
use crate::serve::{Effect, Outgoing, Service, Waiting, reply};

/// A request is told to wait longer when so much of its time is left, in seconds.
const EARLY_MARGIN_S: u64 = 2;
/// How much longer.
const EARLY_MORE_S: u64 = 30;

impl Service {
    /// Time passes: call it every second or so.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        self.now_ms = self.now_ms.max(now_ms);
        self.evict_silent(out);
        self.evict_lock_keepers(out);
        self.reply_early(out);
    }

    fn evict_silent(&mut self, out: &mut Vec<Effect>) {
        let over = self.now_ms.saturating_sub(self.limits.silence_ms);
        let silent: Vec<u64> = self.exports.iter().filter(|e| e.heard_ms < over).map(|e| e.handle).collect();
        self.evict(silent, "client evicted: it was silent for too long", out);
    }

    fn evict_lock_keepers(&mut self, out: &mut Vec<Effect>) {
        let now = self.now_ms;
        let keepers = self.locks.revoked().filter(|(lock, revoked)| {
            let held_ms = now.saturating_sub(revoked.since_ms);
            let heard_ms = self.exports.get(lock.export).map_or(0, |export| export.heard_ms);
            let silent_ms = now.saturating_sub(heard_ms.max(revoked.since_ms));
            held_ms > self.limits.revoke_at_most_ms || silent_ms > self.limits.revoke_ms
        });
        let mut keepers: Vec<u64> = keepers.map(|(lock, _)| lock.export).collect();
        keepers.sort_unstable();
        keepers.dedup();
        self.evict(keepers, "client evicted: it did not give back a lock", out);
    }

    fn evict(&mut self, handles: Vec<u64>, why: &'static str, out: &mut Vec<Effect>) {
        for handle in handles {
            if let Some(export) = self.remove(handle) {
                self.counts.evictions += 1;
                out.push(client(why, &export));
            }
        }
    }

    fn reply_early(&mut self, out: &mut Vec<Effect>) {
        for pending in self.pending.values_mut() {
            let request = &pending.request;
            let speaks_at = request.message_flags & message_flag::AT_SUPPORT != 0;
            let waited_s = self.now_ms.saturating_sub(pending.arrived_ms) / 1000;
            let is_late = waited_s + EARLY_MARGIN_S >= u64::from(request.timeout_s);
            if !speaks_at || pending.has_early_reply || !is_late || !matches!(pending.what, Waiting::Commit(_)) {
                continue;
            }
            pending.has_early_reply = true;
            let timeout_s = u32::try_from(waited_s + EARLY_MORE_S).unwrap_or(u32::MAX);
            let own = early_reply(request.opc, timeout_s);
            if let Effect::Send(outgoing) = reply::send(request, own, bytes::Bytes::new()) {
                out.push(Effect::Send(Outgoing { offset: 0, ..outgoing }));
            }
        }
    }
}
