//! Runs a plan: open what must be open, start the pipeline, read until told to stop, drain, say what became of it all.

use super::plan::Plan;
use super::state_dir::{StateDir, StateError};
use super::status::{SourceStatus, Status};
use crate::buffer;
use crate::clock;
#[cfg(feature = "identity")]
use crate::credential::Credential;
#[cfg(feature = "downlink")]
use crate::downlink::{self, Inbox};
use crate::exit::Exit;
#[cfg(feature = "identity")]
use crate::identity;
use crate::pipeline::{self, RunError};
#[cfg(feature = "roughtime")]
use crate::roughtime;
use crate::sinks::{Context, SinkError};
use crate::sources;
#[cfg(feature = "downlink")]
use crate::sources::downlink::DownlinkSource;
#[cfg(feature = "downlink")]
use crate::stats::DownlinkStats;
use crate::stats::SinkStats;
use sd_notify::NotifyState;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often the status file is rewritten.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How often the status file is rewritten in the first moments, so that a monitor sees a start at once.
const STATUS_INTERVAL_EARLY: Duration = Duration::from_millis(100);
/// How long the first moments are.
const EARLY: Duration = Duration::from_secs(5);
/// Part of the drain bound within which devices must be closed.
const SOURCES_SHARE: f64 = 0.3;
/// Part of the drain bound that a sink may spend on delivery; the rest is for the nodes before it.
const DELIVERY_SHARE: f64 = 0.6;

/// Why the agent could not run, or ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A sink cannot be opened.
    #[error("{what}.\n  Remedy: {remedy}.", what = chain(_0), remedy = remedy(_0))]
    Sink(#[from] SinkError),
    /// An inbox cannot be opened.
    #[cfg(feature = "downlink")]
    #[error("the inbox of source {name:?}: {source}.\n  Remedy: {remedy}.", remedy = buffer_remedy(source))]
    Inbox {
        /// Name of the source.
        name: String,
        /// Why.
        source: buffer::Error,
    },
    /// The runtime directory.
    #[error(
        "cannot write the status file {path}: {source}.\n  Remedy: make agent.runtime_dir a directory that the agent's user owns, best on a tmpfs.",
        path = path.display()
    )]
    Status {
        /// The status file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no signals, or no entropy.
    #[error("cannot start: {0}")]
    Start(String),
    /// A node failed.
    #[error("{what}", what = chain(_0))]
    Node(RunError),
}

fn remedy(error: &SinkError) -> &'static str {
    #[cfg(feature = "live")]
    if let SinkError::Listen { .. } = error {
        return "make agent.runtime_dir a directory that the agent's user owns, and stop another agent that uses it";
    }
    let SinkError::Buffer { source, .. } = error else {
        return "free space, or correct the path and its permissions";
    };
    buffer_remedy(source)
}

fn buffer_remedy(error: &buffer::Error) -> &'static str {
    match error {
        buffer::Error::Io { .. } => "free space, or correct the permissions of agent.state_dir",
        buffer::Error::Locked { .. } => "stop the other agent",
        buffer::Error::Version { .. } => "run the newer dunlin; nothing was changed",
        _ => "correct the sizes in its table",
    }
}

/// An error and the causes below it, each after a colon.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

impl RunFailure {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            RunFailure::State(_) | RunFailure::Sink(_) | RunFailure::Status { .. } => Exit::State,
            #[cfg(feature = "downlink")]
            RunFailure::Inbox { .. } => Exit::State,
            RunFailure::Node(RunError::DrainBound { .. }) => Exit::Drain,
            RunFailure::Start(_) | RunFailure::Node(_) => Exit::Internal,
        }
    }
}

/// Everything that is open before the first record flows.
struct Opened {
    plan: Plan,
    status: Arc<Status>,
    /// By the sink whose session fills them.
    #[cfg(feature = "downlink")]
    inboxes: BTreeMap<String, Arc<Inbox>>,
    #[cfg(feature = "identity")]
    credential: Option<Arc<Credential>>,
    // Held to the end: it is the lock that keeps other agents out.
    _state: StateDir,
}

