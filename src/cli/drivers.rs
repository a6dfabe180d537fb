//! `dunlin drivers`: work with drivers by hand, each in its sandboxed process as in production.

use super::args::{Drivers, DriversAction};
use super::table::Table;
use super::{Failure, print, runtime};
use crate::agent::Defaults;
use crate::exit::Exit;
use dunlin_driver::{
    Cause, Channel, Description, Event, Host, HostError, Kind, OptionSpec, Quality, Sample, Spec,
    Supervisor, Value,
};
use std::path::Path;
use std::time::Duration;

/// Runs one request.
pub(super) fn drivers(
    request: Drivers,
    defaults: &Defaults,
    terminal: bool,
) -> Result<Exit, Failure> {
    let dir = request.dir.clone().unwrap_or_else(|| defaults.driver_dir());
    if request.action == DriversAction::List {
        return list(&dir, defaults);
    }
    if request.action == DriversAction::Show {
        return super::grants::show(Path::new(&request.driver), defaults);
    }
    let library = dunlin_driver::locate(&request.driver, &dir).map_err(|error| {
        let path = Path::new(&request.driver);
        let remedy = if path.extension().is_some_and(|extension| extension == "so") {
            "a path needs a slash, such as ./mine.so; a name has no .so"
        } else {
            "`dunlin drivers list --dir DIR` shows what there is"
        };
        let message = format!("{error}.\n  Remedy: {remedy}.");
        Failure::new(Exit::Unavailable, message)
    })?;
    let mut spec = Spec::new(&request.driver, defaults.program.clone(), library);
    spec.options = request.options;
    spec.grants.devices = request.devices;
    spec.grants.read = request.read;
    spec.grants.network = request.network;
    spec.grants.can = request.can;
    spec.interval_ms = Some(request.interval_ms.max(1));
    let seconds = request.seconds.map(Duration::from_secs);
    runtime()?.block_on(async {
        match (request.action, request.write) {
            (DriversAction::Probe, _) => probe(&spec).await,
            (DriversAction::Write, Some((channel, value))) => write(&spec, &channel, &value).await,
            (DriversAction::Watch, _) => watch(spec, seconds, terminal).await,
            _ => read(&spec).await,
        }
    })
}

/// A driver that failed, in one paragraph.
fn failed(spec: &Spec, error: &HostError) -> Failure {
    let remedy = match error.cause() {
        Cause::Device { .. } => {
            "see that the device is there and answers, and that it is granted (`dunlin drivers --help`)"
        }
        Cause::Start => {
            "`dunlin drivers probe` shows what the driver takes; a library must be built for driver ABI 1"
        }
        Cause::Limit { .. } => {
            "raise the limit in the source's `limits`, or ask the driver's maker why it needs so much"
        }
        Cause::Crash { .. } | Cause::Exit { .. } | Cause::Hang { .. } | Cause::Contract => {
            "this is a fault of the driver: show its maker this message"
        }
    };
    let detail = error.detail();
    let message = format!(
        "{}: {}.\n  Remedy: {remedy}.",
        spec.library.display(),
        detail.trim_end_matches('.')
    );
    Failure::new(Exit::Unavailable, message)
}

