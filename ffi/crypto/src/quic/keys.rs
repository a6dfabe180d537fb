//! Keys of packets and headers (RFC 9001, section 5) in the shape that quinn asks for, and the key of stateless resets.

use bytes::BytesMut;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use quinn_proto::crypto::{CryptoError as Refused, HeaderKey, HmacKey, KeyPair, Keys, PacketKey};
use rustls::quic::HeaderProtectionKey;

use crate::error::CryptoError;

/// Both directions of a packet space.
pub(super) fn both(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair {
            local: Box::new(Header(keys.local.header)),
            remote: Box::new(Header(keys.remote.header)),
        },
        packet: packets(rustls::quic::PacketKeySet {
            local: keys.local.packet,
            remote: keys.remote.packet,
        }),
    }
}

/// The one direction of early data.
pub(super) fn one(keys: rustls::quic::DirectionalKeys) -> (Box<dyn HeaderKey>, Box<dyn PacketKey>) {
    (Box::new(Header(keys.header)), Box::new(Packet(keys.packet)))
}

/// Both directions after a key update, which leaves the keys of headers.
pub(super) fn packets(keys: rustls::quic::PacketKeySet) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair {
        local: Box::new(Packet(keys.local)),
        remote: Box::new(Packet(keys.remote)),
    }
}

struct Packet(Box<dyn rustls::quic::PacketKey>);

impl PacketKey for Packet {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, rest) = buf.split_at_mut(header_len);
        let body = rest.len() - self.0.tag_len();
        let (payload, tag) = rest.split_at_mut(body);
        let made = self
            .0
            .encrypt_in_place(packet, header, payload)
            .expect("AES-GCM and ChaCha20-Poly1305 encrypt any packet");
        tag.copy_from_slice(made.as_ref());
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), Refused> {
        let plain = self
            .0
            .decrypt_in_place(packet, header, payload)
            .map_err(|_| Refused)?
            .len();
        payload.truncate(plain);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

struct Header(Box<dyn HeaderProtectionKey>);

impl Header {
    /// The parts that header protection covers: the first byte and the packet number, which is at most four bytes long,
    /// and the sample, which starts where a packet number of four bytes would end (RFC 9001, section 5.4.2).
    fn parts(packet: &mut [u8], number_at: usize) -> (&mut u8, &mut [u8], &mut [u8]) {
        let (header, sample) = packet.split_at_mut(number_at + 4);
        let (first, rest) = header
            .split_first_mut()
            .expect("a packet number is after the first byte");
        (first, &mut rest[number_at - 1..], sample)
    }
}

impl HeaderKey for Header {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let (first, number, sample) = Header::parts(packet, pn_offset);
        self.0
            .decrypt_in_place(&sample[..self.0.sample_len()], first, number)
            .expect("the sample is as long as the cipher asks");
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let (first, number, sample) = Header::parts(packet, pn_offset);
        self.0
            .encrypt_in_place(&sample[..self.0.sample_len()], first, number)
            .expect("the sample is as long as the cipher asks");
    }

    fn sample_size(&self) -> usize {
        self.0.sample_len()
    }
}

/// The key of stateless resets (RFC 9000, section 10.3): HMAC-SHA256 with a random key of this process.
pub struct ResetKey(PKey<Private>);

impl ResetKey {
    /// Bytes of a signature.
    const LEN: usize = 32;

    /// Draws a key.
    pub fn new() -> Result<ResetKey, CryptoError> {
        let mut key = [0; 64];
        crate::random_bytes(&mut key)?;
        PKey::hmac(&key)
            .map(ResetKey)
            .map_err(|source| CryptoError::OpenSsl {
                verb: "make a key for resets",
                source,
            })
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let made = Signer::new(MessageDigest::sha256(), &self.0)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(data))
            .expect("HMAC-SHA256 takes any message");
        signature_out.copy_from_slice(&made);
    }

    fn signature_len(&self) -> usize {
        ResetKey::LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let mut made = [0; ResetKey::LEN];
        self.sign(data, &mut made);
        if signature.len() == made.len() && openssl::memcmp::eq(&made, signature) {
            Ok(())
        } else {
            Err(Refused)
        }
    }
}
