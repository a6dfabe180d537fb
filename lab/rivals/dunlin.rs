//! dunlin's buffer as one of the rivals of `lab/rivals`: a store in a process of its own, spoken to through pipes.
//!
//! `rival DIR write [LATENCY_MS]` takes batches, a count (u32, little-endian) and so many records of 256 bytes, appends each,
//! and answers `A` when it is durable, or `E` and why not. `rival DIR read` opens the store, writes whatever it holds, and
//! says on the standard error what it reports lost.

#![forbid(unsafe_code)]

use dunlin::buffer::fs::Disk;
use dunlin::buffer::{Batch, Commit, Options, Store};
use dunlin::record::Class;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

const RECORD_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, mode, rest @ ..] = arguments.as_slice() else {
        return Err("rival DIR write [LATENCY_MS], or rival DIR read".into());
    };
    let mut options = Options::default();
    if let Some(latency_ms) = rest.first() {
        options.commit = Commit {
            latency_ms_max: latency_ms.parse()?,
            ..Commit::default()
        };
    }
    let (store, recovery) = Store::open(Arc::new(Disk), Path::new(dir), options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    match mode.as_str() {
        "write" => runtime.block_on(write(&store)),
        "read" => {
            eprintln!("recovery: {recovery:?}");
            runtime.block_on(read(&store))
        }
        _ => Err(format!("does not know the mode {mode:?}").into()),
    }
}

async fn write(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    writeln!(to, "ready")?;
    to.flush()?;
    let mut count = [0; 4];
    while from.read_exact(&mut count).is_ok() {
        let records = usize::try_from(u32::from_le_bytes(count))?;
        let mut bytes = vec![0; records * RECORD_BYTES];
        from.read_exact(&mut bytes)?;
        let batch: Batch = bytes.chunks_exact(RECORD_BYTES).collect();
        match store.append(Class::Normal, batch).await {
            Ok(_) => writeln!(to, "A")?,
            Err(error) => writeln!(to, "E {error}")?,
        }
        to.flush()?;
    }
    Ok(())
}

async fn read(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let mut to = std::io::stdout().lock();
    let (mut reader, pending) = (store.reader(Class::Normal), store.pending(Class::Normal));
    let mut next = pending.start;
    while next < pending.end {
        let chunk = reader.next(512, 1 << 20).await?;
        for frame in &chunk.frames {
            to.write_all(&frame.payload)?;
        }
        for lost in &chunk.lost {
            eprintln!("lost: {lost:?}");
        }
        next = chunk.last().ok_or("an empty chunk")? + 1;
    }
    Ok(())
}
