//! The provider itself: its configuration.

use std::sync::Arc;

use tfplugin_proto::{
    Arg, Attribute, DataSource, Diagnostics, Function, Mode, Provider, Resource, Schema, Type, Value, async_trait,
};

use crate::mgs::Mgs;
use crate::session::Session;
use crate::{data_sources, functions, resources};

/// Where the endpoint comes from if the configuration doesn't say.
const ENDPOINT_VAR: &str = "LUSTRE_MGS_ENDPOINT";
/// Where the token comes from if the configuration doesn't say.
const TOKEN_VAR: &str = "LUSTRE_MGS_TOKEN";

/// The provider `chandelier/lustre`.
pub struct Lustre {
    session: Arc<Session>,
}

impl Default for Lustre {
    fn default() -> Self {
        Self { session: Session::new() }
    }
}

#[async_trait]
impl Provider for Lustre {
    fn schema(&self) -> Schema {
        Schema {
            version: 0,
            description: "Manages Lustre file systems through their management server (MGS): what a plan shows was \
                checked against the MGS and the devices of the servers, and nothing is formatted unasked."
                .into(),
            attributes: vec![
                Attribute::new(
                    "endpoint",
                    Type::String,
                    Mode::Optional,
                    format!(
                        "Where the API of the MGS is: `http://mgs1:7070`, or `unix:///run/lustre-mgs/api.sock` on the \
                         MGS itself; of several instances all, with commas between. Environment variable: `{ENDPOINT_VAR}`. There is no default."
                    ),
                ),
                Attribute::new(
                    "token",
                    Type::String,
                    Mode::Optional,
                    format!("The token that the MGS knows you by. Environment variable: `{TOKEN_VAR}`."),
                )
                .sensitive(),
            ],
            blocks: Vec::new(),
        }
    }

    fn resources(&self) -> Vec<(String, Arc<dyn Resource>)> {
        resources::all(&self.session)
    }

    fn data_sources(&self) -> Vec<(String, Arc<dyn DataSource>)> {
        data_sources::all(&self.session)
    }

    fn functions(&self) -> Vec<(String, Arc<dyn Function>)> {
        functions::all()
    }

    async fn configure(&self, config: &Value, diags: &mut Diagnostics) {
        let given = |attribute: &str, var: &str| match config.get(attribute).as_str() {
            Arg::Null => match std::env::var(var).ok().filter(|value| !value.is_empty()) {
                Some(value) => Arg::Known(value),
                None => Arg::Null,
            },
            given => given.map(str::to_owned),
        };
        let token = given("token", TOKEN_VAR);
        let endpoint = match given("endpoint", ENDPOINT_VAR) {
            // Never guessed: localhost may be an MGS, too, and the wrong one.
            Arg::Null => {
                return diags.error_at(
                    "endpoint",
                    "No endpoint",
                    format!("Say where the MGS is: set `endpoint` in the provider block, or {ENDPOINT_VAR}."),
                );
            }
            Arg::Unknown => return self.session.configure(None),
            Arg::Known(endpoint) => endpoint,
        };
        if token.is_unknown() {
            return self.session.configure(None);
        }
        match rest::Client::new(&endpoint, token.known().as_deref()) {
            Ok(client) => self.session.configure(Some(Mgs::new(client, self.session.stopped()))),
            Err(err) => diags.error_at("endpoint", "Invalid endpoint", format!("{err}.")),
        }
    }

    fn stop(&self) {
        self.session.stop();
    }
}
