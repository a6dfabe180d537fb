//! The store on the real disk, with its threads.

use super::super::fs::Disk;
use super::super::{Batch, Class, Error, Options, Policy, Store, export, inspect};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn options() -> Options {
    Options {
        segment_bytes: 1 << 16,
        size_max_bytes: 16 << 16,
        ..Options::default()
    }
}

fn open(dir: &Path, options: Options) -> Store {
    Store::open(Arc::new(Disk), &dir.join("buffer"), options)
        .expect("a store")
        .0
}

fn batch(from: u64, n: u64, bytes: usize) -> Batch {
    let payload = |i: u64| {
        let mut payload = i.to_le_bytes().to_vec();
        payload.resize(bytes, 7);
        payload
    };
    (from..from + n).map(payload).collect()
}

async fn drain(store: &Store, class: Class, until: u64) -> Vec<u64> {
    let mut reader = store.reader(class);
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(until).expect("small") {
        let chunk = reader.next(100, 1 << 16).await.expect("frames");
        assert_eq!(chunk.lost, vec![]);
        for frame in &chunk.frames {
            seen.push(u64::from_le_bytes(
                frame.payload[..8].try_into().expect("eight"),
            ));
        }
        store.release(class, chunk.last().expect("a frame"));
    }
    seen
}

#[tokio::test]
async fn frames_come_back_in_order_and_space_is_freed() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), options());
    let read = async {
        let seen = drain(&store, Class::Normal, 20_000).await;
        assert!(seen.into_iter().eq(0..20_000));
    };
    let write = async {
        for i in 0..200 {
            let range = store
                .append(Class::Normal, batch(i * 100, 100, 100))
                .await
                .expect("room");
            assert_eq!(range, i * 100..i * 100 + 100);
        }
    };
    tokio::join!(read, write);
    store.flush_cursor().await.expect("a cursor");
    let stats = store.stats();
    assert_eq!(stats.frames_stored, 0);
    assert_eq!(stats.frames_dropped, 0);
    assert!(stats.segments <= 2, "{stats:?}");
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(store.pending(Class::Normal), 20_000..20_000);
}

#[tokio::test]
async fn block_waits_until_space_is_released() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        policy: Policy::Block,
        ..options()
    };
    let store = open(dir.path(), options);
    let mut stored = 0;
    loop {
        let append = store.append(Class::Bulk, batch(stored, 10, 2000));
        match tokio::time::timeout(Duration::from_secs(1), append).await {
            Ok(range) => stored = range.expect("stored").end,
            Err(_) => break,
        }
    }
    // The append that gave up waiting is still queued.
    let stats = store.stats();
    assert!(
        stats.disk_bytes <= 16 << 16 && stats.disk_bytes > 14 << 16,
        "{stats:?}"
    );
    store.release(Class::Bulk, stored / 2);
    let waited = store
        .append(Class::Bulk, batch(stored + 10, 10, 2000))
        .await
        .expect("room");
    assert_eq!(waited.start, stored + 10);
    assert_eq!(store.stats().frames_dropped, 0);
}

#[tokio::test]
async fn bulk_is_dropped_before_critical_and_every_drop_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let reported = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = reported.clone();
    let options = Options {
        on_drop: Some(Arc::new(move |dropped| {
            let frames = dropped.frames.count() as u64;
            assert_eq!(frames, dropped.positions.end - dropped.positions.start);
            log.lock().expect("no panic").push((dropped.class, frames));
            Some(b"gap".to_vec())
        })),
        ..options()
    };
    let store = open(dir.path(), options);
    let classes = [Class::Bulk, Class::Critical];
    let mut appended = [0; 2];
    for _ in 0..60 {
        for (at, class) in classes.into_iter().enumerate() {
            let range = store.append(class, batch(0, 10, 1000)).await.expect("room");
            appended[at] += range.end - range.start;
        }
    }
    let stats = store.stats();
    let reported = reported.lock().expect("no panic").clone();
    assert!(!reported.is_empty());
    assert!(
        reported.iter().all(|(class, _)| *class == Class::Bulk),
        "{reported:?}"
    );
    let dropped: u64 = reported.iter().map(|(_, frames)| frames).sum();
    assert_eq!(dropped, stats.frames_dropped);
    let gaps = reported.len() as u64;
    assert_eq!(
        stats.frames_stored + dropped,
        appended[0] + appended[1] + gaps
    );
    assert_eq!(store.pending(Class::Critical), 0..appended[1]);
    let found = inspect(&Disk, &dir.path().join("buffer")).expect("while it runs");
    assert_eq!(found.logs.len(), 3);
    let mut exported = 0;
    let each = &mut |_| {
        exported += 1;
        Ok(())
    };
    let report = export(&Disk, &dir.path().join("buffer"), each).expect("while it runs");
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(exported, stats.frames_stored);
}

