//! Daemons that die, modules that go.

use crate::end::{End, pattern, post, put};
use anyhow::{Context, Result, ensure};
use kproxy::{DEVICE, Event, Flags, Frame, portal};
use nix::{
    errno::Errno,
    kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module},
    poll::PollFlags,
};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const MODULE: &str = "/lustre_mgs_proxy.ko";

/// What the child of [`a_killed_daemon_is_replaced`] does: serves until it is killed.
pub(crate) fn serve_until_killed() -> Result<()> {
    let mut mgs = End::mgs()?;
    for number in 0..100 {
        mgs.write(&post(portal::CALLBACK_ANSWER, number, number + 1, 4096))?;
    }
    println!("serving");
    loop {
        let request = mgs.expect(Event::Put)?;
        mgs.write(&Frame { flags: Flags::ACK, ..put(2, portal::REPLY, request.match_bits, &pattern(8192)) })?;
    }
}

/// SIGKILL in the middle of traffic: the device is free at once, nothing is left over, the next daemon serves.
pub(crate) fn a_killed_daemon_is_replaced() -> Result<()> {
    for round in 0..3 {
        let mut node = End::node()?;
        let mut child = Command::new("/proc/self/exe").arg("serve").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line == "serving\n", "{line:?}");
        for number in 0..200 + 50 * round {
            node.write(&post(portal::REPLY, number, number + 1, 9 * 1024))?;
            node.write(&put(1, portal::REQUEST, number, &pattern(500)))?;
        }
        node.expect(Event::Put)?;
        child.kill()?;
        child.wait()?;
        // Requests to a host whose daemon is gone are dropped, as by a host without MGS.
        node.write(&put(1, portal::REQUEST, 1, b"nobody there"))?;
        let mut next = End::mgs()?;
        ensure!(next.try_read()?.is_none(), "a session starts empty");
        node.write(&put(1, portal::REQUEST, 2, b"hello again"))?;
        ensure!(next.expect(Event::Put)?.payload == b"hello again");
    }
    Ok(())
}

/// A node's end that closes with messages held back takes them with it.
pub(crate) fn closing_an_end_drops_what_it_held() -> Result<()> {
    let (mgs, mut node) = End::pair()?;
    for number in 0..3000 {
        node.write(&put(1, portal::REQUEST, number, &pattern(1000)))?;
    }
    drop(node);
    drop(mgs);
    let (mut mgs, mut node) = End::pair()?;
    for number in 0..2000 {
        node.write(&put(1, portal::REQUEST, number, &pattern(1000)))?;
    }
    drop(mgs);
    mgs = End::mgs()?;
    node.write(&put(1, portal::REQUEST, 7, b"fresh"))?;
    ensure!(mgs.expect(Event::Put)?.payload == b"fresh");
    Ok(())
}

/// The module stays while it is open, goes afterwards, and comes back.
pub(crate) fn the_module_goes_only_when_nobody_has_it_open() -> Result<()> {
    let mgs = End::mgs()?;
    let refused = delete_module(c"lustre_mgs_proxy", DeleteModuleFlags::O_NONBLOCK);
    ensure!(refused == Err(Errno::EWOULDBLOCK) || refused == Err(Errno::EBUSY), "{refused:?}");
    drop(mgs);
    for _ in 0..3 {
        delete_module(c"lustre_mgs_proxy", DeleteModuleFlags::O_NONBLOCK)?;
        ensure!(End::open(DEVICE).is_err());
        finit_module(File::open(MODULE)?, c"loop=1", ModuleInitFlags::empty())?;
        let (mut mgs, mut node) = End::pair()?;
        node.write(&put(1, portal::REQUEST, 1, b"reloaded"))?;
        ensure!(mgs.expect(Event::Put)?.payload == b"reloaded");
    }
    Ok(())
}

/// Without LNet and without loop there is nothing to do, and the module says so instead of loading.
pub(crate) fn a_module_without_network_does_not_load() -> Result<()> {
    delete_module(c"lustre_mgs_proxy", DeleteModuleFlags::O_NONBLOCK)?;
    let refused = finit_module(File::open(MODULE)?, c"", ModuleInitFlags::empty());
    finit_module(File::open(MODULE)?, c"loop=1", ModuleInitFlags::empty())?;
    ensure!(refused == Err(Errno::ENODEV), "{refused:?}");
    Ok(())
}

