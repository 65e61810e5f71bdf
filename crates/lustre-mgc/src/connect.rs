//! Connecting and reconnecting to the MGS. Source: ptlrpc specification, section 8.

use crate::{
    client::{Shared, next_xid},
    error::{MgcError, status},
};
use lnet::{ProcessId, Put, SendError};
use lustre_types::NidList;
use lustre_wire::{
    fixed::Fixed,
    lnet::WireNid,
    ptlrpc::{Body, ConnectData, ConnectRequest, Message, MessageHeader, Opcode, connect_op, portal},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Time for one try at a connect; less where requests have less.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Pause before all NIDs are tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// Room for connect data in the reply, which may be longer than ours.
const REPLY_DATA: usize = 320;

/// What the client knows of its MGS.
#[derive(Default)]
pub(crate) struct Import {
    /// Which of the configured NIDs is, or was last, connected.
    pub(crate) server: usize,
    /// Export handle; 0 before the first connect.
    handle: u64,
    /// Attempts at a connect so far.
    conn_cnt: u32,
    pub(crate) granted: ConnectData,
    /// Counts beginnings: the first connect, and each one after which the MGS knew nothing of us.
    pub(crate) epoch: u64,
    /// How requests travel; nothing while not connected.
    pub(crate) link: Option<Link>,
    /// True once the client has left.
    pub(crate) is_closed: bool,
}

/// How a request travels to the MGS, as the last connect left it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) to: ProcessId,
    pub(crate) from: WireNid,
    pub(crate) handle: u64,
    pub(crate) conn_cnt: u32,
    pub(crate) epoch: u64,
    pub(crate) granted: Arc<ConnectData>,
}

