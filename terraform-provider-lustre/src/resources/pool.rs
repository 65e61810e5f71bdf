//! `lustre_pool`.

use lustre_api::attributes::{POOL, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::pool::{DeletePool, PoolPath, PoolSpec, PutPool};
use lustre_types::{FsName, PoolName};
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Value, async_trait};

use super::text;
use crate::managed::{Kind, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Pool;

#[async_trait]
impl Kind for Pool {
    const TABLE: &'static Table = &POOL;
    const IDENTITY: &'static [(&'static str, bool)] = &[("filesystem", true), ("name", true)];
    type Spec = PoolSpec;

    fn name(object: &Value) -> Option<String> {
        let (filesystem, name) = (object.get("filesystem").as_str().known()?, object.get("name").as_str().known()?);
        Some(format!("{filesystem}.{name}"))
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let (filesystem, name) = (text(state, "filesystem"), text(state, "name"));
        let mut pools = snapshot.pools.iter();
        pools.find(|pool| pool.filesystem.as_str() == filesystem && pool.name.as_str() == name).map(view)
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let of = |pool: &&lustre_api::pool::Pool| filesystem.is_none_or(|only| pool.filesystem.as_str() == only);
        snapshot
            .pools
            .iter()
            .filter(of)
            .map(|pool| (format!("{}.{}", pool.filesystem, pool.name), view(pool)))
            .collect()
    }

    fn desired(spec: &PoolSpec, _: &Value) -> Desired {
        Desired { pools: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &PoolSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Pool { filesystem, name } if *filesystem == spec.filesystem && *name == spec.name)
    }

    fn check_removal(_: &Value, _: &mut Diagnostics) {
        // Its OSTs and the files on them stay: nothing to refuse.
    }

    async fn put(mgs: &Mgs, spec: PoolSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let path = PoolPath { fsname: spec.filesystem.clone(), pool: spec.name.clone() };
        let written = put.heard(mgs.write::<PutPool>(path, spec, put.if_revision(mgs).await?).await?);
        Ok(view(&written.object))
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let (Ok(fsname), Ok(pool)) = (text(prior, "filesystem").parse(), text(prior, "name").parse()) else {
            return Ok(());
        };
        mgs.remove::<DeletePool>(PoolPath { fsname, pool }).await.map(|_| ())
    }

    fn import(id: &str) -> Result<Value, String> {
        let shape = || format!("{id:?} is not a pool; write it like \"scratch.flash\"");
        let (filesystem, name) = id.rsplit_once('.').ok_or_else(shape)?;
        let filesystem: FsName = filesystem.parse().map_err(|err| format!("{}: {err}", shape()))?;
        let name: PoolName = name.parse().map_err(|err| format!("{}: {err}", shape()))?;
        Ok(Value::object([("filesystem", filesystem.to_string().into()), ("name", name.to_string().into())]))
    }

    fn means_the_same(attribute: &str, object: &Value, a: &Value, b: &Value) -> bool {
        if attribute != "members" {
            return false;
        }
        let Ok(filesystem) = text(object, "filesystem").parse() else { return false };
        let osts = |members: &Value| {
            let members = members.as_elements().known()?.iter();
            let members: Vec<String> =
                members.map(|member| member.as_str().known().map(str::to_owned)).collect::<Option<_>>()?;
            lustre_plan::pool_members(&filesystem, &members).ok()
        };
        matches!((osts(a), osts(b)), (Some(a), Some(b)) if a == b)
    }
}
