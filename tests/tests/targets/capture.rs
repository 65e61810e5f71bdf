//! What goes over the network, as Wireshark reads it.

use std::process::{Command, Stdio};

use testkit::wait_for;

use crate::site::Site;

/// What Wireshark's dissectors, made for older releases, call malformed in the traffic of 2.17.57 kernels too: of 54 recordings
/// these kinds, and nothing else between targets, clients and their MGS.
const KNOWN: [&str; 5] = [
    // A third buffer, which it takes for a part of the name.
    "LLOG_ORIGIN_HANDLE_CREATE request",
    // It reads on behind the end of the last record.
    "LLOG_ORIGIN_HANDLE_NEXT_BLOCK reply",
    // A second buffer with NIDs as text.
    "MGS_TARGET_REG request",
    // What a node pushes when it is discovered.
    "LNET_PUT, Unknown(0)",
    // Bulk data of which it knows another layout.
    "LNET_PUT, MGS_BULK_PORTAL",
];

/// Wireshark's own dissectors of LNet and Lustre know the protocol from elsewhere.
#[test]
fn wireshark_finds_nothing_malformed_that_a_kernel_does_not_send_too() {
    let version = Command::new("tshark").arg("--version").output();
    assert!(
        version.is_ok_and(|output| output.status.success()),
        "tshark is not installed; install the package tshark (tools/setup does)"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lnet.pcap");
    let site = Site::start();
    let port = site.cluster.mgs.lnet().unwrap().port();
    let mut capture = Command::new("tshark")
        .args(["-i", "lo", "-q", "-F", "pcap", "-f", &format!("tcp port {port}"), "-w"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let captures = || Ok(file.metadata().is_ok_and(|file| file.len() > 0));
    let began = wait_for("tshark to capture on lo; that needs root, or the capability CAP_NET_RAW", captures);
    began.unwrap();
    site.ensure("mds1", "mdt", "mdt0", 300 << 20);
    site.ensure("oss1", "ost", "ost0", 80 << 20);
    site.cluster.mgsctl(&["param", "set", "scratch", "timeout", "40"]).unwrap();
    site.has_param("oss1", "scratch-OST0000", "sys.timeout", "40");
    site.read();
    // Ends it in the orderly way, with everything written.
    let status = Command::new("kill").args(["-INT", &capture.id().to_string()]).status().unwrap();
    assert!(status.success() && capture.wait().is_ok());
    let decode = |filter: &str, fields: [&str; 2]| {
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-d", &format!("tcp.port=={port},lnet"), "-Y", filter, "-r"]).arg(&file);
        tshark.args(["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let malformed = decode("_ws.malformed", ["frame.number", "_ws.col.Info"]);
    let news: Vec<&str> = malformed.lines().filter(|line| !KNOWN.iter().any(|known| line.contains(known))).collect();
    assert!(news.is_empty(), "malformed packets: {news:#?}");
    // Messages, not packets: on a busy machine several share one.
    let messages = decode("lustre", ["frame.number", "lustre.lustre_msg_v2.lm_magic"]);
    let messages = messages.lines().filter_map(|line| line.split('\t').nth(1)).flat_map(|magics| magics.split(','));
    let messages = messages.filter(|magic| !magic.is_empty()).count();
    assert!(messages > 40, "{messages} Lustre messages");
}
