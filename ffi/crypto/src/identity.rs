//! What an agent needs to be known by a certificate: a key, a request for a certificate (PKCS#10, RFC 2986), and the
//! certificates that come back (PKCS#7, certs-only, RFC 7030).
//!
//! A request is written here and not by OpenSSL, so that a key in a token, which only signs, makes one as a key in a file
//! does.

use std::path::Path;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs7::Pkcs7;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::{X509, X509Name, X509NameRef, X509Ref};
use zeroize::Zeroizing;

use crate::error::CryptoError;
use crate::secret;
use crate::tls::{PrivateKey, certificates, key_of_file};

/// Whom a certificate is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A common name.
    Name(&'a str),
    /// The holder of the first certificate in a PEM file: its subject and its other names.
    Of(&'a Path),
}

/// What is in a certificate. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is: `CN=press-7`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Not valid before.
    pub from_s: i64,
    /// Not valid after.
    pub to_s: i64,
}

fn openssl(verb: &'static str) -> impl Fn(ErrorStack) -> CryptoError {
    move |source| CryptoError::OpenSsl { verb, source }
}

/// A new key on P-256, as PEM. It is wiped when it is dropped.
pub fn new_key() -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    crate::begin();
    let make = || {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        PKey::from_ec_key(EcKey::generate(&group)?)?.private_key_to_pem_pkcs8()
    };
    make()
        .map(Zeroizing::new)
        .map_err(openssl("make a private key"))
}

/// The content of a file that only its owner can read. It is wiped when it is dropped.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    secret::read("secret", path, secret::CLOSED)
}

/// The content of a credential that the service manager gave. It is wiped when it is dropped.
pub fn read_credential(path: &Path) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    secret::read("secret", path, secret::CREDENTIAL)
}

/// The private key, and its public half as certificates have it.
fn key(private: &PrivateKey) -> Result<(PKey<Private>, Vec<u8>), CryptoError> {
    let verb = openssl("encode the public key");
    match private {
        PrivateKey::File(path) => {
            let key = key_of_file(path)?;
            let public = key.public_key_to_der().map_err(verb)?;
            Ok((key, public))
        }
        #[cfg(feature = "tokens")]
        PrivateKey::Token(uri) => {
            let token = crate::token::TokenKey::open(uri)?;
            let public = token.public_key().and_then(|key| key.public_key_to_der());
            Ok((token.pkey().map_err(&verb)?, public.map_err(verb)?))
        }
    }
}

/// A request for a certificate (DER), signed with the key. EC keys only.
pub fn request(private: &PrivateKey, subject: Subject<'_>) -> Result<Vec<u8>, CryptoError> {
    /// ecdsa-with-SHA256 and ecdsa-with-SHA384 (RFC 5758), as `AlgorithmIdentifier`.
    const SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    const SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
    crate::begin();
    let (key, public) = key(private)?;
    let verb = openssl("name the subject");
    let (name, names) = match subject {
        Subject::Name(name) => (named(name).map_err(verb)?, Vec::new()),
        Subject::Of(file) => {
            let own = &certificates("certificate", file)?[0];
            (own.subject_name().to_der().map_err(verb)?, other_names(own))
        }
    };
    let attributes = if names.is_empty() {
        Vec::new()
    } else {
        // extensionRequest (RFC 2985) with subjectAltName.
        let value = element(0x04, &[&element(0x30, &[&names])]);
        let extension = element(0x30, &[b"\x06\x03\x55\x1d\x11", &value]);
        let set = element(0x31, &[&element(0x30, &[&extension])]);
        element(
            0x30,
            &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e", &set],
        )
    };
    let attributes = element(0xa0, &[&attributes]);
    let info = element(0x30, &[b"\x02\x01\x00", &name, &public, &attributes]);
    // P-384 has a longer public key than any P-256 key.
    let (digest, algorithm) = if public.len() > 100 {
        (MessageDigest::sha384(), SHA384)
    } else {
        (MessageDigest::sha256(), SHA256)
    };
    let signature = Signer::new(digest, &key)
        .and_then(|mut signer| signer.sign_oneshot_to_vec(&info))
        .map_err(openssl("sign the request"))?;
    let bits = element(0x03, &[b"\x00", &signature]);
    Ok(element(0x30, &[&info, algorithm, &bits]))
}

fn named(name: &str) -> Result<Vec<u8>, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    builder.build().to_der()
}

