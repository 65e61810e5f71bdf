//! The API as it is spoken: every endpoint and what answers it.

use std::sync::Arc;

use futures::StreamExt;
use lustre_api::backup::{BackupLine, TakeBackup};
use lustre_api::event::{Event, GetHistory, StreamEvents};
use lustre_api::export::{GetLnet, ListExports};
use lustre_api::filesystem::{DeleteFilesystem, GetFilesystem, ListFilesystems, PutFilesystem};
use lustre_api::job::{CancelJob, ExplainJob, GetJob, Job, ListJobs, RetryJob, WatchJobs};
use lustre_api::log::{GetLog, GetLogRaw, ListLogs};
use lustre_api::mgs::{GetMgs, GetReady, GetSnapshot};
use lustre_api::node::{
    AnnounceNode, DeleteNode, GetNode, GetNodeInventory, Heartbeat, ListNodes, PutNodeSettings, RelayHeartbeats,
};
use lustre_api::nodemap::{
    ConfirmNodemap, ConfirmNodemapsActive, DeleteNodemap, GetNodemap, ListNodemaps, PostRemoveNodemap, PutNodemap,
    PutNodemapsActive,
};
use lustre_api::operation::{
    PauseJob, PostAddFailoverNode, PostDeregister, PostEvacuate, PostFailback, PostFailover, PostGrow, PostMove,
    PostRelabel, PostRemoveFailoverNode, PostReplaceNids, PostScan, PostScanNodes, PostStopWithin, PostWriteconf,
    ResumeJob,
};
use lustre_api::param::{DeleteParam, GetCatalogue, GetParam, ListParams, PutParam};
use lustre_api::param_set::PutParams;
use lustre_api::plan::PostPlan;
use lustre_api::pool::{DeletePool, GetPool, ListPools, PutPool};
use lustre_api::proof::{
    ConfirmParam, DeleteTemporaryParam, DiffParams, ExplainParam, ListTemporaryParams, PostProveParams,
    PostRemoveParam, PostRevertParams, PostSpreadParam, PutParamCarefully, SetTemporaryParam,
};
use lustre_api::proxy::{EnsureProxy, RemoveProxy};
use lustre_api::source::{GetSource, ReadSource};
use lustre_api::target::{
    ConfirmTarget, DeregisterTarget, GetTarget, ListTargets, PostTarget, RegisterTarget, ReserveTarget, StartTarget,
    StopTarget,
};
use lustre_api::webhook::ListWebhooks;
use lustre_api::{Endpoint, Problem};
use lustre_mgs_core::decide::operate::failover_node::Way;
use rest::{Call, Frame, Server};

use crate::api::Api;
use crate::engine::Caller;

