//! Calls of etcd: to one member at a time, the next one when that does not answer.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status, Streaming};

use super::error::EtcdError;
use super::rpc::auth_client::AuthClient;
use super::rpc::kv_client::KvClient;
use super::rpc::lease_client::LeaseClient;
use super::rpc::maintenance_client::MaintenanceClient;
use super::rpc::request_op::Request as Op;
use super::rpc::response_op::Response as OpResponse;
use super::rpc::watch_client::WatchClient;
use super::rpc::{
    AuthenticateRequest, Compare, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest,
    RangeResponse, RequestOp, StatusRequest, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_request,
};
use super::url::EtcdUrl;
use crate::OpenError;

/// How long to wait for one member's answer. A leader election takes one to two seconds.
const CALL: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(2);
/// A member that says nothing for so long has its connection closed.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// Largest answer that is taken. Pages are far smaller; this bounds what a confused server can make us hold.
const MAX_ANSWER: usize = 32 << 20;

/// Connections to all members, made when first used.
pub(super) struct Client {
    members: Vec<(String, Channel)>,
    current: AtomicUsize,
    login: Option<(String, std::path::PathBuf)>,
    token: Mutex<Option<AsciiMetadataValue>>,
}

impl Client {
    /// Errors: files that can't be read or used.
    pub(super) fn new(url: &EtcdUrl) -> Result<Self, OpenError> {
        let scheme = if url.is_tls { "https" } else { "http" };
        let tls = if url.is_tls { Some(tls(url)?) } else { None };
        let connect = |host: &String| {
            let refuse = |err: &dyn std::fmt::Display| OpenError::Etcd {
                url: url.to_string(),
                reason: format!("{host} can't be used: {err}"),
            };
            let mut endpoint = Endpoint::from_shared(format!("{scheme}://{host}")).map_err(|err| refuse(&err))?;
            endpoint = endpoint.connect_timeout(CONNECT).tcp_nodelay(true);
            endpoint = endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE);
            endpoint = endpoint.keep_alive_while_idle(true);
            if let Some(tls) = &tls {
                endpoint = endpoint.tls_config(tls.clone()).map_err(|err| refuse(&err))?;
            }
            Ok((host.clone(), endpoint.connect_lazy()))
        };
        let members = url.endpoints.iter().map(connect).collect::<Result<Vec<_>, OpenError>>()?;
        let login = url.user.clone().zip(url.password_file.clone());
        Ok(Self { members, current: AtomicUsize::new(0), login, token: Mutex::default() })
    }

    fn member(&self) -> (usize, &str, Channel) {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        let (name, channel) = &self.members[at];
        (at, name, channel.clone())
    }

    /// The next call asks another member than the one that failed; who failed last does not matter if others moved on.
    fn avoid(&self, failed: usize) {
        let next = (failed + 1) % self.members.len();
        let _ = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// One attempt at one member. The token is renewed once if it is over.
    async fn attempt<T, R, F>(
        &self,
        body: T,
        limit: Duration,
        call: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<R, EtcdError>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let (at, name, channel) = self.member();
        for is_last in [false, true] {
            let mut request = Request::new(body.clone());
            request.set_timeout(limit);
            if let Some(token) = self.token(name, &channel).await? {
                request.metadata_mut().insert("token", token);
            }
            let answer = tokio::time::timeout(limit, call(channel.clone(), request)).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs())),
            };
            if self.login.is_some() && EtcdError::is_old_token(&status) && !is_last {
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
                continue;
            }
            let err = EtcdError::from_status(name, &status);
            if matches!(err, EtcdError::Unreachable { .. }) {
                self.avoid(at);
            }
            return Err(err);
        }
        unreachable!("the last attempt returns")
    }

    /// As [`Client::attempt`], at every member until one answers. For calls that may be made twice.
    async fn anywhere<T, R, F>(&self, body: T, call: impl Fn(Channel, Request<T>) -> F) -> Result<R, EtcdError>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut last = None;
        for _ in 0..=self.members.len() {
            match self.attempt(body.clone(), CALL, &call).await {
                Err(err @ EtcdError::Unreachable { .. }) => last = Some(err),
                outcome => return outcome,
            }
        }
        Err(last.expect("there is at least one member"))
    }

    async fn token(&self, name: &str, channel: &Channel) -> Result<Option<AsciiMetadataValue>, EtcdError> {
        let Some((user, file)) = &self.login else { return Ok(None) };
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Some(token));
        }
        let credentials = |reason: String| EtcdError::Credentials { endpoint: name.to_owned(), reason };
        // Read each time: a password that was changed is taken up without a restart.
        let password = std::fs::read_to_string(file)
            .map_err(|err| credentials(format!("can't read the password file {}: {err}", file.display())))?;
        let request = AuthenticateRequest {
            name: user.clone(),
            password: password.lines().next().unwrap_or_default().to_owned(),
        };
        let answer = tokio::time::timeout(CALL, AuthClient::new(channel.clone()).authenticate(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to the login")));
        let token = answer.map_err(|status| EtcdError::from_status(name, &status))?.into_inner().token;
        let token: AsciiMetadataValue =
            MetadataValue::try_from(token).map_err(|_| credentials("its token is not printable".into()))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    /// One page of a range. Linearizable.
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.anywhere(request, |channel, request| async move {
            KvClient::new(channel).max_decoding_message_size(MAX_ANSWER).range(request).await
        })
        .await
    }

    /// Every pair from `from` to before `to`, in pages, as of one etcd revision (that of the first page, or `at`).
    ///
    /// `page` is given each page; it ends with an error when `page` does. Errors: [`EtcdError::Compacted`] when etcd
    /// compacts that revision meanwhile: begin again.
    pub(super) async fn pages(
        &self,
        mut from: Vec<u8>,
        to: &[u8],
        at: Option<i64>,
        keys_only: bool,
        mut page: impl FnMut(Vec<KeyValue>) -> Result<bool, EtcdError>,
    ) -> Result<(), EtcdError> {
        /// With [`super::blob::MAX_INLINE`] at most 3 MiB.
        const PAGE: i64 = 256;
        let mut revision = at.unwrap_or(0);
        loop {
            let request = RangeRequest {
                key: from.clone(),
                range_end: to.to_vec(),
                limit: PAGE,
                revision,
                keys_only,
                ..RangeRequest::default()
            };
            let answer = self.range(request).await?;
            if revision == 0 {
                revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            if let Some(last) = answer.kvs.last() {
                from.clone_from(&last.key);
                from.push(0);
            }
            if !page(answer.kvs)? || !answer.more {
                return Ok(());
            }
        }
    }

    /// A transaction that only reads: every range at one and the same revision, which is given with the answers.
    pub(super) async fn read(&self, ranges: Vec<RangeRequest>) -> Result<(i64, Vec<RangeResponse>), EtcdError> {
        let success = ranges.into_iter().map(|range| RequestOp { request: Some(Op::RequestRange(range)) }).collect();
        let request = TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
        let answer = self
            .anywhere(request, |channel, request| async move {
                KvClient::new(channel).max_decoding_message_size(MAX_ANSWER).txn(request).await
            })
            .await?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        Ok((revision, ranges_of(answer)))
    }

    /// A transaction, tried once: after [`EtcdError::Unreachable`] it may have been done.
    pub(super) async fn txn(
        &self,
        compare: Vec<Compare>,
        success: Vec<RequestOp>,
        failure: Vec<RequestOp>,
    ) -> Result<TxnResponse, EtcdError> {
        let request = TxnRequest { compare, success, failure };
        self.attempt(request, CALL, |channel, request| async move { KvClient::new(channel).txn(request).await }).await
    }

    /// Follows changes from `from` to before `to`, from etcd's revision `start` on.
    pub(super) async fn watch(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        start: i64,
    ) -> Result<Streaming<WatchResponse>, EtcdError> {
        let create = WatchCreateRequest { key: from, range_end: to, start_revision: start, progress_notify: true };
        let (at, name, channel) = self.member();
        let first = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
        // The request stream stays open as long as the watch is wanted.
        let requests = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
        let mut request = Request::new(requests);
        if let Some(token) = self.token(name, &channel).await? {
            request.metadata_mut().insert("token", token);
        }
        // A member that has lost its leader ends the watch instead of keeping silent.
        request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        let mut client = WatchClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let answer = tokio::time::timeout(CALL, client.watch(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to the watch")));
        answer.map(Response::into_inner).map_err(|status| {
            if EtcdError::is_old_token(&status) {
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.avoid(at);
            EtcdError::from_status(name, &status)
        })
    }

    /// A new lease; etcd chooses its number.
    pub(super) async fn lease_grant(&self, ttl_s: i64) -> Result<i64, EtcdError> {
        let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
        let answer = self
            .anywhere(request, |channel, request| async move { LeaseClient::new(channel).lease_grant(request).await })
            .await?;
        Ok(answer.id)
    }

    /// Ends a lease. Asked twice, the second time it is not found.
    pub(super) async fn lease_revoke(&self, id: i64) -> Result<(), EtcdError> {
        let request = LeaseRevokeRequest { id };
        self.anywhere(request, |channel, request| async move { LeaseClient::new(channel).lease_revoke(request).await })
            .await
            .map(drop)
    }

    /// Starts a lease's time again.
    pub(super) async fn lease_keepalive(&self, id: i64) -> Result<(), EtcdError> {
        let answer = self
            .anywhere((), |channel: Channel, request: Request<()>| async move {
                let (metadata, ..) = request.into_parts();
                let once = tokio_stream::once(LeaseKeepAliveRequest { id });
                let request = Request::from_parts(metadata, tonic::Extensions::default(), once);
                let mut answers = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
                match answers.message().await? {
                    Some(answer) => Ok(Response::new(answer)),
                    None => Err(Status::unavailable("the stream ended without an answer")),
                }
            })
            .await?;
        if answer.ttl > 0 { Ok(()) } else { Err(EtcdError::LeaseNotFound { endpoint: self.member().1.to_owned() }) }
    }

    /// The version of the member that answers.
    pub(super) async fn version(&self) -> Result<String, EtcdError> {
        let answer = self
            .anywhere(StatusRequest {}, |channel, request| async move {
                MaintenanceClient::new(channel).status(request).await
            })
            .await?;
        Ok(answer.version)
    }
}

/// The answers of a transaction's ranges, in order.
pub(super) fn ranges_of(answer: TxnResponse) -> Vec<RangeResponse> {
    let ranges = answer.responses.into_iter().filter_map(|op| match op.response {
        Some(OpResponse::ResponseRange(range)) => Some(range),
        _ => None,
    });
    ranges.collect()
}

fn tls(url: &EtcdUrl) -> Result<ClientTlsConfig, OpenError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| OpenError::Io { action: "read", path: path.to_owned(), source })
    };
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = &url.ca {
        tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let Some((cert, key)) = &url.cert {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(name) = &url.server_name {
        tls = tls.domain_name(name.clone());
    }
    Ok(tls)
}

/// A request for one key.
pub(super) fn one(key: Vec<u8>) -> RangeRequest {
    RangeRequest { key, ..RangeRequest::default() }
}
