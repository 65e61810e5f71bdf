//! Plans.

use lustre_api::Problem;
use lustre_api::mgs::{Snapshot, SnapshotQuery};
use lustre_api::plan::{Desired, Plan};

use super::Api;

impl Api {
    /// `plan`: against what is stored and what the nodes have, both now.
    pub async fn plan(&self, desired: &Desired) -> Result<Plan, Problem> {
        let live_params = self.live_params(&desired.params).await;
        let snapshot = self.get_snapshot(&SnapshotQuery { fsname: None, devices: true }).await?;
        Ok(lustre_plan::diff(desired, &Snapshot { live_params, ..snapshot }))
    }
}
