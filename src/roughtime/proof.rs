//! A question, and what an answer to it proves: that whoever holds the server's key signed a time after the question was put.

use dunlin_crypto::{CryptoError, ed25519_verifies};
use roughenough_protocol::cursor::ParseCursor;
use roughenough_protocol::header::find_value_range;
use roughenough_protocol::protocol_ver::ProtocolVersion;
use roughenough_protocol::request::Request;
use roughenough_protocol::response::Response;
use roughenough_protocol::tag::Tag;
use roughenough_protocol::tags::{MerklePath, Nonce, SrvCommitment};
use roughenough_protocol::wire::{FRAME_OVERHEAD, FromFrame as _, ToFrame as _};
use sha2::{Digest as _, Sha512};

/// Longest answer that is read, in bytes: what one Ethernet frame carries.
pub const ANSWER_BYTES_MAX: usize = 1472;

/// Most by which a server may call itself uncertain, in seconds. A time that may be anything is none.
const RADIUS_S_MAX: u32 = 600;

/// Both the version of RFC 10049 and that of the drafts before it, which servers in the field still speak, in the order that
/// section 5.1.1 asks for.
const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::RFC, ProtocolVersion::DRAFT];

/// A signed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Middle of the span in which it was signed, in seconds since 1970.
    pub midpoint_s: u64,
    /// Half of that span, in seconds.
    pub radius_s: u32,
}

/// Why an answer proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// No answer of Roughtime.
    #[error("it is not an answer of Roughtime: {0}")]
    Malformed(String),
    /// To another question, perhaps an old one.
    #[error("it is the answer to another question")]
    OtherQuestion,
    /// In a version that was not asked for.
    #[error("it is in a version that was not asked for")]
    Version,
    /// The server's key did not sign the key that signed the time.
    #[error("the configured key did not sign it")]
    Key,
    /// The time is not signed by the key that the server named for it.
    #[error("the time in it is not signed")]
    Signature,
    /// The key was not valid at that time.
    #[error("the time in it is outside of the life of the key that signed it")]
    Delegation,
    /// The server knows no time.
    #[error("the server is uncertain by {0} s")]
    Uncertain(u32),
    /// OpenSSL.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<roughenough_protocol::error::Error> for ProofError {
    fn from(error: roughenough_protocol::error::Error) -> ProofError {
        ProofError::Malformed(error.to_string())
    }
}

/// A question that no other is like.
#[derive(Debug)]
pub struct Question {
    key: [u8; 32],
    nonce: [u8; 32],
    packet: Vec<u8>,
}

impl Question {
    /// A question to the server with this Ed25519 key; `nonce` is random.
    pub fn new(key: [u8; 32], nonce: [u8; 32]) -> Question {
        let server = SrvCommitment::from(hash(&[SrvCommitment::HASH_PREFIX_SRV, &key]));
        let request =
            Request::new_with_server_and_versions(&Nonce::from(nonce), &server, &VERSIONS);
        let packet = request.as_frame_bytes();
        let packet = packet.expect("a vector of the size that was asked for holds it");
        Question { key, nonce, packet }
    }

    /// What is sent, in one datagram.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// The time in an answer, if the answer proves it: RFC 10049, section 5.4.
    pub fn hold(&self, answer: &[u8]) -> Result<Stamp, ProofError> {
        let mut bytes = answer.to_vec();
        let response = Response::from_frame(&mut ParseCursor::new(&mut bytes))?;
        let (signed, certificate) = (response.srep(), response.cert());
        let version = signed.ver();
        if !VERSIONS.contains(version) {
            return Err(ProofError::Version);
        }
        // The bytes as they came, since they may hold more than was understood.
        let message = &answer[FRAME_OVERHEAD..];
        let part = |path: &[Tag]| find_value_range(message, path).map(|range| &message[range]);
        let delegation = [version.dele_prefix(), part(&[Tag::CERT, Tag::DELE])?].concat();
        if !is_signed(&self.key, &delegation, certificate.sig().as_ref())? {
            return Err(ProofError::Key);
        }
        let time = [version.srep_prefix(), part(&[Tag::SREP])?].concat();
        let delegated = certificate.dele();
        if !is_signed(delegated.pubk().as_ref(), &time, response.sig().as_ref())? {
            return Err(ProofError::Signature);
        }
        if response.nonc().as_ref() != self.nonce {
            return Err(ProofError::OtherQuestion);
        }
        if root(response.indx(), &self.packet, response.path()).as_deref()
            != Some(signed.root().as_ref())
        {
            return Err(ProofError::OtherQuestion);
        }
        let midpoint_s = signed.midp();
        if !(delegated.mint()..=delegated.maxt()).contains(&midpoint_s) {
            return Err(ProofError::Delegation);
        }
        if signed.radi() > RADIUS_S_MAX {
            return Err(ProofError::Uncertain(signed.radi()));
        }
        Ok(Stamp {
            midpoint_s,
            radius_s: signed.radi(),
        })
    }
}

