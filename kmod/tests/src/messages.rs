//! What an MGS and its nodes say to each other goes through unchanged.

use crate::end::{End, attach, hello, nid, pattern, post, process, put};
use anyhow::{Result, ensure};
use kproxy::{Command, DEVICE, Event, Flags, Frame, MAX_PAYLOAD, Process, portal};
use nix::{libc, poll::PollFlags};

/// Nothing works before a HELLO, a second one is refused, and so is a version that nobody has.
pub(crate) fn a_session_starts_with_one_hello() -> Result<()> {
    let mut end = End::open(DEVICE)?;
    ensure!(end.refusal(&Frame::command(Command::Nids))? == libc::EPROTO);
    let mut foreign = hello();
    foreign.payload[..4].copy_from_slice(&[9, 0, 9, 0]);
    ensure!(end.refusal(&foreign)? == libc::EPROTONOSUPPORT);
    end.write(&hello())?;
    let agreed = end.expect(Event::Hello)?;
    ensure!(&agreed.payload[32..37] == b"loop\0", "{:?}", agreed.payload);
    ensure!(end.refusal(&hello())? == libc::EALREADY);
    end.write(&Frame { cookie: 5, ..Frame::command(Command::Nids) })?;
    let nids = end.expect(Event::Nids)?;
    ensure!(nids.payload == nid(1).large() && nids.cookie == 5);
    Ok(())
}

/// A request reaches the daemon with who sent it; the reply lands in the buffer that waits for it, at its offset.
pub(crate) fn a_request_and_its_reply() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let mut reply_buffer = post(portal::REPLY, 77, 1, 9 * 1024);
    reply_buffer.peer = process(1);
    node.write(&reply_buffer)?;
    let mut request = put(1, portal::REQUEST, 77, &pattern(500));
    request.local = Process { nid: nid(42), pid: 12345 };
    request.hdr_data = 9;
    node.write(&request)?;

    let got = mgs.expect(Event::Put)?;
    ensure!(got.payload == pattern(500) && got.match_bits == 77 && got.hdr_data == 9 && got.portal == portal::REQUEST);
    ensure!(got.peer == process(42) && got.via == nid(42) && got.local.nid == nid(1), "{got:?}");

    let reply = Frame { offset: 224, flags: Flags::ACK, cookie: 3, ..put(42, portal::REPLY, 77, &pattern(300)) };
    mgs.write(&reply)?;
    let got = node.expect(Event::Put)?;
    ensure!(got.payload == pattern(300) && got.offset == 224 && got.cookie == 1, "{got:?}");
    let ack = mgs.expect(Event::Ack)?;
    ensure!(ack.cookie == 3 && ack.status == 0 && ack.rlength == 300);
    Ok(())
}

/// Bulk in both directions, up to the largest there is.
pub(crate) fn bulk_of_a_mebibyte() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let size = u32::try_from(MAX_PAYLOAD)?;
    node.write(&post(portal::BULK, 5, 50, size))?;
    mgs.write(&Frame { flags: Flags::ACK, cookie: 1, ..put(2, portal::BULK, 5, &pattern(MAX_PAYLOAD)) })?;
    ensure!(node.expect(Event::Put)?.payload == pattern(MAX_PAYLOAD));
    ensure!(mgs.expect(Event::Ack)?.rlength == size);

    let readable = Frame { flags: Flags::READABLE, payload: pattern(MAX_PAYLOAD), ..post(portal::BULK, 6, 60, 0) };
    node.write(&readable)?;
    let get = Frame {
        portal: portal::BULK,
        match_bits: 6,
        rlength: size,
        cookie: 2,
        peer: process(2),
        ..Frame::command(Command::Get)
    };
    mgs.write(&get)?;
    let reply = mgs.expect(Event::Reply)?;
    ensure!(reply.status == 0 && reply.cookie == 2 && reply.payload == pattern(MAX_PAYLOAD));
    let done = node.expect(Event::Done)?;
    ensure!(done.cookie == 60 && done.status == 0);
    Ok(())
}

