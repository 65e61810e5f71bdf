//! A site's tunables validated and planned in one go.
//!
//! Prints `RESULT name=params_planned_5000 ratio=… goal=<=1`: seconds of CPU for 5,000 of them, of which a second may be taken.
//! `cargo bench -p lustre-plan`.

use std::time::Instant;

use lustre_api::mgs::Snapshot;
use lustre_api::param::ParamSpec;
use lustre_api::plan::Desired;
use lustre_plan::diff;
use serde_json::json;

const PARAMS: usize = 5000;
const ROUNDS: usize = 5;

fn main() {
    let snapshot: Snapshot = serde_json::from_value(json!({
        "revision": 1,
        "mgs": { "uuid": "u", "version": "0", "capabilities": [], "store": "memory", "revision": 1 },
        "filesystems": [filesystem("scratch"), filesystem("home")],
        "targets": [], "params": [], "pools": [], "nodes": [],
    }))
    .expect("a snapshot");
    let desired = Desired { params: (0..PARAMS).map(param).collect(), ..Desired::default() };
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        // One thread does all of it, so its time is the CPU's, but for what others take from it: the best round counts.
        let begin = Instant::now();
        let plan = diff(&desired, &snapshot);
        best = best.min(begin.elapsed().as_secs_f64());
        assert_eq!((plan.changes.len(), plan.has_errors()), (PARAMS, false), "every one is legal and new");
    }
    println!("{PARAMS} tunables validated and planned in {:.0} ms", best * 1e3);
    println!("RESULT name=params_planned_5000 ratio={best:.3} goal=<=1");
}

fn filesystem(name: &str) -> serde_json::Value {
    json!({
        "name": name, "id": "", "state": "empty", "state_reason": "", "mdt_count": 0, "ost_count": 0, "capacity_bytes": 0,
        "revision": 1,
    })
}

/// Tunables of 500 OSTs, ten each.
fn param(n: usize) -> ParamSpec {
    const NAMES: [(&str, &str); 10] = [
        ("osc.*.max_dirty_mb", "64M"),
        ("osc.*.max_rpcs_in_flight", "16"),
        ("osc.*.max_pages_per_rpc", "4M"),
        ("osc.*.checksums", "1"),
        ("osc.*.checksum_type", "crc32c"),
        ("obdfilter.*.brw_size", "4M"),
        ("obdfilter.*.readonly", "0"),
        ("obdfilter.*.sync_lock_cancel", "never"),
        ("osd-ldiskfs.*.read_cache_enable", "1"),
        ("obdfilter.*.recovery_time_soft", "300"),
    ];
    let (name, value) = NAMES[n % NAMES.len()];
    let scope = format!("scratch-OST{:04x}", n / NAMES.len());
    ParamSpec {
        filesystem: Some("scratch".parse().expect("a name")),
        scope: scope.parse().expect("a target"),
        name: name.parse().expect("a name"),
        value: value.into(),
        allow_unknown: false,
    }
}
