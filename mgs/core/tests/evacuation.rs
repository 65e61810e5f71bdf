//! Thousands of evacuations in a world that misbehaves: files that can't be moved, files that appear, agents that crash or
//! can't be reached, clocks that jump, people who let it rest.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that can't go on shall say so by failing"
)]

use lustre_api::Time;
use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::{FileFailure, FindFilesResult, MigrateOp, MigrateResult, OpResult};
use lustre_mgs_core::decide::evacuate::{Evacuation, EvacuationLimits, Verdict};

const DAY_MS: u64 = 86_400_000;

/// A small generator, so that a seed is a history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.roll(many) == 0
    }
}

#[derive(Clone)]
struct File {
    size: u64,
    /// It is in use for so many more attempts.
    busy: u32,
}

/// The OST, its client, and what was seen of them.
struct World {
    dice: Dice,
    now: u64,
    files: Vec<File>,
    /// Files that clients will still make, which have not heard yet that they shall not.
    to_come: u32,
    limits: EvacuationLimits,
    /// Where the search through the files is; none: a new one begins.
    cursor: Option<usize>,
    /// Every move: when it began, and how large.
    moves: Vec<(u64, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(2) + 1);
        let count = dice.roll(60);
        let files = (0..count).map(|_| {
            let size = 1 + dice.roll(40_000_000);
            let busy = if dice.one_in(10) { dice.roll(4) as u32 } else { 0 };
            File { size, busy }
        });
        let files = files.collect();
        let rate_bytes_per_s = (!dice.one_in(4)).then(|| 10_000 + dice.roll(5_000_000));
        let window = dice.one_in(2).then(|| {
            let from = dice.roll(1440);
            let to = (from + 30 + dice.roll(600)) % 1440;
            let text = format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
            text.parse().unwrap()
        });
        let limits = EvacuationLimits { mountpoint: None, rate_bytes_per_s, window };
        let (now, to_come) = (1_700_000_000_000 + dice.roll(DAY_MS), dice.roll(8) as u32);
        Self { dice, now, files, to_come, limits, cursor: None, moves: Vec::new() }
    }

    fn is_open(&self, at: u64) -> bool {
        self.limits.window.is_none_or(|window| window.contains(Time::from_unix_ms(at)))
    }

    fn maybe_a_new_file(&mut self) {
        if self.to_come > 0 && self.dice.one_in(6) {
            self.to_come -= 1;
            let size = 1 + self.dice.roll(1_000_000);
            self.files.push(File { size, busy: 0 });
        }
    }

    /// What an agent does with a batch. `Err`: it, or its answer, was lost on the way.
    fn migrate(&mut self, op: &MigrateOp) -> Result<MigrateResult, ()> {
        let mut result = MigrateResult::default();
        self.now = self.now.max(op.not_before.unix_ms());
        let begun = self.now;
        let mut at = self.cursor.take().unwrap_or(0);
        loop {
            self.maybe_a_new_file();
            if self.dice.one_in(60) {
                return Err(());
            }
            let tried = result.files + result.failed;
            if self.now >= op.until.unix_ms() || tried >= u64::from(op.max_files) || result.bytes >= op.max_bytes {
                self.cursor = Some(at);
                return Ok(result);
            }
            if let Some(rate) = op.rate_bytes_per_s
                && u128::from(result.bytes) > u128::from(rate) * u128::from(self.now - begun) / 1000
            {
                self.now += 50;
                continue;
            }
            let Some(file) = self.files.get_mut(at) else {
                result.is_pass_complete = true;
                return Ok(result);
            };
            let size = file.size;
            if file.busy > 0 {
                file.busy -= 1;
                at += 1;
                result.failed += 1;
                result.failures.push(FileFailure { path: format!("/f{at}"), why: "busy".into() });
                self.now += 10;
                continue;
            }
            self.moves.push((self.now, size));
            self.files.remove(at);
            self.now += 1 + size / 100_000_000 + self.dice.roll(20);
            result.files += 1;
            result.bytes += size;
        }
    }

    /// Never more than the rate, whatever moment one looks from: but for one file each time that something began anew.
    fn check(&self, restarts: u64) {
        for (at, size) in &self.moves {
            assert!(self.is_open(*at), "a file of {size} bytes was moved outside of the window");
        }
        let Some(rate) = self.limits.rate_bytes_per_s else { return };
        let largest = self.moves.iter().map(|(_, size)| *size).max().unwrap_or(0);
        for from in 0..self.moves.len() {
            let mut sum = 0;
            for (at, size) in &self.moves[from..] {
                sum += size;
                let allowed = u128::from(rate) * u128::from(at.saturating_sub(self.moves[from].0)) / 1000;
                let slack = u128::from(largest) * u128::from(restarts + 2);
                assert!(u128::from(sum) <= allowed + slack, "{sum} bytes in the time of {allowed} (and {slack})");
            }
        }
    }
}

