//! A tunable read back from 200 nodes, each of which takes its time.
//!
//! Prints `RESULT name=params_readback_200_nodes ratio=… goal=<=1.5`: how long all of them take against the slowest alone.
//! `cargo bench -p lustre-mgs --bench readback`.

use std::time::{Duration, Instant};

use lustre_api::Time;
use lustre_api::node_param::{NodeParam, NodeParams};
use lustre_mgs::proof::{Wanted, each, judge};

const NODES: u64 = 200;
const ROUNDS: usize = 5;
/// The slowest node's time; the others take from nothing to this.
const SLOWEST: Duration = Duration::from_millis(200);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let best = (0..ROUNDS).map(|_| runtime.block_on(read_back())).min().expect("some rounds");
    println!("{NODES} nodes read back in {} ms, the slowest takes {} ms", best.as_millis(), SLOWEST.as_millis());
    println!(
        "RESULT name=params_readback_200_nodes ratio={:.3} goal=<=1.5",
        best.as_secs_f64() / SLOWEST.as_secs_f64()
    );
}

async fn read_back() -> Duration {
    let places = (1..=NODES).map(|n| (format!("oss{n}").parse().expect("a name"), n.to_string()));
    let begin = Instant::now();
    let answers = each(places, |url| async move {
        let n: u32 = url.parse().expect("a number");
        tokio::time::sleep(SLOWEST * n / u32::try_from(NODES).expect("fits")).await;
        let name = format!("obdfilter.scratch-OST{n:04x}.brw_size");
        let param = NodeParam { name, value: Some("4".into()), is_writable: true, error: None };
        Ok(NodeParams {
            found: vec![vec![param]],
            files: vec![],
            mount_options: vec![],
            lctl: None,
            boot_id: "b".into(),
            at: Time::from_unix_ms(0),
        })
    });
    let wanted = Wanted { name: "obdfilter.*.brw_size", permanent: Some("4M"), ..Wanted::default() };
    let mut proven = 0;
    for (node, answer) in answers.await {
        let answer = answer.expect("every node answers");
        let proof = judge(&node, &wanted, &answer, true).expect("it has one");
        proven += u64::from(proof.state == lustre_api::proof::ProofState::Applied);
    }
    assert_eq!(proven, NODES, "every node has the value");
    begin.elapsed()
}