/// A lock callback goes out, its answer comes to the post that waits, a cancel to its portal.
pub(crate) fn a_lock_callback_its_answer_and_a_cancel() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    mgs.write(&Frame { peer: process(2), ..post(portal::CALLBACK_ANSWER, 900, 8, 4096) })?;
    mgs.write(&put(2, portal::CALLBACK, 900, b"give it back"))?;
    ensure!(node.expect(Event::Put)?.payload == b"give it back");
    node.write(&put(1, portal::CALLBACK_ANSWER, 900, b"yes"))?;
    let answer = mgs.expect(Event::Put)?;
    ensure!(answer.cookie == 8 && answer.payload == b"yes");
    node.write(&put(1, portal::CANCEL, 901, b"cancelled"))?;
    let cancel = mgs.expect(Event::Put)?;
    ensure!(cancel.portal == portal::CANCEL && cancel.cookie == 0);
    Ok(())
}

/// A message that nobody has a buffer for is dropped, and a sender that asked hears of it.
pub(crate) fn what_matches_nothing_is_dropped() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    node.write(&post(portal::REPLY, 1, 10, 100))?;
    for miss in [
        put(2, portal::REPLY, 2, b"other match bits"),
        put(2, portal::REPLY, 1, &pattern(101)),
        Frame { offset: 90, ..put(2, portal::REPLY, 1, &pattern(11)) },
        put(2, portal::BULK, 1, b"other portal"),
    ] {
        mgs.write(&Frame { flags: Flags::ACK, cookie: 4, ..miss })?;
        let ack = mgs.expect(Event::Ack)?;
        ensure!(ack.status == -libc::ETIMEDOUT && ack.cookie == 4, "{ack:?}");
    }
    mgs.write(&Frame { flags: Flags::NOTIFY, cookie: 6, ..put(2, portal::REPLY, 9, b"") })?;
    ensure!(mgs.expect(Event::Done)?.status == 0, "it left; that is all that NOTIFY says");
    ensure!(node.try_read()?.is_none());
    Ok(())
}

/// A post can be taken back once, and its cookie is free again when the message that used it came.
pub(crate) fn posts_are_taken_back_once() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let waiting = post(portal::CALLBACK_ANSWER, 1, 10, 64);
    mgs.write(&waiting)?;
    ensure!(mgs.refusal(&waiting)? == libc::EEXIST);
    mgs.write(&Frame { cookie: 10, ..Frame::command(Command::Unlink) })?;
    let done = mgs.expect(Event::Done)?;
    ensure!(done.cookie == 10 && done.status == -libc::ECANCELED);
    ensure!(mgs.refusal(&Frame { cookie: 10, ..Frame::command(Command::Unlink) })? == libc::ENOENT);
    mgs.write(&waiting)?;
    node.write(&put(1, portal::CALLBACK_ANSWER, 1, b"late"))?;
    ensure!(mgs.expect(Event::Put)?.cookie == 10);
    mgs.write(&waiting)?;
    Ok(())
}

/// poll() tells of events, and of room to send.
pub(crate) fn poll_tells_what_can_be_done() -> Result<()> {
    let (mgs, mut node) = End::pair()?;
    ensure!(mgs.ready()? == PollFlags::POLLOUT);
    node.write(&put(1, portal::REQUEST, 1, b"x"))?;
    ensure!(mgs.ready()? == PollFlags::POLLIN | PollFlags::POLLOUT);
    Ok(())
}

/// A buffer that is too small leaves the event where it is.
pub(crate) fn a_short_read_loses_nothing() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    node.write(&put(1, portal::REQUEST, 1, &pattern(64)))?;
    let error = mgs.read_into(&mut [0; 200]).expect_err("too small");
    ensure!(error.raw_os_error() == Some(libc::EMSGSIZE));
    ensure!(mgs.expect(Event::Put)?.payload == pattern(64));
    Ok(())
}

/// Portals are attached and detached once each.
pub(crate) fn portals_are_attached_once() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    ensure!(mgs.refusal(&attach(portal::REQUEST))? == libc::EALREADY);
    let detach = Frame { portal: portal::REQUEST, ..Frame::command(Command::Detach) };
    mgs.write(&detach)?;
    ensure!(mgs.refusal(&detach)? == libc::ENOENT);
    node.write(&put(1, portal::REQUEST, 1, b"nobody"))?;
    ensure!(mgs.try_read()?.is_none());
    mgs.write(&attach(portal::REQUEST))?;
    node.write(&put(1, portal::REQUEST, 1, b"somebody"))?;
    ensure!(mgs.expect(Event::Put)?.payload == b"somebody");
    Ok(())
}