/// Runs a plan on the current thread until SIGTERM or SIGINT, then drains. `runtime` is not running yet.
pub fn run(plan: Plan, runtime: &tokio::runtime::Runtime) -> Result<Exit, RunFailure> {
    let started_ns = clock::monotonic_ns();
    // Before anything is opened: a SIGTERM that comes while a large buffer is recovered means an orderly end as well.
    let entered = runtime.enter();
    let stop = Stop::listen()?;
    drop(entered);
    let opened = open(plan, started_ns)?;
    runtime.block_on(serve(opened, stop))
}

fn open(mut plan: Plan, started_ns: u64) -> Result<Opened, RunFailure> {
    let state = StateDir::open(&plan.settings.state_dir)?;
    let clock_file = state.clock();
    clock::start(plan.settings.clock, clock_file.stored_s());
    let nonce =
        dunlin_crypto::random_u32().map_err(|error| RunFailure::Start(error.to_string()))?;
    let boot = state.next_boot(nonce)?;
    let agent: Arc<str> = plan.settings.name.as_str().into();
    #[cfg(feature = "identity")]
    let credential = plan
        .identity
        .as_ref()
        .map(|identity| Credential::new(identity.dir.clone(), identity.key.clone()));
    #[cfg(feature = "downlink")]
    let (inboxes, downlink_stats) = open_inboxes(&plan, &state)?;
    let mut sink_stats = BTreeMap::new();
    for (name, sink) in &mut plan.sinks {
        let stats = Arc::new(SinkStats::default());
        stats.state.set("starting");
        sink.open(&Context {
            agent: Arc::clone(&agent),
            boot,
            stats: Arc::clone(&stats),
            state_dir: state.sink(name)?,
            #[cfg(feature = "live")]
            runtime_dir: plan.settings.runtime_dir.clone(),
            drain: plan.settings.drain_timeout.mul_f64(DELIVERY_SHARE),
            #[cfg(feature = "downlink")]
            inbox: inboxes.get(name).cloned(),
            #[cfg(feature = "identity")]
            credential: credential.clone(),
        })?;
        sink_stats.insert(name.clone(), stats);
    }
    let file = plan.settings.status_file();
    let reading = plan.sources.iter().map(|source| source.name().to_owned());
    let names = reading.chain(plan.keeping_sources().into_iter().cloned());
    let sources = names.map(|name| (name, SourceStatus::default()));
    let status = Arc::new(Status {
        agent,
        boot,
        started_ns,
        sources: sources.collect(),
        #[cfg(feature = "telemetry")]
        transforms: tallies(&plan),
        #[cfg(feature = "downlink")]
        downlinks: downlink_stats,
        sinks: sink_stats,
        skipped: plan.graph.skipped().clone(),
        #[cfg(feature = "identity")]
        identity: credential.as_ref().map(|_| Arc::default()),
        #[cfg(feature = "roughtime")]
        time: plan.time.as_ref().map(|_| Arc::default()),
        file: file.clone(),
        clock_file: Mutex::new(clock_file),
    });
    std::fs::create_dir_all(&plan.settings.runtime_dir)
        .and_then(|()| status.write())
        .map_err(|source| RunFailure::Status { path: file, source })?;
    Ok(Opened {
        plan,
        status,
        #[cfg(feature = "downlink")]
        inboxes,
        #[cfg(feature = "identity")]
        credential,
        _state: state,
    })
}

/// The inboxes by the sink whose session fills them, and what they count by their source.
#[cfg(feature = "downlink")]
type Inboxes = (
    BTreeMap<String, Arc<Inbox>>,
    BTreeMap<String, Arc<DownlinkStats>>,
);

