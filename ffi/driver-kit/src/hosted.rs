//! Checks in a driver host: the sandbox, the guarded buffers and the deadlines of the agent itself.

use std::time::{Duration, Instant};

use dunlin_driver::{Channel, Host, HostError, Kind, OptionKind, READ_CAP_MAX, Spec, Value};

use crate::check::Trouble;
use crate::target::Target;

type Outcome = Result<String, Trouble>;

const READS: u32 = 50;
/// What a paced driver may wait for a reading, in milliseconds.
const TIMEOUT_MS: u32 = 50;
/// What a call may take beyond its timeout, in milliseconds: the agent's default.
const SLACK_MS: u32 = 250;

/// Runs a body in a runtime of its own.
pub(crate) fn block_on<T>(body: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    Ok(runtime.block_on(body))
}

async fn opened(spec: &Spec) -> Result<Host, HostError> {
    let mut host = Host::spawn(spec)?;
    host.open().await?;
    Ok(host)
}

fn has_samples(channels: &[Channel]) -> bool {
    channels.iter().any(|channel| channel.kind != Kind::Frame)
}

pub(crate) fn loads(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = Host::spawn(&spec)?;
        let about = host.describe().await?;
        let (id, version, options) = (&about.id, &about.version, about.options.len());
        Ok(format!("{id} {version}, {options} options"))
    })?
}

pub(crate) fn opens(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let about = host.describe().await?;
        let (actuates, frames) = (about.actuates, about.frame_max.is_some());
        let channels = host.channels();
        for channel in channels {
            if channel.writable && !actuates {
                return Err(format!(
                    "channel {:?} is writable, and there is no dunlin.actuate/1",
                    channel.name
                )
                .into());
            }
            if channel.kind == Kind::Frame && !frames {
                return Err(format!(
                    "channel {:?} has frames, and there is no dunlin.frames/1",
                    channel.name
                )
                .into());
            }
        }
        Ok(format!("{} channels", channels.len()))
    })?
}

pub(crate) fn reads(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let wait_ms = target.wait_ms(host.describe().await?.paced, TIMEOUT_MS);
        let mut samples = 0;
        for _ in 0..READS {
            samples += host.read(8, wait_ms).await?.len();
            // Late writes of threads, and what goes wrong between reads, need a moment to be seen.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if samples == 0 && has_samples(host.channels()) {
            return Err(format!("{READS} reads brought no sample").into());
        }
        Ok(format!("{samples} samples"))
    })?
}

pub(crate) fn reads_any_capacity(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let wait_ms = target.wait_ms(host.describe().await?.paced, TIMEOUT_MS);
        for cap in [1, 2, READ_CAP_MAX, 1, READ_CAP_MAX] {
            host.read(cap, wait_ms).await?;
        }
        Ok(format!("1, 2 and {READ_CAP_MAX}"))
    })?
}

pub(crate) fn returns_in_time(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let paced = host.describe().await?.paced;
        let mut longest = Duration::ZERO;
        for timeout_ms in [0, TIMEOUT_MS].repeat(5) {
            let started = Instant::now();
            let wait_ms = target.wait_ms(paced, timeout_ms);
            host.read(READ_CAP_MAX, wait_ms).await?;
            let took = started.elapsed();
            let limit = Duration::from_millis(u64::from(timeout_ms + SLACK_MS));
            if paced && took > limit {
                return Err(
                    format!("a read of {timeout_ms} ms took {} ms", took.as_millis()).into(),
                );
            }
            longest = longest.max(took);
        }
        Ok(format!("longest {:.1} ms", longest.as_secs_f64() * 1000.0))
    })?
}

pub(crate) fn stamps_in_order(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let wait_ms = target.wait_ms(host.describe().await?.paced, TIMEOUT_MS);
        let until = Instant::now() + Duration::from_millis(500);
        let mut samples = 0;
        // The host compares each stamp with the clock and with the one before it.
        while Instant::now() < until {
            samples += host.read(READ_CAP_MAX, wait_ms).await?.len();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(format!("{samples} samples in 500 ms"))
    })?
}

pub(crate) fn frames(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        if host.describe().await?.frame_max.is_none() {
            return Err(Trouble::Skip("it has no dunlin.frames/1".to_owned()));
        }
        if !host
            .channels()
            .iter()
            .any(|channel| channel.kind == Kind::Frame)
        {
            return Err(Trouble::Skip(
                "no channel has frames with these options".to_owned(),
            ));
        }
        let mut count = 0;
        for cap in [1, 4, 1024].repeat(5) {
            count += host.read_frames(cap, TIMEOUT_MS).await?.len();
        }
        Ok(format!("{count} frames"))
    })?
}

