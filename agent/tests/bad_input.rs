//! What the agent is told, and what it finds of its own, that can't be right.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{Problem, ProblemCode, agent::AgentOp, job::JobState};
use node::{MIB, Node, op};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Sends bytes as the body of a job, and gives the status and the problem.
async fn put_raw(node: &Node, body: Vec<u8>) -> (u16, Problem) {
    let http = reqwest::Client::builder().unix_socket(node.path("agent.sock")).build().unwrap();
    let request = http.put("http://localhost/v1/jobs/raw").header("content-type", "application/json").body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn format_op(field: &str, value: Value) -> Vec<u8> {
    let mut op =
        json!({ "kind": "format", "svname": "gold-OST0000", "device": "/dev/sdb", "mgs_nids": "10.9.0.1@tcp" });
    op[field] = value;
    op.to_string().into_bytes()
}

#[tokio::test]
async fn every_wrong_value_is_refused_at_once_and_named() {
    let node = Node::start();
    let cases: [(&str, Value, &str); 8] = [
        ("svname", json!("toolongname-OST0000"), "toolongname"),
        ("svname", json!("gold-OST10000"), "gold-OST10000"),
        ("svname", json!("gold-XYZ0000"), "gold-XYZ0000"),
        ("mgs_nids", json!("10.9.0.1@nosuchnet"), "nosuchnet"),
        ("device", json!("sdb"), "sdb"),
        ("alow_reformat", json!(true), "alow_reformat"),
        ("allow_reformat", json!("yes"), "yes"),
        ("kind", json!("wipe"), "wipe"),
    ];
    for (field, value, named) in cases {
        let (status, problem) = put_raw(&node, format_op(field, value)).await;
        assert_eq!((status, problem.code), (400, ProblemCode::Invalid), "{field}: {problem}");
        assert!(problem.message.contains(named), "{field}: {problem}");
    }
    for body in [&b"{"[..], b"[]", b"\xff\xfe", b""] {
        let (status, problem) = put_raw(&node, body.to_vec()).await;
        assert_eq!(status, 400, "{problem}");
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused_and_the_agent_goes_on() {
    let node = Node::start();
    // Announced, not sent: whoever sends it all may see its connection closed before it has read the answer.
    let mut connection = UnixStream::connect(node.path("agent.sock")).await.unwrap();
    let head = "PUT /v1/jobs/raw HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-type: application/json\r\n\
                content-length: 67108864\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let problem: Problem = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(problem.code, ProblemCode::TooLarge, "{problem}");
    let image = node.image("ost", 300 * MIB);
    assert!(node.formatted("job", &op("gold-OST0000", &image)).await.changed);
}

#[tokio::test]
async fn a_start_without_lustre_in_the_kernel_says_so() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("format", &op("gold-OST0000", &image)).await;
    let start =
        serde_json::from_value::<AgentOp>(json!({ "kind": "start", "svname": "gold-OST0000", "device": image }));
    node.put_op("start", &start.unwrap()).await.unwrap();
    let job = node.end_of("start").await;
    if node.inventory().await.info.start_driver == lustre_api::agent::StartDriver::Kernel {
        return;
    }
    assert_eq!((job.state, job.retryable), (JobState::Failed, false), "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("gold-OST0000 can't be started: this node has no kernel Lustre"), "{message}");
}

#[tokio::test]
async fn a_start_of_another_target_than_is_there_is_refused() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("format", &op("gold-OST0000", &image)).await;
    for (id, device) in [("other", image), ("blank", node.image("blank", 300 * MIB))] {
        let start = json!({ "kind": "start", "svname": "gold-OST0001", "device": device });
        node.put_op(id, &serde_json::from_value::<AgentOp>(start).unwrap()).await.unwrap();
        let job = node.end_of(id).await;
        assert_eq!(job.state, JobState::Failed, "{job:#?}");
        assert!(job.message.unwrap().contains("not gold-OST0001"));
    }
}

#[tokio::test]
async fn a_broken_journal_is_refused_by_name_and_never_overwritten() {
    let mut node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("job", &op("gold-OST0000", &image)).await;
    node.kill_agent();
    let path = node.path("state/agent.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[..64].fill(0xAA);
    for broken in [whole[..whole.len() / 3].to_vec(), whole[..100].to_vec(), flipped, b"not a journal".to_vec()] {
        std::fs::write(&path, &broken).unwrap();
        let said = node.fails_to_start();
        assert!(said.contains("can't open the journal") && said.contains("agent.redb"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), broken, "the broken journal was changed");
    }
    // Put back, it is as it was.
    std::fs::write(&path, &whole).unwrap();
    node.restart();
    assert_eq!(node.job("job").await.state, JobState::Done);
}
