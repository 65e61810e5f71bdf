//! Clients that behave and clients that don't.

use lustre_types::Nid;
use lustre_wire::fixed::Fixed;
use lustre_wire::ldlm::{LockDesc, LockMode, LockReply, LockRequest, ResourceId, ResourceKind};
use lustre_wire::lnet::WireNid;
use lustre_wire::mgs::{NidEncoding, Registration, RegistrationNids, TargetInfo, target_flag};
use lustre_wire::ptlrpc::{
    Body, BodyKind, ConnectData, ConnectRequest, Message, MessageHeader, Opcode, Part, body_flag, connect_flag,
    connect_flag2, connect_op, encode_message, message_flag, portal,
};
use proptest::prelude::*;

use crate::serve::{Effect, Errno, Incoming, Limits, Outgoing, RegistrationOutcome, ServeError, Service, Ticket};
use crate::state::State;

fn nid(text: &str) -> WireNid {
    WireNid::from(&text.parse::<Nid>().unwrap())
}

fn config(fsname: &str) -> ResourceId {
    ResourceId::new(fsname, ResourceKind::Config).unwrap()
}

/// An MGS without a configuration, and its clock.
struct Mgs {
    service: Service,
    state: State,
    now_ms: u64,
}

/// A client as the MGS sees it.
struct Client {
    nid: WireNid,
    uuid: String,
    handle: u64,
    conn_cnt: u32,
    xid: u64,
}

/// A reply, taken apart.
#[derive(Debug)]
struct Reply {
    body: Body,
    buffers: Vec<Vec<u8>>,
    offset: u32,
    bits: u64,
}

impl Mgs {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self { service: Service::new(limits, [1; 32], 1_700_000_000, 0), state: State::default(), now_ms: 0 }
    }

    fn put(&mut self, from: WireNid, portal: u32, bits: u64, bytes: &[u8]) -> Result<Vec<Effect>, ServeError> {
        let incoming = Incoming {
            source: from,
            pid: 12345,
            target: nid("10.0.0.1@tcp"),
            portal,
            match_bits: bits,
            payload: bytes,
        };
        let mut effects = Vec::new();
        let outcome = self.service.request(&self.state, self.now_ms, &incoming, &mut effects);
        effects.retain(|effect| !matches!(effect, Effect::Client { .. }));
        outcome.map(|()| effects)
    }

    /// Connects a new client on `at`.
    fn client(&mut self, at: &str) -> Client {
        let mut client = Client { nid: nid(at), uuid: format!("uuid-of-{at}"), handle: 0, conn_cnt: 0, xid: 1 << 20 };
        let reply = self.connect(&mut client, connect_op::INITIAL).unwrap();
        assert_eq!((reply.body.op_flags, reply.offset), (0, 0));
        client
    }

    fn connect(&mut self, client: &mut Client, op_flags: u32) -> Result<Reply, i32> {
        client.conn_cnt += 1;
        self.connect_as_it_is(client, op_flags)
    }

    fn connect_as_it_is(&mut self, client: &mut Client, op_flags: u32) -> Result<Reply, i32> {
        client.xid += 128;
        let (_, connect) = connect_bytes(client, op_flags);
        let reply = reply(self.put(client.nid, portal::MGS_REQUEST, client.xid, &connect).unwrap());
        if reply.body.status != 0 {
            return Err(reply.body.status);
        }
        client.handle = reply.body.handle;
        Ok(reply)
    }

    fn call(&mut self, client: &mut Client, opc: Opcode, buffers: &[&[u8]]) -> Reply {
        client.xid += 128;
        self.call_again(client, opc, 0, buffers)
    }

    /// With the xid of the last call.
    fn call_again(&mut self, client: &Client, opc: Opcode, flags: u32, buffers: &[&[u8]]) -> Reply {
        reply(self.effects_of(client, opc, flags, buffers))
    }

    fn effects_of(&mut self, client: &Client, opc: Opcode, flags: u32, buffers: &[&[u8]]) -> Vec<Effect> {
        let bytes = request_bytes(client, opc, flags, buffers);
        self.put(client.nid, portal::of(opc), client.xid, &bytes).unwrap()
    }

    /// Takes a lock. Gives the MGS's handle.
    fn lock(&mut self, client: &mut Client, resource: ResourceId, number: u64) -> u64 {
        let reply = self.call(client, Opcode::LDLM_ENQUEUE, &[&lock_bytes(resource, number)]);
        assert_eq!(reply.body.status, 0);
        let granted = LockReply::decode(&reply.buffers[0]).unwrap();
        assert_eq!((granted.desc.granted, granted.desc.resource), (LockMode::CR, resource));
        granted.handle
    }

    fn revoke(&mut self, resource: ResourceId) -> Vec<Outgoing> {
        let mut effects = Vec::new();
        self.service.revoke(self.now_ms, &resource, &mut effects);
        effects.into_iter().map(sent).collect()
    }

    /// Time passes, and these clients ping.
    fn pass(&mut self, ms: u64, alive: &mut [&mut Client]) {
        for _ in 0..ms / 5_000 {
            self.now_ms += 5_000;
            for client in alive.iter_mut() {
                self.call(client, Opcode::OBD_PING, &[]);
            }
            self.service.tick(self.now_ms, &mut Vec::new());
        }
    }
}