fn list(dir: &Path, defaults: &Defaults) -> Result<Exit, Failure> {
    let names = dunlin_driver::available(dir);
    if names.is_empty() {
        let message = format!(
            "there is no driver in {}.\n  Remedy: name the directory that holds the .so files with --dir.",
            dir.display()
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let mut table = Table::new(["driver", "version", "abi", "what it is"]);
    runtime()?.block_on(async {
        for name in names {
            let described = match dunlin_driver::locate(&name, dir) {
                Ok(library) => {
                    let spec = Spec::new(&name, defaults.program.clone(), library);
                    describe(&spec).await.map_err(|error| error.detail())
                }
                Err(error) => Err(error.to_string()),
            };
            table.row(match described {
                Ok(Description {
                    version,
                    abi: (major, minor),
                    summary,
                    ..
                }) => [name, version, format!("{major}.{minor}"), summary],
                Err(why) => [
                    name,
                    String::new(),
                    String::new(),
                    format!("cannot be used: {why}"),
                ],
            });
        }
    });
    print(&table.lines().join("\n"))
}

async fn describe(spec: &Spec) -> Result<Description, HostError> {
    Host::spawn(spec)?.describe().await.cloned()
}

async fn probe(spec: &Spec) -> Result<Exit, Failure> {
    let described = describe(spec).await.map_err(|error| failed(spec, &error))?;
    let mut lines = vec![
        format!(
            "{} {}: {}",
            described.id, described.version, described.summary
        ),
        format!("library     {}", spec.library.display()),
        format!("ABI         {}.{}", described.abi.0, described.abi.1),
        format!(
            "pace        {}",
            if described.paced {
                "its own"
            } else {
                "read every interval_ms"
            }
        ),
    ];
    let mut extensions = Vec::new();
    if let Some(bytes) = described.frame_max {
        extensions.push(format!("dunlin.frames/1 (up to {bytes} bytes)"));
    }
    if described.actuates {
        extensions.push("dunlin.actuate/1".to_owned());
    }
    if !extensions.is_empty() {
        lines.push(format!("extensions  {}", extensions.join(", ")));
    }
    if !described.options.is_empty() {
        let mut table = Table::new(["option", "kind", "default", "bounds", "what it is"]);
        for option in &described.options {
            table.row(option_row(option));
        }
        lines.push(String::new());
        lines.extend(table.lines());
    }
    print(&lines.join("\n"))
}

fn option_row(option: &OptionSpec) -> [String; 5] {
    let list = if option.list { ", list" } else { "" };
    let default = if option.required {
        "(required)".to_owned()
    } else {
        option.fallback.clone().unwrap_or_default()
    };
    let bounds = option.bounds.map_or_else(String::new, |(min, max)| {
        // The largest integer is no double: written as one it would be a bound that does not exist.
        let max = if max >= 2f64.powi(63) {
            "2^63-1".to_owned()
        } else {
            max.to_string()
        };
        format!("{min} to {max}")
    });
    [
        option.key.clone(),
        format!("{}{list}", option.kind.name()),
        default,
        bounds,
        option.summary.clone(),
    ]
}

/// A host with an open device, and whether its driver paces itself.
async fn open(spec: &Spec) -> Result<(Host, bool), Failure> {
    let fail = |error: HostError| failed(spec, &error);
    let mut host = Host::spawn(spec).map_err(fail)?;
    let described = host.describe().await.map_err(fail)?;
    let paced = described.paced;
    let problems = dunlin_driver::check_options(&described.options, &spec.options);
    if !problems.is_empty() {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let message = format!(
            "{}.\n  Remedy: `dunlin drivers probe {}` lists its options.",
            list.join("; "),
            spec.name
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    for missing in host.missing_sandbox() {
        tracing::warn!("sandbox: {missing}");
    }
    host.open().await.map_err(fail)?;
    Ok((host, paced))
}

async fn read(spec: &Spec) -> Result<Exit, Failure> {
    /// Reads that may come back empty before the device counts as silent.
    const READS_MAX: u32 = 10;
    let (mut host, paced) = open(spec).await?;
    let channels = host.channels().to_vec();
    let mut latest: Vec<Option<Sample>> = vec![None; channels.len()];
    for _ in 0..READS_MAX {
        let mut new = false;
        let samples = host
            .read(spec.read_cap, spec.read_timeout_ms)
            .await
            .map_err(|error| failed(spec, &error))?;
        for sample in samples {
            if let Some(slot) = usize::try_from(sample.channel)
                .ok()
                .and_then(|i| latest.get_mut(i))
            {
                new |= slot.is_none();
                *slot = Some(*sample);
            }
        }
        // A driver that paces itself gives what is due, maybe not yet of every channel; and some channels speak only
        // once they were written to: what a whole read does not add is not waited for.
        if !(paced && new) && latest.iter().any(Option::is_some) {
            break;
        }
    }
    host.close().await.map_err(|error| failed(spec, &error))?;
    let mut table = Table::new(["channel", "value", "unit", "quality"]);
    for (channel, sample) in channels.iter().zip(latest) {
        let [value, quality] = cells(channel, sample);
        table.row([channel.name.clone(), value, channel.unit.clone(), quality]);
    }
    print(&table.lines().join("\n"))
}

fn cells(channel: &Channel, sample: Option<Sample>) -> [String; 2] {
    match sample {
        Some(sample) if sample.quality == Quality::Bad => [String::new(), "bad".to_owned()],
        Some(sample) => {
            let quality = if sample.quality == Quality::Good {
                "good"
            } else {
                "uncertain"
            }
            .to_owned();
            [show(sample.value), quality]
        }
        None if channel.kind == Kind::Frame => ["(frames)".to_owned(), String::new()],
        None => ["(none)".to_owned(), String::new()],
    }
}

/// The unit for a person: a pure number has none.
fn unit(channel: &Channel) -> &str {
    if channel.unit == "1" {
        ""
    } else {
        &channel.unit
    }
}

fn show(value: Value) -> String {
    match value {
        Value::Float(value) => format!("{value}"),
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
    }
}

async fn watch(spec: Spec, limit: Option<Duration>, terminal: bool) -> Result<Exit, Failure> {
    let mut supervisor = Supervisor::new(spec);
    let mut channels: Vec<Channel> = Vec::new();
    let end = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            event = supervisor.next() => event,
            () = &mut end => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let mut lines = Vec::new();
        match event {
            Event::Ready(started) => {
                lines.push(format!(
                    "ready in {} us, pid {}",
                    started.started_in.as_micros(),
                    started.pid
                ));
                channels = started.channels;
            }
            Event::Samples(samples) => lines.extend(samples.iter().filter_map(|sample| {
                let channel = channels.get(usize::try_from(sample.channel).ok()?)?;
                let [value, quality] = cells(channel, Some(*sample));
                let seconds = Duration::from_nanos(sample.monotonic_ns).as_secs_f64();
                Some(format!(
                    "{seconds:.6}  {:<20} {value:>22} {:<8} {quality}",
                    channel.name,
                    unit(channel)
                ))
            })),
            Event::Frames(frames) => lines.extend(frames.iter().map(|(span, bytes)| {
                let shown = bytes
                    .iter()
                    .take(32)
                    .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
                let seconds = Duration::from_nanos(span.monotonic_ns).as_secs_f64();
                format!("{seconds:.6}  frame of {} bytes  {shown}", bytes.len())
            })),
            Event::DeviceError { errno, text } => {
                lines.push(format!("device error {errno}: {text}"));
            }
            Event::Down {
                cause,
                detail,
                retry_in,
            } => lines.push(format!(
                "down, {}: {detail}; again in {} ms",
                cause.name(),
                retry_in.as_millis()
            )),
            Event::Outage(outage) => lines.push(format!(
                "back after {} ms ({})",
                outage.to_ns.saturating_sub(outage.from_ns) / 1_000_000,
                outage.cause.name()
            )),
        }
        if terminal {
            for line in &mut lines {
                line.truncate(line.floor_char_boundary(200));
            }
        }
        print(&lines.join("\n"))?;
    }
    let stopped = supervisor.stop().await;
    if let Some(error) = stopped.error {
        tracing::warn!("the device did not close well: {error}");
    }
    Ok(Exit::Ok)
}

async fn write(spec: &Spec, channel: &str, value: &str) -> Result<Exit, Failure> {
    let (mut host, _) = open(spec).await?;
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let found = host
        .channels()
        .iter()
        .zip(0u32..)
        .find(|(known, _)| known.name == channel);
    let Some((found, index)) = found.map(|(found, index)| (found.clone(), index)) else {
        let names: Vec<&str> = host
            .channels()
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        return Err(usage(format!(
            "{channel:?} is not a channel.\n  Remedy: choose one of {}.",
            names.join(", ")
        )));
    };
    if !found.writable {
        return Err(usage(format!(
            "{channel:?} does not accept writes.\n  Remedy: choose a channel that the driver's page calls writable."
        )));
    }
    let parsed = match found.kind {
        Kind::Float => value.parse().ok().map(Value::Float),
        Kind::Int => value.parse().ok().map(Value::Int),
        Kind::Bool => value.parse().ok().map(Value::Bool),
        Kind::Frame => None,
    };
    let Some(parsed) = parsed else {
        let kind = found.kind.name();
        return Err(usage(format!(
            "{value:?} is not of kind {kind}.\n  Remedy: write a {kind}."
        )));
    };
    host.write(index, parsed)
        .await
        .map_err(|error| failed(spec, &error))?;
    host.close().await.map_err(|error| failed(spec, &error))?;
    print(format!("{channel} = {value} {}", unit(&found)).trim_end())
}