/// The names of a certificate beside its subject, as `GeneralName` (RFC 5280, section 4.2.1.6).
fn other_names(certificate: &X509Ref) -> Vec<u8> {
    let mut found = Vec::new();
    for name in certificate.subject_alt_names().iter().flatten() {
        let text = |text: &str| text.as_bytes().to_vec();
        let kinds = [
            (0x81, name.email().map(text)),
            (0x82, name.dnsname().map(text)),
            (0x86, name.uri().map(text)),
            (0x87, name.ipaddress().map(<[u8]>::to_vec)),
        ];
        for (tag, value) in kinds {
            found.extend(value.into_iter().flat_map(|value| element(tag, &[&value])));
        }
    }
    found
}

/// One element of DER.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    let length = body.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    if body.len() > 0x7f {
        bytes.extend(u8::try_from(0x80 | (length.len() - zeros)));
    }
    // The length 0 is written too.
    bytes.extend(&length[zeros.min(length.len() - 1)..]);
    bytes.extend(body);
    bytes
}

/// The certificates of a PKCS#7 structure that holds nothing else (DER).
fn certs_only(der: &[u8]) -> Result<Vec<X509>, CryptoError> {
    let none = || CryptoError::Issued("the server's answer is not PKCS#7 with certificates");
    let found = Pkcs7::from_der(der).map_err(|_| none())?;
    let signed = found.signed().ok_or_else(none)?;
    let certificates = signed.certificates().ok_or_else(none)?;
    Ok(certificates.iter().map(ToOwned::to_owned).collect())
}

/// The certificate that a server sent for `private`, then its intermediates, as PEM. `response` and `authorities` are what
/// RFC 7030 calls the answers to /simpleenroll and /cacerts, in DER. Its signature must lead to one of the authorities.
pub fn issued(
    response: &[u8],
    authorities: &[u8],
    private: &PrivateKey,
) -> Result<Vec<u8>, CryptoError> {
    crate::begin();
    let (_, public) = key(private)?;
    let mut known = certs_only(response)?;
    let ours = |found: &X509| {
        let its = found.public_key().and_then(|key| key.public_key_to_der());
        its.is_ok_and(|its| its == public)
    };
    let Some(at) = known.iter().position(ours) else {
        return Err(CryptoError::Issued(
            "the server's certificate is not for our key",
        ));
    };
    let mut chain = vec![known.swap_remove(at)];
    known.extend(certs_only(authorities)?);
    loop {
        let last = &chain[chain.len() - 1];
        let signed_by = |other: &&X509| {
            same(other.subject_name(), last.issuer_name())
                && other
                    .public_key()
                    .and_then(|key| last.verify(&key))
                    .unwrap_or(false)
        };
        let Some(signer) = known.iter().find(signed_by) else {
            return Err(CryptoError::Issued(
                "the server's certificate is not signed by an authority that it names in /cacerts",
            ));
        };
        // The root itself is not sent.
        if same(signer.subject_name(), signer.issuer_name()) {
            break;
        }
        let signer = signer.clone();
        if chain.len() > known.len() {
            return Err(CryptoError::Issued("the server's chain has no end"));
        }
        chain.push(signer);
    }
    let pem: Result<Vec<_>, ErrorStack> = chain.iter().map(|found| found.to_pem()).collect();
    Ok(pem.map_err(openssl("encode a certificate"))?.concat())
}

fn same(one: &X509NameRef, other: &X509NameRef) -> bool {
    matches!((one.to_der(), other.to_der()), (Ok(one), Ok(other)) if one == other)
}

/// What is in the first certificate of a PEM file.
pub fn facts(path: &Path) -> Result<Facts, CryptoError> {
    crate::begin();
    let own = &certificates("certificate", path)?[0];
    let serial = own.serial_number().to_bn().and_then(|number| {
        let text = number.to_hex_str()?;
        Ok(text.to_string())
    });
    let verb = openssl("read a certificate");
    Ok(Facts {
        subject: text(own.subject_name()),
        issuer: text(own.issuer_name()),
        serial: serial.map_err(&verb)?,
        from_s: unix(own.not_before()).map_err(&verb)?,
        to_s: unix(own.not_after()).map_err(&verb)?,
    })
}

fn text(name: &X509NameRef) -> String {
    let entries = name.entries().map(|entry| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string();
        format!("{key}={}", value.unwrap_or_else(|_| "?".to_owned()))
    });
    entries.collect::<Vec<_>>().join(", ")
}

/// Seconds since 1970 as people read them.
pub fn time_text(at_s: i64) -> String {
    crate::begin();
    Asn1Time::from_unix(at_s).map_or_else(|_| format!("{at_s} s"), |time| time.to_string())
}

/// Seconds since 1970.
fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