fn connect_bytes(client: &Client, op_flags: u32) -> (u64, Vec<u8>) {
    let flags = connect_flag::VERSION
        | connect_flag::MGS_NIDLIST
        | connect_flag::AT
        | connect_flag::FULL20
        | connect_flag::IMP_RECOV
        | connect_flag::LVB_TYPE
        | connect_flag::BULK_MBITS
        | connect_flag::FLAGS2;
    let data = ConnectData { flags, flags2: connect_flag2::REP_MBITS, version: 0x0211_0000, ..ConnectData::default() };
    let connect = ConnectRequest { target_uuid: "MGS", client_uuid: &client.uuid, conn: 7, data };
    let body =
        Body { handle: client.handle, op_flags, conn_cnt: client.conn_cnt, ..Body::request(Opcode::MGS_CONNECT) };
    (client.xid, connect.encode(&MessageHeader::new(Part::Mgc), &body))
}

fn request_bytes(client: &Client, opc: Opcode, flags: u32, buffers: &[&[u8]]) -> Vec<u8> {
    let body = Body {
        handle: client.handle,
        conn_cnt: client.conn_cnt,
        mbits: client.xid,
        timeout_s: 11,
        flags,
        last_xid: client.xid - 1,
        ..Body::request(opc)
    };
    let header = MessageHeader { flags: message_flag::AT_SUPPORT, ..MessageHeader::new(Part::Mgc) };
    let body = body.encode();
    let mut all: Vec<&[u8]> = vec![&body];
    all.extend(buffers);
    encode_message(&header, &all)
}

fn lock_bytes(resource: ResourceId, number: u64) -> Vec<u8> {
    let desc = LockDesc::plain(resource, LockMode::CR, LockMode::NONE);
    LockRequest { desc, handles: vec![number, 0], ..LockRequest::default() }.encode()
}

fn cancel_bytes(handles: &[u64]) -> Vec<u8> {
    LockRequest { count: u32::try_from(handles.len()).unwrap(), handles: handles.to_vec(), ..LockRequest::default() }
        .encode()
}

fn sent(effect: Effect) -> Outgoing {
    match effect {
        Effect::Send(outgoing) => outgoing,
        other => panic!("{other:?} is nothing that is sent"),
    }
}

fn reply(effects: Vec<Effect>) -> Reply {
    let is_answer = |outgoing: &Outgoing| outgoing.portal != portal::LDLM_CB_REQUEST;
    let answers: Vec<Outgoing> = effects.into_iter().map(sent).filter(is_answer).collect();
    assert_eq!(answers.len(), 1, "one answer");
    taken_apart(&answers[0])
}

fn taken_apart(outgoing: &Outgoing) -> Reply {
    let bytes = [&outgoing.own[..], &outgoing.shared].concat();
    let message = Message::decode(&bytes).unwrap();
    let body = Body::decode(message.buffer(0).unwrap()).unwrap();
    let buffers = message.buffers().skip(1).map(<[u8]>::to_vec).collect();
    Reply { body, buffers, offset: outgoing.offset, bits: outgoing.match_bits }
}

fn answer_callback(mgs: &mut Mgs, from: WireNid, callback: &Outgoing, status: i32) {
    let bytes = encode_message(&MessageHeader::default(), &[&Body::reply(Opcode::LDLM_BL_CALLBACK, status).encode()]);
    let incoming = Incoming {
        source: from,
        pid: 12345,
        target: callback.from,
        portal: portal::LDLM_CB_REPLY,
        match_bits: callback.match_bits,
        payload: &bytes,
    };
    mgs.service.callback_answered(mgs.now_ms, &incoming).unwrap();
}

