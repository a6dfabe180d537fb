//! The power-on self-test: known answers for each primitive that TLS 1.3 and X.509 as we use them rest on. A processor
//! with a bad vector unit, a library built wrong or swapped under us gives wrong answers long before it gives errors.

use std::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef};
use openssl::pkey_ctx::{HkdfMode, PkeyCtx};
use openssl::sign::{Signer, Verifier};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

use crate::vectors as known;

/// A primitive gave another answer than its standard, or none.
#[derive(Debug)]
pub struct SelfTestError {
    /// Which.
    pub name: &'static str,
    /// OpenSSL's error, where there was one.
    pub source: Option<ErrorStack>,
}

impl fmt::Display for SelfTestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = openssl::version::version();
        write!(f, "{} of {version} fails its known answer", self.name)?;
        match &self.source {
            Some(source) if !source.errors().is_empty() => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for SelfTestError {}

type Answer = Result<bool, ErrorStack>;
type Test = (&'static str, fn(flip: u8) -> Answer);

/// Each with the name that `dunlin version --self-test` prints. `flip` is added to the answer that is known, so that a
/// test can see each of them fail; it is 0 but for `self_test_with`.
const TESTS: [Test; 12] = [
    ("SHA-256", |flip| {
        digest(MessageDigest::sha256(), known::SHA256_ABC, flip)
    }),
    ("SHA-384", |flip| {
        digest(MessageDigest::sha384(), known::SHA384_ABC, flip)
    }),
    ("HMAC-SHA-256", |flip| {
        hmac(MessageDigest::sha256(), known::HMAC_SHA256, flip)
    }),
    ("HMAC-SHA-384", |flip| {
        hmac(MessageDigest::sha384(), known::HMAC_SHA384, flip)
    }),
    ("HKDF-SHA-256", hkdf),
    ("AES-128-GCM", |flip| {
        aead(Cipher::aes_128_gcm(), &known::AES_128_GCM, flip)
    }),
    ("AES-256-GCM", |flip| {
        aead(Cipher::aes_256_gcm(), &known::AES_256_GCM, flip)
    }),
    ("ChaCha20-Poly1305", |flip| {
        aead(Cipher::chacha20_poly1305(), &known::CHACHA20_POLY1305, flip)
    }),
    ("X25519", x25519),
    ("ECDH P-256", ecdh_p256),
    ("Ed25519 verify", ed25519),
    ("ECDSA P-256 verify", ecdsa_p256),
];

/// Asks each primitive once; the names of those that answered right, or the first that did not.
pub fn self_test() -> Result<Vec<&'static str>, SelfTestError> {
    self_test_with(None)
}

/// The same, with the known answer of the primitive called `wrong` made wrong: what a test sees fail.
pub fn self_test_with(wrong: Option<&str>) -> Result<Vec<&'static str>, SelfTestError> {
    let mut passed = Vec::with_capacity(TESTS.len());
    for (name, test) in TESTS {
        crate::begin();
        match test(u8::from(wrong == Some(name))) {
            Ok(true) => passed.push(name),
            Ok(false) => return Err(SelfTestError { name, source: None }),
            Err(source) => {
                let source = Some(source);
                return Err(SelfTestError { name, source });
            }
        }
    }
    Ok(passed)
}

/// The known answer, its first byte changed by `flip`.
fn expected(hex: &str, flip: u8) -> Vec<u8> {
    let mut bytes = known::bytes(hex);
    bytes[0] ^= flip;
    bytes
}

fn digest(kind: MessageDigest, answer: &str, flip: u8) -> Answer {
    Ok(hash(kind, b"abc")?[..] == expected(answer, flip))
}

fn hmac(kind: MessageDigest, answer: &str, flip: u8) -> Answer {
    let key = PKey::hmac(known::HMAC_KEY)?;
    let mac = Signer::new(kind, &key)?.sign_oneshot_to_vec(known::HMAC_DATA)?;
    Ok(mac == expected(answer, flip))
}

fn hkdf(flip: u8) -> Answer {
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_mode(HkdfMode::EXTRACT_THEN_EXPAND)?;
    context.set_hkdf_md(Md::sha256())?;
    context.set_hkdf_key(&known::bytes(known::HKDF_KEY))?;
    context.set_hkdf_salt(&known::bytes(known::HKDF_SALT))?;
    context.add_hkdf_info(&known::bytes(known::HKDF_INFO))?;
    let answer = expected(known::HKDF_OUT, flip);
    let mut out = vec![0; answer.len()];
    context.derive(Some(&mut out))?;
    Ok(out == answer)
}

