//! `dunlin sub`: follows what is being sent, from the broker's side, or with `--local` from the agent's.

mod json;
mod limits;
#[cfg(feature = "live")]
mod local;
mod screen;

use super::args::Sub;
use super::check::sound;
use super::table::Table;
use super::{Failure, print, runtime};
use crate::agent::Defaults;
use crate::exit::Exit;
use crate::level::Level;
use crate::payload::{self, ItemBody, Message};
use crate::record::{Quality, Value};
use crate::sinks::Follow;
use crate::uplink::{Event, Events, Qos, Retained, Subscription, Uplink};
use limits::Levels;
use screen::Screen;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::interval;

/// How often the table is drawn.
const DRAW: Duration = Duration::from_millis(500);
/// Time that a rate is over.
const RATE_OVER: Duration = Duration::from_secs(5);
/// Most channels in the table; more are counted and not shown.
const ROWS_MAX: usize = 200;
/// Longest text in the table; of a longer one the size is shown.
const TEXT_BYTES_MAX: usize = 32;

/// Follows until Ctrl-C or the bound.
pub(super) fn sub(
    request: &Sub,
    defaults: &Defaults,
    terminal: bool,
    colours: bool,
) -> Result<Exit, Failure> {
    #[cfg(feature = "live")]
    if request.local {
        let (socket, sink) = local::find(request, defaults)?;
        return runtime()?.block_on(async {
            let mut agent = local::Local::connect(&socket, &sink).await?;
            let mut view = View::new(sink, request, terminal, colours);
            view.state = format!("connected to {}", socket.display());
            watch(view, request.seconds, Origin::Agent(&mut agent)).await
        });
    }
    let plan = sound(&request.config, defaults, None)?;
    let uplinks = plan.sinks.iter();
    let uplinks = uplinks.filter_map(|(name, sink)| Some((name.as_str(), sink.uplink()?)));
    let uplinks: BTreeMap<&str, Follow<'_>> = uplinks.collect();
    let names: Vec<&str> = uplinks.keys().copied().collect();
    let none =
        "has no uplink sink, so nothing is sent.\n  Remedy: add one, see docs/configuration.md.";
    let follow = &uplinks[choose(request, &names, "uplink", none)?];
    let filter = request.filter.clone().unwrap_or_else(|| {
        follow
            .topic
            .replace("{agent}", &plan.settings.name)
            .replace("{stream}", "+")
    });
    let mut settings = follow.settings.clone();
    // An identity of its own, forgotten at the end: the agent's session stays untouched.
    settings.client_id = format!("{}-sub-{}", plan.settings.name, std::process::id());
    settings.session_expiry_s = 0;
    settings.subscriptions = vec![Subscription {
        filter: filter.clone(),
        qos: Qos::AtLeastOnce,
        retained: Retained::EachConnect,
    }];
    runtime()?.block_on(async {
        let (_uplink, mut events) =
            Uplink::spawn(settings).map_err(|error| Failure::new(Exit::Unavailable, error))?;
        let view = View::new(filter, request, terminal, colours);
        watch(view, request.seconds, Origin::Broker(&mut events)).await
    })
}

/// The sink that is named, or the only one there is.
fn choose<'a>(
    request: &Sub,
    names: &[&'a str],
    kind: &str,
    none: &str,
) -> Result<&'a str, Failure> {
    let named = |name: &&&str| request.sink.as_ref().is_none_or(|wanted| wanted == **name);
    let mut chosen = names.iter().filter(named);
    if let (Some(name), None) = (chosen.next(), chosen.next()) {
        return Ok(name);
    }
    let config = request.config.display();
    let message = if names.is_empty() {
        format!("{config} {none}")
    } else {
        format!(
            "there is no single {kind} sink to follow.\n  Remedy: choose one with --sink; {config} has: {}.",
            names.join(", ")
        )
    };
    Err(Failure::new(Exit::Usage, message))
}

/// Where messages come from.
enum Origin<'a> {
    Broker(&'a mut Events),
    #[cfg(feature = "live")]
    Agent(&'a mut local::Local),
}

/// What comes.
enum Heard {
    Event(Event),
    #[cfg(feature = "live")]
    Payload(Vec<u8>),
}

impl Origin<'_> {
    /// The next of it; none where no more will come. May be cancelled without loss.
    async fn next(&mut self) -> Result<Option<Heard>, Failure> {
        Ok(match self {
            Origin::Broker(events) => events.recv().await.map(Heard::Event),
            #[cfg(feature = "live")]
            Origin::Agent(agent) => agent.next().await?.map(Heard::Payload),
        })
    }

    /// Why nothing came, perhaps.
    fn silence(&self, view: &View) -> String {
        match self {
            Origin::Broker(_) => format!(
                "no message came on {}: {}.\n  Remedy: see that the agent runs, and that the filter fits its topics.",
                view.title, view.state
            ),
            #[cfg(feature = "live")]
            Origin::Agent(agent) if agent.is_gone => agent.sent_away.clone(),
            #[cfg(feature = "live")]
            Origin::Agent(_) => format!(
                "no message came from sink {}.\n  Remedy: see by `dunlin status` that its inputs produce.",
                view.title
            ),
        }
    }
}