#[test]
fn a_connection_is_granted_what_it_asked_for_and_nothing_else() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let reply = mgs.connect(&mut client, 0).unwrap();
    let granted = ConnectData::decode(&reply.buffers[0]).unwrap();
    assert_eq!(granted.flags & connect_flag::LVB_TYPE, 0);
    assert_eq!(granted.flags2, connect_flag2::REP_MBITS);
    assert_eq!(reply.body.op_flags, connect_op::RECONNECT);
    assert_eq!(mgs.service.counts().exports, 1);
}

#[test]
fn strangers_and_old_protocols_are_refused() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    client.handle ^= 1;
    let reply = mgs.call(&mut client, Opcode::OBD_PING, &[]);
    assert_eq!((reply.body.kind, reply.body.status), (BodyKind::Error, Errno::NOTCONN.status()));
    assert_eq!((reply.offset, reply.bits), (224, client.xid));
    client.handle ^= 1;
    let reply = mgs.call(&mut client, Opcode(4242), &[]);
    assert_eq!((reply.body.kind, reply.body.status), (BodyKind::Error, Errno::OPNOTSUPP.status()));
}

#[test]
fn who_pretends_to_be_another_client_is_refused() {
    let mut mgs = Mgs::new();
    let honest = mgs.client("10.0.0.9@tcp");
    let mut thief =
        Client { nid: nid("10.0.0.66@tcp"), uuid: honest.uuid.clone(), handle: 0, conn_cnt: 8, xid: 5 << 20 };
    assert_eq!(mgs.connect(&mut thief, connect_op::INITIAL).unwrap_err(), Errno::ALREADY.status());
    assert_eq!(mgs.service.counts().exports, 1);
}

#[test]
fn a_reconnect_keeps_the_locks_and_a_client_that_forgot_its_handle_has_none() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    mgs.lock(&mut client, config("gold"), 1);
    let before = client.handle;
    mgs.connect(&mut client, 0).unwrap();
    assert_eq!((client.handle, mgs.service.counts().locks), (before, 1));
    client.handle = 99;
    let reply = mgs.connect(&mut client, 0).unwrap();
    assert_eq!(reply.body.op_flags, connect_op::RECONNECT);
    assert_ne!(client.handle, before);
    assert_eq!(mgs.service.counts().locks, 0);
}

#[test]
fn what_an_older_connection_sent_is_not_answered() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    mgs.connect(&mut client, 0).unwrap();
    client.conn_cnt = 1;
    assert_eq!(mgs.effects_of(&client, Opcode::OBD_PING, 0, &[]), []);
}

#[test]
fn a_connect_that_the_network_delivers_twice_is_answered_twice_and_made_once() {
    let mut mgs = Mgs::new();
    let mut client = Client { nid: nid("10.0.0.9@tcp"), uuid: "u".into(), handle: 0, conn_cnt: 1, xid: 1 << 20 };
    let (xid, bytes) = connect_bytes(&client, connect_op::INITIAL);
    let first = reply(mgs.put(client.nid, portal::MGS_REQUEST, xid, &bytes).unwrap());
    let second = reply(mgs.put(client.nid, portal::MGS_REQUEST, xid, &bytes).unwrap());
    assert_eq!(first.body.handle, second.body.handle);
    assert_eq!(mgs.service.counts().exports, 1);
    client.handle = second.body.handle;
    assert_eq!(mgs.call(&mut client, Opcode::OBD_PING, &[]).body.status, 0);
}

#[test]
fn a_changed_log_asks_for_each_lock_on_it_and_for_no_other() {
    let mut mgs = Mgs::new();
    let mut reader = mgs.client("10.0.0.9@tcp");
    let mut other = mgs.client("10.0.0.10@tcp");
    let first = mgs.lock(&mut reader, config("gold"), 11);
    mgs.lock(&mut reader, config("gold"), 12);
    mgs.lock(&mut other, config("silver"), 13);
    let callbacks = mgs.revoke(config("gold"));
    assert_eq!(callbacks.len(), 2);
    assert!(callbacks.iter().all(|callback| callback.to == reader.nid && callback.portal == portal::LDLM_CB_REQUEST));
    let asked = taken_apart(&callbacks[0]);
    assert_eq!((asked.body.handle, asked.body.conn_cnt, asked.body.opc), (7, 0, Opcode::LDLM_BL_CALLBACK));
    // Asked for once, not with every change.
    assert_eq!(mgs.revoke(config("gold")).len(), 0);
    assert_eq!(mgs.call(&mut reader, Opcode::LDLM_CANCEL, &[&cancel_bytes(&[first])]).body.status, 0);
    assert_eq!(mgs.service.counts().locks, 2);
    let again = mgs.lock(&mut reader, config("gold"), 14);
    assert_ne!(again, first);
    assert_eq!(mgs.revoke(config("gold")).len(), 1);
}

