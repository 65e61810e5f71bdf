//! docs/setting-tunables.md: its commands, as they are there.

use anyhow::Context;

use crate::tunables::{DEVICE, clients};

/// The words of a line as a shell takes them: single quotes only, a comment ends it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in line.split(" #").next().unwrap_or_default().chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(letter),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[test]
fn the_commands_of_the_page_on_setting_tunables_work_in_its_order() -> anyhow::Result<()> {
    let cluster = clients()?;
    for node in ["c1", "c2"] {
        cluster.agent(node).set_tunable(&format!("{DEVICE}/max_rpcs_in_flight"), "8")?;
    }
    cluster.mgsctl(&["param", "set", "scratch", "llite.*.max_read_ahead_mb", "256"])?;
    let before = cluster.mgsctl(&["param", "list"])?;
    let revision = format!("@{}", before[0]["revision"]);
    let page = std::fs::read_to_string(testkit::repository().join("docs/setting-tunables.md"))?;
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("mgsctl ")).collect();
    assert!(commands.len() > 15, "{commands:?}");
    for line in commands {
        let words: Vec<String> = words(line).into_iter().map(|word| word.replace("@41", &revision)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // It is no longer set when it comes to that: the revert has unset it.
        if words.starts_with(&["param", "unset"]) {
            cluster.mgsctl(&["param", "set", "scratch", "timeout", "40"])?;
        }
        let said = cluster.mgsctl(&words).with_context(|| format!("mgsctl {line}"))?;
        if let Some(job) = said["job"].as_str() {
            cluster.wait_for(job, || Ok(cluster.mgsctl(&["job", "show", job])?["state"] == "done"))?;
        }
        if words.starts_with(&["param", "explain"]) {
            assert_eq!((&said["is_proven"], &said["wanted"]), (&true.into(), &"32M".into()), "{said}");
        }
    }
    let after = cluster.mgsctl(&["param", "list"])?;
    let values = |list: &serde_json::Value| {
        list.as_array().map(|all| all.iter().map(|one| one["value"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(values(&after), values(&before), "everything is undone");
    assert_eq!(cluster.agent("c2").tunable(&format!("{DEVICE}/max_rpcs_in_flight"))?, "8");
    Ok(())
}
