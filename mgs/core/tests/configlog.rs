//! The logs that the core writes against those that a 2.17.57 MGS wrote for the same commands, record by record.
//!
//! The steps follow each other as they did there: see the first lines of `crates/lustre-wire/testdata/llog/*.hex`.
#![allow(clippy::unwrap_used)]

mod golden;

use lustre_mgs_core::configlog::param::{Device, Outcome, ParamError};
use lustre_mgs_core::configlog::{Draft, FsLogs, PoolChange, TargetInfo};
use lustre_types::{FsName, Nid, PoolName, SvName};

/// The logs of a file system and of `params`, as a sequence of commands leaves them.
#[derive(Default)]
struct Mgs {
    gold: FsLogs,
    params: FsLogs,
    /// Whether steps are compared: a kernel MGS may give one twice after it was restarted.
    with_steps: bool,
}

fn fs() -> FsName {
    "gold".parse().unwrap()
}

fn svname(short: &str) -> SvName {
    format!("gold-{short}").parse().unwrap()
}

fn nids(text: &str) -> Vec<Nid> {
    text.split(',').map(|nid| nid.parse().unwrap()).collect()
}

fn target(svname: SvName, params: &[(&str, &str)]) -> TargetInfo {
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TargetInfo { svname, nids: nids("10.9.0.2@tcp"), params }
}

impl Mgs {
    fn new() -> Self {
        Self { with_steps: true, ..Self::default() }
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut Draft) -> R) -> R {
        let mut draft = Draft::new(Some(fs()), Some(&self.gold), 1_795_402_517);
        let outcome = change(&mut draft);
        self.gold = draft.logs().clone();
        outcome
    }

    fn register(&mut self, short: &str) -> &mut Self {
        self.change(|draft| draft.register(&target(svname(short), &[]))).unwrap();
        self
    }

    fn writeconf(&mut self, short: &str) -> &mut Self {
        let params: &[_] = match short {
            "OST0000" => &[("ost.writethrough_cache_enable", "1"), ("failover.node", "10.9.0.3@tcp")],
            _ => &[],
        };
        self.change(|draft| draft.writeconf(&target(svname(short), params))).unwrap();
        self
    }

    fn conf_param(&mut self, text: &str) -> Result<Outcome, ParamError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let (device, key) = name.split_once('.').unwrap();
        let device = match device.parse::<SvName>() {
            Ok(svname) => Device::Target(svname),
            Err(_) => Device::Filesystem(device.parse().unwrap()),
        };
        self.change(|draft| draft.conf_param(&device, key, value))
    }

    fn set_param(&mut self, text: &str) -> Result<Outcome, ParamError> {
        let (path, value) = text.split_once('=').unwrap_or((text, ""));
        let mut draft = Draft::new(None, Some(&self.params), 1_795_402_517);
        let outcome = draft.set_param("general", path, value);
        self.params = draft.logs().clone();
        outcome
    }

    fn pool(&mut self, change: PoolChange) -> &mut Self {
        let pool: PoolName = "p1".parse().unwrap();
        self.change(|draft| draft.pool(&fs(), &pool, &change)).unwrap();
        self
    }

    /// Compares every log that changed in a step.
    fn is_as_after(&self, step: &str, logs: &[&str]) {
        for name in logs {
            let ours = if *name == "params" { &self.params } else { &self.gold };
            let full = if *name == "params" { "params".to_owned() } else { format!("gold-{name}") };
            let ours = ours.log(&full).unwrap_or_else(|| panic!("there is no log {full} after {step}"));
            let theirs = golden::recorded(&format!("{step}-{full}"));
            let (ours, theirs) =
                (golden::lines(&ours.file(), self.with_steps), golden::lines(&theirs, self.with_steps));
            for (our, their) in ours.iter().zip(&theirs) {
                assert_eq!(our, their, "{full} after {step}; left is ours");
            }
            assert_eq!(ours.len(), theirs.len(), "{full} after {step}");
        }
    }

    fn with_two_osts() -> Self {
        let mut mgs = Self::new();
        mgs.register("MDT0000").register("OST0000").register("OST0001");
        mgs
    }

    fn with_params() -> Self {
        let mut mgs = Self::with_two_osts();
        for param in [
            "gold.sys.timeout=40",
            "gold.llite.max_read_ahead_mb=16",
            "gold-OST0000.osc.max_dirty_mb=64",
            "gold-OST0000.ost.writethrough_cache_enable=0",
            "gold-MDT0000.mdt.identity_upcall=NONE",
            "gold-MDT0000.lov.stripesize=2M",
            "gold-MDT0000.mdc.max_rpcs_in_flight=6",
            "gold.quota.ost=ug",
            "gold.llite.max_read_ahead_mb=32",
            "gold.llite.max_read_ahead_mb",
            "gold-OST0001.osc.active=0",
            "gold-OST0001.osc.active=1",
            "gold-OST0000.failover.node=10.9.0.9@tcp",
            "gold-OST0000.osc.no_such_thing=1",
        ] {
            assert_eq!(mgs.conf_param(param), Ok(Outcome::Written), "{param}");
        }
        mgs
    }

    fn with_two_mdts() -> Self {
        let mut mgs = Self::with_params();
        mgs.pool(PoolChange::New);
        for ost in ["OST0000", "OST0001"] {
            mgs.pool(PoolChange::Add(svname(ost)));
        }
        for ost in ["OST0001", "OST0000"] {
            mgs.pool(PoolChange::Remove(svname(ost)));
        }
        mgs.pool(PoolChange::Delete).register("MDT0001");
        mgs
    }
}

