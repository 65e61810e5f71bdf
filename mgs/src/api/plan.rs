//! Plans.

use std::collections::BTreeSet;

use lustre_api::Problem;
use lustre_api::mgs::{Snapshot, SnapshotQuery};
use lustre_api::plan::{Desired, Plan};
use lustre_mgs_core::ParamKey;

use super::Api;
use super::params::param_key;

impl Api {
    /// `plan`: against what is stored and what the nodes have, both now.
    pub async fn plan(&self, desired: &Desired) -> Result<Plan, Problem> {
        let live_params = self.live_params(&desired.params).await;
        let query = SnapshotQuery { devices: true, ..SnapshotQuery::default() };
        let snapshot = self.get_snapshot(&query).await?;
        let set: BTreeSet<ParamKey> = snapshot.params.iter().map(|param| param_key(&param.spec)).collect();
        let wanted = desired.params.iter().map(param_key).filter(|key| set.contains(key));
        let param_proofs = self.proofs_of(wanted).await?;
        Ok(lustre_plan::diff(desired, &Snapshot { live_params, param_proofs, ..snapshot }))
    }
}
