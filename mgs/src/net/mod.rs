//! Lustre's nodes over LNet/TCP: carries messages between the network and [`Service`], which decides what they mean.
//!
//! A message's effects are carried out in their order and under the service's lock: a client must never be asked for a lock
//! before it was told that it has it. What has to be committed is committed in a task of its own; nobody waits for it but the
//! client that asked. Messages are handled on the threads of the network; whatever takes longer is done on the daemon's runtime.

mod announce;
mod start;
mod strangers;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lnet::{Get, Incoming as Put, Lnet, Outbox, Payload, ProcessId};
use lustre_api::{Problem, ProblemCode};
use lustre_mgs_core::decide::target_reg::{Outcome, target_reg};
use lustre_mgs_core::serve::{
    Counts, Effect, Errno, ExportView, Incoming, Limits, Outgoing, RegistrationOutcome, RegistrationRequest,
    ServeError, Service, Ticket,
};
use lustre_wire::ldlm::ResourceId;
use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::portal;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tracing::{error, info, warn};

use crate::clock;
use crate::engine::{Caller, Engine};

use announce::Announcements;
use strangers::Lines;

pub use start::{Config, Listen, start};

/// How long a client may take to acknowledge bulk data, or to send it.
const BULK_WITHIN: Duration = Duration::from_secs(50);
/// How often time passes for the service.
const TICK: Duration = Duration::from_secs(1);
/// Registrations that are committed at the same time: the store takes one after the other anyway.
const COMMITS: usize = 64;
/// Locks that are asked for before others get their turn.
const CALLBACKS_AT_ONCE: usize = 256;

/// Lustre's nodes, served.
pub struct Nodes {
    lnet: Lnet,
    engine: Arc<Engine>,
    service: Mutex<Service>,
    commits: Semaphore,
    announcements: Announcements,
    refusals: Lines,
    started: Instant,
    runtime: Handle,
}

impl Nodes {
    /// Serves the nodes that reach `lnet`.
    pub fn serve(lnet: Lnet, engine: Arc<Engine>) -> Arc<Self> {
        let mut secret = [0; 32];
        let (left, right) = secret.split_at_mut(16);
        left.copy_from_slice(&clock::seed());
        right.copy_from_slice(&clock::seed());
        let service = Service::new(Limits::default(), secret, clock::now().unix_ms() / 1000, 0);
        let stale = engine.stale_locks();
        let nodes = Arc::new(Self {
            lnet: lnet.clone(),
            engine,
            service: Mutex::new(service),
            commits: Semaphore::new(COMMITS),
            announcements: Announcements::default(),
            refusals: Lines::default(),
            started: Instant::now(),
            runtime: Handle::current(),
        });
        for request_portal in [portal::MGS_REQUEST, portal::LDLM_CANCEL_REQUEST] {
            let nodes = nodes.clone();
            lnet.on_put(request_portal, move |put, out| nodes.request(put, out));
        }
        let answers = nodes.clone();
        lnet.on_put(portal::LDLM_CB_REPLY, move |put, _| answers.callback_answered(put));
        tokio::spawn(nodes.clone().keep_time());
        tokio::spawn(nodes.clone().revoke(stale));
        nodes
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.lnet.addresses()
    }

    /// Closes all connections; clients go on with another MGS, or when there is one again.
    pub fn stop(&self) {
        self.lnet.shutdown();
    }

    /// Totals.
    pub fn counts(&self) -> Counts {
        self.service().counts()
    }

    /// Totals of the network.
    pub fn network(&self) -> lnet::Statistics {
        self.lnet.statistics()
    }

    /// The kernel's networks, where a kernel proxy was asked for.
    pub fn kernel_networks(&self) -> Option<lnet::KernelNetworks> {
        self.lnet.kernel_networks()
    }