async fn watch(
    mut view: View,
    seconds: Option<u64>,
    mut from: Origin<'_>,
) -> Result<Exit, Failure> {
    let mut draw = interval(DRAW);
    let end = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            heard = from.next() => match heard? {
                Some(Heard::Event(event)) => view.take(event)?,
                #[cfg(feature = "live")]
                Some(Heard::Payload(payload)) => view.message("the agent", &payload)?,
                None => break,
            },
            _ = draw.tick() => view.draw()?,
            () = &mut end => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    view.end()?;
    if view.messages == 0 {
        return Err(Failure::new(Exit::Unavailable, from.silence(&view)));
    }
    Ok(Exit::Ok)
}

/// One channel of one stream.
struct Row {
    value: String,
    unit: String,
    quality: &'static str,
    records: u64,
    /// Counts of a while ago and since, for the rate.
    marks: [(Instant, u64); 2],
}

/// What is known of one stream in one boot.
#[derive(Default)]
struct Stream {
    next_seq: Option<u64>,
    duplicates: u64,
    holes: u64,
    gaps: u64,
    last_gap: String,
}

struct View {
    /// What is followed: a topic filter, or a sink.
    title: String,
    json: bool,
    state: String,
    messages: u64,
    records: u64,
    rows: BTreeMap<(String, String), Row>,
    hidden: u64,
    streams: BTreeMap<(String, String), Stream>,
    levels: Levels,
    screen: Option<Screen>,
    colours: bool,
}

impl View {
    fn new(title: String, request: &Sub, terminal: bool, colours: bool) -> View {
        let json = request.json;
        let screen = (terminal && !json).then(|| Screen::take().ok()).flatten();
        View {
            title,
            json,
            state: "connecting".to_owned(),
            messages: 0,
            records: 0,
            rows: BTreeMap::new(),
            hidden: 0,
            streams: BTreeMap::new(),
            levels: Levels::default(),
            screen,
            colours,
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Connected { endpoint, .. } => self.state = format!("connected to {endpoint}"),
            Event::Disconnected { reason, .. } => {
                self.state = format!("not connected: {reason}");
                tracing::warn!("{}", self.state);
            }
            Event::Subscribed {
                filter,
                result: Err(reason),
            } => {
                let message = format!(
                    "the broker refuses the subscription {filter:?}: {reason}.\n  Remedy: allow this client to read it, or choose another --filter."
                );
                return Err(Failure::new(Exit::Unavailable, message));
            }
            Event::Message(message) => self.message(&message.topic, &message.payload)?,
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, from: &str, bytes: &[u8]) -> Result<(), Failure> {
        match payload::decode(bytes) {
            Ok(decoded) => {
                self.messages += 1;
                if self.json {
                    print(&json::line(&decoded, bytes))?;
                }
                self.count(decoded);
            }
            Err(error) => tracing::warn!(from, "not a message of dunlin: {error}"),
        }
        Ok(())
    }

    fn count(&mut self, message: Message) {
        let records = message.records.len() as u64;
        let stream = self
            .streams
            .entry((message.boot, message.stream.clone()))
            .or_default();
        let end = message.seq + records;
        match stream.next_seq {
            Some(next) if message.seq < next => stream.duplicates += next.min(end) - message.seq,
            Some(next) => stream.holes += message.seq - next,
            None => {}
        }
        stream.next_seq = Some(stream.next_seq.map_or(end, |next| next.max(end)));
        self.records += records;
        for item in message.records {
            let (channel, value, unit, quality) = match item.body {
                ItemBody::Sample {
                    ch,
                    value,
                    unit,
                    quality,
                    ..
                } => {
                    self.levels.learn(&message.stream, &ch, &value, ROWS_MAX);
                    (ch, short(value), unit, quality_name(quality))
                }
                ItemBody::Frame { ch, bytes, quality } => {
                    (ch, frame(&bytes), String::new(), quality_name(quality))
                }
                ItemBody::Gap {
                    from_ns,
                    to_ns,
                    cause,
                    lost,
                    detail,
                } => {
                    stream.gaps += 1;
                    let ms = to_ns.saturating_sub(from_ns) / 1_000_000;
                    let lost = lost.map_or_else(String::new, |lost| format!(", {lost} lost"));
                    stream.last_gap = format!("{cause}, {ms} ms{lost}: {detail}");
                    continue;
                }
                ItemBody::Unknown => continue,
            };
            let key = (message.stream.clone(), channel);
            if !self.rows.contains_key(&key) && self.rows.len() == ROWS_MAX {
                self.hidden += 1;
                continue;
            }
            let row = self.rows.entry(key).or_insert_with(|| Row {
                value: String::new(),
                unit: String::new(),
                quality: "",
                records: 0,
                marks: [(Instant::now(), 0); 2],
            });
            (row.value, row.unit, row.quality) = (value, unit, quality);
            row.records += 1;
        }
    }

    /// Shows how things stand: on a terminal as a table in the place of the last one, else as a line.
    fn draw(&mut self) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let Some(screen) = &self.screen else {
            return print(&format!(
                "{} records in {} messages, {}",
                self.records, self.messages, self.state
            ))
            .map(drop);
        };
        let now = Instant::now();
        self.rows.values_mut().for_each(|row| row.mark(now));
        screen
            .draw(&self.lines(now, self.colours))
            .map_err(|error| {
                let message = format!("cannot write to the terminal: {error}");
                Failure::new(Exit::Internal, message)
            })
    }

