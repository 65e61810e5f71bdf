//! `data "lustre_param_proof"`.

use std::sync::Arc;

use lustre_api::attributes::PARAM;
use lustre_api::param::ParamPath;
use lustre_types::{FsName, ParamName, ParamScope};
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Type, Value, async_trait};

use super::{computed, parsed, texts, word};
use crate::session::Session;

pub(super) struct ParamProof(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for ParamProof {
    fn schema(&self) -> Schema {
        let node = Type::object([
            ("node", Type::String),
            ("state", Type::String),
            ("message", Type::String),
            ("values", Type::list(Type::String)),
            ("won", Type::String),
        ]);
        Schema {
            description: "Whether nodes have what is wanted of a tunable: every node concerned is asked, now. Made for `check` blocks: \
                what nodes have changes without Terraform, so it is not among the attributes of `lustre_param`."
                .into(),
            attributes: vec![
                Attribute::new("filesystem", Type::String, Mode::Optional, "The file system; every one when not given."),
                Attribute::new("scope", Type::String, Mode::Optional, "Whom it concerns, as in `lustre_param`."),
                Attribute::new("name", Type::String, Mode::Required, "The tunable, as in `lustre_param`."),
                computed("wanted", Type::String, "The value that is wanted; null where nobody set it."),
                computed("is_proven", Type::Bool, "Whether every node concerned has the value."),
                computed("set_by", Type::String, "Who set it last."),
                computed(
                    "nodes",
                    Type::list(node),
                    "The nodes concerned with their `state` (`applied`, `differs`, `refused`, `no_such_parameter`, `unknowable`, \
                     `not_reached`, `not_set`), why, what they have, and the layer that won: `default`, `node_file`, `mount_option`, \
                     `mgs`, `temporary` or `live`.",
                ),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<FsName>(config, "filesystem", diags);
        parsed::<ParamScope>(config, "scope", diags);
        parsed::<ParamName>(config, "name", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let path = ParamPath {
            fsname: config.get("filesystem").as_str().known().unwrap_or("*").to_owned(),
            scope: parsed(config, "scope", diags).unwrap_or_default(),
            name: parsed(config, "name", diags)?,
        };
        let explained = match self.0.mgs() {
            Ok(mgs) => mgs.explain(path).await,
            Err(failure) => Err(failure),
        };
        let explained = explained.map_err(|failure| failure.report(&PARAM, "Can\'t ask the nodes", diags)).ok()?;
        let nodes = explained.nodes.iter().map(|proof| {
            let values = proof.values.iter().map(|value| format!("{}={}", value.name, value.value));
            let won = proof.layers.iter().find(|layer| layer.won);
            Value::object([
                ("node", proof.node.to_string().into()),
                ("state", word(&proof.state)),
                ("message", proof.message.clone().into()),
                ("values", texts(values)),
                ("won", won.map_or(Value::Null, |layer| word(&layer.kind))),
            ])
        });
        Some(Value::object([
            ("filesystem", config.get("filesystem").clone()),
            ("scope", config.get("scope").clone()),
            ("name", config.get("name").clone()),
            ("wanted", explained.wanted.clone().into()),
            ("is_proven", explained.is_proven.into()),
            ("set_by", explained.author.as_ref().map(|author| author.who.clone()).into()),
            ("nodes", Value::List(nodes.collect())),
        ]))
    }
}
