//! `size_parse("64M")`.

use lustre_types::ByteSize;
use tfplugin_proto::{Function, FunctionError, Signature, Type, Value};

use super::{parameter, parsed};

pub(super) struct SizeParse;

impl Function for SizeParse {
    fn signature(&self) -> Signature {
        Signature {
            summary: "Bytes of a size".into(),
            description:
                "The number of bytes of a size with suffix `K`, `M`, `G`, `T`, `P` or `E` (also `KB`, `KiB`); \
                all are powers of 1024, as in Lustre's tunables. `64M` gives 67108864."
                    .into(),
            parameters: vec![parameter("size", Type::String, "A whole number with an optional suffix.")],
            returns: Type::Number,
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let ByteSize(bytes) = parsed(arguments, 0)?;
        Ok(bytes.into())
    }
}
