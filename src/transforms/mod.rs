//! Transforms: one file each. A new one is its file, its `mod` line, and its line in `transforms!`.
//!
//! In every transform gaps pass unchanged, and so do records of a kind it does not work on.

#[cfg(feature = "telemetry")]
mod calibrate;
mod channels;
#[cfg(feature = "telemetry")]
mod check_crc;
#[cfg(feature = "telemetry")]
mod database;
mod deadband;
#[cfg(feature = "telemetry")]
mod decode_ccsds;
#[cfg(feature = "telemetry")]
mod extract;
mod filter;
mod glob;
#[cfg(feature = "telemetry")]
mod inflate;
mod rename;
mod scale;
#[cfg(feature = "telemetry")]
mod streams;
mod units;
mod window;

use crate::config::Section;
use crate::pipeline::{self, Batch, Bodies, Node, Role};

macro_rules! transforms {
    ($($(#[$gate:meta])* $variant:ident = $kind:literal => $path:path, $takes:expr $(=> $gives:expr)?;)*) => {
        /// A configured transform.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is documented at its type")]
        #[expect(private_interfaces, reason = "made by `configure` only")]
        pub enum Transform {
            $($(#[$gate])* $variant($path),)*
        }

        /// The types that a configuration may name.
        pub const TYPES: &[&str] = &[$($(#[$gate])* $kind),*];

        /// What it takes, what it gives where that is something else, and itself.
        fn read(kind: &str, name: &str, section: &mut Section<'_>) -> Option<(Bodies, Option<Bodies>, Option<Transform>)> {
            match kind {
                $($(#[$gate])* $kind => {
                    let made = <$path>::configure(name, section).map(Transform::$variant);
                    let gives = None$(.or(Some($gives)))?;
                    Some(($takes, gives, made))
                })*
                _ => None,
            }
        }

        impl Transform {
            fn inner(&self) -> &dyn pipeline::Transform {
                match self {
                    $($(#[$gate])* Transform::$variant(inner) => inner,)*
                }
            }

            fn inner_mut(&mut self) -> &mut dyn pipeline::Transform {
                match self {
                    $($(#[$gate])* Transform::$variant(inner) => inner,)*
                }
            }

            #[cfg(feature = "telemetry")]
            fn another_of_its_type(&self) -> Option<Transform> {
                use pipeline::Transform as _;
                match self {
                    $($(#[$gate])* Transform::$variant(inner) => inner.another().map(Transform::$variant),)*
                }
            }
        }
    };
}

transforms! {
    Filter = "filter" => filter::Filter, Bodies::ANY;
    Scale = "scale" => scale::Scale, Bodies::SAMPLES;
    Deadband = "deadband" => deadband::Deadband, Bodies::SAMPLES;
    Window = "window" => window::Window, Bodies::SAMPLES;
    Rename = "rename" => rename::Rename, Bodies::ANY;
    #[cfg(feature = "telemetry")]
    CheckCrc = "check_crc" => check_crc::CheckCrc, Bodies::FRAMES;
    #[cfg(feature = "telemetry")]
    Inflate = "inflate" => inflate::Inflate, Bodies::FRAMES;
    #[cfg(feature = "telemetry")]
    DecodeCcsds = "decode_ccsds" => decode_ccsds::DecodeCcsds, Bodies::FRAMES => Bodies::ANY;
    #[cfg(feature = "telemetry")]
    Extract = "extract" => extract::Extract, Bodies::FRAMES => Bodies::ANY;
    #[cfg(feature = "telemetry")]
    Calibrate = "calibrate" => calibrate::Calibrate, Bodies::SAMPLES => Bodies::ANY;
}

/// Types that may have threads of their own: what they remember is of one channel.
#[cfg(feature = "telemetry")]
const POOLED: &[&str] = &[
    "check_crc",
    "inflate",
    "decode_ccsds",
    "extract",
    "calibrate",
];

#[cfg(feature = "telemetry")]
fn workers(kind: &str, section: &mut Section<'_>) -> Option<usize> {
    if !POOLED.contains(&kind) {
        return None;
    }
    let workers = section.optional_integer("workers", 1..=pipeline::WORKERS_MAX as u64);
    workers.and_then(|workers| usize::try_from(workers).ok())
}

/// Reads one table `[transforms.NAME]`: the node, and the transform where nothing was wrong with its own keys.
pub fn configure(name: &str, mut section: Section<'_>) -> (Node, Option<Transform>) {
    match section.kind(TYPES) {
        Some(kind) => {
            let (takes, gives, made) =
                read(kind, name, &mut section).expect("every listed type can be read");
            let node = Node {
                gives,
                #[cfg(feature = "telemetry")]
                workers: workers(kind, &mut section),
                ..Node::read(name, Role::Transform, takes, &mut section)
            };
            (node, made)
        }
        None => (Node::of_unknown_type(name, Role::Transform, section), None),
    }
}

impl pipeline::Transform for Transform {
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>) {
        self.inner_mut().apply(batch, out);
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.inner().deadline_ns()
    }

    fn tick(&mut self, now_ns: u64, out: &mut Vec<Batch>) {
        self.inner_mut().tick(now_ns, out);
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        self.inner_mut().flush(out);
    }

    #[cfg(feature = "telemetry")]
    fn tally(&self) -> Option<std::sync::Arc<crate::stats::Tally>> {
        self.inner().tally()
    }

    #[cfg(feature = "telemetry")]
    fn another(&self) -> Option<Transform> {
        self.another_of_its_type()
    }
}

/// Hands on what is left of a batch, or, where nothing is, acknowledges what was left out on purpose.
fn forward(batch: Batch, out: &mut Vec<Batch>) {
    if batch.records.is_empty() {
        batch.ack.done();
    } else {
        out.push(batch);
    }
}

/// One of so many is few.
const FEW: usize = 8;

/// Keeps the records that `keep` wants. Where all stay, nothing is copied; where the batch is shared, only those that
/// stay are.
fn retain(batch: &mut Batch, mut keep: impl FnMut(&crate::record::Record) -> bool) {
    use crate::record::Body;
    use crate::slabs::SLAB_BYTES;
    use bytes::Bytes;
    use std::sync::Arc;
    let wanted: Vec<bool> = batch.records.iter().map(&mut keep).collect();
    if wanted.iter().all(|wanted| *wanted) {
        return;
    }
    let few = wanted.iter().filter(|wanted| **wanted).count() * FEW < wanted.len();
    let mut next = wanted.iter().copied();
    if let Some(records) = Arc::get_mut(&mut batch.records) {
        records.retain(|_| next.next().unwrap_or(true));
    } else {
        let all = batch.records.iter().zip(wanted);
        batch.records = Arc::new(all.filter(|(_, w)| *w).map(|(r, _)| r.clone()).collect());
    }
    // What stays of many frames would keep the slabs of all of them from being filled anew.
    if few && let Some(records) = Arc::get_mut(&mut batch.records) {
        for record in records {
            if let Body::Frame { bytes, .. } = &mut record.body
                && bytes.len() * FEW < SLAB_BYTES
            {
                *bytes = Bytes::copy_from_slice(bytes);
            }
        }
    }
}

#[cfg(all(test, feature = "telemetry"))]
mod pooled;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod unknown;