/// Seals, opens, and refuses what was changed.
fn aead(cipher: Cipher, known: &known::Aead, flip: u8) -> Answer {
    let [key, nonce, aad, plain] =
        [known.key, known.nonce, known.aad, known.plain].map(known::bytes);
    let mut tag = [0; 16];
    let sealed = encrypt_aead(cipher, &key, Some(&nonce), &aad, &plain, &mut tag)?;
    if sealed != known::bytes(known.sealed) || tag[..] != expected(known.tag, flip) {
        return Ok(false);
    }
    let opened = decrypt_aead(cipher, &key, Some(&nonce), &aad, &sealed, &tag)?;
    tag[0] ^= 1;
    let forged = decrypt_aead(cipher, &key, Some(&nonce), &aad, &sealed, &tag);
    Ok(opened == plain && forged.is_err())
}

fn x25519(flip: u8) -> Answer {
    let own = PKey::private_key_from_raw_bytes(&known::bytes(known::X25519_OWN), Id::X25519)?;
    let peer = PKey::public_key_from_raw_bytes(&known::bytes(known::X25519_PEER), Id::X25519)?;
    let mut deriver = Deriver::new(&own)?;
    deriver.set_peer(&peer)?;
    Ok(deriver.derive_to_vec()? == expected(known::X25519_SHARED, flip))
}

fn p256_point(hex: &str) -> Result<(EcGroup, EcPoint), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, &known::bytes(hex), &mut context)?;
    Ok((group, point))
}

fn ecdh_p256(flip: u8) -> Answer {
    let (group, own_point) = p256_point(known::P256_OWN_POINT)?;
    let scalar = BigNum::from_slice(&known::bytes(known::P256_OWN))?;
    let own = EcKey::from_private_components(&group, &scalar, &own_point)?;
    let (group, peer_point) = p256_point(known::P256_PEER_POINT)?;
    let (own, peer) = (
        PKey::from_ec_key(own)?,
        PKey::from_ec_key(EcKey::from_public_key(&group, &peer_point)?)?,
    );
    let mut deriver = Deriver::new(&own)?;
    deriver.set_peer(&peer)?;
    Ok(deriver.derive_to_vec()? == expected(known::P256_SHARED, flip))
}

/// Whether the signature of `message` is good, and that of another message is not.
fn judged<K: HasPublic>(
    kind: Option<MessageDigest>,
    key: &PKeyRef<K>,
    signature: &[u8],
    message: &[u8],
    flip: u8,
) -> Answer {
    let verifies = |message: &[u8]| -> Answer {
        let mut verifier = match kind {
            Some(kind) => Verifier::new(kind, key)?,
            None => Verifier::new_without_digest(key)?,
        };
        verifier.verify_oneshot(signature, message)
    };
    let mut message = message.to_vec();
    message[0] ^= flip;
    let good = verifies(&message)?;
    message[0] ^= 2;
    Ok(good && !verifies(&message)?)
}

fn ed25519(flip: u8) -> Answer {
    let key = PKey::public_key_from_raw_bytes(&known::bytes(known::ED25519_PUBLIC), Id::ED25519)?;
    let signature = known::bytes(known::ED25519_SIGNATURE);
    judged(None, &key, &signature, known::ED25519_MESSAGE, flip)
}

fn ecdsa_p256(flip: u8) -> Answer {
    let (group, point) = p256_point(known::ECDSA_POINT)?;
    let key = PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)?;
    let [r, s] = [known::ECDSA_R, known::ECDSA_S].map(known::bytes);
    let signature =
        EcdsaSig::from_private_components(BigNum::from_slice(&r)?, BigNum::from_slice(&s)?)?
            .to_der()?;
    let sha256 = Some(MessageDigest::sha256());
    judged(sha256, &key, &signature, known::ECDSA_MESSAGE, flip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_answer_is_right_and_every_one_can_fail() {
        let names = self_test().unwrap();
        assert_eq!(names.len(), TESTS.len());
        for name in names {
            let error = self_test_with(Some(name)).unwrap_err();
            assert_eq!(error.name, name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
