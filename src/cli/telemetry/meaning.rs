//! Values in place of packets, by a telemetry database, as `extract` and `calibrate` of the agent would make them.

use super::check;
use super::lines::Said;
use super::plot::{Plot, Point};
use crate::cli::Failure;
use crate::cli::args::Telemetry;
use crate::config::parse;
use crate::exit::Exit;
use crate::level::Level;
use crate::pipeline::{Ack, Batch, Ledger, Transform as _};
use crate::record::{Body, Class, Quality, Record, Value};
use crate::telemetry::database::Database;
use crate::transforms::{self, Transform};
use serde_json::json;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What makes values of packets.
pub(super) struct Meaning {
    extract: Transform,
    calibrate: Transform,
    database: Database,
    plot: Option<Plot>,
    ledger: Arc<Ledger>,
    /// Packets so far.
    packet: i64,
    /// The time that came before the next packet, which is that packet's.
    time_ns: Option<i64>,
}

impl Meaning {
    /// By the database of a request, if it names one.
    pub(super) fn of(request: &Telemetry) -> Result<Option<Meaning>, Failure> {
        let Some(file) = &request.database else {
            if request.plot.is_some() || !request.channels.is_empty() {
                let message =
                    "--plot and --channel need values.\n  Remedy: give --database DB, too.";
                return Err(Failure::new(Exit::Usage, message));
            }
            return Ok(None);
        };
        if request.plot.is_none() && !request.channels.is_empty() {
            let message = "--channel chooses curves, and there is no plot.\n  Remedy: give --plot OUT.svg, too.";
            return Err(Failure::new(Exit::Usage, message));
        }
        let database = check::load(file)?;
        let (extract, calibrate) = transforms(file)?;
        Ok(Some(Meaning {
            extract,
            calibrate,
            database,
            plot: request
                .plot
                .as_ref()
                .map(|plot| Plot::new(plot, &request.channels)),
            ledger: Arc::default(),
            packet: 0,
            time_ns: None,
        }))
    }

    /// Gives what becomes of a record of the decoder: of a packet that the database knows, its values, and alarms behind them.
    pub(super) fn take(
        &mut self,
        record: &Record,
        mut out: impl FnMut(&Record, Option<Said>) -> io::Result<()>,
    ) -> io::Result<()> {
        match &record.body {
            Body::Sample {
                value: Value::Int(ns),
                ..
            } => self.time_ns = Some(*ns),
            Body::Frame { quality, .. } if *quality == Quality::Good => {
                let time_ns = self.time_ns.take();
                self.packet += 1;
                for batch in self.values(record) {
                    for record in batch.records.iter() {
                        out(record, self.value(record, batch.class, time_ns))?;
                    }
                    batch.ack.done();
                }
                return Ok(());
            }
            Body::Gap(_) => {
                if let Some(plot) = &mut self.plot {
                    plot.interrupt();
                }
            }
            _ => {}
        }
        out(record, None)
    }

    /// What the transforms make of a packet, alarms last.
    fn values(&mut self, record: &Record) -> Vec<Batch> {
        let batch = Batch {
            stream: "file".into(),
            class: Class::Normal,
            records: Arc::new(vec![record.clone()]),
            ack: Ack::new(&self.ledger, 1),
        };
        let (mut read, mut made) = (Vec::new(), Vec::new());
        self.extract.apply(batch, &mut read);
        for batch in read {
            self.calibrate.apply(batch, &mut made);
        }
        made.sort_by_key(|batch| batch.class == Class::Critical);
        made
    }

    /// What is known of a record, none where it is a packet as it was; a number goes into the plot.
    fn value(&mut self, record: &Record, class: Class, time_ns: Option<i64>) -> Option<Said> {
        let (Body::Sample { channel, .. } | Body::Frame { channel, .. }) = &record.body else {
            return None;
        };
        channel.calibration.as_ref()?;
        let mut said = Said {
            time_ns,
            level: None,
        };
        let Body::Sample { value, quality, .. } = &record.body else {
            return Some(said);
        };
        if let (Class::Critical, Value::Int(level)) = (class, value) {
            said.level = Some(Level::of_number(*level).unwrap_or_default().name());
        } else if let Some(plot) = &mut self.plot {
            let point = Point {
                packet: self.packet,
                time_ns,
                value: Some(value.as_f64())
                    .filter(|value| *quality != Quality::Bad && value.is_finite()),
            };
            let limits = || self.database.parameter(&channel.name)?.limits;
            plot.take((&channel.name, &channel.unit), point, limits);
        }
        Some(said)
    }

    /// Writes the plot.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.plot.map_or(Ok(()), |plot| plot.finish())
    }
}

/// `extract` and `calibrate`, by one database that is right.
fn transforms(database: &Path) -> Result<(Transform, Transform), Failure> {
    let database = json!(database.to_string_lossy());
    let table = |name: &str, more: &str| {
        format!(
            "[{name}]\ntype = {name:?}\ninputs = [\"file\"]\ndatabase = {database}\nreload_ms = 0\n{more}\n"
        )
    };
    let text = table("extract", "packets = \"drop\"") + &table("calibrate", "");
    let made = parse(Path::new("--database"), &text, |root, _| {
        let mut one = |name: &str, key| {
            let section = root.section(key)?;
            transforms::configure(name, section).1
        };
        one("extract", "extract").zip(one("calibrate", "calibrate"))
    });
    match made {
        Ok(Some(made)) => Ok(made),
        Ok(None) => Err(Failure::new(
            Exit::Config,
            "the database changes while it is read",
        )),
        Err(problems) => Err(Failure::new(Exit::Config, problems)),
    }
}
