//! The agent's handle of one driver host: a process, one request at a time, a deadline on each.
//!
//! Every wait is safe to cancel: what was asked and until when, how the host is ending, and what has been received are
//! kept in the handle, never in a future.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use crate::child::{Birth, Process};
use crate::library::Description;
use crate::link::{Link, Received};
use crate::outcome::{Cause, HostError, of_exit, of_system};
use crate::protocol::{
    Context, Expect, Failure, FailureClass, LastWords, MESSAGE_MAX_BYTES, Ready, Reply, Request,
    Setup, decode_reply, encode_request,
};
use crate::reading::{Batch, Channel, Frames, Kind, Sample, Value, check_channels};
use crate::spec::Spec;
use crate::usage::UsageWatch;

/// How long a host that closed its socket may take to exit by itself before it is killed.
const EXIT_GRACE: Duration = Duration::from_millis(200);
/// Most last words of one host. It sends one for each signal, but threads that fault at the same time send their own.
const LAST_WORDS_MAX: u32 = 64;
/// How long a killed host may take to be gone. Longer only where the kernel holds it, in an uninterruptible call.
const REAP_GRACE: Duration = Duration::from_secs(2);

/// A driver host.
///
/// Dropping it kills the process.
#[derive(Debug)]
pub struct Host {
    spec: Arc<Spec>,
    process: Process,
    /// 0 until it is known.
    pid: u32,
    /// What to say once the process is there.
    setup: Option<Box<Setup>>,
    link: Link,
    /// The request that is sent, and the reply that is received: two, so that neither is filled with zeroes anew.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    sequence: u32,
    pending: Option<Pending>,
    ending: Option<Ending>,
    last_words: Option<LastWords>,
    last_words_count: u32,
    usage: Option<UsageWatch>,
    ready: Option<Box<Ready>>,
    channels: Vec<Channel>,
    kinds: Vec<Kind>,
    declared: Option<u32>,
    pub(crate) batch: Batch,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    call: &'static str,
    expect: Expect,
    cap: u32,
    deadline: Instant,
}

#[derive(Debug)]
struct Ending {
    /// Why the agent ended it; `None` = it ended by itself.
    cause: Option<(Cause, String)>,
    kill_at: Instant,
    give_up_at: Instant,
    killed: bool,
}

impl Host {
    /// Starts a host and sends it what to load. Returns at once; `describe` waits for it.
    ///
    /// The host dies with the *thread* that calls this (`PR_SET_PDEATHSIG`), so call it from a thread of the runtime,
    /// not from a blocking task. Must run inside a tokio runtime with I/O and time.
    pub fn spawn(spec: &Spec) -> Result<Host, HostError> {
        Host::spawn_shared(Arc::new(spec.clone()))
    }

    pub(crate) fn spawn_shared(spec: Arc<Spec>) -> Result<Host, HostError> {
        let (link, theirs) = Link::pair().map_err(|e| of_system("socket pair", &e))?;
        let (from, to) = std::io::pipe().map_err(|e| of_system("pipe", &e))?;
        let launcher = spec.launcher.as_deref();
        let process = Process::start(&spec.program, launcher, theirs, to.into())?;
        let from = pipe::Receiver::from_owned_fd(from.into()).map_err(|e| of_system("pipe", &e))?;
        // Ends with the pipe, so with the host.
        tokio::spawn(crate::output::forward(spec.name.clone(), from));
        let setup = Setup {
            parent_pid: 0,
            library: spec.library.clone(),
            sha256: spec.sha256,
            grants: spec.grants.clone(),
            limits: spec.limits.clone(),
        };
        let pending = Pending {
            call: "start",
            expect: Expect::Ready,
            cap: 0,
            deadline: Instant::now() + Duration::from_millis(u64::from(spec.deadline_ms)),
        };
        let own = process.birth_of_own();
        let mut host = Host {
            usage: None,
            spec,
            process,
            pid: 0,
            setup: Some(Box::new(setup)),
            link,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            sequence: 0,
            pending: Some(pending),
            ending: None,
            last_words: None,
            last_words_count: 0,
            ready: None,
            channels: Vec::new(),
            kinds: Vec::new(),
            declared: None,
            batch: Batch::default(),
        };
        if let Some(birth) = own {
            host.born(birth)?;
        }
        Ok(host)
    }

