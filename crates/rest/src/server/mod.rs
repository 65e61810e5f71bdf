//! Endpoints as routes.

mod frame;
mod gathered;
mod handover;
mod identity;
mod listen;
mod reply;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Version;
use axum::response::IntoResponse;
use axum::routing::MethodFilter;
use futures::stream::BoxStream;
use lustre_api::{Endpoint, Method, Problem};

use crate::openapi::Document;
pub use frame::Frame;
use handover::Handover;
pub use identity::Identity;
pub use listen::Listener;

/// A server in the making: routes over a shared state.
pub struct Server<S> {
    state: Arc<S>,
    router: Router,
    document: Document,
}

/// One call of an endpoint, understood.
pub struct Call<E: Endpoint> {
    /// The path's variables.
    pub path: E::Path,
    /// The query's parameters.
    pub query: E::Query,
    /// The body.
    pub body: E::Body,
    /// Who calls.
    pub caller: Identity,
    /// The id of the last event that the caller was told, where it begins a stream again: the header `Last-Event-ID`, which
    /// browsers send by themselves with the address of their first call.
    pub last_event_id: Option<String>,
    /// Finds the log lines about this call.
    pub request_id: String,
}

/// A stream of events. Ends after the first problem.
pub type Events<T> = BoxStream<'static, Result<Frame<T>, Problem>>;

/// An answer in one of an endpoint's types of content.
pub struct Raw {
    /// Which: one of [`Endpoint::CONTENT`].
    pub content_type: &'static str,
    /// The answer.
    pub bytes: Vec<u8>,
}

impl<S: Send + Sync + 'static> Server<S> {
    /// A server without routes; `title` and `version` are for its OpenAPI document.
    pub fn new(state: Arc<S>, title: &str, version: &str) -> Self {
        Self { state, router: Router::new(), document: Document::new(title, version) }
    }

    /// Serves an endpoint.
    #[must_use]
    pub fn route<E, F, A>(mut self, handle: F) -> Self
    where
        E: Endpoint,
        F: Fn(Arc<S>, Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<E::Reply, Problem>> + Send + 'static,
    {
        let state = self.state.clone();
        let answer = move |request: Request| {
            let (handle, state) = (handle.clone(), state.clone());
            reply::logged::<E, _, _>(request, move |call| handle(state, call), |answer| reply::json(E::STATUS, &answer))
        };
        self.document.add::<E>();
        self.router = self.router.route(E::PATH, axum::routing::on(filter(E::METHOD), answer));
        self
    }

    /// Serves an endpoint that answers with one of its types of content.
    #[must_use]
    pub fn raw<E, F, A>(mut self, handle: F) -> Self
    where
        E: Endpoint,
        F: Fn(Arc<S>, Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Raw, Problem>> + Send + 'static,
    {
        let state = self.state.clone();
        let answer = move |request: Request| {
            let (handle, state) = (handle.clone(), state.clone());
            reply::logged::<E, _, _>(request, move |call| handle(state, call), |answer| reply::raw(E::STATUS, answer))
        };
        self.document.add::<E>();
        self.router = self.router.route(E::PATH, axum::routing::on(filter(E::METHOD), answer));
        self
    }

    /// Serves an endpoint that streams events.
    #[must_use]
    pub fn stream<E, F, A>(mut self, handle: F) -> Self
    where
        E: Endpoint,
        F: Fn(Arc<S>, Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Events<E::Reply>, Problem>> + Send + 'static,
    {
        let state = self.state.clone();
        let answer = move |request: Request| {
            let (handle, state) = (handle.clone(), state.clone());
            let connection = handover(&request);
            let respond = move |events| frame::answer(events, connection);
            reply::logged::<E, _, _>(request, move |call| handle(state, call), respond)
        };
        self.document.add::<E>();
        self.router = self.router.route(E::PATH, axum::routing::on(filter(E::METHOD), answer));
        self
    }

    /// The OpenAPI document of what is served.
    pub fn document(self) -> serde_json::Value {
        self.document.finish()
    }

    /// The finished routes, with `/openapi.json` and answers for whatever is not a call.
    pub fn router(self) -> Router {
        let document = Arc::new(self.document.finish());
        let serve_document = move || std::future::ready(reply::json(200, &*document).into_response());
        self.router
            .route("/openapi.json", axum::routing::get(serve_document))
            .fallback(reply::no_such_call)
            .method_not_allowed_fallback(reply::no_such_call)
    }
}

/// What hands over the connection of a request; one before HTTP/1.1 knows no chunks.
fn handover(request: &Request) -> Option<Handover> {
    request.extensions().get().filter(|_| request.version() == Version::HTTP_11).cloned()
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}
