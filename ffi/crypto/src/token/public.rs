//! Public keys of tokens: the curves, and points on them.

use std::ffi::CStr;

use sha2::{Digest as _, Sha256, Sha384};

/// The curves that TLS 1.3 signs with and tokens have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Curve {
    /// Of the parameters that a token gives: the object identifier in DER.
    pub(super) fn of_oid(der: &[u8]) -> Option<Curve> {
        match der {
            [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Curve::P256),
            [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Curve::P384),
            _ => None,
        }
    }

    pub(super) fn coordinate_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    pub(super) fn group(self) -> &'static CStr {
        match self {
            Curve::P256 => c"prime256v1",
            Curve::P384 => c"secp384r1",
        }
    }

    pub(super) fn digest_name(self) -> &'static CStr {
        match self {
            Curve::P256 => c"SHA256",
            Curve::P384 => c"SHA384",
        }
    }

    /// Longest signature in DER.
    pub(super) fn signature_bytes_max(self) -> usize {
        2 * self.coordinate_bytes() + 8
    }

    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Curve::P256 => Sha256::digest(data).to_vec(),
            Curve::P384 => Sha384::digest(data).to_vec(),
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Public {
    pub(super) curve: Curve,
    /// 04, x, y.
    pub(super) point: Vec<u8>,
}

impl Public {
    pub(super) fn new(curve: Curve, point: &[u8]) -> Option<Public> {
        let whole = point.len() == 1 + 2 * curve.coordinate_bytes() && point[0] == 4;
        whole.then(|| Public {
            curve,
            point: point.to_vec(),
        })
    }

    /// Of the point that a token gives: in an OCTET STRING, as the standard wants, or bare, as some do.
    pub(super) fn of_token(curve: Curve, point: &[u8]) -> Option<Public> {
        let bare = match point {
            [0x04, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
            _ => point,
        };
        Public::new(curve, bare)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let curve = match self.curve {
            Curve::P256 => 1,
            Curve::P384 => 2,
        };
        [&[curve], &self.point[..]].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Public> {
        match bytes.split_first()? {
            (1, point) => Public::new(Curve::P256, point),
            (2, point) => Public::new(Curve::P384, point),
            _ => None,
        }
    }
}
