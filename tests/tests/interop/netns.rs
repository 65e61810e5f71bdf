//! Nodes with several NIDs, on networks of their own: default port, privileged source ports, two ways to one MGS.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lnet::Lnet;
use lustre_mgc::{Config, Node};
use lustre_wire::mgs::target_flag;
use system_tests::new_target;

/// Set in the process that runs inside the nodes' namespace.
const INSIDE: &str = "INTEROP_IN_NAMESPACE";

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("ip (iproute2)")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Two hosts with two networks between them: the MGS has 10.77.1.1 and 10.77.2.1, the other 10.77.1.2 and 10.77.2.2.
struct Network {
    mgs: String,
    node: String,
}

impl Network {
    fn new() -> anyhow::Result<Self> {
        let id = std::process::id();
        let network = Self { mgs: format!("lustre-mgs-{id}"), node: format!("lustre-node-{id}") };
        let (mgs, node) = (&network.mgs, &network.node);
        for name in [mgs, node] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        for net in [1, 2] {
            ip(&format!("-n {mgs} link add net{net} type veth peer name net{net} netns {node}"))?;
            for (name, last) in [(mgs, 1), (node, 2)] {
                ip(&format!("-n {name} addr add 10.77.{net}.{last}/24 dev net{net}"))?;
                ip(&format!("-n {name} link set net{net} up"))?;
            }
        }
        Ok(network)
    }

    fn command(namespace: &str, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.mgs, &self.node] {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_with_two_nids_goes_on_over_the_second_when_the_first_network_is_gone() -> anyhow::Result<()> {
    let network = Network::new()
        .context("this test needs network namespaces: run it as root, with iproute2 installed (tools/setup)")?;
    let mut command = Network::command(&network.mgs, &testkit::binary("lustre-mgs")?);
    // Port 988 of both addresses, and privileged source ports only: the defaults.
    command.args(["--listen", "127.0.0.1:0", "--store", "memory:", "--nid", "10.77.1.1@tcp,10.77.2.1@tcp1"]);
    let mut mgs = Daemon(command.stdout(Stdio::piped()).spawn()?);
    let lines = BufReader::new(mgs.0.stdout.take().context("stdout is piped")?).lines();
    let listening: Vec<String> = lines.map_while(Result::ok).take(3).collect();
    ensure!(listening.iter().any(|line| line.contains("10.77.2.1:988")), "{listening:?}");

    for nid in ["10.77.1.1@tcp", "10.77.2.1@tcp1"] {
        let mut mgsctl = Network::command(&network.node, &testkit::binary("mgsctl")?);
        let said = mgsctl.args(["mgs", "ping", nid]).output()?;
        assert_eq!(String::from_utf8_lossy(&said.stdout), "10.77.1.1@tcp\n10.77.2.1@tcp1\n", "{said:?}");
    }
    let mut inside = Network::command(&network.node, &std::env::current_exe()?);
    inside.args(["netns::inside_the_namespace", "--exact", "--ignored", "--nocapture"]);
    let said = inside.env(INSIDE, "1").output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a namespace"]
async fn inside_the_namespace() -> anyhow::Result<()> {
    ensure!(std::env::var_os(INSIDE).is_some(), "this part runs in a namespace only");
    let nids = ["10.77.1.2@tcp", "10.77.2.2@tcp1"];
    let node = Node::new(Lnet::start(lnet::Config::new(vec![nids[0].parse()?, nids[1].parse()?])).await?);
    let mut config = Config::new(vec!["10.77.1.1@tcp".parse()?, "10.77.2.1@tcp1".parse()?]);
    config.attempt = Duration::from_secs(2);
    config.ping_interval = Duration::from_secs(1);
    let mgc = node.connect(config).await?;
    assert_eq!(mgc.mgs(), "10.77.1.1@tcp");
    let target = new_target("scratch", target_flag::MDT, 0, &nids)?;
    mgc.register(&target).await?;
    ip("link set net1 down")?;
    mgc.ping().await?;
    assert_eq!((mgc.mgs().as_str(), mgc.evictions()), ("10.77.2.1@tcp1", 0));
    let contents = mgc.contents(&["scratch".parse()?]).await?;
    assert_eq!(contents.filesystems["scratch"].targets["scratch-MDT0000"].nids, ["10.77.1.2@tcp", "10.77.2.2@tcp1"]);
    Ok(())
}