#[test]
fn nobody_gives_back_the_locks_of_others() {
    let mut mgs = Mgs::new();
    let mut reader = mgs.client("10.0.0.9@tcp");
    let mut thief = mgs.client("10.0.0.66@tcp");
    let lock = mgs.lock(&mut reader, config("gold"), 11);
    let reply = mgs.call(&mut thief, Opcode::LDLM_CANCEL, &[&cancel_bytes(&[lock])]);
    assert_eq!(reply.body.status, Errno::STALE.status());
    assert_eq!(mgs.service.counts().locks, 1);
}

#[test]
fn an_enqueue_sent_again_gets_the_same_lock() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let first = mgs.lock(&mut client, config("gold"), 11);
    let bytes = lock_bytes(config("gold"), 11);
    let reply = mgs.call_again(&client, Opcode::LDLM_ENQUEUE, body_flag::RESENT, &[&bytes]);
    assert_eq!(LockReply::decode(&reply.buffers[0]).unwrap().handle, first);
    assert_eq!(mgs.service.counts().locks, 1);
}

#[test]
fn a_dead_client_delays_nobody_and_loses_its_locks() {
    let mut mgs = Mgs::new();
    let mut dead = mgs.client("10.0.0.9@tcp");
    let mut alive = mgs.client("10.0.0.10@tcp");
    mgs.lock(&mut dead, config("gold"), 1);
    assert_eq!(mgs.revoke(config("gold")).len(), 1);
    // Granted at once although the dead one still has its own.
    mgs.lock(&mut alive, config("gold"), 2);
    mgs.pass(35_000, &mut [&mut alive]);
    assert_eq!((mgs.service.counts().locks, mgs.service.counts().evictions), (1, 1));
    let reply = mgs.call(&mut dead, Opcode::OBD_PING, &[]);
    assert_eq!(reply.body.status, Errno::NOTCONN.status());
}

#[test]
fn a_client_that_is_alive_may_take_its_time_but_not_for_ever() {
    let mut mgs = Mgs::new();
    let mut busy = mgs.client("10.0.0.9@tcp");
    mgs.lock(&mut busy, config("gold"), 1);
    mgs.revoke(config("gold"));
    mgs.pass(200_000, &mut [&mut busy]);
    assert_eq!(mgs.service.counts().evictions, 0);
    mgs.pass(110_000, &mut [&mut busy]);
    assert_eq!(mgs.service.counts().evictions, 1);
}

#[test]
fn a_client_that_was_away_is_asked_again_when_it_is_back() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    mgs.lock(&mut client, config("gold"), 1);
    let lost = mgs.revoke(config("gold"));
    client.conn_cnt += 1;
    client.xid += 128;
    let (xid, bytes) = connect_bytes(&client, 0);
    let effects = mgs.put(client.nid, portal::MGS_REQUEST, xid, &bytes).unwrap();
    let [_, again] = <[Effect; 2]>::try_from(effects).unwrap();
    assert_eq!(sent(again).match_bits, lost[0].match_bits);
    answer_callback(&mut mgs, client.nid, &lost[0], 0);
    assert_eq!(mgs.service.counts().locks, 1);
}

#[test]
fn a_client_that_does_not_know_the_lock_any_more_has_given_it_back() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    mgs.lock(&mut client, config("gold"), 1);
    let callbacks = mgs.revoke(config("gold"));
    answer_callback(&mut mgs, nid("10.0.0.66@tcp"), &callbacks[0], -22);
    assert_eq!(mgs.service.counts().locks, 1, "a stranger's word does not count");
    answer_callback(&mut mgs, client.nid, &callbacks[0], -22);
    assert_eq!(mgs.service.counts().locks, 0);
}

#[test]
fn a_silent_client_is_evicted_after_six_pings_and_a_pinging_one_is_not() {
    let mut mgs = Mgs::new();
    let mut silent = mgs.client("10.0.0.9@tcp");
    let mut pinging = mgs.client("10.0.0.10@tcp");
    mgs.lock(&mut silent, config("gold"), 1);
    mgs.pass(160_000, &mut [&mut pinging]);
    assert_eq!((mgs.service.counts().exports, mgs.service.counts().locks), (1, 0));
}

