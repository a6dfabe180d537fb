//! One handshake and the keys that it gives.

use std::any::Any;
use std::io;
use std::sync::Arc;

use openssl::symm::{Cipher, decrypt_aead};
use quinn_proto::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Connection, KeyChange, Secrets, Suite, Version};

use super::{keys, verdict};

/// The version of QUIC that is spoken: 1 (RFC 9000).
pub const QUIC_VERSION: u32 = 1;

/// What new sessions start from.
pub(super) struct Config {
    tls: Arc<rustls::ClientConfig>,
    initial: Suite,
}

impl Config {
    pub(super) fn new(tls: rustls::ClientConfig, initial: Suite) -> Config {
        Config {
            tls: Arc::new(tls),
            initial,
        }
    }
}

/// The suite of first packets: AES-128-GCM with SHA-256 (RFC 9001, section 5.2).
pub(super) fn initial_suite(provider: &CryptoProvider) -> Option<Suite> {
    provider
        .cipher_suites
        .iter()
        .find(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)?
        .tls13()?
        .quic_suite()
}

impl ClientConfig for Config {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        if version != QUIC_VERSION {
            return Err(UnsupportedVersion.into());
        }
        let invalid = || ConnectError::InvalidServerName(server_name.to_owned());
        let name = ServerName::try_from(server_name)
            .map_err(|_| invalid())?
            .to_owned();
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        let tls = ClientConnection::new(Arc::clone(&self.tls), Version::V1, name, encoded)
            .map_err(|_| invalid())?;
        Ok(Box::new(Client {
            tls: Connection::Client(tls),
            initial: self.initial,
            protocol_told: false,
            next: None,
        }))
    }
}

struct Client {
    tls: Connection,
    initial: Suite,
    /// quinn knows that the server has chosen a protocol.
    protocol_told: bool,
    /// What the keys after the next update are made of.
    next: Option<Secrets>,
}

impl Session for Client {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        keys::both(self.initial.keys(dst_cid, side, Version::V1))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.tls.alpn_protocol()?.to_vec()))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let chain = self.tls.peer_certificates()?.to_vec();
        Some(Box::new(chain))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.tls.zero_rtt_keys().map(keys::one)
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match &self.tls {
            Connection::Client(client) => Some(client.is_early_data_accepted()),
            Connection::Server(_) => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        if let Err(error) = self.tls.read_hs(buf) {
            let reason = verdict::words(&error);
            let code = match self.tls.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            };
            return Err(TransportError {
                code,
                frame: None,
                reason,
            });
        }
        let told = self.protocol_told;
        self.protocol_told = told || self.tls.alpn_protocol().is_some();
        Ok(self.protocol_told && !told)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(encoded) = self.tls.quic_transport_parameters() else {
            return Ok(None);
        };
        TransportParameters::read(Side::Client, &mut io::Cursor::new(encoded))
            .map(Some)
            .map_err(Into::into)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.tls.write_hs(buf)? {
            KeyChange::Handshake { keys } => Some(keys::both(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(keys::both(keys))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        Some(keys::packets(self.next.as_mut()?.next_packet_keys()))
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        /// Key and nonce of version 1 (RFC 9001, section 5.8).
        const KEY: [u8; 16] = 0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes();
        const NONCE: [u8; 12] = [
            0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb,
        ];
        let (Some((token, tag)), Ok(length)) = (
            payload.split_last_chunk::<16>(),
            u8::try_from(orig_dst_cid.len()),
        ) else {
            return false;
        };
        let pseudo = [&[length], &orig_dst_cid[..], header, token].concat();
        decrypt_aead(Cipher::aes_128_gcm(), &KEY, Some(&NONCE), &pseudo, &[], tag).is_ok()
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.tls
            .export_keying_material(output, label, Some(context))
            .map(|_| ())
            .map_err(|_| ExportKeyingMaterialError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001, appendix A.4: the Retry packet of the example connection.
    #[test]
    fn a_retry_packet_is_taken_only_with_its_tag() {
        let original = ConnectionId::new(&0x8394_c8f0_3e51_5708_u64.to_be_bytes());
        let header: Vec<u8> = [
            &[0xff, 0, 0, 0, 1, 0, 8][..],
            &0xf067_a550_2a42_62b5_u64.to_be_bytes(),
        ]
        .concat();
        let payload: Vec<u8> = [
            &b"token"[..],
            &0x04a2_65ba_2eff_4d82_9058_fb3f_0f24_96ba_u128.to_be_bytes(),
        ]
        .concat();
        let provider = Arc::new(rustls_openssl::default_provider());
        let initial = initial_suite(&provider).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("example").unwrap();
        let session = Client {
            tls: Connection::Client(
                ClientConnection::new(Arc::new(tls), Version::V1, name, Vec::new()).unwrap(),
            ),
            initial,
            protocol_told: false,
            next: None,
        };
        assert!(session.is_valid_retry(&original, &header, &payload));
        for at in 0..payload.len() {
            let mut bad = payload.clone();
            bad[at] ^= 1;
            assert!(!session.is_valid_retry(&original, &header, &bad), "{at}");
        }
        assert!(!session.is_valid_retry(&original, &header, &payload[..15]));
        let other = ConnectionId::new(&[0; 8]);
        assert!(!session.is_valid_retry(&other, &header, &payload));
    }
}
