//! Asking many nodes at once.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use lustre_types::NodeName;

use super::Place;
use crate::agents::AgentError;

/// How long a node may take. An agent reads a value in under a millisecond; what takes longer is a node in trouble.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nodes that are asked at the same time: bounds sockets and memory, and lets 200 nodes take as long as the slowest.
const AT_ONCE: usize = 256;

/// What came back from a node.
pub type Reached<T> = (NodeName, Result<T, AgentError>);

/// Asks every node, all at once but for [`AT_ONCE`]; the answers by name. A node that does not answer within [`PATIENCE`] is
/// not waited for.
pub async fn each<'a, T, A>(places: impl IntoIterator<Item = Place>, ask: impl Fn(String) -> A) -> Vec<Reached<T>>
where
    A: Future<Output = Result<T, AgentError>> + 'a,
{
    let asked = stream::iter(places).map(|(node, url)| {
        let answer = ask(url);
        async move {
            let silent = |_| Err(AgentError::Unreachable(format!("no answer in {} s", PATIENCE.as_secs())));
            (node, tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(silent))
        }
    });
    sorted(asked.buffer_unordered(AT_ONCE)).await
}

async fn sorted<T>(answers: impl Stream<Item = Reached<T>>) -> Vec<Reached<T>> {
    let mut answers: Vec<Reached<T>> = answers.collect().await;
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    answers
}
