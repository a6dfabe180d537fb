//! What cannot be stored is said: to whoever appends, and in the journal.

use super::super::engine::Engine;
use super::super::fs::faulty::{Fault, SimDisk};
use super::super::{Batch, Class, Options, Policy, Store};
use super::model::{DIR, options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const EIO: i32 = 5;

fn batch(texts: &[&str]) -> [Batch; 1] {
    [texts.iter().collect()]
}

/// An append that the disk refuses comes back with its batch, and may be tried again.
#[tokio::test]
async fn a_refused_append_gives_its_batch_back() {
    let disk = SimDisk::new();
    let opened = Store::open(
        Arc::new(disk.clone()),
        Path::new(DIR),
        options(Policy::DropOldest),
    );
    let store = opened.expect("a store").0;
    disk.fail_next(Fault::Forever(EIO));
    for refused in [2, 4] {
        let [two] = batch(&["a", "b"]);
        let append = |batch: Batch| store.append(Class::Normal, batch);
        let error = append(two.clone()).await.expect_err("a broken disk");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(error.batch, two);
        let last = append(two).await.expect_err("a broken disk");
        let degraded = store.stats().degraded.expect("it is");
        assert_eq!(degraded.refused, refused);
        assert_eq!(degraded.cause, last.to_string());
    }
    disk.heal();
    let [two] = batch(&["a", "b"]);
    let range = store.append(Class::Normal, two).await;
    assert_eq!(range.expect("a healed disk"), 0..2);
    assert_eq!(store.stats().degraded, None);
}

/// Counts the errors that are logged.
struct Errors(Arc<AtomicU64>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let is_error = *event.metadata().level() == tracing::Level::ERROR;
        self.0.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A gap frame that is too long to be stored is an error in the journal, each time; one that is stored is none.
#[test]
fn a_gap_frame_left_out_is_logged() {
    for (gap_bytes, is_error) in [(40_000, true), (100, false)] {
        let options = Options {
            on_drop: Some(Arc::new(move |_| Some(vec![1; gap_bytes]))),
            ..options(Policy::DropOldest)
        };
        let disk = Arc::new(SimDisk::new());
        let (mut engine, _) = Engine::open(disk, Path::new(DIR), options).expect("a new store");
        let errors = Arc::new(AtomicU64::new(0));
        tracing::subscriber::with_default(Errors(errors.clone()), || {
            for _ in 0..6 {
                let large = batch(&[&"x".repeat(60_000)]);
                engine.append(Class::Normal, &large).expect("room");
            }
        });
        let dropped = engine.shared().stats().frames_dropped;
        assert!(dropped > 0);
        let wanted = if is_error { dropped } else { 0 };
        assert_eq!(errors.load(Ordering::Relaxed), wanted);
    }
}

#[test]
fn a_size_that_is_too_small_is_told_the_least() {
    let small = Options {
        size_max_bytes: 100_000,
        ..options(Policy::DropOldest)
    };
    let error = small.check().expect_err("less than eight segments");
    assert!(error.to_string().contains("524288"), "{error}");
}