impl Mgs {
    /// After `tunefs` on OST0000, and a restart of the MGS.
    fn with_tuned_ost() -> Self {
        let mut mgs = Self { with_steps: false, ..Self::with_two_mdts() };
        let params = [("ost.writethrough_cache_enable", "1"), ("failover.node", "10.9.0.3@tcp")];
        mgs.change(|draft| draft.update(&target(svname("OST0000"), &params))).unwrap();
        mgs
    }

    fn with_deleted_ost() -> Self {
        let mut mgs = Self::with_tuned_ost();
        assert_eq!(mgs.conf_param("gold-OST0001.osc.active=0"), Ok(Outcome::Written));
        mgs.change(|draft| draft.del_ost(&svname("OST0001")));
        mgs
    }

    fn with_replaced_nids() -> Self {
        let mut mgs = Self::with_deleted_ost();
        let nodes = [nids("10.9.0.2@tcp,10.8.0.2@tcp1"), nids("10.9.0.3@tcp")];
        mgs.change(|draft| draft.replace_nids(&svname("OST0000"), &nodes)).unwrap();
        mgs
    }
}

#[test]
fn the_first_mdt_and_two_osts_are_written_as_a_kernel_mgs_writes_them() {
    let mut mgs = Mgs::new();
    mgs.register("MDT0000").is_as_after("03", &["MDT0000", "client"]);
    mgs.register("OST0000").is_as_after("05", &["MDT0000", "OST0000", "client"]);
    mgs.register("OST0001").is_as_after("06", &["MDT0000", "OST0001", "client"]);
}

#[test]
fn parameters_are_set_replaced_and_deleted_as_by_lctl_conf_param() {
    let mut mgs = Mgs::with_two_osts();
    let mut set = |param: &str, step: &str, logs: &[&str]| {
        assert_eq!(mgs.conf_param(param), Ok(Outcome::Written), "{param}");
        if !step.is_empty() {
            mgs.is_as_after(step, logs);
        }
    };
    set("gold.sys.timeout=40", "40", &["MDT0000", "OST0000", "OST0001", "client"]);
    set("gold.llite.max_read_ahead_mb=16", "41", &["client"]);
    set("gold-OST0000.osc.max_dirty_mb=64", "42", &["MDT0000", "client"]);
    set("gold-OST0000.ost.writethrough_cache_enable=0", "43", &["OST0000"]);
    set("gold-MDT0000.mdt.identity_upcall=NONE", "44", &["MDT0000"]);
    set("gold-MDT0000.lov.stripesize=2M", "", &[]);
    set("gold-MDT0000.mdc.max_rpcs_in_flight=6", "46", &["MDT0000", "client"]);
    set("gold.quota.ost=ug", "47", &["MDT0000", "OST0000", "OST0001"]);
    set("gold.llite.max_read_ahead_mb=32", "48", &["client"]);
    set("gold.llite.max_read_ahead_mb", "49", &["client"]);
    set("gold-OST0001.osc.active=0", "50", &["MDT0000", "client"]);
    set("gold-OST0001.osc.active=1", "51", &["MDT0000", "client"]);
    set("gold-OST0000.failover.node=10.9.0.9@tcp", "", &[]);
    set("gold-OST0000.osc.no_such_thing=1", "53", &["MDT0000", "client"]);
}

