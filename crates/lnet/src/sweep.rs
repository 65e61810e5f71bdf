//! What happens because time passes: answers that don't come, peers that stall, keepalives.

use crate::{
    conn::{Conn, Frame},
    dispatch::Outbox,
    lnet::Inner,
    message::{Lost, Payload},
    peer::Peer,
};
use lustre_wire::lnet::FrameHeader;
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

/// How exactly deadlines of answers are kept.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between looks at all connections.
const LOOK: u32 = 10;

/// Runs until the node is gone.
pub(crate) async fn run(node: Weak<Inner>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 1u32.. {
        ticks.tick().await;
        let Some(lnet) = node.upgrade() else { return };
        if lnet.is_shut_down.load(Ordering::Acquire) {
            return;
        }
        expire(&lnet);
        if tick % LOOK == 0 {
            look(&lnet);
        }
    }
}

fn expire(lnet: &Arc<Inner>) {
    let now = lnet.now_ms();
    let mut out = Outbox::new(lnet, None);
    for waiter in lnet.awaited.expired(now) {
        waiter.fail(Lost::TimedOut, &mut out);
    }
    out.flush(now);
}

fn look(lnet: &Arc<Inner>) {
    let peers: Vec<Arc<Peer>> = lnet.peers.read().expect("no code panics under this lock").values().cloned().collect();
    let now = lnet.now_ms();
    for peer in &peers {
        look_at(lnet, peer, now);
    }
    lnet.routes.write().expect("no code panics under this lock").retain(|_, router| router.strong_count() > 0);
}

fn look_at(lnet: &Inner, peer: &Arc<Peer>, now: u64) {
    let limits = &lnet.config.limits;
    let conns: Vec<Arc<Conn>> = peer.links().conns.clone();
    let mut last_heard = 0;
    for conn in &conns {
        last_heard = last_heard.max(conn.read_at.load(Ordering::Relaxed));
        let over = |since: u64, limit: Duration| since != 0 && now.saturating_sub(since) > ms(limit);
        if over(conn.unfinished_since.load(Ordering::Relaxed), limits.frame) {
            close(lnet, conn, format!("a frame is still unfinished after {} s", limits.frame.as_secs()));
        } else if over(conn.blocked_since.load(Ordering::Relaxed), limits.send) {
            close(lnet, conn, format!("the peer took nothing of what waits for it in {} s", limits.send.as_secs()));
        }
    }
    let silent = now.saturating_sub(last_heard);
    if conns.is_empty() {
        // A handshake that ran out of time left it here.
        lnet.forget_unconnected(peer);
        return;
    }
    if silent < ms(limits.keepalive) {
        return;
    }
    if silent > ms(limits.idle) {
        for conn in &conns {
            conn.close(format!("nothing heard from the peer in {} s", limits.idle.as_secs()));
        }
        return;
    }
    // A look a second: one keepalive each time the silence has grown by another period.
    if silent % ms(limits.keepalive) < 1000
        && let Some(conn) = peer.connection_for_noop()
    {
        let mut head = Vec::with_capacity(FrameHeader::LEN);
        FrameHeader::KEEPALIVE.encode(&mut head);
        lnet.push_frame(&conn, Frame::new(head, Payload::default()));
        conn.flush(now);
    }
}

fn close(lnet: &Inner, conn: &Conn, reason: String) {
    lnet.refusals.closed(conn, &reason);
    conn.close(reason);
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
