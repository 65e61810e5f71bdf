//! Pacemaker's view of this node's targets: who it manages is not started, stopped or changed behind its back.
//!
//! `crm_mon` says what there is and whether Pacemaker manages it, `crm_resource` which device a resource is for. Where they
//! are not installed, or no cluster runs, nobody manages anything.

use super::{
    Device, Host, HostError,
    crm_mon::{Resource, parse},
    tool,
};
use lustre_types::{Dataset, SvName};
use std::path::Path;

/// Exit status of `crm_mon` on a node where no cluster runs (`CRM_EX_DISCONNECT`; older releases say 107, `ENOTCONN`).
const NOT_CONNECTED: [i32; 2] = [102, 107];
/// What mounts targets: the agent, and its parameter with the device.
const AGENTS: [(&str, &str); 3] =
    [("ocf:lustre:Lustre", "target"), ("ocf:heartbeat:Lustre", "target"), ("ocf:heartbeat:Filesystem", "device")];
/// What imports and exports pools of ZFS, and its parameter with the pool.
const POOL_AGENTS: [(&str, &str); 2] = [("ocf:heartbeat:ZFS", "pool"), ("ocf:llnl:zpool", "pool")];

impl Host {
    /// The resource that manages a target, by its device, or by its name where the cluster doesn't say the device.
    /// None where Pacemaker has nothing to do with it.
    ///
    /// Errors: a cluster runs and can't be asked. Then nobody knows, and nothing should be done.
    pub fn managed_by(&self, svname: &SvName, device: &Device) -> Result<Option<Resource>, HostError> {
        self.managed(&AGENTS, &device.path, |resource, value| match value {
            Some(dataset) if Dataset::is_meant(dataset) => Path::new(dataset) == device.path,
            Some(path) if path.starts_with('/') => {
                std::fs::canonicalize(path).unwrap_or_else(|_| path.into()) == device.path
            }
            _ => resource.id == svname.to_string(),
        })
    }

    /// The resource that manages a ZFS pool. Errors: as [`managed_by`](Self::managed_by).
    pub fn pool_managed_by(&self, pool: &str) -> Result<Option<Resource>, HostError> {
        self.managed(&POOL_AGENTS, Path::new(pool), |_, value| value == Some(pool))
    }

    /// The first managed resource of one of `agents` for which `is_its` holds, asked with the parameter's value.
    fn managed(
        &self,
        agents: &[(&str, &str)],
        on: &Path,
        is_its: impl Fn(&Resource, Option<&str>) -> bool,
    ) -> Result<Option<Resource>, HostError> {
        let tool_name = &self.tools.crm_mon;
        let output = match tool::run(tool_name, "pacemaker-cli-utils", ["-1", "--inactive", "--output-as=xml"]) {
            Err(HostError::ToolMissing { .. }) => return Ok(None),
            other => other?,
        };
        if output.status.code().is_some_and(|code| NOT_CONNECTED.contains(&code)) {
            return Ok(None);
        }
        if !output.status.success() {
            return Err(tool::failed(tool_name, on, &output));
        }
        let resources = parse(&String::from_utf8_lossy(&output.stdout)).map_err(|detail| HostError::ToolAnswer {
            tool: tool_name.clone(),
            device: on.to_owned(),
            detail,
        })?;
        for resource in resources.into_iter().filter(|resource| resource.is_managed) {
            let Some((_, parameter)) = agents.iter().find(|(agent, _)| *agent == resource.agent) else { continue };
            let value = self.resource_parameter(&resource.id, parameter)?;
            if is_its(&resource, value.as_deref()) {
                return Ok(Some(resource));
            }
        }
        Ok(None)
    }

    /// A parameter of a resource; none where it has no such parameter.
    fn resource_parameter(&self, id: &str, parameter: &str) -> Result<Option<String>, HostError> {
        let arguments = ["--resource", id, "--get-parameter", parameter];
        let output = tool::run(&self.tools.crm_resource, "pacemaker-cli-utils", arguments)?;
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Some(value).filter(|value| output.status.success() && !value.is_empty()))
    }
}
