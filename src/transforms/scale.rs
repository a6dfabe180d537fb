//! `scale`: value * factor + offset, with a new unit; or a conversion `from` one unit `to` another.
//!
//! Works on float and integer samples of the channels it names; an integer becomes a float, as the result seldom is
//! whole. Bools, frames and gaps pass unchanged. A bad sample stays bad. With `from`, a channel of that list whose unit
//! is another is not touched but for its quality: good becomes uncertain, because a number in the wrong unit is worse
//! than none, and the first such sample of each channel is logged.

use super::channels::PerChannel;
use super::glob::Globs;
use super::units;
use crate::config::{Section, nearest};
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Channel, Kind, Quality, Value};
use std::sync::Arc;

/// What becomes of a channel.
#[derive(Debug)]
enum Plan {
    Leave,
    WrongUnit,
    To(Arc<Channel>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scale {
    name: String,
    channels: Globs,
    factor: f64,
    offset: f64,
    from: Option<String>,
    unit: Option<String>,
    plans: PerChannel<Plan>,
}

/// Longest unit, in bytes: what a driver may declare (`DUNLIN_UNIT_MAX` less the NUL).
const UNIT_BYTES_MAX: usize = 31;

impl Scale {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<Scale> {
        let channels = Globs::read(section, "channels");
        let factor = section.number("factor");
        let offset = section.number("offset");
        let unit = section.text("unit");
        let (from, to) = (section.text("from"), section.text("to"));
        let by_hand = ["factor", "offset", "unit"];
        let by_unit = section.has("from") || section.has("to");
        let key = by_hand.into_iter().find(|key| section.has(key));
        let (factor, offset, unit) = match (key, by_unit) {
            (Some(key), true) => {
                let what = "is given beside a unit conversion";
                let remedy = "keep either factor, offset and unit, or from and to";
                section.problem(key, what, remedy);
                return None;
            }
            (None, false) => {
                let remedy = "give factor, offset or unit; or from and to";
                section.problem("type", "is a scale with nothing to do", remedy);
                return None;
            }
            (Some(_), false) => (factor.unwrap_or(1.0), offset.unwrap_or(0.0), unit),
            (None, true) => {
                let (factor, offset) = conversion(section, from.as_deref(), to.as_deref())?;
                (factor, offset, to)
            }
        };
        if factor == 0.0 {
            section.problem(
                "factor",
                "is 0, which loses every value",
                "choose another factor",
            );
            return None;
        }
        if let Some(unit) = &unit
            && !(1..=UNIT_BYTES_MAX).contains(&unit.len())
        {
            let remedy =
                format!("write a UCUM code of 1 to {UNIT_BYTES_MAX} bytes; 1 for a number");
            section.problem("unit", format_args!("is {unit:?}"), remedy);
            return None;
        }
        Some(Scale {
            name: name.to_owned(),
            channels,
            factor,
            offset,
            from,
            unit,
            plans: PerChannel::new(),
        })
    }
}

/// The line from one unit to the other; reports what is wrong with them.
fn conversion(
    section: &mut Section<'_>,
    from: Option<&str>,
    to: Option<&str>,
) -> Option<(f64, f64)> {
    for (key, code) in [("from", from), ("to", to)] {
        match code {
            None if section.has(key) => {}
            None => section.problem(key, "is missing", "give both from and to"),
            Some(code) if units::codes().all(|known| known != code) => {
                let hint = nearest(code, units::codes())
                    .map_or_else(String::new, |known| format!(" (did you mean {known:?}?)"));
                let what = format!("is {code:?}, a unit that is not known{hint}");
                let known: Vec<&str> = units::codes().collect();
                let remedy = format!(
                    "choose of {}; or give factor, offset and unit",
                    known.join(", ")
                );
                section.problem(key, what, remedy);
            }
            Some(_) => {}
        }
    }
    let (from, to) = (from?, to?);
    let line = units::convert(from, to);
    let siblings = units::siblings(from);
    if line.is_none() && !siblings.is_empty() && units::codes().any(|known| known == to) {
        let what = format!("is {to:?}, which measures something else than {from:?}");
        section.problem(
            "to",
            what,
            format_args!("choose of {}", siblings.join(", ")),
        );
    }
    line
}

impl Transform for Scale {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let plans = self.plans.stream(&batch.stream);
        for record in Arc::make_mut(&mut batch.records) {
            let Body::Sample {
                channel,
                value,
                quality,
            } = &mut record.body
            else {
                continue;
            };
            let plan = plans.of(channel, |channel| {
                let numeric = matches!(channel.kind, Kind::Float | Kind::Int);
                if !numeric || !self.channels.matches(&channel.name) {
                    return Plan::Leave;
                }
                if let Some(from) = self.from.as_deref().filter(|from| *from != channel.unit) {
                    tracing::warn!(
                        transform = self.name,
                        channel = channel.name,
                        unit = channel.unit,
                        from,
                        "channel has another unit than `from`; its samples are passed as uncertain"
                    );
                    return Plan::WrongUnit;
                }
                Plan::To(Arc::new(Channel {
                    name: channel.name.clone(),
                    unit: self.unit.clone().unwrap_or_else(|| channel.unit.clone()),
                    kind: Kind::Float,
                    calibration: channel.calibration.clone(),
                }))
            });
            match plan {
                Plan::WrongUnit if *quality == Quality::Good => *quality = Quality::Uncertain,
                Plan::WrongUnit | Plan::Leave => {}
                Plan::To(scaled) => {
                    *value = Value::Float(value.as_f64().mul_add(self.factor, self.offset));
                    // It differs from sample to sample where a curve depends on other values of the packet.
                    if scaled.calibration != channel.calibration {
                        Arc::make_mut(scaled)
                            .calibration
                            .clone_from(&channel.calibration);
                    }
                    *channel = Arc::clone(scaled);
                }
            }
        }
        out.push(batch);
    }
}

#[cfg(test)]
mod tests {
    use crate::record::{Body, Calibration, Quality, Value};
    use crate::transforms::testing::*;
    use std::sync::Arc;