impl Shared {
    /// The connection, made if there is none.
    pub(crate) async fn connected(&self, deadline: Instant) -> Result<Link, MgcError> {
        let _one_at_a_time = self.connecting.lock().await;
        let mut last = None;
        loop {
            if let Some(link) = self.link() {
                return Ok(link);
            }
            let count = self.config.mgs.len();
            for _ in 0..count {
                match self.connect_once().await {
                    Ok(link) => return Ok(link),
                    Err(Attempt::Retry(error)) => last = error.or(last),
                    Err(Attempt::Fail(error)) => return Err(error),
                }
                let mut import = self.import();
                import.server = (import.server + 1) % count;
            }
            if count == 0 || Instant::now() + PAUSE >= deadline {
                return Err(MgcError::Unreachable { mgs: self.all_nids(), source: last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn all_nids(&self) -> String {
        let nodes = self.config.mgs.iter().map(|nid| vec![nid.clone()]).collect();
        NidList::new(nodes).map_or_else(|| "no NID at all".to_owned(), |list| list.to_string())
    }

    /// Says that a link doesn't work any more; the next request connects anew.
    pub(crate) fn is_down(&self, link: &Link) {
        let mut import = self.import();
        if import.link.as_ref().is_some_and(|current| current.conn_cnt == link.conn_cnt) {
            import.link = None;
        }
    }

    async fn connect_once(&self) -> Result<Link, Attempt> {
        let (server, handle, conn_cnt, is_initial) = {
            let mut import = self.import();
            import.conn_cnt += 1;
            (import.server, import.handle, import.conn_cnt, import.epoch == 0)
        };
        let nid = &self.config.mgs[server];
        let to = ProcessId::lustre(nid);
        let from = self.lnet.nid_towards(&to.nid).map_err(Attempt::retry)?;
        // As kernels do: a node introduces itself before its first request.
        let within = self.config.attempt.min(ATTEMPT);
        // A host that doesn't answer at all must not take the time that its partner needs.
        let slow = |_| Attempt::Retry(Some(SendError::Lost { nid: to.nid, lost: lnet::Lost::TimedOut }));
        let discovered = tokio::time::timeout(2 * within, self.lnet.discover(nid, within)).await;
        discovered.map_err(slow)?.map_err(Attempt::retry)?;
        let body = Body {
            handle,
            conn_cnt,
            op_flags: if is_initial { connect_op::INITIAL } else { 0 },
            timeout_s: u32::try_from(within.as_secs()).unwrap_or(u32::MAX).max(1),
            ..Body::request(Opcode::MGS_CONNECT)
        };
        let header = MessageHeader {
            repsize: u32::try_from(lustre_wire::ptlrpc::message_len([Body::LEN, REPLY_DATA].into_iter())).unwrap_or(0),
            ..MessageHeader::new(self.config.part)
        };
        let data = ConnectData { version: self.config.version, ..self.config.asks.clone() };
        let request =
            ConnectRequest { target_uuid: "MGS", client_uuid: &self.uuid, conn: self.conn, data: data.clone() };
        let payload = request.encode(&header, &body).into();
        let xid = next_xid();
        let mut reply = self.lnet.attach(portal::MGC_REPLY, xid, Some(to.nid), 4096);
        let put = Put { to, from, portal: portal::MGS_REQUEST, match_bits: xid, hdr_data: 0, offset: 0, payload };
        self.lnet.put(put).await.map_err(Attempt::retry)?;
        let arrival = match tokio::time::timeout(within, reply.next()).await {
            Ok(Ok(arrival)) => arrival,
            Ok(Err(lost)) => return Err(Attempt::retry(SendError::Lost { nid: to.nid, lost })),
            Err(_) => return Err(Attempt::retry(SendError::Lost { nid: to.nid, lost: lnet::Lost::TimedOut })),
        };
        let malformed =
            |source| Attempt::Fail(MgcError::Malformed { nid: nid.to_string(), opc: Opcode::MGS_CONNECT, source });
        let message = Message::decode(&arrival.payload).map_err(malformed)?;
        let body = Body::decode(message.buffer(0).unwrap_or_default()).map_err(malformed)?;
        match body.status {
            0 => {}
            // Busy with an earlier connect of ours, or not ready: another NID, or later.
            status::EBUSY | status::EALREADY | status::ENODEV | status::ENOTCONN => {
                debug!(%nid, status = body.status, "MGS doesn't connect yet");
                return Err(Attempt::Retry(None));
            }
            status => return Err(Attempt::Fail(MgcError::ConnectRefused { nid: nid.to_string(), status })),
        }
        let granted =
            ConnectData::decode(message.need(1, "connect_data", 72).map_err(malformed)?).map_err(malformed)?;
        if granted.flags & !data.flags != 0 || granted.flags2 & !data.flags2 != 0 {
            // What wasn't asked for would change the protocol behind our back.
            return Err(Attempt::Fail(MgcError::ConnectRefused { nid: nid.to_string(), status: -71 }));
        }
        Ok(self.now_connected(&body, granted, to, from, conn_cnt))
    }

    fn now_connected(&self, reply: &Body, granted: ConnectData, to: ProcessId, from: WireNid, conn_cnt: u32) -> Link {
        let granted = Arc::new(granted);
        let (link, is_anew) = {
            let mut import = self.import();
            let is_same = reply.op_flags & connect_op::RECONNECT != 0 && reply.handle == import.handle;
            let is_anew = import.epoch > 0 && !is_same;
            if !is_same {
                import.epoch += 1;
            }
            import.handle = reply.handle;
            import.granted = (*granted).clone();
            let epoch = import.epoch;
            let link = Link { to, from, handle: reply.handle, conn_cnt, epoch, granted };
            import.link = Some(link.clone());
            (link, is_anew)
        };
        if is_anew {
            warn!(mgs = %to.nid, "the MGS knows nothing of this client any more: locks are taken again");
            self.locks.lose_all();
        } else {
            info!(mgs = %to.nid, epoch = link.epoch, "connected to the MGS");
        }
        link
    }
}

/// What a failed try at a connect means.
enum Attempt {
    /// Another NID, or the same later.
    Retry(Option<SendError>),
    /// Nothing will help.
    Fail(MgcError),
}

impl Attempt {
    fn retry(error: SendError) -> Self {
        match error {
            SendError::ShutDown => Self::Fail(error.into()),
            error => Self::Retry(Some(error)),
        }
    }
}