#[cfg(feature = "downlink")]
fn open_inboxes(plan: &Plan, state: &StateDir) -> Result<Inboxes, RunFailure> {
    let mut inboxes = BTreeMap::new();
    let mut downlink_stats = BTreeMap::new();
    for settings in &plan.downlinks {
        let stats = Arc::new(DownlinkStats::default());
        let dir = state.source(&settings.name)?.join("inbox");
        let inbox = Inbox::open(settings.clone(), &dir, Arc::clone(&stats)).map_err(|source| {
            RunFailure::Inbox {
                name: settings.name.clone(),
                source,
            }
        })?;
        inboxes.insert(settings.uplink.clone(), Arc::new(inbox));
        downlink_stats.insert(settings.name.clone(), stats);
    }
    Ok((inboxes, downlink_stats))
}

/// What the transforms of a plan count.
#[cfg(feature = "telemetry")]
fn tallies(plan: &Plan) -> std::collections::BTreeMap<String, Arc<crate::stats::Tally>> {
    use pipeline::Transform as _;
    let each = plan.transforms.iter();
    each.filter_map(|(name, transform)| Some((name.clone(), transform.tally()?)))
        .collect()
}

/// Signals that mean stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    // A terminal that was closed is no reason to lose what was read.
    hangup: Signal,
}

