//! `nid_parse("10.0.0.1@tcp1")`.

use lustre_types::Nid;
use tfplugin_proto::{Function, FunctionError, Signature, Type, Value};

use super::{parameter, parsed};

pub(super) struct NidParse;

impl Function for NidParse {
    fn signature(&self) -> Signature {
        Signature {
            summary: "Takes a NID apart".into(),
            description:
                "Takes an LNet network identifier apart: `nid` as Lustre prints it (a missing network is `tcp`), \
                `address`, `network`, `network_type` and `network_number`."
                    .into(),
            parameters: vec![parameter("nid", Type::String, "A NID, as in `10.0.0.1@tcp` or `12@gni1`.")],
            returns: Type::object([
                ("nid", Type::String),
                ("address", Type::String),
                ("network", Type::String),
                ("network_type", Type::String),
                ("network_number", Type::Number),
            ]),
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let nid: Nid = parsed(arguments, 0)?;
        Ok(Value::object([
            ("nid", nid.to_string().into()),
            ("address", nid.address().into()),
            ("network", nid.net().to_string().into()),
            ("network_type", nid.net().kind().into()),
            ("network_number", i64::from(nid.net().number()).into()),
        ]))
    }
}