/// Whether it is signed; a key or signature of another length has signed nothing.
fn is_signed(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    match (key.try_into(), signature.try_into()) {
        (Ok(key), Ok(signature)) => ed25519_verifies(key, message, signature),
        _ => Ok(false),
    }
}

/// The root of the tree of questions that the server answered at once: RFC 10049, section 5.3.1. `None` where the place in
/// the tree lies beyond it.
fn root(mut place: u32, packet: &[u8], path: &MerklePath) -> Option<Vec<u8>> {
    let mut node = hash(&[&[0], packet]);
    for sibling in path.elements() {
        node = match place % 2 {
            0 => hash(&[&[1], &node, sibling]),
            _ => hash(&[&[1], sibling, &node]),
        };
        place /= 2;
    }
    (place == 0).then(|| node.to_vec())
}

/// The first 32 bytes of SHA-512.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(&hash.finalize()[..32]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a server whose seed is 32 zero bytes.
    const KEY: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

    /// What `roughenough_server` 2.2.0, with that seed, answered to the question of the nonce 0, 1, ... 31.
    const ANSWER: &str = "\
        524f55474854494d940100000700000040000000600000006400000064000000c000000058010000534947004e4f4e435459\
        5045504154485352455043455254494e4458c7b3fae7ea87c50546259a0a09ba43c9c024c0a840e858e17cb494fc81bdb9a6\
        99653139f2fa9e62bcda6ba15774860206dd31cdd340618572ecfa4b300b5d0a000102030405060708090a0b0c0d0e0f1011\
        12131415161718191a1b1c1d1e1f01000000050000000400000008000000100000001400000056455200524144494d494450\
        56455253524f4f5401000000050000009871076b000000000100000066e802f3a00bfdb39325ab499bbdf4bf79503580125b\
        b732781702935ac70c5002000000400000005349470044454c4507f090234052d628d6230d4f83748982797c5e7e4131bf89\
        7a5e89c724b00ed14fdbad7e5e0b978ea847f6eab67a87df847b8dff8c94203059aa2090c6f21c0703000000200000002800\
        00005055424b4d494e544d415854ecbbc63cd2864f041ea1369ff5d31d0e5c814e19acb9a258b6bba4575a2b08899671076b\
        0000000016c3086b0000000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn question(first: u8) -> Question {
        let key = bytes(KEY).try_into().unwrap();
        let nonce: Vec<u8> = (first..first + 32).collect();
        Question::new(key, nonce.try_into().unwrap())
    }

    #[test]
    fn a_question_is_a_datagram_of_1024_bytes() {
        assert_eq!(question(0).packet().len(), 1024);
        assert_eq!(question(0).packet()[..8], *b"ROUGHTIM");
    }

    #[test]
    fn what_another_implementation_signed_is_proven() {
        let stamp = Stamp {
            midpoint_s: 1_795_649_944,
            radius_s: 5,
        };
        assert_eq!(question(0).hold(&bytes(ANSWER)).unwrap(), stamp);
    }

    #[test]
    fn an_old_answer_and_that_of_another_server_prove_nothing() {
        let answer = bytes(ANSWER);
        let refusal = question(1).hold(&answer).unwrap_err();
        assert!(matches!(refusal, ProofError::OtherQuestion), "{refusal}");
        let other = Question {
            key: [7; 32],
            ..question(0)
        };
        let refusal = other.hold(&answer).unwrap_err();
        assert!(matches!(refusal, ProofError::Key), "{refusal}");
    }

    #[test]
    fn an_answer_with_any_bit_turned_or_cut_anywhere_proves_nothing() {
        let (question, answer) = (question(0), bytes(ANSWER));
        for at in 0..answer.len() {
            assert!(question.hold(&answer[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut other = answer.clone();
                other[at] ^= 1 << bit;
                assert!(question.hold(&other).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