    fn scaled(config: &str, unit: &str, value: Value) -> String {
        let input = of(0, "c", unit, value, Quality::Good);
        values(&Rig::new("scale", config).apply(vec![input]))
    }

    #[test]
    fn conversions() {
        for (from, to, value, wanted) in [
            ("Cel", "K", 20.0, 293.15),
            ("Cel", "[degF]", 100.0, 212.0),
            ("[degF]", "Cel", 32.0, 0.0),
            ("kPa", "bar", 101.325, 1.01325),
            ("mbar", "Pa", 5.0, 500.0),
            ("km/h", "m/s", 36.0, 10.0),
            ("mV", "V", 1500.0, 1.5),
            ("A", "mA", 0.25, 250.0),
            ("kW", "W", 2.5, 2500.0),
            ("MiBy", "KiBy", 2.0, 2048.0),
            ("%", "1", 50.0, 0.5),
        ] {
            let (factor, offset) = super::units::convert(from, to).unwrap();
            let got = value * factor + offset;
            assert!((got - wanted).abs() < 1e-9, "{from} {to}: {got}");
        }
    }

    #[test]
    fn kinds_and_units() {
        let config = "factor = 2\noffset = 1";
        assert_eq!(scaled(config, "V", Value::Float(1.5)), "c=4 V float");
        assert_eq!(scaled(config, "V", Value::Int(3)), "c=7 V float");
        assert_eq!(scaled(config, "1", Value::Bool(true)), "c=true 1 bool");
        assert_eq!(
            scaled("unit = 'mV'", "V", Value::Float(1.5)),
            "c=1.5 mV float"
        );
        let convert = "from = 'V'\nto = 'mV'";
        assert_eq!(scaled(convert, "V", Value::Float(1.5)), "c=1500 mV float");
        assert_eq!(scaled(convert, "A", Value::Float(1.5)), "c=1.5 A float~");
    }

    #[test]
    fn others_pass_unchanged() {
        let mut rig = Rig::new("scale", "factor = 2\nchannels = ['a']");
        let input = vec![sample("b", 1.0), frame("a"), gap(), bad("a", 1.0)];
        let wanted = "b=1 Cel float, a=[1, 2], gap, a=2 Cel float!";
        assert_eq!(values(&rig.apply(input)), wanted);
    }

    #[test]
    fn problems() {
        refuses("scale", "", "t.type: is a scale with nothing to do");
        refuses("scale", "factor = 0", "t.factor: is 0");
        refuses(
            "scale",
            "factor = 2\nfrom = 'V'\nto = 'mV'",
            "beside a unit conversion",
        );
        refuses("scale", "from = 'V'", "t.to: is missing");
        refuses("scale", "from = 'V'\nto = 'A'", "measures something else");
        refuses("scale", "from = 'cel'\nto = 'K'", "(did you mean \"Cel\"?)");
        refuses("scale", "unit = ''", "t.unit: is \"\"");
    }

    #[test]
    fn a_scaled_value_is_of_the_database_and_context_that_it_was_of() {
        let by = |version: &str, context| Calibration {
            version: version.into(),
            context,
        };
        let all = [by("1", Some(0)), by("1", Some(1)), by("2", None)];
        let inputs = all.iter().map(|by| {
            let mut input = sample("c", 2.0);
            if let Body::Sample { channel, .. } = &mut input.body {
                Arc::make_mut(channel).calibration = Some(by.clone());
            }
            input
        });
        let out = Rig::new("scale", "factor = 2").apply(inputs.collect());
        let found = out[0].records.iter().map(|record| match &record.body {
            Body::Sample { channel, .. } => channel.calibration.clone().unwrap(),
            other => panic!("{other:?}"),
        });
        assert_eq!(found.collect::<Vec<_>>(), all);
    }
}