    /// The process is there: it is watched from now on, and told what to load.
    fn born(&mut self, birth: Birth) -> Result<(), HostError> {
        let Some(mut setup) = self.setup.take() else {
            return Ok(());
        };
        self.pid = birth.pid;
        self.usage = UsageWatch::new(birth.pid, &self.spec.limits);
        setup.parent_pid = birth.parent_pid;
        self.send(&Request::Setup(setup), "start")
    }

    /// Process id of the host; 0 while a launcher has not started it yet.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the driver says about itself; no device is opened for it.
    pub async fn describe(&mut self) -> Result<&Description, HostError> {
        while self.ready.is_none() {
            if self.pending.is_none() && self.ending.is_none() {
                return Err(HostError::ended(
                    Cause::Start,
                    "the driver did not load before",
                ));
            }
            self.settle().await?;
        }
        let ready = self.ready.as_ref().expect("the loop ends when it is there");
        Ok(&ready.description)
    }

    /// What of the sandbox is missing on this kernel; empty before `describe`.
    pub fn missing_sandbox(&self) -> &[String] {
        self.ready
            .as_ref()
            .map_or(&[], |ready| &ready.missing_sandbox)
    }

    /// Opens the device with the options of the spec, and asks for its channels.
    pub async fn open(&mut self) -> Result<&[Channel], HostError> {
        while !self.advance_opening().await? {}
        Ok(&self.channels)
    }

    /// The channels; empty before `open`.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Reads at most `cap` samples, waiting up to `timeout_ms` where the driver is paced.
    pub async fn read(&mut self, cap: u32, timeout_ms: u32) -> Result<&[Sample], HostError> {
        self.idle_done().await?;
        self.ask_read(false, cap, timeout_ms)?;
        self.settle().await?;
        Ok(&self.batch.samples)
    }