    /// The last table, where it stays.
    fn end(&mut self) -> Result<(), Failure> {
        self.screen = None;
        if self.json || self.messages == 0 {
            return Ok(());
        }
        print(&self.lines(Instant::now(), false).join("\n")).map(drop)
    }

    fn lines(&self, now: Instant, colours: bool) -> Vec<String> {
        let mut lines = vec![format!(
            "{}  {}  {} records in {} messages",
            self.title, self.state, self.records, self.messages
        )];
        let mut table = Table::new([
            "stream", "channel", "value", "unit", "quality", "limits", "records", "per s",
        ]);
        // The heading has none.
        let mut levels = vec![Level::Within];
        for (key, row) in &self.rows {
            let level = self.levels.of(key);
            levels.push(level);
            table.row([
                key.0.clone(),
                key.1.clone(),
                row.value.clone(),
                row.unit.clone(),
                row.quality.to_owned(),
                limits::name(level).to_owned(),
                row.records.to_string(),
                row.rate(now)
                    .map_or_else(String::new, |rate| format!("{rate:.1}")),
            ]);
        }
        let rows = table.lines().into_iter().zip(levels);
        lines.extend(rows.map(|(line, level)| {
            if colours {
                limits::colour(level, &line)
            } else {
                line
            }
        }));
        if self.hidden > 0 {
            lines.push(format!("and {} records of further channels", self.hidden));
        }
        for ((boot, name), stream) in &self.streams {
            if stream.duplicates + stream.holes + stream.gaps > 0 {
                lines.push(format!(
                    "{name} (boot {boot}): {} duplicates, {} missing, {} gaps {}",
                    stream.duplicates, stream.holes, stream.gaps, stream.last_gap
                ));
            }
        }
        lines
    }
}

impl Row {
    /// Remembers the count of a while ago, so that a slow channel has a rate too.
    fn mark(&mut self, now: Instant) {
        if now - self.marks[1].0 >= RATE_OVER / 2 {
            self.marks = [self.marks[1], (now, self.records)];
        }
    }

    /// Records a second over the last seconds, once there are some.
    fn rate(&self, now: Instant) -> Option<f64> {
        let (since, count) = self.marks[0];
        let seconds = (now - since).as_secs_f64();
        (seconds >= 1.0).then(|| (self.records - count) as f64 / seconds)
    }
}

/// A quality for a person, who expects the best.
fn quality_name(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "",
        Quality::Uncertain => "uncertain",
        Quality::Bad => "bad",
    }
}

/// A frame for a person: what it says, where that is a short text, such as the label of a value.
fn frame(bytes: &[u8]) -> String {
    let text = str::from_utf8(bytes).ok().filter(|text| {
        (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
    });
    text.map_or_else(
        || format!("{} bytes", bytes.len()),
        |text| format!("{text:?}"),
    )
}

/// A value for a person: six digits say what a table can.
fn short(value: Value) -> String {
    match value {
        Value::Float(value) if value != 0.0 && value.is_finite() => {
            let digits = (5.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
            let decimals = (0..=9)
                .find(|decimals| f64::from(*decimals) >= digits)
                .unwrap_or(9);
            let text = format!(
                "{value:.*}",
                usize::from(u8::try_from(decimals).unwrap_or(9))
            );
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        for (value, text) in [
            (-0.079_718_544, "-0.0797185"),
            (-0.700_000_000_000_000_1, "-0.7"),
            (25_276_063_744.0, "25276063744"),
            (21.5, "21.5"),
            (0.0, "0"),
            (1e-12, "0"),
        ] {
            assert_eq!(short(Value::Float(value)), text);
        }
        assert_eq!(short(Value::Int(7)), "7");
    }

    #[test]
    fn a_frame_that_is_a_short_text_is_shown() {
        let long = [b'a'; TEXT_BYTES_MAX + 1];
        for (bytes, shown) in [
            (&b"science"[..], "\"science\""),
            (b"", "0 bytes"),
            (b"\x1b[2J", "4 bytes"),
            (b"\xff\xfe", "2 bytes"),
            (&long[1..], &format!("{:?}", "a".repeat(TEXT_BYTES_MAX))),
            (&long, "33 bytes"),
        ] {
            assert_eq!(frame(bytes), shown);
        }
    }
}
