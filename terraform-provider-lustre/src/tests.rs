//! The schemas as a whole.

use tfplugin_proto::{Mode, Provider};

use crate::Lustre;

#[test]
fn every_schema_is_described_and_legal() {
    let provider = Lustre::default();
    let mut faults = provider.schema().lint();
    for (name, resource) in provider.resources() {
        faults.extend(resource.schema().lint().into_iter().map(|fault| format!("{name}: {fault}")));
    }
    for (name, source) in provider.data_sources() {
        faults.extend(source.schema().lint().into_iter().map(|fault| format!("data {name}: {fault}")));
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn what_has_a_default_may_be_left_out() {
    let resources = Lustre::default().resources();
    let (_, target) = resources.iter().find(|(name, _)| name == "lustre_target").expect("target");
    let schema = target.schema();
    let mode = |name: &str| schema.attribute(name).expect("attribute").mode;
    assert_eq!(mode("deletion_policy"), Mode::OptionalComputed);
    assert_eq!(mode("index"), Mode::OptionalComputed);
    assert_eq!(mode("mkfs_options"), Mode::Optional);
    assert_eq!(mode("device"), Mode::Required);
    assert_eq!(mode("formatted_over"), Mode::Computed);
}