#[test]
fn tunables_of_all_nodes_are_set_replaced_and_deleted_as_by_lctl_set_param() {
    let mut mgs = Mgs::new();
    for (param, step) in [
        ("osc.*.max_dirty_mb=33", "60"),
        ("jobid_var=procname_uid", "61"),
        ("osc.*.max_dirty_mb=34", "62"),
        ("osc.*.max_dirty_mb", "63"),
    ] {
        assert_eq!(mgs.set_param(param), Ok(Outcome::Written), "{param}");
        mgs.is_as_after(step, &["params"]);
    }
}

#[test]
fn pools_are_made_filled_emptied_and_deleted_as_by_lctl() {
    let mut mgs = Mgs::with_params();
    let (ost0, ost1) = (svname("OST0000"), svname("OST0001"));
    let both = ["MDT0000", "client"];
    mgs.pool(PoolChange::New).is_as_after("70", &both);
    mgs.pool(PoolChange::Add(ost0.clone())).pool(PoolChange::Add(ost1.clone())).is_as_after("71", &both);
    mgs.pool(PoolChange::Remove(ost1)).is_as_after("72", &both);
    mgs.pool(PoolChange::Remove(ost0)).is_as_after("73", &both);
    mgs.pool(PoolChange::Delete).is_as_after("74", &both);
}

#[test]
fn a_second_mdt_copies_what_the_clients_and_the_first_mdt_have() {
    Mgs::with_two_mdts().is_as_after("82", &["MDT0000", "MDT0001", "client"]);
}

#[test]
fn an_ost_with_a_partner_node_and_a_parameter_can_be_the_first_target() {
    let silver: FsName = "silver".parse().unwrap();
    let mut draft = Draft::new(Some(silver), None, 1);
    let params = [("failover.node", "10.9.0.3@tcp"), ("ost.writethrough_cache_enable", "0")];
    draft.register(&target("silver-OST0000".parse().unwrap(), &params)).unwrap();
    for log in ["silver-OST0000", "silver-client"] {
        let theirs = golden::recorded(&format!("90-{log}"));
        assert_eq!(golden::lines(&draft.log(log).unwrap().file(), true), golden::lines(&theirs, true), "{log}");
    }
}

#[test]
fn new_parameters_of_a_registered_target_are_taken_in() {
    Mgs::with_tuned_ost().is_as_after("110", &["MDT0000", "MDT0001", "OST0000", "client"]);
}

#[test]
fn a_deleted_ost_loses_its_records_and_keeps_its_markers_as_by_lctl_del_ost() {
    Mgs::with_deleted_ost().is_as_after("112", &["MDT0000", "MDT0001", "client"]);
}

#[test]
fn nids_are_replaced_as_by_lctl_replace_nids() {
    Mgs::with_replaced_nids().is_as_after("130", &["MDT0000", "MDT0001", "client"]);
}

#[test]
fn what_is_skipped_goes_as_by_lctl_clear_conf() {
    let mut mgs = Mgs::with_replaced_nids();
    mgs.change(Draft::clear_conf).unwrap();
    mgs.is_as_after("131", &["MDT0000", "MDT0001", "OST0000", "OST0001", "client"]);
}

#[test]
fn a_file_system_is_copied_under_another_name_as_by_lctl_fork_lcfg() {
    let mut mgs = Mgs::with_replaced_nids();
    mgs.change(Draft::clear_conf).unwrap();
    let copper: FsName = "copper".parse().unwrap();
    let mut draft = Draft::new(Some(copper.clone()), None, 1);
    let logs: Vec<_> = mgs.gold.iter().map(|log| &**log).collect();
    draft.fork(&fs(), &logs, &copper).unwrap();
    for log in ["copper-MDT0000", "copper-MDT0001", "copper-OST0000", "copper-OST0001", "copper-client"] {
        let theirs = golden::recorded(&format!("132-{log}"));
        assert_eq!(golden::lines(&draft.log(log).unwrap().file(), false), golden::lines(&theirs, false), "{log}");
    }
}

#[test]
fn a_writeconf_of_every_target_writes_all_logs_anew() {
    let mut mgs = Mgs::with_replaced_nids();
    mgs.with_steps = true;
    mgs.writeconf("MDT0000").is_as_after("141", &["MDT0000", "client"]);
    mgs.writeconf("MDT0001").is_as_after("142", &["MDT0000", "MDT0001", "client"]);
    mgs.writeconf("OST0000").is_as_after("143", &["MDT0000", "MDT0001", "OST0000", "client"]);
    mgs.writeconf("OST0001").is_as_after("144", &["MDT0000", "MDT0001", "OST0001", "client"]);
}