#[test]
fn a_disconnect_gives_back_everything() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    for number in 0..4 {
        mgs.lock(&mut client, config("gold"), number);
    }
    assert_eq!(mgs.call(&mut client, Opcode::MGS_DISCONNECT, &[]).body.status, 0);
    assert_eq!((mgs.service.counts().exports, mgs.service.counts().locks), (0, 0));
    assert_eq!(mgs.service.locks.resources(), 0);
}

#[test]
fn one_client_cannot_take_everything() {
    let limits = Limits { exports: 3, exports_per_nid: 2, locks_per_export: 5, ..Limits::default() };
    let mut mgs = Mgs::with(limits);
    let mut first = mgs.client("10.0.0.9@tcp");
    for number in 0..5 {
        mgs.lock(&mut first, config("gold"), number);
    }
    let reply = mgs.call(&mut first, Opcode::LDLM_ENQUEUE, &[&lock_bytes(config("gold"), 9)]);
    assert_eq!(reply.body.status, Errno::NOMEM.status());
    let connect = |mgs: &mut Mgs, at: &str, uuid: &str| {
        let mut client = Client { nid: nid(at), uuid: uuid.into(), handle: 0, conn_cnt: 0, xid: 9 << 20 };
        mgs.connect(&mut client, connect_op::INITIAL).map(drop)
    };
    assert!(connect(&mut mgs, "10.0.0.9@tcp", "a").is_ok());
    assert_eq!(connect(&mut mgs, "10.0.0.9@tcp", "b").unwrap_err(), Errno::NOMEM.status());
    assert!(connect(&mut mgs, "10.0.0.10@tcp", "c").is_ok());
    assert_eq!(connect(&mut mgs, "10.0.0.11@tcp", "d").unwrap_err(), Errno::NOMEM.status());
}

fn registration() -> Registration {
    let target = TargetInfo {
        flags: target_flag::OPC_REG
            | target_flag::OST
            | target_flag::VIRGIN
            | target_flag::UPDATE
            | target_flag::LARGE_NID,
        nid_count: 1,
        fsname: lustre_wire::fixed::Text::new("gold").unwrap(),
        svname: lustre_wire::fixed::Text::new("gold-OST0000").unwrap(),
        ..TargetInfo::default()
    };
    let nids = RegistrationNids::Texts(vec!["10.0.0.9@tcp".into()]);
    Registration { target, nids, encoding: NidEncoding::List, nidlist_flags: 0 }
}

fn ticket(effects: &[Effect]) -> Ticket {
    let [Effect::Decide(ticket, _)] = effects else { panic!("{effects:?}") };
    *ticket
}

fn accepted() -> RegistrationOutcome {
    RegistrationOutcome { flags: 1, uuid: "gold-OST0000_UUID".into(), revoke: false }
}

#[test]
fn a_registration_is_answered_when_it_is_durable_and_a_second_time_from_memory() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let buffers = registration().encode();
    let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    client.xid += 128;
    let ticket = ticket(&mgs.effects_of(&client, Opcode::MGS_TARGET_REG, 0, &buffers));
    // Sent again while the store is at work: not decided twice.
    assert_eq!(mgs.effects_of(&client, Opcode::MGS_TARGET_REG, body_flag::RESENT, &buffers), []);
    let mut effects = Vec::new();
    mgs.service.decided(mgs.now_ms, ticket, Ok(accepted()), &mut effects);
    let first = reply(effects);
    assert_eq!(TargetInfo::decode(&first.buffers[0]).unwrap().uuid.as_str(), "gold-OST0000_UUID");
    let again = mgs.call_again(&client, Opcode::MGS_TARGET_REG, body_flag::RESENT, &buffers);
    assert_eq!((again.body.clone(), again.buffers.clone()), (first.body, first.buffers));
    // The next request says that the reply arrived: it is forgotten.
    mgs.call(&mut client, Opcode::OBD_PING, &[]);
    assert_eq!(mgs.service.counts().pending, 0);
}

#[test]
fn a_refused_target_is_told_why_in_its_flags_too() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let mut unfit = registration();
    unfit.target.stripe_index = 7;
    let buffers = unfit.encode();
    let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    let reply = mgs.call(&mut client, Opcode::MGS_TARGET_REG, &buffers);
    assert_eq!((reply.body.kind, reply.body.status), (BodyKind::Reply, Errno::INVAL.status()));
    assert!(TargetInfo::decode(&reply.buffers[0]).unwrap().has(target_flag::ERROR));
}