    /// Reads at most `cap` frames, waiting up to `timeout_ms` for the first.
    pub async fn read_frames(
        &mut self,
        cap: u32,
        timeout_ms: u32,
    ) -> Result<Frames<'_>, HostError> {
        self.idle_done().await?;
        self.ask_read(true, cap, timeout_ms)?;
        self.settle().await?;
        Ok(self.batch.frames())
    }

    /// Writes one value to a channel. Never repeated: where this fails for another reason than the device's own error,
    /// the device may or may not have taken the value.
    pub async fn write(&mut self, channel: u32, value: Value) -> Result<(), HostError> {
        self.idle_done().await?;
        let timeout_ms = self.spec.deadline_ms;
        let request = Request::Write {
            channel,
            value,
            timeout_ms,
        };
        let deadline_ms = timeout_ms.saturating_add(self.spec.slack_ms);
        self.ask(&request, "write", Expect::Written, 0, deadline_ms)?;
        self.settle().await.map(|_| ())
    }

    /// Closes the device and ends the host in good order; kills it where it is late.
    pub async fn close(mut self) -> Result<(), HostError> {
        self.idle_done().await?;
        let deadline_ms = self.spec.deadline_ms;
        self.ask(&Request::Close, "close", Expect::Closed, 0, deadline_ms)?;
        self.settle().await?;
        let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
        let ended = tokio::time::timeout_at(deadline, self.process.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(of_exit(status, self.last_words, None)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(HostError::ended(
                Cause::Hang { call: "exit" },
                "the host did not exit",
            )),
        }
    }

    /// Whether a request waits for its reply.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(crate) fn ready(&self) -> Option<&Ready> {
        self.ready.as_deref()
    }

    /// One step from started to open; true once the channels are known.
    pub(crate) async fn advance_opening(&mut self) -> Result<bool, HostError> {
        if self.pending.is_some() {
            self.settle().await?;
        }
        let deadline_ms = self.spec.deadline_ms;
        match self.declared {
            None => {
                let open = Request::Open(self.spec.options.clone());
                // The host calls open and channels for this, each with the device's deadline.
                let both_ms = deadline_ms.saturating_mul(2);
                self.ask(&open, "open", Expect::Opened, 0, both_ms)?;
                Ok(false)
            }
            Some(declared) if self.channels.len() < usize::try_from(declared).unwrap_or(0) => {
                let from = u32::try_from(self.channels.len()).unwrap_or(u32::MAX);
                let page = Request::Channels { from };
                self.ask(&page, "channels", Expect::Channels, 0, deadline_ms)?;
                Ok(false)
            }
            Some(declared) => {
                if self.channels.len() != usize::try_from(declared).unwrap_or(0) {
                    return Err(self
                        .condemn(Cause::Contract, "more channels than declared")
                        .await);
                }
                if let Err(detail) = check_channels(&self.channels) {
                    return Err(self.condemn(Cause::Contract, &detail).await);
                }
                self.kinds = self.channels.iter().map(|channel| channel.kind).collect();
                Ok(true)
            }
        }
    }

    /// Asks for samples or frames; `settle` brings them.
    pub(crate) fn ask_read(
        &mut self,
        frames: bool,
        cap: u32,
        timeout_ms: u32,
    ) -> Result<(), HostError> {
        let deadline_ms = timeout_ms.saturating_add(self.spec.slack_ms);
        if frames {
            let request = Request::ReadFrames { cap, timeout_ms };
            self.ask(&request, "read_frames", Expect::Frames, cap, deadline_ms)
        } else {
            let request = Request::Read { cap, timeout_ms };
            self.ask(&request, "read", Expect::Samples, cap, deadline_ms)
        }
    }

    /// Waits for the reply of a call that was cancelled before, and forgets it.
    async fn idle_done(&mut self) -> Result<(), HostError> {
        while self.pending.is_some() {
            match self.settle().await {
                Ok(_) | Err(HostError::Failed(_)) => {}
                Err(ended) => return Err(ended),
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        request: &Request,
        call: &'static str,
        expect: Expect,
        cap: u32,
        deadline_ms: u32,
    ) -> Result<(), HostError> {
        debug_assert!(self.pending.is_none(), "one request at a time");
        self.send(request, call)?;
        self.pending = Some(Pending {
            call,
            expect,
            cap,
            deadline: Instant::now() + Duration::from_millis(u64::from(deadline_ms)),
        });
        Ok(())
    }

    fn send(&mut self, request: &Request, call: &'static str) -> Result<(), HostError> {
        self.sequence = self.sequence.wrapping_add(1);
        encode_request(&mut self.outgoing, self.sequence, request);
        if self.outgoing.len() > MESSAGE_MAX_BYTES {
            let detail = format!("{call}: {} bytes of configuration", self.outgoing.len());
            return Err(HostError::ended(Cause::Start, detail));
        }
        // A send that fails means that the host is gone or stuck; `settle` finds out which, by end of file or deadline.
        if let Err(error) = self.link.send(&self.outgoing) {
            tracing::debug!(target: "driver", driver = self.spec.name, %error, call, "sending");
        }
        Ok(())
    }

    /// Waits until the pending request is answered. Late means killed.
    pub(crate) async fn settle(&mut self) -> Result<Expect, HostError> {
        loop {
            if self.ending.is_some() {
                return Err(self.ended().await);
            }
            let Some(pending) = self.pending else {
                return Ok(Expect::Nothing);
            };
            let received = self.event(pending.deadline).await;
            let reply = match received {
                None => {
                    let detail = format!("{} did not return in time", pending.call);
                    let cause = Cause::Hang { call: pending.call };
                    return Err(self.condemn(cause, &detail).await);
                }
                Some(Ok(reply)) => reply,
                Some(Err(error)) => return Err(error),
            };
            match reply {
                Reply::LastWords(words) => {
                    self.heard(words).await?;
                    continue;
                }
                Reply::Failed(failure) => {
                    self.pending = None;
                    return Err(self.failed(failure).await);
                }
                Reply::Ready(ready) => self.ready = Some(ready),
                Reply::Opened(declared) => self.declared = Some(declared),
                Reply::Channels(page) => {
                    if page.is_empty() {
                        return Err(self
                            .condemn(Cause::Contract, "an empty page of channels")
                            .await);
                    }
                    self.channels.extend(page);
                }
                Reply::Samples | Reply::Frames | Reply::Written | Reply::Closed => {}
            }
            self.pending = None;
            return Ok(pending.expect);
        }
    }

    /// Waits until `until` while nothing is asked, and notices when the host dies or goes over a limit meanwhile.
    pub(crate) async fn idle(&mut self, until: Instant) -> Result<(), HostError> {
        loop {
            if self.ending.is_some() {
                return Err(self.ended().await);
            }
            match self.event(until).await {
                None => return Ok(()),
                Some(Ok(Reply::LastWords(words))) => self.heard(words).await?,
                Some(Ok(_)) => {
                    return Err(self
                        .condemn(Cause::Contract, "a reply that nobody asked for")
                        .await);
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// The next reply, `None` at the deadline. Checks the limits that are watched on the way.
    async fn event(&mut self, deadline: Instant) -> Option<Result<Reply, HostError>> {
        loop {
            // Before each receive: a host that always has a message ready would never let the timer have its turn.
            if let Some(excess) = self.usage.as_mut().and_then(UsageWatch::check) {
                let cause = Cause::Limit { what: excess.what };
                return Some(Err(self.condemn(cause, &excess.detail).await));
            }
            let due = self.usage.as_ref().map(UsageWatch::due);
            let wake = due.map_or(deadline, |due| due.min(deadline));
            let received = tokio::select! {
                biased;
                birth = self.process.birth(), if self.setup.is_some() => {
                    if let Ok(birth) = birth {
                        match self.born(birth) {
                            Ok(()) => continue,
                            Err(error) => return Some(Err(error)),
                        }
                    }
                    Ok(Received::End)
                }
                received = self.link.receive(&mut self.incoming) => received,
                () = sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                    continue;
                }
            };
            let error = match received {
                Ok(Received::Message(length)) => {
                    let pending = self.pending;
                    let context = Context {
                        expect: pending.map_or(Expect::Nothing, |pending| pending.expect),
                        sequence: self.sequence,
                        kinds: &self.kinds,
                        cap: pending.map_or(0, |pending| pending.cap),
                        now_ns: crate::monotonic_ns(),
                    };
                    match decode_reply(&self.incoming[..length], context, &mut self.batch) {
                        Ok(reply) => return Some(Ok(reply)),
                        Err(malformed) => malformed.to_string(),
                    }
                }
                Ok(Received::TooLong(length)) => format!("a message of {length} bytes"),
                Ok(Received::End) => {
                    self.end(None, EXIT_GRACE);
                    return Some(Err(self.ended().await));
                }
                Err(error) => format!("the socket: {error}"),
            };
            return Some(Err(self.condemn(Cause::Contract, &error).await));
        }
    }

    /// Keeps last words. They answer nothing, so a wait goes on after them; that many and no more, so that a host that
    /// sends them without end does not keep the agent busy until the deadline, or between two reads.
    async fn heard(&mut self, words: LastWords) -> Result<(), HostError> {
        self.last_words = Some(words);
        self.last_words_count += 1;
        if self.last_words_count > LAST_WORDS_MAX {
            let detail = format!("said its last words more than {LAST_WORDS_MAX} times");
            return Err(self.condemn(Cause::Contract, &detail).await);
        }
        Ok(())
    }

    /// A failure that leaves the host usable is handed on; one that does not ends it.
    async fn failed(&mut self, failure: Failure) -> HostError {
        match failure.class {
            FailureClass::Contract => self.condemn(Cause::Contract, &failure.text).await,
            _ => HostError::Failed(failure),
        }
    }

    /// Kills the host for a reason, and reaps it.
    async fn condemn(&mut self, cause: Cause, detail: &str) -> HostError {
        self.end(Some((cause, detail.to_owned())), Duration::ZERO);
        self.ended().await
    }

    fn end(&mut self, cause: Option<(Cause, String)>, grace: Duration) {
        if self.ending.is_none() {
            let kill_at = Instant::now() + grace;
            let mut ending = Ending {
                cause,
                kill_at,
                give_up_at: kill_at + REAP_GRACE,
                killed: false,
            };
            if grace.is_zero() {
                self.process.kill();
                ending.killed = true;
            }
            self.ending = Some(ending);
        }
    }

    /// Waits until the host is reaped and says why it ended.
    async fn ended(&mut self) -> HostError {
        loop {
            let Some(ending) = &mut self.ending else {
                return HostError::ended(Cause::Contract, "the host is not ending");
            };
            let wake = if ending.killed {
                ending.give_up_at
            } else {
                ending.kill_at
            };
            tokio::select! {
                biased;
                status = self.process.wait() => {
                    let ours = ending.cause.clone();
                    return match (ours, status) {
                        (Some((cause, detail)), _) => HostError::Ended { cause, detail },
                        (None, Ok(status)) => {
                            of_exit(status, self.last_words, self.spec.limits.memory_mb)
                        }
                        (None, Err(error)) => error,
                    };
                }
                () = sleep_until(wake) => {
                    if ending.killed {
                        let (cause, detail) = ending.cause.clone().unwrap_or((
                            Cause::Contract,
                            "the host closed its socket".to_owned(),
                        ));
                        let detail = format!("{detail}; killed, but the kernel still holds it");
                        return HostError::Ended { cause, detail };
                    }
                    self.process.kill();
                    ending.killed = true;
                    let closed = "the host closed its socket and went on".to_owned();
                    ending.cause = Some((Cause::Contract, closed));
                }
            }
        }
    }
}
