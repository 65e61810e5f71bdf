//! A side that does not read is waited for, and costs a bounded amount of memory.

use crate::end::{End, nid, pattern, post, put};
use anyhow::{Context, Result, ensure};
use kproxy::{Event, Flags, Frame, Process, portal};
use nix::{libc, poll::PollFlags};
use std::io;

fn is_full(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A daemon that does not read holds the network back; when it reads again everything comes, in order.
pub(crate) fn a_full_queue_holds_the_network_back() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let mut sent = 0;
    loop {
        let result = node.write(&put(1, portal::REQUEST, sent, &pattern(100)));
        if is_full(&result) {
            break;
        }
        result?;
        sent += 1;
        ensure!(sent < 100_000, "no end to what the module holds");
    }
    ensure!(sent > 1024, "{sent} is less than a queue");
    ensure!(!node.ready()?.contains(PollFlags::POLLOUT));
    for expected in 0..sent {
        ensure!(mgs.expect(Event::Put)?.match_bits == expected);
    }
    ensure!(node.ready()?.contains(PollFlags::POLLOUT));
    node.write(&put(1, portal::REQUEST, sent, b"goes on"))?;
    ensure!(mgs.expect(Event::Put)?.payload == b"goes on");
    Ok(())
}

/// Acknowledgements that nobody reads stop the sender, not the kernel.
pub(crate) fn unread_answers_stop_the_sender() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let mut sent = 0_u64;
    loop {
        let result = mgs.write(&Frame { flags: Flags::ACK, cookie: sent, ..put(2, portal::CALLBACK, 1, b"x") });
        if is_full(&result) {
            break;
        }
        result?;
        sent += 1;
        ensure!(sent < 100_000, "no end to what the module holds");
        node.try_read()?;
    }
    let mut acks = 0;
    loop {
        if mgs.try_read()?.is_some() {
            acks += 1;
        } else if node.try_read()?.is_none() {
            break;
        }
    }
    ensure!(acks == sent, "{acks} of {sent}");
    Ok(())
}

/// Posts are bounded in number and in bytes.
pub(crate) fn posts_are_bounded() -> Result<()> {
    let mut mgs = End::mgs()?;
    let mut large = 0_u64;
    while !is_full(&mgs.write(&post(portal::CALLBACK_ANSWER, large, large + 1, 1 << 20))) {
        large += 1;
        ensure!(large < 1000, "over a GiB of posts");
    }
    drop(mgs);
    let mut mgs = End::mgs()?;
    let mut small = 0_u64;
    let errno = loop {
        match mgs.write(&post(portal::CALLBACK_ANSWER, small, small + 1, 8)) {
            Ok(()) => small += 1,
            Err(error) => break error.raw_os_error().context("no errno")?,
        }
        ensure!(small < 1_000_000, "no end to posts");
    };
    ensure!(errno == libc::ENOSPC, "errno {errno} after {small}");
    Ok(())
}

/// A node that floods does not starve another node's request of its turn.
pub(crate) fn a_flood_is_served_in_the_order_it_came() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    for number in 0..3000 {
        let mut request = put(1, portal::REQUEST, number, b"flood");
        request.local = Process { nid: nid(if number == 2999 { 99 } else { 50 }), pid: 0 };
        node.write(&request)?;
    }
    for number in 0..3000 {
        let got = mgs.expect(Event::Put)?;
        ensure!(got.match_bits == number && (got.peer.nid == nid(99)) == (number == 2999));
    }
    Ok(())
}
