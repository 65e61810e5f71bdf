//! Runs in a virtual machine in which the module is loaded with `loop=1`: every claim about it, one by one.

mod agent;
mod bench;
mod end;
mod hostile;
mod lifetime;
mod messages;
mod mgs;
mod pressure;

use anyhow::{Result, bail};

type Claim = (&'static str, fn() -> Result<()>);

macro_rules! claims {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn() -> Result<()>)),*]
    };
}

const CLAIMS: [Claim; 23] = claims![
    messages::a_session_starts_with_one_hello,
    messages::a_request_and_its_reply,
    messages::bulk_of_a_mebibyte,
    messages::a_lock_callback_its_answer_and_a_cancel,
    messages::what_matches_nothing_is_dropped,
    messages::posts_are_taken_back_once,
    messages::poll_tells_what_can_be_done,
    messages::a_short_read_loses_nothing,
    messages::portals_are_attached_once,
    pressure::a_full_queue_holds_the_network_back,
    pressure::unread_answers_stop_the_sender,
    pressure::posts_are_bounded,
    pressure::a_flood_is_served_in_the_order_it_came,
    hostile::malformed_frames_are_refused_one_by_one,
    hostile::mutated_frames_break_nothing,
    hostile::one_root_at_a_time,
    lifetime::a_killed_daemon_is_replaced,
    lifetime::closing_an_end_drops_what_it_held,
    lifetime::the_module_goes_only_when_nobody_has_it_open,
    lifetime::a_module_without_network_does_not_load,
    lifetime::a_retired_module_lets_its_users_go,
    lifetime::the_module_says_what_it_is,
    lifetime::statistics_count_what_happened,
];

fn run(claim: impl Future<Output = Result<()>>) -> Result<()> {
    let _ = std::fs::remove_file("/tmp/mgs.redb");
    tokio::runtime::Runtime::new()?.block_on(claim)
}

/// Claims about the agent, which loads the module itself.
fn agent_claims() -> [Claim; 1] {
    [("agent::the_agent_loads_exchanges_and_unloads_the_module", || {
        run(agent::the_agent_loads_exchanges_and_unloads_the_module())
    })]
}

/// Claims about the daemon on the device.
fn daemon_claims() -> [Claim; 7] {
    [
        ("mgs::a_node_registers_reads_its_log_and_is_told_of_changes", || {
            run(mgs::a_node_registers_reads_its_log_and_is_told_of_changes())
        }),
        ("mgs::a_killed_mgs_is_replaced_and_nothing_registers_twice", || {
            run(mgs::a_killed_mgs_is_replaced_and_nothing_registers_twice())
        }),
        ("mgs::what_is_wrong_with_the_device_is_said", || run(mgs::what_is_wrong_with_the_device_is_said())),
        ("mgs::an_exchanged_module_is_used_again", || run(mgs::an_exchanged_module_is_used_again())),
        ("mgs::a_module_that_comes_later_is_found", || run(mgs::a_module_that_comes_later_is_found())),
        ("mgs::a_stopped_mgs_holds_the_network_back", || run(mgs::a_stopped_mgs_holds_the_network_back())),
        ("mgs::a_hostile_node_costs_the_others_nothing", || run(mgs::a_hostile_node_costs_the_others_nothing())),
    ]
}

fn main() -> Result<()> {
    let claims: &[Claim] = match std::env::args().nth(1).as_deref() {
        Some("serve") => return lifetime::serve_until_killed(),
        Some("answer") => return bench::answer(std::env::args().nth(2).as_deref().unwrap_or_default()),
        Some("bench") => return bench::run(),
        Some("module") => &CLAIMS,
        Some("daemon") => &daemon_claims(),
        Some("agent") => &agent_claims(),
        _ => bail!("usage: kmod-guest module|daemon|agent|bench"),
    };
    let mut failed = 0;
    for (name, claim) in claims {
        match claim() {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED {name}: {error:#}");
            }
        }
    }
    println!("claims: {} passed, {failed} failed", claims.len() - failed);
    if failed > 0 {
        bail!("{failed} claims do not hold");
    }
    Ok(())
}
