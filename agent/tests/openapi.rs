//! The committed OpenAPI document is that of the program. `UPDATE_OPENAPI=1 cargo test -p lustre-agent --test openapi`
//! renews it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

use clap::Parser;
use lustre_agent::{
    api::{self, Agent},
    config::Config,
    host::{Host, Sysroot, Tools},
    jobs::Jobs,
};
use std::{path::Path, sync::Arc};

#[test]
fn the_committed_document_is_fresh() {
    let dir = tempfile::tempdir().unwrap();
    let host = Arc::new(Host::new(Sysroot::default(), Tools::from_dir(None)));
    let jobs = Jobs::start(host.clone(), dir.path()).unwrap();
    let config = Config::try_parse_from(["lustre-agent"]).unwrap();
    let server = api::server(Arc::new(Agent { host, config, jobs }));
    let mut document = serde_json::to_string_pretty(&server.document()).unwrap();
    document.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/agent.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "{} is not that of the program: run with UPDATE_OPENAPI=1", path.display());
}
