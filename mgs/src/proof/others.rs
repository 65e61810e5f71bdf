//! Tunables that stand for the same values as another one: what one of them explains is not the other's fault.

use lustre_api::node_param::NodeParam;
use lustre_mgs_core::{ParamKey, State};
use lustre_plan::catalogue::{self, Agreement};
use lustre_plan::naming;

/// The other tunables that are set and could stand for the same values, as one of a single target beside one of all.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// What nodes call each, what the catalogue does, and its value.
    set: Vec<(String, String, String)>,
}

impl Others {
    /// Those of a tunable.
    pub fn of(state: &State, key: &ParamKey) -> Self {
        fn last(key: &ParamKey) -> Option<&str> {
            key.name.as_str().rsplit('.').next()
        }
        let own = last(key);
        let others = state.params.iter().filter(|(other, _)| last(other) == own && *other != key);
        let set = others.filter_map(|(other, param)| {
            let pattern = naming::read_back(other.filesystem.as_ref(), &other.scope, &other.name)?;
            let name = catalogue::lookup(other.name.as_str()).map_or(other.name.as_str(), |entry| entry.name.as_str());
            Some((pattern, name.to_owned(), param.value.value.clone()))
        });
        Self { set: set.collect() }
    }

    /// Whether another one stands for the value, and it is as that one wants it.
    pub fn has(&self, found: &NodeParam) -> bool {
        let Some(printed) = &found.value else { return false };
        self.set.iter().any(|(pattern, name, value)| {
            catalogue::stands_for(pattern, &found.name) && catalogue::agreement(name, value, printed) == Agreement::Same
        })
    }
}
