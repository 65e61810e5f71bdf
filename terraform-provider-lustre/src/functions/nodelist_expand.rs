//! `nodelist_expand("oss[01-16,20],mds1")`.

use lustre_types::expand_nodelist;
use tfplugin_proto::{Function, FunctionError, Signature, Type, Value};

use super::{parameter, text, wrong};

pub(super) struct NodelistExpand;

impl Function for NodelistExpand {
    fn signature(&self) -> Signature {
        Signature {
            summary: "Expands a list of nodes".into(),
            description: "Expands bracketed ranges to names, in the order written, each name once: \
                `oss[01-03],mds1` gives `oss01`, `oss02`, `oss03`, `mds1`. Leading zeros give the width; several \
                brackets in one name multiply."
                .into(),
            parameters: vec![parameter("nodes", Type::String, "Names and ranges, separated by commas.")],
            returns: Type::list(Type::String),
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let names = expand_nodelist(text(arguments, 0)).map_err(|err| wrong(0)(&err))?;
        Ok(Value::List(names.into_iter().map(Value::from).collect()))
    }
}
