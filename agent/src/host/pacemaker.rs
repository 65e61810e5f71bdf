//! Pacemaker's view of this node's targets: who it manages is not started, stopped or changed behind its back.
//!
//! `crm_mon` says what there is and whether Pacemaker manages it, `crm_resource` which device a resource is for. Where they
//! are not installed, or no cluster runs, nobody manages anything.

use super::{
    Device, Host, HostError,
    crm_mon::{Resource, parse},
    tool,
};
use lustre_types::SvName;
use std::path::Path;

/// Exit status of `crm_mon` on a node where no cluster runs (`CRM_EX_DISCONNECT`; older releases say 107, `ENOTCONN`).
const NOT_CONNECTED: [i32; 2] = [102, 107];
/// What mounts targets: the agent, and its parameter with the device.
const AGENTS: [(&str, &str); 3] =
    [("ocf:lustre:Lustre", "target"), ("ocf:heartbeat:Lustre", "target"), ("ocf:heartbeat:Filesystem", "device")];

impl Host {
    /// The resource that manages a target, by its device, or by its name where the cluster doesn't say the device.
    /// None where Pacemaker has nothing to do with it.
    ///
    /// Errors: a cluster runs and can't be asked. Then nobody knows, and nothing should be done.
    pub fn managed_by(&self, svname: &SvName, device: &Device) -> Result<Option<Resource>, HostError> {
        let tool_name = &self.tools.crm_mon;
        let output = match tool::run(tool_name, "pacemaker-cli-utils", ["-1", "--inactive", "--output-as=xml"]) {
            Err(HostError::ToolMissing { .. }) => return Ok(None),
            other => other?,
        };
        if output.status.code().is_some_and(|code| NOT_CONNECTED.contains(&code)) {
            return Ok(None);
        }
        if !output.status.success() {
            return Err(tool::failed(tool_name, &device.path, &output));
        }
        let resources = parse(&String::from_utf8_lossy(&output.stdout)).map_err(|detail| HostError::ToolAnswer {
            tool: tool_name.clone(),
            device: device.path.clone(),
            detail,
        })?;
        for resource in resources.into_iter().filter(|resource| resource.is_managed) {
            let Some((_, parameter)) = AGENTS.iter().find(|(agent, _)| *agent == resource.agent) else { continue };
            let is_its = match self.resource_device(&resource.id, parameter)? {
                Some(path) => std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone().into()) == device.path,
                None => resource.id == svname.to_string(),
            };
            if is_its {
                return Ok(Some(resource));
            }
        }
        Ok(None)
    }

    /// The device of a resource; none where it has no such parameter.
    fn resource_device(&self, id: &str, parameter: &str) -> Result<Option<String>, HostError> {
        let arguments = ["--resource", id, "--get-parameter", parameter];
        let output = tool::run(&self.tools.crm_resource, "pacemaker-cli-utils", arguments)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let path = said.trim();
        Ok((output.status.success() && Path::new(path).is_absolute()).then(|| path.to_owned()))
    }
}
