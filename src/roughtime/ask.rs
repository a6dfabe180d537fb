//! Asks every server, and keeps what most of them say as the time that certificates are held against.

use super::agree::{Span, agree};
use super::configure::{Server, Settings};
use super::proof::{ANSWER_BYTES_MAX, ProofError, Question};
use crate::clock;
use crate::stats::TimeStats;
use dunlin_crypto::CryptoError;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Most datagrams that are looked at for one answer: whoever can send to us may send nonsense first.
const DATAGRAMS_MAX: usize = 16;
/// Waits after a round without a time: doubled from the first to the last.
const RETRY_S: [u64; 2] = [10, 3600];
/// Wait after a time was found.
const AGAIN_S: u64 = 86_400;

/// Why a server gave no time.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("has no address")]
    NoAddress,
    #[error("does not answer")]
    Silent,
    #[error("answers, but {0}")]
    Unproven(ProofError),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Keeps the signed time in `clock` for as long as it is polled.
pub async fn keep(settings: Settings, stats: Arc<TimeStats>) -> Infallible {
    let mut failures = 0;
    loop {
        let (spans, refusals) = round(&settings.servers).await;
        let at = Instant::now();
        let all = settings.servers.len();
        let wait = if let Some((span, count)) = agree(&spans, settings.needed(), at) {
            clock::set_signed(span.at, span.from_s, span.to_s);
            failures = 0;
            stats.rounds.add(1);
            stats
                .state
                .set(format!("signed, {count} of {all} servers agree"));
            clock::backoff(AGAIN_S, AGAIN_S, 0)
        } else {
            let mut words = format!(
                "no signed time: {} of {all} servers answered, {} must agree",
                spans.len(),
                settings.needed()
            );
            for refusal in &refusals {
                words += &format!("; {refusal}");
            }
            // Once an episode.
            if failures == 0 {
                tracing::warn!("{words}");
            }
            stats.failures.add(1);
            stats.state.set(words);
            failures += 1;
            clock::backoff(RETRY_S[0], RETRY_S[1], failures - 1)
        };
        for refusal in refusals {
            tracing::debug!("{refusal}");
        }
        sleep(wait).await;
    }
}

/// What each server says; all are asked at once.
async fn round(servers: &[Server]) -> (Vec<Span>, Vec<String>) {
    let mut asked = JoinSet::new();
    for server in servers.iter().cloned() {
        asked.spawn(async move {
            let told = ask(&server).await;
            told.map_err(|error| format!("{} {error}", server.name))
        });
    }
    let mut round = (Vec::new(), Vec::new());
    while let Some(told) = asked.join_next().await {
        match told {
            Ok(Ok(span)) => round.0.push(span),
            Ok(Err(words)) => round.1.push(words),
            Err(ended) => round.1.push(ended.to_string()),
        }
    }
    // In the order of their names, whoever was first.
    round.1.sort();
    round
}

/// One exchange.
async fn ask(server: &Server) -> Result<Span, AskError> {
    let mut nonce = [0; 32];
    dunlin_crypto::random_bytes(&mut nonce)?;
    let question = Question::new(server.key, nonce);
    let exchange = async {
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await?;
        let mut socket = Err(AskError::NoAddress);
        for address in found {
            socket = connect(address).await.map_err(AskError::Io);
            if socket.is_ok() {
                break;
            }
        }
        let socket = socket?;
        let sent = Instant::now();
        socket.send(question.packet()).await?;
        let mut bytes = [0; ANSWER_BYTES_MAX];
        let mut unproven = None;
        for _ in 0..DATAGRAMS_MAX {
            let length = match timeout(ANSWER_TIMEOUT, socket.recv(&mut bytes)).await {
                Ok(length) => length?,
                Err(_) => break,
            };
            match question.hold(&bytes[..length]) {
                Ok(stamp) => {
                    let at = Instant::now();
                    let midpoint_s = i64::try_from(stamp.midpoint_s).unwrap_or(i64::MAX);
                    // It was signed at some time between the question and now.
                    let way_s = at.duration_since(sent).as_secs() + 1;
                    let way_s = i64::try_from(way_s).unwrap_or(i64::MAX);
                    let radius_s = i64::from(stamp.radius_s);
                    return Ok(Span {
                        at,
                        from_s: midpoint_s.saturating_sub(radius_s),
                        to_s: midpoint_s.saturating_add(radius_s).saturating_add(way_s),
                    });
                }
                Err(error) => unproven = Some(error),
            }
        }
        Err(unproven.map_or(AskError::Silent, AskError::Unproven))
    };
    // For the name service too, and for whoever goes on sending nonsense.
    timeout(2 * ANSWER_TIMEOUT, exchange)
        .await
        .unwrap_or(Err(AskError::Silent))
}

/// A socket that only hears who was asked.
async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    Ok(socket)
}