    /// The connected clients, by NID and uuid.
    pub fn exports(&self) -> Vec<ExportView> {
        let now_ms = self.now_ms();
        self.service().exports(now_ms)
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn request(self: &Arc<Self>, put: &Put<'_>, out: &mut Outbox<'_>) {
        let incoming = incoming(put);
        let mut effects = Vec::with_capacity(2);
        let mut service = self.service();
        let outcome = {
            let state = self.engine.state();
            service.request(&state, self.now_ms(), &incoming, &mut effects)
        };
        self.carry_out(effects, out);
        drop(service);
        if let Err(reason) = outcome {
            self.throw_out(put.source.nid, &reason);
        }
    }

    fn callback_answered(&self, put: &Put<'_>) {
        let now_ms = self.now_ms();
        let outcome = self.service().callback_answered(now_ms, &incoming(put));
        if let Err(reason) = outcome {
            self.throw_out(put.source.nid, &reason);
        }
    }

    /// Ends the connection of a peer that sends what no sane peer does. One behind a router is only not answered.
    fn throw_out(&self, peer: WireNid, reason: &ServeError) {
        if self.refusals.may_write(Instant::now()) {
            warn!(%peer, error = %reason, "message can't be understood, closing the connection");
        }
        if let Ok(nid) = peer.nid() {
            self.lnet.disconnect(&nid);
        }
    }

    /// Carries out what a message from the network led to. Call it with the service locked.
    fn carry_out(self: &Arc<Self>, effects: Vec<Effect>, out: &mut Outbox<'_>) {
        for effect in effects {
            match effect {
                Effect::Send(outgoing) => out.put(put(outgoing)),
                Effect::Bulk(ticket, outgoing) => {
                    let nodes = self.clone();
                    out.put_acked(put(outgoing), BULK_WITHIN, move |acknowledged, out| {
                        let mut effects = Vec::new();
                        let mut service = nodes.service();
                        service.bulk_done(nodes.now_ms(), ticket, acknowledged.is_ok(), &mut effects);
                        nodes.carry_out(effects, out);
                    });
                }
                Effect::Fetch { ticket, from, pid, to, portal, match_bits, len } => {
                    let nodes = self.clone();
                    let to_fetch =
                        Get { to: ProcessId { nid: from, pid }, from: to, portal, match_bits, sink_length: len };
                    out.get(to_fetch, BULK_WITHIN, move |data, out| {
                        let mut effects = Vec::new();
                        let mut service = nodes.service();
                        service.nids_fetched(nodes.now_ms(), ticket, data.ok().as_deref(), &mut effects);
                        nodes.carry_out(effects, out);
                    });
                }
                other => self.carry_out_alone(vec![other]),
            }
        }
    }

    /// Carries out what nobody on the network waits for right now. Call it with the service locked.
    fn carry_out_alone(self: &Arc<Self>, effects: Vec<Effect>) {
        let mut messages = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(outgoing) => messages.push(put(outgoing)),
                Effect::Decide(ticket, asked) if asked.ready.is_some() => self.announce(ticket, asked),
                Effect::Decide(ticket, asked) => drop(self.runtime.spawn(self.clone().decide(ticket, asked))),
                Effect::Client { what, nid, uuid } if what.contains("evicted") => warn!(peer = %nid, uuid, "{what}"),
                Effect::Client { what, nid, uuid } => info!(peer = %nid, uuid, "{what}"),
                Effect::Bulk(..) | Effect::Fetch { .. } => {
                    error!("bulk data without a request that waits for it: a fault of this program");
                }
            }
        }
        self.lnet.send_all(messages);
    }

    /// Decides a registration, commits, and answers when that is durable.
    async fn decide(self: Arc<Self>, ticket: Ticket, asked: Box<RegistrationRequest>) {
        let outcome = match self.commits.acquire().await {
            Ok(_permit) => self.commit(&asked).await,
            Err(_) => Err(Errno::IO),
        };
        let mut effects = Vec::new();
        let mut service = self.service();
        service.decided(self.now_ms(), ticket, outcome, &mut effects);
        self.carry_out_alone(effects);
    }

    async fn commit(&self, asked: &RegistrationRequest) -> Result<RegistrationOutcome, Errno> {
        let caller = Caller::new(format!("lnet:{}", asked.from));
        let written = self.engine.write_as(&caller, |state, req| target_reg(state, req, asked)).await;
        self.outcome(asked, written)
    }

    /// What a target is told of its decision, and the log.
    fn outcome(
        &self,
        asked: &RegistrationRequest,
        written: Result<Outcome, Problem>,
    ) -> Result<RegistrationOutcome, Errno> {
        let svname = &asked.svname;
        match written {
            Ok(Ok(outcome)) => {
                let what = if asked.ready.is_some() { "target is up" } else { "target registered" };
                info!(%svname, nid = %asked.from, "{what}");
                Ok(outcome)
            }
            Ok(Err(refusal)) => {
                if self.refusals.may_write(Instant::now()) {
                    warn!(%svname, nid = %asked.from, error = %refusal, "target refused");
                }
                Err(refusal.errno)
            }
            Err(problem) => {
                error!(%svname, nid = %asked.from, error = %problem, "target can't be registered");
                // A target tries again when it is told of I/O that failed.
                Err(if problem.code == ProblemCode::Unavailable { Errno::IO } else { Errno::INVAL })
            }
        }
    }

    async fn keep_time(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.engine.stopped() => return,
            }
            let mut effects = Vec::new();
            let mut service = self.service();
            service.tick(self.now_ms(), &mut effects);
            self.carry_out_alone(effects);
        }
    }

    /// Asks for the locks that commits make stale. Commits that came meanwhile are dealt with at once.
    async fn revoke(self: Arc<Self>, mut stale: mpsc::UnboundedReceiver<BTreeSet<ResourceId>>) {
        while let Some(mut resources) = stale.recv().await {
            while let Ok(more) = stale.try_recv() {
                resources.extend(more);
            }
            for resource in resources {
                while self.revoke_some(&resource) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Asks for some locks; true while there are more. Requests are served in between.
    fn revoke_some(self: &Arc<Self>, resource: &ResourceId) -> bool {
        let mut effects = Vec::new();
        let mut service = self.service();
        let more = service.revoke_some(self.now_ms(), resource, CALLBACKS_AT_ONCE, &mut effects);
        self.carry_out_alone(effects);
        more
    }
}

fn incoming<'a>(put: &Put<'a>) -> Incoming<'a> {
    Incoming {
        source: put.source.nid,
        pid: put.source.pid,
        target: put.target,
        portal: put.portal,
        match_bits: put.match_bits,
        payload: put.payload,
    }
}

fn put(outgoing: Outgoing) -> lnet::Put {
    let Outgoing { to, pid, from, portal, match_bits, offset, own, shared } = outgoing;
    let payload = Payload { own, shared };
    lnet::Put { to: ProcessId { nid: to, pid }, from, portal, match_bits, hdr_data: 0, offset, payload }
}