#[tokio::test]
async fn a_second_agent_is_refused_by_pid() {
    let dir = tempfile::tempdir().expect("a directory");
    let _store = open(dir.path(), options());
    let second = Store::open(Arc::new(Disk), &dir.path().join("buffer"), options());
    let Err(error @ Error::Locked { .. }) = second else {
        panic!("two agents share a directory");
    };
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_waits_rewinds_and_ends_with_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), options());
    let mut reader = store.reader(Class::Normal);
    let early = tokio::time::timeout(Duration::from_millis(50), reader.next(10, 1000)).await;
    assert!(early.is_err());
    store
        .append(Class::Normal, batch(0, 3, 50))
        .await
        .expect("room");
    assert_eq!(reader.next(10, 1000).await.expect("frames").frames.len(), 3);
    store.release(Class::Normal, 0);
    reader.rewind_to_cursor();
    assert_eq!(
        reader.next(1, 1000).await.expect("frames").frames[0].position,
        1
    );
    drop(store);
    assert_eq!(
        reader.next(9, 1000).await.expect("frames").frames[0].position,
        2
    );
    assert!(matches!(reader.next(9, 1000).await, Err(Error::Closed)));
}

#[tokio::test]
async fn what_exceeds_a_bound_is_refused_with_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), options());
    let error = store
        .append(Class::Normal, batch(0, 1, 40_000))
        .await
        .expect_err("too large");
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "cannot append 40016 bytes: append_bytes_max is 32768"
    );
    assert_eq!(error.batch.len(), 1);
}

#[tokio::test]
async fn a_segment_taken_away_is_a_loss_and_not_a_wait() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), options());
    let mut reader = store.reader(Class::Normal);
    for i in 0..3 {
        store
            .append(Class::Normal, batch(i * 30, 30, 1000))
            .await
            .expect("room");
    }
    let log = dir.path().join("buffer/normal");
    let names = std::fs::read_dir(&log)
        .expect("a log")
        .map(|e| e.expect("an entry").path());
    let mut segments: Vec<_> = names
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    std::fs::remove_file(&segments[0]).expect("a segment");
    let chunk = reader.next(1000, 1 << 20).await.expect("the rest");
    assert_eq!(chunk.lost, vec![0..chunk.frames[0].position]);
    assert_eq!(chunk.last(), Some(89));
}

#[tokio::test]
async fn small_appends_share_a_sync() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(open(dir.path(), options()));
    store
        .append(Class::Normal, batch(0, 1, 10))
        .await
        .expect("room");
    let before = store.stats().syncs;
    let appends = (0..200).map(|i| {
        let store = store.clone();
        tokio::spawn(async move { store.append(Class::Normal, batch(i, 1, 10)).await })
    });
    let appends: Vec<_> = appends.collect();
    for append in appends {
        append.await.expect("no panic").expect("room");
    }
    let syncs = store.stats().syncs - before;
    assert!(syncs <= 20, "{syncs} syncs for 200 appends");
}

#[tokio::test]
async fn bulk_never_displaces_critical_and_drops_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), options());
    let mut critical = 0;
    // Until the rest is full of critical.
    while store.stats().disk_bytes < 12 << 16 {
        critical = store
            .append(Class::Critical, batch(0, 10, 1000))
            .await
            .expect("room")
            .end;
    }
    for _ in 0..40 {
        let append = store.append(Class::Bulk, batch(0, 10, 1000));
        let append = tokio::time::timeout(Duration::from_secs(5), append).await;
        append
            .expect("bulk goes on in its own space")
            .expect("room");
        assert!(store.stats().disk_bytes <= 16 << 16, "{:?}", store.stats());
    }
    assert_eq!(store.pending(Class::Critical), 0..critical);
    assert_eq!(store.pending(Class::Bulk).end, 400);
    assert!(store.stats().frames_dropped > 200, "{:?}", store.stats());
}

#[tokio::test]
async fn a_spent_wear_budget_holds_bulk_and_nothing_else_and_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        // An hour's share is 1 MiB, which is spent within a few commits and not earned again within this test.
        wear_bytes_per_day: 24 << 20,
        wear_latency_ms_max: 20,
        ..options()
    };
    let store = Arc::new(open(dir.path(), options));
    let mut number = 0;
    while store.stats().degraded.is_none() {
        let range = store.append(Class::Normal, batch(number, 20, 1000)).await;
        number = range.expect("room").end;
        store.release(Class::Normal, number - 1);
        assert!(number < 10_000, "the budget is not spent");
    }
    let stats = store.stats();
    assert!(stats.page_bytes_written >= 1 << 20, "{stats:?}");
    assert!(stats.frames_packed > 0, "{stats:?}");
    let degraded = stats.degraded.expect("held");
    assert!(degraded.cause.contains("wear budget"), "{degraded:?}");
    let held = {
        let store = store.clone();
        tokio::spawn(async move { store.append(Class::Bulk, batch(0, 1, 1000)).await })
    };
    for _ in 0..5 {
        let append = store.append(Class::Critical, batch(0, 1, 1000));
        let append = tokio::time::timeout(Duration::from_secs(10), append).await;
        append.expect("critical is not held").expect("room");
    }
    assert!(!held.is_finished());
    assert_eq!(store.pending(Class::Bulk), 0..0);
    store.hurry();
    held.await.expect("no panic").expect("room");
    assert_eq!(store.pending(Class::Bulk), 0..1);
}

#[tokio::test]
async fn the_store_drops_what_is_too_old_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        ttl_ms: [0, 500, 0],
        ..options()
    };
    let store = open(dir.path(), options);
    for class in [Class::Normal, Class::Critical] {
        store.append(class, batch(0, 3, 100)).await.expect("room");
    }
    let mut looks = 0;
    while store.stats().frames_expired < 3 {
        looks += 1;
        assert!(looks < 200, "{:?}", store.stats());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.pending(Class::Normal), 3..3);
    assert_eq!(store.pending(Class::Critical), 0..3);
}
