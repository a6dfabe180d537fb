//! Private keys that stay in a PKCS#11 token: a TPM, a secure element, a card. The agent has the public key; the token's
//! module, which is somebody else's C, is loaded by another process (`dunlin key-host`) that signs for the agent.

#[expect(unsafe_code, reason = "C's tables of functions")]
mod abi;
mod host;
#[expect(unsafe_code, reason = "functions that OpenSSL calls")]
mod provider;
mod public;
mod uri;
mod wire;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};

use crate::error::CryptoError;
pub use host::key_host_main;
use provider::Sign;
use public::{Curve, Public};
pub use uri::{TokenUri, TokenUriError};
use wire::{Answer, Request};

/// Longest wait for a token's answer. TPMs take up to a second for a signature, and longer for the first one.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// A key in a token, and the process that reaches it.
pub(crate) struct TokenKey {
    uri: TokenUri,
    public: Public,
    state: Mutex<State>,
}

struct State {
    host: Option<KeyHost>,
    /// Why the last signature was not made.
    failure: Option<String>,
}

impl TokenKey {
    /// Starts a key host and asks it for the public key.
    pub(crate) fn open(uri: &TokenUri) -> Result<Arc<TokenKey>, CryptoError> {
        let (host, public) = KeyHost::start(uri).map_err(|why| failed(uri, why))?;
        Ok(Arc::new(TokenKey {
            uri: uri.clone(),
            public,
            state: Mutex::new(State {
                host: Some(host),
                failure: None,
            }),
        }))
    }

    /// The key as OpenSSL takes it. It signs by `sign`, from whatever thread does the handshake.
    pub(crate) fn pkey(self: &Arc<TokenKey>) -> Result<PKey<Private>, ErrorStack> {
        provider::private_key(&self.public, Arc::clone(self) as Arc<dyn Sign>)
    }

    /// Its public half, as certificates have it.
    #[cfg(feature = "identity")]
    pub(crate) fn public_key(&self) -> Result<PKey<openssl::pkey::Public>, ErrorStack> {
        use openssl::ec::{EcGroup, EcKey, EcPoint};
        let curve = match self.public.curve {
            Curve::P256 => openssl::nid::Nid::X9_62_PRIME256V1,
            Curve::P384 => openssl::nid::Nid::SECP384R1,
        };
        let group = EcGroup::from_curve_name(curve)?;
        let mut context = openssl::bn::BigNumContext::new()?;
        let point = EcPoint::from_bytes(&group, &self.public.point, &mut context)?;
        PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)
    }

    /// Why the last signature was not made; asked once.
    pub(crate) fn take_failure(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.take()
    }

    fn try_sign(&self, state: &mut State, digest: &[u8]) -> Result<Vec<u8>, String> {
        if state.host.is_none() {
            let (host, public) = KeyHost::start(&self.uri)?;
            if public != self.public {
                return Err("it holds another key than before".to_owned());
            }
            state.host = Some(host);
        }
        let host = state.host.as_mut().ok_or("it did not start")?;
        let raw = host.ask(&Request::Sign(digest.to_vec()))?;
        to_der(&raw, self.public.curve)
    }
}

impl Sign for TokenKey {
    fn sign(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.try_sign(&mut state, digest) {
            Ok(signature) => Some(signature),
            Err(why) => {
                // The next handshake starts another: this one may have lost its session, its token or its life.
                state.host = None;
                state.failure = Some(failed(&self.uri, why).to_string());
                None
            }
        }
    }
}

fn failed(uri: &TokenUri, why: String) -> CryptoError {
    CryptoError::Token {
        uri: uri.to_string(),
        why,
    }
}

/// What the agent makes of the bytes of a key host, as a public key and as a signature, written again as a message. For tests:
/// the module behind a key host is somebody else's.
pub fn rewritten_answer(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let answer = Answer::decode(wire::receive(&mut bytes).ok()?)?;
    if let Answer::Done(body) = &answer {
        for curve in [Curve::P256, Curve::P384] {
            if let Ok(der) = to_der(body, curve) {
                assert!(
                    der.len() <= curve.signature_bytes_max(),
                    "a signature that OpenSSL has no place for"
                );
            }
        }
        if let Some(public) = Public::decode(body) {
            assert_eq!(public.encode(), *body, "a key that is written in two ways");
        }
    }
    let mut again = Vec::new();
    wire::send(&mut again, &answer.encode()).ok()?;
    Some(again)
}

/// What PKCS#11 calls a signature, r and s side by side, as X.509 has it.
fn to_der(raw: &[u8], curve: Curve) -> Result<Vec<u8>, String> {
    let half = curve.coordinate_bytes();
    if raw.len() != 2 * half {
        return Err(format!("a signature of {} bytes is none", raw.len()));
    }
    let (r, s) = raw.split_at(half);
    let encode = || -> Result<Vec<u8>, ErrorStack> {
        EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.to_der()
    };
    encode().map_err(|error| error.to_string())
}

/// A running `dunlin key-host`. It ends with its socket, and is killed when this is dropped.
struct KeyHost {
    child: Child,
    stream: UnixStream,
}

impl KeyHost {
    fn start(uri: &TokenUri) -> Result<(KeyHost, Public), String> {
        let told = |error: std::io::Error| format!("its key host does not start: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(told)?;
        ours.set_read_timeout(Some(ANSWER_WAIT_MAX)).map_err(told)?;
        ours.set_write_timeout(Some(ANSWER_WAIT_MAX))
            .map_err(told)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("dunlin")
            .arg("key-host")
            // The environment is left: modules are configured by it.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(told)?;
        // The command holds the host's end; without it an end of file comes when the host dies.
        drop(command);
        let mut host = KeyHost {
            child,
            stream: ours,
        };
        let body = host.ask(&Request::Open(uri.to_string()))?;
        let public = Public::decode(&body).ok_or("its public key is no point of P-256 or P-384")?;
        Ok((host, public))
    }

    fn ask(&mut self, request: &Request) -> Result<Vec<u8>, String> {
        let broke = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs())
            }
            _ => format!("its key host ended: {error}"),
        };
        wire::send(&mut self.stream, &request.encode()).map_err(broke)?;
        match Answer::decode(wire::receive(&mut self.stream).map_err(broke)?) {
            Some(Answer::Done(body)) => Ok(body),
            Some(Answer::Failed(why)) => Err(why),
            None => Err("its key host answered nonsense".to_owned()),
        }
    }
}

impl Drop for KeyHost {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_another_length_are_refused() {
        let good = to_der(&[7; 64], Curve::P256).unwrap();
        assert!(EcdsaSig::from_der(&good).is_ok());
        for length in [0, 63, 65, 96] {
            assert!(to_der(&vec![7; length], Curve::P256).is_err(), "{length}");
        }
        assert!(to_der(&[7; 96], Curve::P384).is_ok());
    }
}
