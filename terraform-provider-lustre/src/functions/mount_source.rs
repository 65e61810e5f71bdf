//! `mount_source(["10.0.0.1@tcp", "10.0.0.2@tcp"], "scratch")`.

use lustre_types::{FsName, NidList};
use tfplugin_proto::{Arg, Function, FunctionError, Signature, Type, Value};

use super::{parameter, parsed, wrong};

pub(super) struct MountSource;

impl Function for MountSource {
    fn signature(&self) -> Signature {
        Signature {
            summary: "What clients mount".into(),
            description: "The source for `mount -t lustre`: the NIDs of the MGS and the file system, as in \
                `10.0.0.1@tcp:10.0.0.2@tcp:/scratch`. For a file system that this provider manages, \
                `lustre_filesystem` has it as `mount_source`."
                .into(),
            parameters: vec![
                parameter(
                    "mgs_nids",
                    Type::list(Type::String),
                    "For each node that runs an MGS, its NIDs, separated by commas.",
                ),
                parameter("fsname", Type::String, "Name of the file system."),
            ],
            returns: Type::String,
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let Some(Arg::Known(nodes)) = arguments.first().map(Value::as_elements) else {
            return Err(wrong(0)(&"a list of NIDs is expected"));
        };
        // Element by element, so that the message names the one that is wrong and "a:b" isn't two nodes by accident.
        let mut all = Vec::new();
        for node in nodes {
            let node = node.as_str().known().unwrap_or_default();
            let list: NidList = node.parse().map_err(|err| wrong(0)(&err))?;
            all.extend(list.nodes().iter().cloned());
        }
        let Some(mgs) = NidList::new(all) else { return Err(wrong(0)(&"at least one NID is needed")) };
        let fsname: FsName = parsed(arguments, 1)?;
        Ok(lustre_types::mount_source(&mgs, &fsname).into())
    }
}
