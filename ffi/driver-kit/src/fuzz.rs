//! Options and writes at random: whatever they are, the host must live. Each finding prints the seed that repeats it.

use dunlin_driver::{Host, HostError, Kind, OptionKind, OptionSpec, Value};

use crate::check::Trouble;
use crate::hosted::block_on;
use crate::target::Target;

/// splitmix64, Steele et al. 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let length = from.len() as u64;
        &from[usize::try_from(self.next() % length).unwrap_or(0)]
    }
}

/// What parsers stumble over.
const PIECES: [&str; 16] = [
    "",
    "0",
    "-1",
    "1e999",
    "nan",
    "0x",
    "0xffffffffffffffff",
    "a=",
    "=",
    ",",
    "name=",
    "/",
    "..",
    "%s",
    "\u{1}",
    "\u{fffd}",
];

fn value(random: &mut Random, spec: &OptionSpec) -> String {
    match spec.kind {
        OptionKind::Bool => (*random.pick(&["true", "false"])).to_owned(),
        OptionKind::Int => {
            let (min, max) = spec.bounds.unwrap_or((-1e9, 1e9));
            let share = random.next() as f64 / u64::MAX as f64;
            format!("{:.0}", min + (max - min) * share)
        }
        OptionKind::Float => {
            let (min, max) = spec.bounds.unwrap_or((-1e300, 1e300));
            let share = random.next() as f64 / u64::MAX as f64;
            (min + (max - min) * share).to_string()
        }
        OptionKind::Text => {
            let pieces = random.next() % 6;
            (0..pieces).map(|_| *random.pick(&PIECES)).collect()
        }
    }
}

/// One round: the driver's options, some replaced, some added; reads; writes where they are allowed.
async fn round(
    target: &Target,
    specs: &[OptionSpec],
    random: &mut Random,
) -> Result<bool, Trouble> {
    let mut spec = target.spec()?;
    for _ in 0..=random.next() % 3 {
        if specs.is_empty() {
            break;
        }
        let option = random.pick(specs);
        let text = value(random, option);
        if !option.list {
            spec.options.retain(|(key, _)| *key != option.key);
        }
        spec.options.push((option.key.clone(), text));
    }
    let mut host = Host::spawn(&spec)?;
    match host.open().await {
        Ok(_) => {}
        Err(HostError::Failed(_)) => {
            host.close().await?;
            return Ok(false);
        }
        Err(ended) => return Err(ended.into()),
    }
    let survived = |answer: Result<(), HostError>| match answer {
        Err(ended @ HostError::Ended { .. }) => Err(ended),
        _ => Ok(()),
    };
    for _ in 0..3 {
        survived(host.read(8, 10).await.map(|_| ()))?;
    }
    let writable: Vec<(u32, Kind)> = (0_u32..)
        .zip(host.channels())
        .filter(|(_, channel)| target.allow_writes && channel.writable)
        .map(|(index, channel)| (index, channel.kind))
        .collect();
    for (channel, kind) in writable {
        let bits = random.next();
        if let Some(value) =
            Value::from_bits(kind, if kind == Kind::Bool { bits & 1 } else { bits })
        {
            survived(host.write(channel, value).await)?;
        }
    }
    host.close().await?;
    Ok(true)
}

/// Tries; true where nothing was found.
pub(crate) fn run(target: &Target) -> Result<bool, String> {
    let said = |trouble: Trouble| match trouble {
        Trouble::Host(error) => format!("{}: {}", error.cause().name(), error.detail()),
        Trouble::Said(why) | Trouble::Skip(why) => why,
    };
    let spec = target.spec()?;
    let specs = block_on(async { Ok(Host::spawn(&spec)?.describe().await?.options.clone()) });
    let specs = specs.and_then(|specs| specs).map_err(said)?;
    let (mut opened, mut found) = (0, 0);
    for run in 0..target.runs {
        let seed = target.seed.wrapping_add(u64::from(run));
        let outcome = block_on(round(target, &specs, &mut Random(seed)));
        match outcome.and_then(|outcome| outcome) {
            Ok(true) => opened += 1,
            Ok(false) => {}
            Err(trouble) => {
                found += 1;
                println!(
                    "FOUND    {}\n         again: --seed {seed} --runs 1",
                    said(trouble)
                );
            }
        }
    }
    println!(
        "\n{} runs from seed {}, {opened} opened, {found} found",
        target.runs, target.seed
    );
    Ok(found == 0)
}
