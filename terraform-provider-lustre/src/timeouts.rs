//! The `timeouts` block: how long the jobs behind an operation may take.

use std::time::Duration;

use jiff::SignedDuration;
use tfplugin_proto::{Arg, Attribute, Block, Diagnostics, Mode, Path, Type, Value};

/// Name of the block.
pub(crate) const BLOCK: &str = "timeouts";

/// How long an operation may take when nothing is said: formatting a large disk takes its time, and a wait that ends too
/// early helps nobody.
const DEFAULT: Duration = Duration::from_secs(60 * 60);

/// The block, for the operations named.
pub(crate) fn block(operations: &[&str]) -> Block {
    let attribute = |operation: &&str| {
        let what = match *operation {
            "create" => "How long to wait for the job that creates it",
            "update" => "How long to wait for the job that changes it",
            _ => "How long to wait for the job that removes it",
        };
        let description = format!("{what}, as in `90m` or `2h`. Default: `60m`. The job itself goes on.");
        Attribute::new(*operation, Type::String, Mode::Optional, description)
    };
    Block {
        name: BLOCK.into(),
        attributes: operations.iter().map(attribute).collect(),
        description: "How long operations may take.".into(),
    }
}

/// Refuses what is no duration.
pub(crate) fn validate(config: &Value, diags: &mut Diagnostics) {
    let Arg::Known(block) = config.get(BLOCK).as_map() else { return };
    for (operation, value) in block {
        if let Arg::Known(text) = value.as_str()
            && parse(text).is_none()
        {
            diags.error_at(
                Path::attribute(BLOCK).then(operation),
                "Not a duration",
                format!("timeouts.{operation}: {text:?} is not a duration; write it like \"90m\" or \"2h\"."),
            );
        }
    }
}

/// The limit for an operation.
pub(crate) fn limit(object: &Value, operation: &str) -> Duration {
    let text = object.get(BLOCK).get(operation).as_str();
    text.known().and_then(parse).unwrap_or(DEFAULT)
}

/// A positive duration in the notation of Terraform and Go, as in `1h30m`.
fn parse(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_terraform_writes_them() {
        assert_eq!(parse("90m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("20s"), Some(Duration::from_secs(20)));
        for bad in ["", "90", "soon", "-5m", "0s", "1 fortnight"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_said_is_an_hour() {
        let object = Value::object([(BLOCK, Value::object([("create", "5m".into())]))]);
        assert_eq!(limit(&object, "create"), Duration::from_secs(300));
        assert_eq!(limit(&object, "delete"), DEFAULT);
        assert_eq!(limit(&Value::object([(BLOCK, Value::Null)]), "create"), DEFAULT);
        let mut diags = Diagnostics::default();
        validate(&Value::object([(BLOCK, Value::object([("create", "soon".into())]))]), &mut diags);
        assert!(diags.has_errors());
    }
}
