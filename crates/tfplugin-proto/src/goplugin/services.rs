//! go-plugin's own services: the order to stop, and two streams that do nothing but tell when the other side is gone.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::proto::plugin::{
    ConnInfo, Empty, StdioData, grpc_broker_server::GrpcBroker, grpc_controller_server::GrpcController,
    grpc_stdio_server::GrpcStdio,
};

/// Set once: this process is to end.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks the process to end.
    pub(super) fn request(&self) {
        self.0.send_replace(true);
    }

    /// Returns when the process is to end.
    pub(super) async fn requested(&self) {
        // Can't fail: `self` keeps the sender.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}

/// `plugin.GRPCController`: terraform's order to stop; it kills after two seconds.
pub(super) struct Controller(pub(super) Stop);

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        debug!("terraform asks to stop");
        self.0.request();
        Ok(Response::new(Empty {}))
    }
}

/// `plugin.GRPCBroker`: terraform opens this stream at once and keeps it; when it breaks, terraform is dead.
pub(super) struct Broker {
    pub(super) stop: Stop,
    /// False in debug mode, where terraform comes and goes.
    pub(super) ends_with_client: bool,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream without items that ends when the process is to end; else a graceful stop would wait for it.
fn idle<T: Send + 'static>(stop: Stop) -> Outgoing<T> {
    let end = async move { stop.requested().await };
    Box::pin(stream::pending().take_until(Box::pin(end)))
}

#[tonic::async_trait]
impl GrpcBroker for Broker {
    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<tonic::codegen::BoxStream<ConnInfo>>, Status> {
        if self.ends_with_client {
            let stop = self.stop.clone();
            let mut incoming = request.into_inner();
            tokio::spawn(async move {
                // A killed terraform sends no order to stop: without this, the provider would stay for ever.
                while let Ok(Some(_)) = incoming.message().await {}
                debug!("terraform is gone");
                stop.request();
            });
        }
        Ok(Response::new(idle(self.stop.clone())))
    }
}

/// `plugin.GRPCStdio`: for output of the plugin; ours goes to stderr itself.
pub(super) struct Stdio(pub(super) Stop);

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<tonic::codegen::BoxStream<StdioData>>, Status> {
        Ok(Response::new(idle(self.0.clone())))
    }
}