/// One history; says how it ended and whether everything was moved.
fn history(seed: u64) -> (Verdict, usize) {
    let ost = "gold-OST0001".parse().unwrap();
    let mut world = World::new(seed);
    let mut evacuation = Evacuation::new(world.limits.clone(), Time::from_unix_ms(world.now));
    let mut restarts = 0;
    for _ in 0..5000 {
        // The MGS may have been killed: what counts is what was written.
        let kept = serde_json::to_vec(&evacuation).unwrap();
        evacuation = serde_json::from_slice(&kept).unwrap();
        let op = evacuation.next(&ost, Time::from_unix_ms(world.now));
        let now = Time::from_unix_ms(world.now);
        let verdict = match op {
            AgentOp::Migrate(op) => {
                assert!(op.not_before < op.until && op.max_bytes > 0, "{op:?}");
                assert!(world.is_open(op.not_before.unix_ms()), "{op:?}");
                // Nobody waits for ever: the next day at the latest, or what the largest file takes at the rate.
                let debt = op.rate_bytes_per_s.map_or(0, |rate| 400_000_000_000 / rate);
                assert!(op.not_before.unix_ms() <= now.unix_ms() + DAY_MS + debt + 1_000_000, "{op:?} at {now}");
                let is_paused = world.dice.one_in(12);
                match world.migrate(&op) {
                    Ok(result) if is_paused => {
                        // Stopped by a person; the agent says what it did until then, and the search is gone.
                        world.cursor = None;
                        restarts += 1;
                        evacuation.stopped(Time::from_unix_ms(world.now), Some(&OpResult::Migrated(result)));
                        world.now += world.dice.roll(3 * DAY_MS);
                        Verdict::GoOn
                    }
                    Ok(result) => {
                        let verdict = evacuation.done(Time::from_unix_ms(world.now), &OpResult::Migrated(result));
                        if matches!(&verdict, Verdict::GiveUp(why) if !why.contains("can't be moved")) {
                            panic!("{verdict:?}");
                        }
                        verdict
                    }
                    Err(()) => {
                        world.cursor = None;
                        restarts += 1;
                        world.now += world.dice.roll(600_000);
                        evacuation.stopped(Time::from_unix_ms(world.now), None);
                        Verdict::GoOn
                    }
                }
            }
            AgentOp::FindFiles(_) => {
                world.now += world.dice.roll(60_000);
                if world.dice.one_in(8) {
                    evacuation.failed(Time::from_unix_ms(world.now), "lfs find ended with exit status: 5")
                } else {
                    let files = world.files.len().min(1000) as u64;
                    let found = OpResult::Found(FindFilesResult { files, ..FindFilesResult::default() });
                    evacuation.done(Time::from_unix_ms(world.now), &found)
                }
            }
            other => panic!("{other:?}"),
        };
        match verdict {
            Verdict::GoOn => {}
            end => {
                world.check(restarts);
                if end == Verdict::Empty {
                    assert!(world.files.is_empty(), "seed {seed}: {} files are left", world.files.len());
                }
                return (end, world.files.len());
            }
        }
        world.maybe_a_new_file();
    }
    panic!("seed {seed} never ended: {evacuation:?}");
}

#[test]
fn no_history_calls_an_ost_empty_that_is_not_moves_too_fast_or_outside_the_window() {
    let (mut empty, mut given_up) = (0, 0);
    for seed in 0..4000 {
        match history(seed).0 {
            Verdict::Empty => empty += 1,
            Verdict::GiveUp(_) => given_up += 1,
            Verdict::GoOn => unreachable!("a history ends"),
        }
    }
    assert!(empty > 3000, "{empty} came to their end, {given_up} were given up");
}

#[test]
fn files_that_nobody_can_move_are_named_in_the_end() {
    let ost = "gold-OST0001".parse().unwrap();
    let now = Time::from_unix_ms(1_700_000_000_000);
    let limits = EvacuationLimits { mountpoint: None, rate_bytes_per_s: None, window: None };
    let mut evacuation = Evacuation::new(limits, now);
    for pass in 1..=3 {
        let AgentOp::Migrate(_) = evacuation.next(&ost, now) else { panic!("a batch is due") };
        let failures = vec![FileFailure { path: "/gold/log".into(), why: "Device or resource busy".into() }];
        let batch = MigrateResult { failed: 1, failures, is_pass_complete: true, ..MigrateResult::default() };
        let verdict = evacuation.done(now, &OpResult::Migrated(batch));
        if pass == 3 {
            let Verdict::GiveUp(why) = verdict else { panic!("{verdict:?}") };
            assert!(why.contains("1 files can't be moved, among them /gold/log: Device or resource busy"), "{why}");
            return;
        }
        assert_eq!(verdict, Verdict::GoOn);
        let AgentOp::FindFiles(_) = evacuation.next(&ost, now) else { panic!("a search is due") };
        let found = OpResult::Found(FindFilesResult { files: 1, ..FindFilesResult::default() });
        assert_eq!(evacuation.done(now, &found), Verdict::GoOn);
    }
}

#[test]
fn a_clock_that_goes_back_makes_nobody_wait_for_years() {
    let ost = "gold-OST0001".parse().unwrap();
    let limits = EvacuationLimits { mountpoint: None, rate_bytes_per_s: Some(1000), window: None };
    let late = Time::from_unix_ms(4_000_000_000_000);
    let mut evacuation = Evacuation::new(limits, late);
    evacuation.next(&ost, late);
    evacuation.done(late, &OpResult::Migrated(MigrateResult { files: 1, bytes: 60_000, ..MigrateResult::default() }));
    let now = Time::from_unix_ms(1_700_000_000_000);
    let AgentOp::Migrate(op) = evacuation.next(&ost, now) else { panic!("a batch is due") };
    assert_eq!(op.not_before.unix_ms() - now.unix_ms(), 60_000);
}