/// Every endpoint of the MGS.
pub fn server(api: Arc<Api>) -> Server<Api> {
    Server::new(api, "Lustre MGS", env!("CARGO_PKG_VERSION"))
        .route::<GetMgs, _, _>(|api, _| async move { Ok(api.get_mgs()) })
        .route::<GetReady, _, _>(|api, _| async move { api.get_ready().await })
        .route::<GetSnapshot, _, _>(|api, call| async move { api.get_snapshot(&call.query).await })
        .route::<ListFilesystems, _, _>(|api, call| async move { api.list_filesystems(&call.query) })
        .route::<GetFilesystem, _, _>(|api, call| async move { api.get_filesystem(&call.path) })
        .route::<PutFilesystem, _, _>(|api, call| async move {
            api.put_filesystem(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<DeleteFilesystem, _, _>(|api, call| async move {
            api.delete_filesystem(&caller(&call), &call.path, &call.query).await
        })
        .route::<ListTargets, _, _>(|api, call| async move { api.list_targets(&call.query) })
        .route::<GetTarget, _, _>(|api, call| async move { api.get_target(&call.path) })
        .route::<PostTarget, _, _>(|api, call| async move {
            api.ensure_target(&caller(&call), &call.query, call.body).await
        })
        .route::<ReserveTarget, _, _>(|api, call| async move {
            api.reserve_target(&caller(&call), &call.query, call.body).await
        })
        .route::<RegisterTarget, _, _>(|api, call| async move {
            api.register_target(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<ConfirmTarget, _, _>(|api, call| async move {
            api.confirm_target(&caller(&call), &call.path, &call.query).await
        })
        .route::<StartTarget, _, _>(|api, call| async move {
            api.start_target(&caller(&call), &call.path, &call.query).await
        })
        .route::<StopTarget, _, _>(
            |api, call| async move { api.stop_target(&caller(&call), &call.path, &call.query).await },
        )
        .route::<DeregisterTarget, _, _>(|api, call| async move {
            api.deregister_target(&caller(&call), &call.path, &call.query).await
        })
        .route::<PostWriteconf, _, _>(|api, call| async move {
            api.writeconf_filesystem(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostGrow, _, _>(|api, call| async move {
            api.grow_filesystem(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostMove, _, _>(|api, call| async move {
            api.move_target(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostReplaceNids, _, _>(|api, call| async move {
            api.replace_nids(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostEvacuate, _, _>(|api, call| async move {
            api.evacuate_target(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostStopWithin, _, _>(|api, call| async move {
            api.stop_target_within(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostDeregister, _, _>(|api, call| async move {
            api.deregister_target_from(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostRelabel, _, _>(|api, call| async move {
            api.relabel_target(&caller(&call), &call.path, &call.query).await
        })
        .route::<PostAddFailoverNode, _, _>(|api, call| async move {
            api.change_failover_node(&caller(&call), &call.path, &call.query, call.body, Way::Add).await
        })
        .route::<PostRemoveFailoverNode, _, _>(|api, call| async move {
            api.change_failover_node(&caller(&call), &call.path, &call.query, call.body, Way::Remove).await
        })
        .route::<PostFailover, _, _>(|api, call| async move {
            api.failover_node(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostFailback, _, _>(|api, call| async move {
            api.failback_node(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostScan, _, _>(|api, call| async move {
            api.scan_node(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostScanNodes, _, _>(|api, call| async move {
            api.scan_nodes(&caller(&call), &call.query, call.body).await
        })
        .route::<PauseJob, _, _>(|api, call| async move {
            api.pause_job(&caller(&call), &call.path, &call.query, true).await
        })
        .route::<ResumeJob, _, _>(|api, call| async move {
            api.pause_job(&caller(&call), &call.path, &call.query, false).await
        })
        .route::<ListParams, _, _>(|api, call| async move { api.list_params(&call.query) })
        .route::<GetParam, _, _>(|api, call| async move { api.get_param(&call.path) })
        .route::<PutParam, _, _>(|api, call| async move {
            api.put_param(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PutParams, _, _>(
            |api, call| async move { api.put_params(&caller(&call), &call.query, call.body).await },
        )
        .route::<DeleteParam, _, _>(|api, call| async move {
            api.delete_param(&caller(&call), &call.path, &call.query, None).await
        })
        .route::<ExplainParam, _, _>(|api, call| async move { api.explain_param(&call.path).await })
        .route::<PutParamCarefully, _, _>(|api, call| async move {
            api.put_param_carefully(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostRemoveParam, _, _>(|api, call| async move {
            api.delete_param(&caller(&call), &call.path, &call.query, call.body.confirm_within_s).await
        })
        .route::<PostRemoveNodemap, _, _>(|api, call| async move {
            api.delete_nodemap(&caller(&call), &call.path, &call.query, call.body.confirm_within_s).await
        })
        .route::<PostSpreadParam, _, _>(|api, call| async move {
            api.spread_param(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PostProveParams, _, _>(|api, call| async move { api.prove_params(&call.body).await })
        .route::<ConfirmParam, _, _>(|api, call| async move {
            api.confirm_param(&caller(&call), &call.path, &call.query).await
        })
        .route::<ListTemporaryParams, _, _>(|api, _| async move { api.list_temporary_params().await })
        .route::<SetTemporaryParam, _, _>(|api, call| async move {
            api.set_temporary_param(&caller(&call), &call.query, call.body).await
        })
        .route::<DeleteTemporaryParam, _, _>(|api, call| async move {
            api.delete_temporary_param(&caller(&call), &call.path, &call.query).await
        })
        .route::<DiffParams, _, _>(|api, call| async move { api.diff_params(&call.query).await })
        .route::<PostRevertParams, _, _>(|api, call| async move {
            api.post_revert_params(&caller(&call), &call.query, call.body).await
        })
        .route::<ListNodemaps, _, _>(|api, _| async move { Ok(api.list_nodemaps()) })
        .route::<GetNodemap, _, _>(|api, call| async move { api.get_nodemap(&call.path) })
        .route::<PutNodemap, _, _>(|api, call| async move {
            api.put_nodemap(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<PutNodeSettings, _, _>(|api, call| async move {
            api.put_node_settings(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<DeleteNodemap, _, _>(|api, call| async move {
            api.delete_nodemap(&caller(&call), &call.path, &call.query, None).await
        })
        .route::<ConfirmNodemap, _, _>(|api, call| async move {
            api.confirm_nodemap(&caller(&call), &call.path, &call.query).await
        })
        .route::<PutNodemapsActive, _, _>(|api, call| async move {
            api.put_nodemaps_active(&caller(&call), &call.query, call.body).await
        })
        .route::<ConfirmNodemapsActive, _, _>(|api, call| async move {
            api.confirm_nodemaps_active(&caller(&call), &call.query).await
        })
        .route::<GetCatalogue, _, _>(|api, call| async move { Ok(api.get_catalogue(&call.query)) })
        .route::<ListLogs, _, _>(|api, call| async move { api.list_logs(&call.query) })
        .raw::<GetLog, _, _>(|api, call| async move { api.get_log(&call.path, &call.query) })
        .raw::<GetLogRaw, _, _>(|api, call| async move { api.get_log_raw(&call.path) })
        .route::<ListPools, _, _>(|api, call| async move { api.list_pools(&call.query) })
        .route::<GetPool, _, _>(|api, call| async move { api.get_pool(&call.path) })
        .route::<PutPool, _, _>(|api, call| async move {
            api.put_pool(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<DeletePool, _, _>(
            |api, call| async move { api.delete_pool(&caller(&call), &call.path, &call.query).await },
        )
        .route::<AnnounceNode, _, _>(|api, call| async move {
            api.announce_node(&caller(&call), &call.path, &call.query, call.body).await
        })
        .route::<Heartbeat, _, _>(|api, call| async move { api.heartbeat(&call.path) })
        .route::<RelayHeartbeats, _, _>(|api, call| async move { Ok(api.relay_heartbeats(&call.body)) })
        .route::<ListNodes, _, _>(|api, call| async move { api.list_nodes(&call.query) })
        .route::<GetNode, _, _>(|api, call| async move { api.get_node(&call.path) })
        .route::<GetNodeInventory, _, _>(|api, call| async move { api.get_node_inventory(&call.path).await })
        .route::<EnsureProxy, _, _>(|api, call| async move {
            api.ensure_mgs_proxy(&caller(&call), &call.path, &call.query).await
        })
        .route::<RemoveProxy, _, _>(|api, call| async move {
            api.remove_mgs_proxy(&caller(&call), &call.path, &call.query).await
        })
        .route::<DeleteNode, _, _>(
            |api, call| async move { api.delete_node(&caller(&call), &call.path, &call.query).await },
        )
        .route::<ListJobs, _, _>(|api, call| async move { api.list_jobs(&call.query) })
        .route::<GetJob, _, _>(|api, call| async move { api.get_job(&call.path, &call.query).await })
        .stream::<WatchJobs, _, _>(jobs)
        .route::<RetryJob, _, _>(|api, call| async move { api.retry_job(&caller(&call), &call.path).await })
        .route::<ExplainJob, _, _>(|api, call| async move { api.explain_job(&caller(&call), &call.path) })
        .route::<CancelJob, _, _>(|api, call| async move { api.cancel_job(&caller(&call), &call.path).await })
        .route::<GetLnet, _, _>(|api, _| async move { Ok(api.get_lnet()) })
        .route::<ListExports, _, _>(|api, call| async move { api.list_exports(&call.query) })
        .route::<PostPlan, _, _>(|api, call| async move { api.plan(&call.body).await })
        .route::<GetSource, _, _>(|api, _| async move { api.get_source() })
        .route::<ReadSource, _, _>(|api, call| async move { api.read_source(&call.query).await })
        .route::<GetHistory, _, _>(|api, call| async move { api.get_history(&call.query).await })
        .route::<ListWebhooks, _, _>(|api, _| async move { Ok(api.webhooks.show(api.engine.store().head())) })
        .stream::<StreamEvents, _, _>(events)
        .stream::<TakeBackup, _, _>(backup)
}

async fn events(api: Arc<Api>, mut call: Call<StreamEvents>) -> Result<rest::Events<Event>, Problem> {
    call.query.after = resume(&call, call.query.after)?;
    api.stream_events(&call.query).await
}

async fn jobs(api: Arc<Api>, mut call: Call<WatchJobs>) -> Result<rest::Events<Job>, Problem> {
    call.query.after = resume(&call, call.query.after)?;
    let news = api.watch_jobs(call.query)?;
    Ok(news.map(|news| news.map(|(revision, job)| Frame::new(revision, &job))).boxed())
}

async fn backup(api: Arc<Api>, _: Call<TakeBackup>) -> Result<rest::Events<BackupLine>, Problem> {
    Ok(api.take_backup())
}

/// Where a stream begins: behind what the caller says that it saw last, whatever the address of its first call says.
fn resume<E: Endpoint>(call: &Call<E>, after: Option<u64>) -> Result<Option<u64>, Problem> {
    let Some(id) = &call.last_event_id else { return Ok(after) };
    let revision = id.parse().map_err(|_| {
        Problem::invalid(format!("the header Last-Event-ID says {id:?}; ids of events are revisions"))
            .attribute("Last-Event-ID")
    });
    revision.map(Some)
}

/// Who is kept in the history.
fn caller<E: Endpoint>(call: &Call<E>) -> Caller {
    Caller::new(call.caller.to_string())
}