impl Stop {
    fn listen() -> Result<Stop, RunFailure> {
        let on = |kind| signal(kind).map_err(|error| RunFailure::Start(error.to_string()));
        Ok(Stop {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

const PLANNED: &str = "every source of the plan is in its graph";

/// Tasks that end with the name of the source.
type Sources = JoinSet<String>;

fn start_sources(
    settings: Vec<sources::Settings>,
    running: &mut pipeline::Running,
    status: &Status,
    stopped: &watch::Receiver<bool>,
) -> Sources {
    let mut sources = JoinSet::new();
    for settings in settings {
        let name = settings.name().to_owned();
        let outlet = running.outlet(&name).expect(PLANNED);
        let said = &status.sources[&name];
        let (stats, ledger) = (Arc::clone(&said.stats), Arc::clone(&said.ledger));
        let stopped = stopped.clone();
        sources.spawn(async move {
            settings.run(outlet, stopped, stats, ledger).await;
            name
        });
    }
    sources
}

/// Each inbox is with its sink and its source from here on, and ends with them.
#[cfg(feature = "downlink")]
fn start_downlinks(
    settings: &[downlink::Settings],
    inboxes: BTreeMap<String, Arc<Inbox>>,
    running: &mut pipeline::Running,
    status: &Status,
    stopped: &watch::Receiver<bool>,
    sources: &mut Sources,
) {
    for settings in settings {
        let name = settings.name.clone();
        let outlet = running.outlet(&name).expect(PLANNED);
        let said = &status.sources[&name];
        let inbox = Arc::clone(&inboxes[&settings.uplink]);
        let (stats, ledger) = (Arc::clone(&said.stats), Arc::clone(&said.ledger));
        let source = DownlinkSource::new(settings, inbox, stats, ledger);
        let stopped = stopped.clone();
        sources.spawn(async move {
            source.run(outlet, stopped).await;
            name
        });
    }
    drop(inboxes);
}

async fn serve(opened: Opened, mut stop: Stop) -> Result<Exit, RunFailure> {
    let Opened {
        plan,
        status,
        #[cfg(feature = "downlink")]
        inboxes,
        #[cfg(feature = "identity")]
        credential,
        _state,
    } = opened;
    #[cfg(feature = "identity")]
    let identity = async {
        if let (Some(settings), Some(credential), Some(stats)) =
            (plan.identity, credential, status.identity.clone())
        {
            identity::keep(settings, credential, stats).await;
        }
        std::future::pending::<()>().await;
    };
    #[cfg(not(feature = "identity"))]
    let identity = std::future::pending::<()>();
    #[cfg(feature = "roughtime")]
    let time = async {
        if let (Some(settings), Some(stats)) = (plan.time, status.time.clone()) {
            roughtime::keep(settings, stats).await;
        }
        std::future::pending::<()>().await;
    };
    #[cfg(not(feature = "roughtime"))]
    let time = std::future::pending::<()>();
    let mut running = pipeline::start(&plan.graph, plan.transforms, plan.sinks, plan.queue_batches);
    let (stop_sources, stopped) = watch::channel(false);
    let mut sources = start_sources(plan.sources, &mut running, &status, &stopped);
    #[cfg(feature = "downlink")]
    start_downlinks(
        &plan.downlinks,
        inboxes,
        &mut running,
        &status,
        &stopped,
        &mut sources,
    );
    notify(&[NotifyState::Ready]);
    tracing::info!(agent = %status.agent, boot = %status.boot, "running");

    // While the pipeline drains neither a certificate nor the time is asked for.
    let failure = tokio::select! {
        () = identity => None,
        () = time => None,
        () = stop.next() => None,
        error = running.failure() => Some(error),
        () = tell(&status) => None,
    };
    notify(&[NotifyState::Stopping]);
    if let Some(error) = failure {
        // A node failed: what it held is not acknowledged, and the next start begins from what is stored.
        finish(&status);
        return Err(RunFailure::Node(error));
    }
    let bound = plan.settings.drain_timeout;
    let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(bound_ms, "draining");
    let deadline = Instant::now() + bound;
    let _ = stop_sources.send(true);
    let drain = async {
        let mut late: BTreeSet<String> = status.sources.keys().cloned().collect();
        let stopping = async {
            while let Some(ended) = sources.join_next().await {
                late.remove(&ended.unwrap_or_default());
            }
        };
        // A driver that does not close in time must not take the time that the delivery needs.
        let _ = timeout(bound.mul_f64(SOURCES_SHARE), stopping).await;
        sources.shutdown().await;
        let left = deadline.saturating_duration_since(Instant::now());
        let cut = |nodes: Vec<String>| RunError::DrainBound {
            bound_ms: bound.as_millis(),
            nodes,
        };
        match running.drain(left).await {
            // The bound that was configured, not what was left of it.
            Err(RunError::DrainBound { nodes, .. }) => Err(cut(nodes)),
            Ok(()) if !late.is_empty() => Err(cut(late.into_iter().collect())),
            outcome => outcome,
        }
    };
    let outcome = tokio::select! {
        outcome = drain => outcome,
        () = tell(&status) => Ok(()),
        () = stop.next() => Err(RunError::DrainBound { bound_ms: 0, nodes: vec!["stopped again".to_owned()] }),
    };
    finish(&status);
    outcome.map(|()| Exit::Ok).map_err(RunFailure::Node)
}

/// Writes the status file and feeds the watchdog for as long as it is polled.
async fn tell(status: &Arc<Status>) {
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let begun = Instant::now();
    let mut every = interval(STATUS_INTERVAL_EARLY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fed = Instant::now();
    loop {
        every.tick().await;
        if begun.elapsed() > EARLY && every.period() < STATUS_INTERVAL {
            every = interval(watchdog.map_or(STATUS_INTERVAL, |limit| limit.min(STATUS_INTERVAL)));
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        if watchdog.is_some_and(|limit| fed.elapsed() + STATUS_INTERVAL_EARLY >= limit) {
            notify(&[NotifyState::Watchdog]);
            fed = Instant::now();
        }
        // Not on this thread: a file system that hangs must not hold the sources up.
        let status = Arc::clone(status);
        let written = tokio::task::spawn_blocking(move || status.write()).await;
        if let Ok(Err(error)) = written {
            tracing::warn!("cannot write the status file: {error}");
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// The last words: what became of all records of this start.
fn finish(status: &Status) {
    let totals = status.totals();
    if let Err(error) = status.write() {
        tracing::warn!("cannot write the status file: {error}");
    }
    tracing::info!(
        produced = totals.produced,
        durable = totals.durable,
        uplinked = totals.uplinked,
        dropped = totals.dropped,
        failed = totals.failed,
        "stopped"
    );
    if totals.failed > 0 {
        tracing::error!(
            records = totals.failed,
            "read and not acknowledged: no sink could take them before the end"
        );
    }
}