/// Writes a parameter of the loaded module.
pub(crate) fn set_retired(value: &str) -> Result<()> {
    std::fs::write("/sys/module/lustre_mgs_proxy/parameters/retired", value).context("retired")
}

/// Takes the module out, and in again.
pub(crate) fn exchange() -> Result<()> {
    remove()?;
    insert()
}

pub(crate) fn remove() -> Result<()> {
    delete_module(c"lustre_mgs_proxy", DeleteModuleFlags::O_NONBLOCK).context("rmmod")
}

pub(crate) fn insert() -> Result<()> {
    finit_module(File::open(MODULE)?, c"loop=1", ModuleInitFlags::empty()).context("insmod")
}

/// Before it is exchanged a module ends what waits on it; nobody opens it meanwhile, unless that is taken back.
pub(crate) fn a_retired_module_lets_its_users_go() -> Result<()> {
    let mut sleeping =
        Command::new("/proc/self/exe").arg("serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(sleeping.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let mut node = End::node()?;
    node.write(&post(portal::REPLY, 5, 5, 4096))?;
    set_retired("1")?;
    ensure!(!sleeping.wait()?.success(), "who slept on the device was told");
    ensure!(node.refusal(&put(1, portal::REQUEST, 1, b"x"))? == Errno::ENODEV as i32);
    let error = node.read_into(&mut [0; 4096]).expect_err("it is retired");
    ensure!(error.raw_os_error() == Some(Errno::ENODEV as i32), "{error}");
    ensure!(node.ready()?.contains(PollFlags::POLLHUP));
    drop(node);
    let refused = End::open(DEVICE).err().context("it is retired")?;
    ensure!(refused.raw_os_error() == Some(Errno::ENODEV as i32), "{refused}");
    set_retired("0")?;
    drop(End::pair()?);
    set_retired("1")?;
    exchange()?;
    drop(End::pair()?);
    Ok(())
}

/// What is loaded says so, for who has to decide whether it is the right one.
pub(crate) fn the_module_says_what_it_is() -> Result<()> {
    let parameter = |name: &str| std::fs::read_to_string(format!("/sys/module/lustre_mgs_proxy/parameters/{name}"));
    ensure!(parameter("protocol")? == format!("{}\n", kproxy::VERSION));
    ensure!(parameter("transport")? == "loop\n");
    ensure!(parameter("retired")? == "N\n");
    ensure!(!std::fs::read_to_string("/sys/module/lustre_mgs_proxy/srcversion")?.trim().is_empty());
    Ok(())
}

/// The counters add up.
pub(crate) fn statistics_count_what_happened() -> Result<()> {
    let counters = || -> Result<Vec<(String, u64)>> {
        let text = std::fs::read_to_string("/sys/kernel/debug/lustre_mgs_proxy/stats")?;
        text.lines()
            .map(|line| {
                let (name, number) = line.split_once(' ').context("a name and a number")?;
                Ok((name.to_owned(), number.parse()?))
            })
            .collect()
    };
    let before = counters()?;
    let (mut mgs, mut node) = End::pair()?;
    node.write(&put(1, portal::REQUEST, 1, b"one"))?;
    mgs.expect(Event::Put)?;
    mgs.write(&put(2, portal::REPLY, 404, b"nobody waits"))?;
    mgs.refusal(&put(2, 1, 1, b"forbidden"))?;
    let after = counters()?;
    let grown: Vec<(&str, u64)> =
        before.iter().zip(&after).map(|((name, before), (_, after))| (name.as_str(), after - before)).collect();
    let of = |wanted: &str| grown.iter().find(|(name, _)| *name == wanted).map(|(_, number)| *number);
    ensure!(
        of("opens") == Some(2) && of("messages_unmatched") == Some(1) && of("commands_refused") == Some(1),
        "{grown:?}"
    );
    ensure!(of("frames_read") == Some(3), "{grown:?}");
    Ok(())
}
