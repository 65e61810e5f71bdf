//! A node whose agent is of an older version: what it doesn't know is refused before anything is begun, never waited for.

use lustre_api::node::{AnnounceNode, Announcement, GetNode, NodePath};
use lustre_api::{Nothing, WriteQuery};
use rest::Client;

use crate::site::{MIB, Site};

impl Site {
    /// Announces a node as its agent of an older version did: with these abilities, or without saying any.
    fn announce_older(&self, node: &str, abilities: Option<&[&str]>) {
        let client = Client::new(self.cluster.mgs.endpoint(), None).unwrap();
        let path = NodePath { node: node.parse().unwrap() };
        self.runtime.block_on(async {
            let known = client.call::<GetNode>(&path, &Nothing {}, &Nothing {}).await.unwrap();
            let mut info = known.info;
            info.agent_version = "0.0.9".to_owned();
            info.abilities = abilities.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
            let announcement = Announcement { api_url: known.api_url, info };
            client.call::<AnnounceNode>(&path, &WriteQuery::default(), &announcement).await.unwrap();
        });
    }

    fn why_not(&self, arguments: &[&str]) -> String {
        self.cluster.mgsctl(arguments).unwrap_err().to_string()
    }
}

#[test]
fn what_an_older_agent_can_not_do_is_refused_with_its_version_and_the_remedy_and_works_after_its_upgrade() {
    let mut site = Site::with_osts(2);
    let jobs = |site: &Site| site.cluster.mgsctl(&["job", "list", "--all"]).unwrap().as_array().unwrap().len();
    let before = jobs(&site);
    site.announce_older("oss1", None);
    for arguments in [
        &["fs", "writeconf", "scratch"][..],
        &["fs", "grow", "scratch", "oss1:tank/ost1"],
        &["target", "evacuate", "scratch-OST0000", "--client", "oss1"],
    ] {
        let why = site.why_not(arguments);
        for words in ["the agent of oss1 is of version 0.0.9 and can't do this", "upgrade lustre-agent on oss1"] {
            assert!(why.contains(words), "{arguments:?}: {words}: {why}");
        }
    }
    assert_eq!(jobs(&site), before, "nothing was begun");
    let shown = site.cluster.mgsctl(&["node", "show", "oss1"]).unwrap();
    assert_eq!(shown["info"]["agent_version"], "0.0.9");

    // What it always could is asked of it as ever.
    site.cluster.mgsctl(&["target", "stop", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "stopped");
    site.cluster.mgsctl(&["target", "start", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "started");

    // One that says what it can is asked for no more than that.
    site.announce_older("oss1", Some(&["format", "start"]));
    let why = site.why_not(&["target", "stop", "scratch-OST0000"]);
    assert!(why.contains("can't do this: stop"), "{why}");

    // Its upgrade: the agent starts anew and says what it can.
    site.cluster.agent_mut("oss1").crash_and_restart().unwrap();
    let is_upgraded = || {
        let shown = site.cluster.mgsctl(&["node", "show", "oss1"])?;
        Ok(shown["info"]["abilities"].as_array().is_some_and(|all| all.iter().any(|one| one == "tune")))
    };
    site.cluster.wait_for("the agent of oss1 to announce itself", is_upgraded).unwrap();
    site.cluster.mgsctl(&["fs", "writeconf", "scratch", "--dry-run"]).unwrap();
    site.ensure("oss1", "ost", "another", 80 * MIB);
}