/// A value of the kind inside a range, and one outside, where there is such a one.
fn values(channel: &Channel) -> (Value, Option<Value>) {
    let inside = if channel.min.is_finite() {
        channel.min
    } else {
        channel.max.clamp(-1.0, 1.0)
    };
    match channel.kind {
        Kind::Bool => (Value::Bool(true), None),
        Kind::Int => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a saturating cast of a bound is a bound"
            )]
            let outside = channel
                .max
                .is_finite()
                .then(|| Value::Int((channel.max as i64).saturating_add(1)));
            #[expect(clippy::cast_possible_truncation, reason = "as above")]
            let inside = Value::Int(inside as i64);
            (inside, outside)
        }
        Kind::Float | Kind::Frame => {
            let outside = channel.max.is_finite().then_some(Value::Float(f64::NAN));
            (Value::Float(inside), outside)
        }
    }
}

pub(crate) fn writes(target: &Target) -> Outcome {
    const ERANGE: i32 = libc::ERANGE;
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        if !host.describe().await?.actuates {
            return Err(Trouble::Skip("it has no dunlin.actuate/1".to_owned()));
        }
        if !target.allow_writes {
            return Err(Trouble::Skip(
                "needs --allow-writes, because a write moves something".to_owned(),
            ));
        }
        let channels = host.channels().to_vec();
        let mut count = 0;
        for (index, channel) in (0_u32..)
            .zip(&channels)
            .filter(|(_, channel)| channel.writable)
        {
            let (inside, outside) = values(channel);
            host.write(index, inside).await?;
            count += 1;
            let Some(outside) = outside else { continue };
            match host.write(index, outside).await {
                Err(HostError::Failed(failure)) if failure.errno == ERANGE => {}
                Err(ended @ HostError::Ended { .. }) => return Err(ended.into()),
                Err(other) => {
                    return Err(format!(
                        "{:?}: {outside:?} is refused with {other}, not with ERANGE",
                        channel.name
                    )
                    .into());
                }
                Ok(()) => {
                    return Err(
                        format!("{:?} takes {outside:?}, outside its range", channel.name).into(),
                    );
                }
            }
        }
        host.close().await?;
        Ok(format!("{count} writable channels"))
    })?
}

pub(crate) fn refuses_bad_options(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let specs = Host::spawn(&spec)?.describe().await?.options.clone();
        let long = "x".repeat(4000);
        let (mut tried, mut refused) = (0, 0);
        for option in &specs {
            let values: Vec<String> = match option.kind {
                OptionKind::Text => ["", "\u{1}", "%n%s", "=", ",", "-1", "\u{fffd}", &long]
                    .map(str::to_owned)
                    .to_vec(),
                OptionKind::Int => option.bounds.map_or_else(
                    || vec![i64::MIN.to_string(), "0".to_owned(), i64::MAX.to_string()],
                    |(min, max)| vec![format!("{min:.0}"), format!("{max:.0}")],
                ),
                OptionKind::Float => option.bounds.map_or_else(
                    || vec!["-1e308".to_owned(), "0".to_owned(), "1e308".to_owned()],
                    |(min, max)| vec![min.to_string(), max.to_string()],
                ),
                OptionKind::Bool => continue,
            };
            for value in values {
                let mut odd = spec.clone();
                odd.options.retain(|(key, _)| *key != option.key);
                odd.options.push((option.key.clone(), value));
                let mut host = Host::spawn(&odd)?;
                tried += 1;
                match host.open().await {
                    Ok(_) => host.close().await?,
                    // Refused: the host lives on, and what open took is its own business to give back.
                    Err(HostError::Failed(_)) => {
                        refused += 1;
                        host.close().await?;
                    }
                    Err(ended) => return Err(ended.into()),
                }
            }
        }
        Ok(format!("{tried} tried, {refused} refused"))
    })?
}

pub(crate) fn closes(target: &Target) -> Outcome {
    let spec = target.spec()?;
    block_on(async {
        let mut host = opened(&spec).await?;
        let wait_ms = target.wait_ms(host.describe().await?.paced, 0);
        host.read(8, wait_ms).await?;
        let started = Instant::now();
        host.close().await?;
        Ok(format!(
            "in {:.1} ms",
            started.elapsed().as_secs_f64() * 1000.0
        ))
    })?
}
