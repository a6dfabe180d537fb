//! dunlin's uplink as a publisher among others, in a process of its own: what `lab/bench_uplink.py` measures.
//!
//! `uplink-pub pub ENDPOINT CERTS COUNT INFLIGHT BYTES` publishes at `QoS` 1 and prints the seconds from the first dial to the
//! last PUBACK. `uplink-pub connect|resume|early ENDPOINT CERTS N` connects N times and prints the microseconds from dial to
//! CONNACK, a line each: with nothing known of the broker, with a session to resume, and with CONNECT as early data.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin::uplink::{Event, Events, Settings, TlsFiles, Uplink};
use dunlin_crypto::PrivateKey;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, endpoint, certs, count, rest @ ..] = arguments.as_slice() else {
        return Err("MODE ENDPOINT CERTS COUNT [INFLIGHT BYTES]".into());
    };
    let count: u64 = count.parse()?;
    let mut settings = Settings::new(vec![endpoint.parse()?], "agent");
    let certs = Path::new(certs);
    settings.tls = Some(TlsFiles {
        ca_file: certs.join("ca.pem"),
        cert_file: certs.join("agent.pem"),
        key: PrivateKey::File(certs.join("agent.key")),
    });
    settings.backoff.base = Duration::from_millis(1);
    settings.backoff.max = Duration::from_millis(1);
    settings.early_connect = mode == "early";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match (mode.as_str(), rest) {
            ("pub", [inflight, bytes]) => {
                settings.inflight_max = inflight.parse()?;
                publish(settings, count, bytes.parse()?).await
            }
            ("connect", []) => {
                for _ in 0..count {
                    let start = Instant::now();
                    let (uplink, mut events) = Uplink::spawn(settings.clone())?;
                    connected(&mut events).await?;
                    println!("{}", start.elapsed().as_micros());
                    let goodbye = uplink.drain(Duration::from_secs(1));
                    tokio::join!(goodbye, async { while events.recv().await.is_some() {} });
                }
                Ok(())
            }
            ("resume" | "early", []) => again(settings, count).await,
            _ => Err("the mode is pub, connect, resume or early".into()),
        }
    })
}

async fn publish(settings: Settings, count: u64, bytes: usize) -> Done {
    let payload = bytes::Bytes::from(vec![b'x'; bytes]);
    let topic: Arc<str> = "bench/stream".into();
    let start = Instant::now();
    let (uplink, mut events) = Uplink::spawn(settings)?;
    let (mut next, mut acked) = (0, 0);
    while acked < count {
        tokio::select! {
            permit = uplink.reserve(), if next < count => {
                permit?.publish(next, Arc::clone(&topic), payload.clone());
                next += 1;
                while next < count && let Some(permit) = uplink.try_reserve()? {
                    permit.publish(next, Arc::clone(&topic), payload.clone());
                    next += 1;
                }
            }
            event = events.recv() => match event.ok_or("the uplink ended")? {
                Event::Acked { last, .. } => acked = last + 1,
                Event::Disconnected { reason, .. } => return Err(reason.into()),
                _ => {}
            },
        }
    }
    println!("{}", start.elapsed().as_secs_f64());
    uplink.drain(Duration::from_secs(1)).await;
    Ok(())
}

async fn connected(events: &mut Events) -> Done {
    loop {
        match events.recv().await.ok_or("the uplink ended")? {
            Event::Connected { .. } => return Ok(()),
            Event::Disconnected { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
}

/// Tells the broker to end the connection, and measures the next one without the wait before it.
async fn again(settings: Settings, count: u64) -> Done {
    let (uplink, mut events) = Uplink::spawn(settings)?;
    connected(&mut events).await?;
    for token in 0..count {
        // Time for the broker's tickets.
        tokio::time::sleep(Duration::from_millis(20)).await;
        uplink.publish(token, "bench/end", "x").await?;
        let wait = loop {
            if let Event::Disconnected { retry_in, .. } =
                events.recv().await.ok_or("the uplink ended")?
            {
                break retry_in;
            }
        };
        let start = Instant::now() + wait;
        connected(&mut events).await?;
        println!("{}", start.elapsed().as_micros());
    }
    uplink.drain(Duration::from_millis(100)).await;
    Ok(())
}
