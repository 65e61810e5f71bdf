//! `target_label("scratch", "ost", 31)`.

use lustre_types::{FsName, SvName, TargetIndex, TargetKind};
use tfplugin_proto::{Function, FunctionError, Signature, Type, Value};

use super::{parameter, parsed, wrong};

pub(super) struct TargetLabel;

impl Function for TargetLabel {
    fn signature(&self) -> Signature {
        Signature {
            summary: "Name of a target".into(),
            description: "The name of a target, which is also the label of its volume once it is registered: \
                `scratch-OST001f` for index 31. The MGT is always `MGS`."
                .into(),
            parameters: vec![
                parameter("fsname", Type::String, "Name of the file system."),
                parameter("kind", Type::String, "`mgt`, `mdt` or `ost`."),
                parameter("index", Type::Number, "Index of the target, 0 to 65503."),
            ],
            returns: Type::String,
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let fsname: FsName = parsed(arguments, 0)?;
        let kind: TargetKind = parsed(arguments, 1)?;
        let index = arguments.get(2).and_then(|index| index.as_number().known());
        let Some(index) = index.and_then(|index| u32::try_from(index.as_u64()?).ok()) else {
            return Err(wrong(2)(&format_args!("a whole number from 0 to {} is expected", TargetIndex::MAX)));
        };
        let index = TargetIndex::try_from(index).map_err(|err| wrong(2)(&err))?;
        Ok(SvName::new(fsname, kind, index).to_string().into())
    }
}
