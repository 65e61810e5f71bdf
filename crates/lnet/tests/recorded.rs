//! What a real node sent to a real MGS, sent to ours: the answers are the recorded ones, byte for byte.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test ends where something is wrong")]

mod support;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
};
use support::{connect, server};

/// A line of a recording: the dialler's port, who speaks, and the bytes.
struct Line {
    port: u16,
    is_client: bool,
    bytes: Vec<u8>,
}

fn recording(name: &str) -> Vec<Line> {
    let path = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (port, who, hex) = (word().parse().unwrap(), word(), word());
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        Line { port, is_client: who == ">", bytes: hex.as_bytes().chunks(2).map(byte).collect() }
    };
    text.lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

/// Plays the client's lines and checks the server's. The one field that can't be equal is the server's start time.
fn play(address: std::net::SocketAddr, lines: &[Line], conns: &mut HashMap<u16, TcpStream>) -> usize {
    let mut checked = 0;
    for line in lines {
        let conn = conns.entry(line.port).or_insert_with(|| connect(address));
        if line.is_client {
            conn.write_all(&line.bytes).unwrap();
            continue;
        }
        let mut answer = vec![0; line.bytes.len()];
        conn.read_exact(&mut answer).unwrap();
        let mut expected = line.bytes.clone();
        if expected.starts_with(&0x4572_6963u32.to_le_bytes()) {
            expected[32..40].copy_from_slice(&answer[32..40]);
        }
        assert_eq!(answer, expected, "answer on port {}", line.port);
        checked += 1;
    }
    checked
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_handshakes_and_pings_are_answered_as_the_kernel_answered() {
    let lnet = server(&["10.9.0.1@tcp"]).await;
    let node = lnet.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let mut conns = HashMap::new();
        let first = play(node.addresses()[0], &recording("01-lctl-ping-first"), &mut conns);
        first + play(node.addresses()[0], &recording("02-lctl-ping-again"), &mut conns)
    })
    .await
    .unwrap();
    assert_eq!(checked, 5);
    assert_eq!(lnet.statistics().refusals, 0);
}