#[test]
fn a_slow_commit_is_announced_before_the_client_gives_up() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let buffers = registration().encode();
    let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    client.xid += 128;
    let ticket = ticket(&mgs.effects_of(&client, Opcode::MGS_TARGET_REG, 0, &buffers));
    let mut effects = Vec::new();
    mgs.service.tick(9_500, &mut effects);
    let early = sent(effects.remove(0));
    assert_eq!((early.offset, early.own.len()), (0, 224));
    assert!(lustre_wire::ptlrpc::is_early_reply(&Message::decode(&early.own).unwrap()));
    mgs.service.tick(10_500, &mut effects);
    assert_eq!(effects, [], "once is enough");
    mgs.service.decided(12_000, ticket, Ok(accepted()), &mut effects);
    assert_eq!(reply(effects).offset, 224);
}

#[test]
fn a_registration_whose_client_is_gone_is_answered_to_nobody() {
    let mut mgs = Mgs::new();
    let mut client = mgs.client("10.0.0.9@tcp");
    let buffers = registration().encode();
    let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    client.xid += 128;
    let ticket = ticket(&mgs.effects_of(&client, Opcode::MGS_TARGET_REG, 0, &buffers));
    mgs.call(&mut client, Opcode::MGS_DISCONNECT, &[]);
    let mut effects = Vec::new();
    mgs.service.decided(mgs.now_ms, ticket, Ok(accepted()), &mut effects);
    assert_eq!(effects, []);
    assert_eq!(mgs.service.counts().pending, 0);
}

proptest! {
    /// Clients come, lock, are asked, answer or not, and go: a lock is held by a connected client or by nobody.
    #[test]
    fn no_history_leaks_a_lock(steps in prop::collection::vec((0u8..7, 0usize..4, any::<u8>()), 1..120)) {
        let mut mgs = Mgs::new();
        let mut clients: Vec<Client> = (0..4).map(|n| mgs.client(&format!("10.0.1.{n}@tcp"))).collect();
        let mut held: Vec<Vec<u64>> = vec![Vec::new(); 4];
        for (step, who, number) in steps {
            let client = &mut clients[who];
            let resource = config(if number % 2 == 0 { "gold" } else { "silver" });
            match step {
                0 | 1 => {
                    let reply = mgs.call(client, Opcode::LDLM_ENQUEUE, &[&lock_bytes(resource, u64::from(number))]);
                    if reply.body.status == 0 {
                        held[who].push(LockReply::decode(&reply.buffers[0]).unwrap().handle);
                    }
                }
                2 => if let Some(lock) = held[who].pop() {
                    mgs.call(client, Opcode::LDLM_CANCEL, &[&cancel_bytes(&[lock])]);
                },
                3 => for callback in mgs.revoke(resource) {
                    if number % 3 == 0 {
                        answer_callback(&mut mgs, callback.to, &callback, -22);
                    }
                },
                4 => { mgs.call(client, Opcode::MGS_DISCONNECT, &[]); }
                5 => {
                    let initial = if number % 2 == 0 { connect_op::INITIAL } else { 0 };
                    let _ = mgs.connect(client, initial);
                }
                _ => {
                    mgs.now_ms += u64::from(number) * 500;
                    mgs.service.tick(mgs.now_ms, &mut Vec::new());
                }
            }
            let in_exports: usize = mgs.service.exports.iter().map(|export| export.locks.len()).sum();
            prop_assert_eq!(in_exports, mgs.service.locks.len());
        }
        for client in &mut clients {
            mgs.call(client, Opcode::MGS_DISCONNECT, &[]);
        }
        mgs.now_ms += 1_000_000;
        mgs.service.tick(mgs.now_ms, &mut Vec::new());
        prop_assert_eq!(mgs.service.counts().locks, 0);
        prop_assert_eq!(mgs.service.locks.resources(), 0);
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), opc in 90u32..600, at in 0usize..6) {
        let mut mgs = Mgs::new();
        let client = mgs.client("10.0.0.9@tcp");
        let bytes = request_bytes(&client, Opcode(opc), 0, &vec![&data[..]; at]);
        let _ = mgs.put(client.nid, portal::MGS_REQUEST, client.xid, &bytes);
        let _ = mgs.put(client.nid, portal::MGS_REQUEST, client.xid, &data);
        let mut cut = bytes.clone();
        cut.truncate(data.len());
        let _ = mgs.put(client.nid, portal::LDLM_CANCEL_REQUEST, client.xid, &cut);
    }
}
