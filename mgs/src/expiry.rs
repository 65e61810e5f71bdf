//! Ends reservations whose time is over.

use std::sync::Arc;
use std::time::Duration;

use lustre_mgs_core::Decision;
use lustre_mgs_core::decide::reserve;
use tracing::{info, warn};

use crate::engine::{Caller, Engine};

/// How often to look. A registration after the end is refused anyway; this only frees the index.
const EVERY: Duration = Duration::from_secs(1);

/// Looks for reservations that are over, for ever.
pub async fn run(engine: Arc<Engine>, owner: Caller) {
    loop {
        tokio::time::sleep(EVERY).await;
        let ended = engine.write_as(&owner, |state, req| {
            Ok(reserve::expire(state, req).unwrap_or_else(|| Decision::nothing().map(|()| Vec::new())))
        });
        match ended.await {
            Ok(names) => names.iter().for_each(|svname| info!(%svname, "reservation ended")),
            Err(problem) => warn!(error = %problem, "reservations that are over can't be ended now, will try again"),
        }
    }
}
