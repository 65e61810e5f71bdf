//! The committed OpenAPI document is that of the program. `UPDATE_OPENAPI=1 cargo test -p lustre-mgs --test openapi` renews it.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use lustre_mgs::agents::RestAgents;
use lustre_mgs::api::Api;
use lustre_mgs::engine::Engine;
use lustre_mgs::server;
use lustre_mgs_core::Env;
use lustre_mgs_store::MemoryStore;

#[tokio::test]
async fn the_committed_document_is_fresh() {
    let (engine, _follower) = Engine::start(Arc::new(MemoryStore::new()), Env::default()).await.unwrap();
    let agents = Arc::new(RestAgents::default());
    let api = Arc::new(Api::new(engine, agents));
    let mut document = serde_json::to_string_pretty(&server::server(api).document()).unwrap();
    document.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/mgs.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "{} is not that of the program: run with UPDATE_OPENAPI=1", path.display());
}
