//! `inflate`: compressed frames become what was compressed.
//!
//! What comes of a frame is bounded, and so is the memory that it can ask for, so that a few bytes cannot fill the gateway.
//! A frame of which nothing comes is left out, and a gap of cause `check` takes its place; or it stays, marked as bad.

use super::glob::Globs;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Cause, Channel, Quality, Record};
use crate::stats::Tally;
use crate::telemetry::inflate::{Codec, InflateError, inflate};
use std::sync::Arc;

/// Longest frame: that of a driver.
const FRAME_BYTES_MAX: u64 = 65_536;

#[derive(Debug)]
pub(super) struct Inflate {
    channels: Globs,
    codec: Codec,
    skip_bytes: usize,
    bytes_max: usize,
    tag: bool,
    tally: Arc<Tally>,
}

impl Inflate {
    pub(super) fn configure(_: &str, section: &mut Section<'_>) -> Option<Inflate> {
        let channels = Globs::read(section, "channels");
        let names = Codec::NAMES.map(|(name, _)| name).join(", ");
        let given = section.required_text("codec", &format!("choose one of {names}"));
        let codec = section.choice("codec", &Codec::NAMES, Codec::Zstd);
        let mut size = |key, bounds, default| {
            usize::try_from(section.integer(key, bounds, default)).unwrap_or(usize::MAX)
        };
        let skip_bytes = size("skip_bytes", 0..=FRAME_BYTES_MAX, 0);
        let bytes_max = size("bytes_max", 1..=FRAME_BYTES_MAX, FRAME_BYTES_MAX);
        let tag = section.choice("on_failure", &[("drop", false), ("tag", true)], false);
        given.map(|_| Inflate {
            channels,
            codec,
            skip_bytes,
            bytes_max,
            tag,
            tally: Arc::default(),
        })
    }

    /// The frame with what came of it behind the bytes that were skipped.
    fn whole(&self, bytes: &[u8]) -> Result<Vec<u8>, InflateError> {
        let (skipped, rest) = bytes
            .split_at_checked(self.skip_bytes)
            .ok_or(InflateError::Damaged)?;
        let found = inflate(self.codec, rest, self.bytes_max)?;
        Ok([skipped, &found].concat())
    }
}

/// One more frame that is missing at the end of what goes on: in the gap there, or in one of its own.
fn missing(records: &mut Vec<Record>, record: &Record, channel: &Channel, why: InflateError) {
    let start = format!("channel {}: ", channel.name);
    if let Some(Body::Gap(last)) = records.last_mut().map(|last| &mut last.body)
        && last.cause == Cause::Check
        && last.detail.starts_with(&start)
    {
        last.to_ns = record.monotonic_ns;
        last.lost = last.lost.map(|lost| lost + 1);
        return;
    }
    let at = (record.monotonic_ns, record.wall_ns);
    let detail = format!("{start}a compressed frame is {why}");
    records.push(Record::missing(at, Cause::Check, Some(1), detail));
}

impl Transform for Inflate {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let mut records = Vec::with_capacity(batch.records.len());
        for record in batch.records.iter() {
            let Body::Frame {
                channel,
                bytes,
                quality,
            } = &record.body
            else {
                records.push(record.clone());
                continue;
            };
            if *quality == Quality::Bad || !self.channels.matches(&channel.name) {
                records.push(record.clone());
                continue;
            }
            let found = self.whole(bytes);
            self.tally.add(
                match found {
                    Ok(_) => "good",
                    Err(InflateError::Damaged) => "damaged",
                    Err(InflateError::Large) => "large",
                },
                1,
            );
            let (bytes, quality) = match found {
                Ok(found) => (found.into(), *quality),
                Err(_) if self.tag => (bytes.clone(), Quality::Bad),
                Err(why) => {
                    missing(&mut records, record, channel, why);
                    continue;
                }
            };
            records.push(Record {
                monotonic_ns: record.monotonic_ns,
                wall_ns: record.wall_ns,
                body: Body::Frame {
                    channel: Arc::clone(channel),
                    bytes,
                    quality,
                },
                reply: record.reply.clone(),
            });
        }
        batch.records = Arc::new(records);
        out.push(batch);
    }

    fn another(&self) -> Option<Inflate> {
        Some(Inflate {
            channels: self.channels.clone(),
            tally: Arc::clone(&self.tally),
            ..*self
        })
    }

    fn tally(&self) -> Option<Arc<Tally>> {
        Some(Arc::clone(&self.tally))
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{Batch, Transform as _};
    use crate::record::{Body, Quality, Record};
    use crate::transforms::testing::{Rig, flag, framed, refuses};

    /// zlib of `telemetry` four times over.
    const GOOD: [u8; 20] = [
        0x78, 0xda, 0x2b, 0x49, 0xcd, 0x49, 0xcd, 0x4d, 0x2d, 0x29, 0xaa, 0x2c, 0xc1, 0xcd, 0x00,
        0x00, 0x1c, 0x55, 0x0f, 0x6d,
    ];

    fn frame(bytes: &[u8]) -> Record {
        framed(7, "rf", bytes)
    }

    fn said(batches: &[Batch]) -> Vec<String> {
        let records = batches.iter().flat_map(|batch| batch.records.iter());
        let each = records.map(|record| match &record.body {
            Body::Frame { bytes, quality, .. } => {
                let mark = if *quality == Quality::Bad { "!" } else { "" };
                format!(
                    "{}{mark}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(9)])
                )
            }
            Body::Sample { value, .. } => value.to_string(),
            Body::Gap(gap) => format!("{:?} lost, {}", gap.lost, gap.detail),
        });
        each.collect()
    }

    #[test]
    fn frames_that_are_wrong_leave_a_gap_that_counts_them() {
        let mut rig = Rig::new("inflate", "codec = 'zlib'");
        let mut cut = GOOD;
        cut[8] ^= 0xff;
        let out = rig.apply(vec![
            frame(&GOOD),
            frame(&cut),
            frame(b"x"),
            flag("f", true),
            frame(&GOOD),
        ]);
        let gap = "Some(2) lost, channel rf: a compressed frame is damaged";
        assert_eq!(said(&out), ["telemetry", gap, "true", "telemetry"]);
        let tally = rig.transform.tally().unwrap();
        assert_eq!((tally.get("good"), tally.get("damaged")), (2, 2));
        for batch in out {
            batch.ack.done();
        }
        assert_eq!((rig.ledger.pending(), rig.ledger.failed()), (0, 0));
    }

    #[test]
    fn what_is_too_large_is_marked_where_it_is_wanted() {
        let mut rig = Rig::new(
            "inflate",
            "codec = 'zlib'\nbytes_max = 35\non_failure = 'tag'",
        );
        let out = rig.apply(vec![frame(&GOOD)]);
        let Body::Frame { bytes, quality, .. } = &out[0].records[0].body else {
            panic!("{out:?}");
        };
        assert_eq!((&bytes[..], *quality), (&GOOD[..], Quality::Bad));
        assert_eq!(rig.transform.tally().unwrap().get("large"), 1);
    }

    #[test]
    fn a_header_in_front_stays() {
        let mut rig = Rig::new("inflate", "codec = 'zlib'\nskip_bytes = 2");
        let out = rig.apply(vec![frame(&[b"ab", &GOOD[..]].concat()), frame(b"a")]);
        assert_eq!(said(&out)[0], "abtelemet");
        assert_eq!(rig.transform.tally().unwrap().get("damaged"), 1);
        refuses("inflate", "", "t.codec: is missing");
        refuses(
            "inflate",
            "codec = 'rice'",
            "t.codec: is \"rice\", which is unknown",
        );
    }
}
