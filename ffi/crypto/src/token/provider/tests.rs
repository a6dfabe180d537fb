use super::*;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::sign::{Signer, Verifier};
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

/// A token of software: a key that the provider does not see.
struct Token {
    key: EcKey<Private>,
    fails: AtomicBool,
}

impl Sign for Token {
    fn sign(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let signature = EcdsaSig::sign(digest, &self.key).unwrap();
        (!self.fails.load(Ordering::Relaxed)).then(|| signature.to_der().unwrap())
    }
}

fn token(curve: Curve) -> (Arc<Token>, Public) {
    let nid = match curve {
        Curve::P256 => Nid::X9_62_PRIME256V1,
        Curve::P384 => Nid::SECP384R1,
    };
    let group = EcGroup::from_curve_name(nid).unwrap();
    let key = EcKey::generate(&group).unwrap();
    let mut context = BigNumContext::new().unwrap();
    let form = PointConversionForm::UNCOMPRESSED;
    let point = key.public_key().to_bytes(&group, form, &mut context);
    let public = Public::new(curve, &point.unwrap()).unwrap();
    let fails = AtomicBool::new(false);
    (Arc::new(Token { key, fails }), public)
}

/// Signed by the key itself, which a peer then trusts as an authority.
fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "device").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(2));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A handshake with certificates on both sides; what the server saw of ours.
fn shake(own: &X509, key: &PKey<Private>) -> Result<Vec<u8>, String> {
    let server_key = PKey::from_ec_key(token(Curve::P256).0.key.clone()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&server_key).unwrap();
    acceptor.set_certificate(&certificate(&server_key)).unwrap();
    acceptor.cert_store_mut().add_cert(own.clone()).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let acceptor = acceptor.build();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_certificate(own).unwrap();
    connector.set_private_key(key).unwrap();
    connector.check_private_key().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = acceptor.accept(theirs).map_err(|error| error.to_string())?;
        stream.write_all(b"x").map_err(|error| error.to_string())?;
        assert_eq!(stream.ssl().version_str(), "TLSv1.3");
        Ok(stream.ssl().peer_certificate().unwrap().to_der().unwrap())
    });
    let said = match connector.build().connect("device", ours) {
        Ok(mut stream) => stream.read_exact(&mut [0]).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let seen = server.join().unwrap();
    said.and(seen)
}

#[test]
fn tls_1_3_is_spoken_with_a_key_that_signs_elsewhere() {
    for curve in [Curve::P256, Curve::P384] {
        let (token, public) = token(curve);
        let own = certificate(&PKey::from_ec_key(token.key.clone()).unwrap());
        let key = private_key(&public, Arc::clone(&token) as Arc<dyn Sign>).unwrap();
        assert!(own.public_key().unwrap().public_eq(&key), "{curve:?}");
        assert_eq!(shake(&own, &key), Ok(own.to_der().unwrap()), "{curve:?}");

        // Nothing of it but the public half can be had.
        assert!(key.private_key_to_pem_pkcs8().is_err());
        token.fails.store(true, Ordering::Relaxed);
        let refused = shake(&own, &key).unwrap_err();
        assert!(!refused.is_empty());
    }
    assert!(signers().is_empty());
}

/// What rustls asks for inside QUIC.
#[cfg(feature = "quic")]
#[test]
fn rustls_gets_a_signature_from_elsewhere_or_the_reason_why_not() {
    use rustls::SignatureScheme as Scheme;
    use rustls::sign::SigningKey as _;
    for (curve, scheme, digest) in [
        (
            Curve::P256,
            Scheme::ECDSA_NISTP256_SHA256,
            MessageDigest::sha256(),
        ),
        (
            Curve::P384,
            Scheme::ECDSA_NISTP384_SHA384,
            MessageDigest::sha384(),
        ),
    ] {
        let (token, public) = token(curve);
        let own = certificate(&PKey::from_ec_key(token.key.clone()).unwrap());
        let key = private_key(&public, Arc::clone(&token) as Arc<dyn Sign>).unwrap();
        let why = Arc::new(|| Some("it is locked".to_owned()));
        let key = crate::quic::signer::Key::new(&own, key, Some(why)).unwrap();
        let signer = key.choose_scheme(&[scheme]).unwrap();
        let signature = signer.sign(b"text").unwrap();
        let theirs = own.public_key().unwrap();
        let mut verifier = Verifier::new(digest, &theirs).unwrap();
        assert!(verifier.verify_oneshot(&signature, b"text").unwrap());
        token.fails.store(true, Ordering::Relaxed);
        let said = signer.sign(b"text").unwrap_err().to_string();
        assert!(said.contains("it is locked"), "{said}");
    }
}

#[test]
fn another_key_does_not_match() {
    let (_, public) = token(Curve::P256);
    let (other, _) = token(Curve::P256);
    let key = private_key(&public, Arc::clone(&other) as Arc<dyn Sign>).unwrap();
    let plain = PKey::from_ec_key(other.key.clone()).unwrap();
    assert!(!plain.public_eq(&key));
    assert!(!certificate(&plain).public_key().unwrap().public_eq(&key));
}

/// OpenSSL takes its own provider for keys of its own, although this one knows EC too.
#[test]
fn keys_of_openssl_work_as_before() {
    load().unwrap();
    load().unwrap();
    let (token, _) = token(Curve::P256);
    let key = PKey::from_ec_key(token.key.clone()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(b"text").unwrap();
    let public = PKey::public_key_from_pem(&key.public_key_to_pem().unwrap()).unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
    assert!(verifier.verify_oneshot(&signature, b"text").unwrap());
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    assert!(PKey::private_key_from_pem(&pem).unwrap().public_eq(&key));
}
