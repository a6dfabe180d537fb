//! What the agent asks of OpenSSL, asked of the library that this test is linked with. Natively that is the system's; on
//! aarch64 it is the trimmed one of deploy/cross/openssl.sh, and what was left out of it by mistake fails here.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::lib_ctx::LibCtx;
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::{HkdfMode, PkeyCtx};
use openssl::provider::Provider;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{Signer, Verifier};
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::stack::Stack;
use openssl::symm::{Cipher, Crypter, Mode, encrypt_aead};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder, X509StoreContext, X509StoreContextRef};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate for `name`, signed by `issuer`, or by itself and then an authority.
fn certificate(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    let issued_by = issuer.map_or(&*subject, |(issuer, _)| issuer.subject_name());
    builder.set_issuer_name(issued_by).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(2));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    if issuer.is_none() {
        let ca = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(ca).unwrap();
    }
    let names = SubjectAlternativeName::new()
        .dns(name)
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(names).unwrap();
    let signer = issuer.map_or(key, |(_, key)| key);
    let digest = if signer.id() == Id::ED25519 {
        MessageDigest::null()
    } else {
        MessageDigest::sha256()
    };
    builder.sign(signer, digest).unwrap();
    builder.build()
}

fn is_trusted(leaf: &X509, root: &X509) -> bool {
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(root.clone()).unwrap();
    let store = store.build();
    let none = Stack::new().unwrap();
    let mut context = X509StoreContext::new().unwrap();
    context
        .init(&store, leaf, &none, X509StoreContextRef::verify_cert)
        .unwrap()
}

#[test]
fn x509_chains_are_judged() {
    let ed25519 = PKey::generate_ed25519().unwrap();
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    for key in [ec(), ed25519, rsa] {
        let root = certificate("root", &key, None);
        let leaf = certificate("leaf", &ec(), Some((&root, &key)));
        assert!(is_trusted(&leaf, &root));
        // Of the same name, but not the one that signed.
        assert!(!is_trusted(&leaf, &certificate("root", &ec(), None)));
        let pem = X509::from_pem(&leaf.to_pem().unwrap()).unwrap();
        assert_eq!(pem.to_der().unwrap(), leaf.to_der().unwrap());
    }
}

#[test]
fn signatures_are_made_and_judged() {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let p384 = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let ed25519 = PKey::generate_ed25519().unwrap();
    let sha256 = Some(MessageDigest::sha256());
    for (key, digest, pss) in [
        (&ec(), sha256, false),
        (&p384, Some(MessageDigest::sha384()), false),
        (&rsa, sha256, false),
        (&rsa, sha256, true),
        (&ed25519, None, false),
    ] {
        let mut signer = match digest {
            Some(digest) => Signer::new(digest, key).unwrap(),
            None => Signer::new_without_digest(key).unwrap(),
        };
        if pss {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        }
        let signature = signer.sign_oneshot_to_vec(b"bundle 7").unwrap();
        // Through its encoding, as a key that came in a file.
        let public = PKey::public_key_from_pem(&key.public_key_to_pem().unwrap()).unwrap();
        for (text, good) in [(b"bundle 7", true), (b"bundle 8", false)] {
            let mut verifier = match digest {
                Some(digest) => Verifier::new(digest, &public).unwrap(),
                None => Verifier::new_without_digest(&public).unwrap(),
            };
            if pss {
                verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            }
            let judged = verifier.verify_oneshot(&signature, text);
            assert_eq!(judged.unwrap_or(false), good, "{:?}", key.id());
        }
    }
}

#[test]
fn tls_1_3_is_spoken_with_each_suite() {
    let authority = ec();
    let root = certificate("root", &authority, None);
    for suite in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ] {
        let key = ec();
        let leaf = certificate("broker.example", &key, Some((&root, &authority)));
        let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&leaf).unwrap();
        acceptor.cert_store_mut().add_cert(root.clone()).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        acceptor.set_ciphersuites(suite).unwrap();
        let acceptor = acceptor.build();
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        let lowest = Some(SslVersion::TLS1_3);
        connector.set_min_proto_version(lowest).unwrap();
        connector.cert_store_mut().add_cert(root.clone()).unwrap();
        connector.set_private_key(&key).unwrap();
        connector.set_certificate(&leaf).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = acceptor.accept(theirs).unwrap();
            let mut said = [0; 4];
            stream.read_exact(&mut said).unwrap();
            stream.write_all(&said).unwrap();
        });
        let mut stream = connector.build().connect("broker.example", ours).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"ping");
        assert_eq!(stream.ssl().version_str(), "TLSv1.3");
        assert_eq!(stream.ssl().current_cipher().unwrap().name(), suite);
        server.join().unwrap();
    }
}

fn derive(mode: HkdfMode, key: &[u8], salt: &[u8], info: &[u8], bytes: usize) -> Vec<u8> {
    let mut context = PkeyCtx::new_id(Id::HKDF).unwrap();
    context.derive_init().unwrap();
    context.set_hkdf_mode(mode).unwrap();
    context.set_hkdf_md(Md::sha256()).unwrap();
    context.set_hkdf_key(key).unwrap();
    if !salt.is_empty() {
        context.set_hkdf_salt(salt).unwrap();
    }
    if !info.is_empty() {
        context.add_hkdf_info(info).unwrap();
    }
    let mut out = vec![0; bytes];
    context.derive(Some(&mut out)).unwrap();
    out
}

/// HKDF-Expand-Label of RFC 8446, 7.1, without a context.
fn expand_label(secret: &[u8], label: &str, bytes: usize) -> Vec<u8> {
    let mut info = u16::try_from(bytes).unwrap().to_be_bytes().to_vec();
    info.push(u8::try_from(6 + label.len()).unwrap());
    info.extend(b"tls13 ");
    info.extend(label.as_bytes());
    info.push(0);
    derive(HkdfMode::EXPAND_ONLY, secret, &[], &info, bytes)
}

/// The packet protection of QUIC, with the values of RFC 9001, appendix A: keys of the first flight (A.1), the mask of
/// the client's header (A.2), and a whole short packet under ChaCha20-Poly1305 (A.5).
#[test]
fn quic_packets_are_protected_as_the_standard_shows() {
    let salt = hex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a");
    let id = hex("8394c8f03e515708");
    let initial = derive(HkdfMode::EXTRACT_ONLY, &id, &salt, &[], 32);
    let client = expand_label(&initial, "client in", 32);
    let key = expand_label(&client, "quic key", 16);
    assert_eq!(key, hex("1f369613dd76d5467730efcbe3b1a22d"));
    let iv = expand_label(&client, "quic iv", 12);
    assert_eq!(iv, hex("fa044b2f42a3fd3b46fb255c"));
    let hp = expand_label(&client, "quic hp", 16);
    assert_eq!(hp, hex("9f50449e04a0e810283a1e9933adedd2"));
    let mut ecb = Crypter::new(Cipher::aes_128_ecb(), Mode::Encrypt, &hp, None).unwrap();
    let mut mask = [0; 32];
    let sample = hex("d1b1c98dd7689fb8ec11d242b123dc9b");
    ecb.update(&sample, &mut mask).unwrap();
    assert_eq!(mask[..5], hex("437b9aec36"));

    let secret = hex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b");
    let key = expand_label(&secret, "quic key", 32);
    let mut nonce = expand_label(&secret, "quic iv", 12);
    for (byte, of_number) in nonce.iter_mut().rev().zip(654_360_564_u64.to_le_bytes()) {
        *byte ^= of_number;
    }
    let (header, mut tag) = (hex("4200bff4"), [0; 16]);
    let cipher = Cipher::chacha20_poly1305();
    let mut packet = encrypt_aead(cipher, &key, Some(&nonce), &header, &[1], &mut tag).unwrap();
    packet.extend(tag);
    assert_eq!(packet, hex("655e5cd55c41f69080575d7999c25a5bfb"));
    let hp = expand_label(&secret, "quic hp", 32);
    let sample = hex("5e5cd55c41f69080575d7999c25a5bfb");
    let mut stream = Crypter::new(Cipher::chacha20(), Mode::Encrypt, &hp, Some(&sample)).unwrap();
    let mut mask = [0; 5];
    stream.update(&[0; 5], &mut mask).unwrap();
    assert_eq!(mask[..], hex("aefefe7d03"));
}

/// A provider of our own, built here for the target, is found by its name and starts; one that is not there is refused.
#[test]
fn providers_are_loaded() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Where this runs under an emulator, the compiler is still one for the emulated processor.
    let named = std::env::var("CC_aarch64_unknown_linux_gnu").ok();
    let compiler = named
        .filter(|_| cfg!(target_arch = "aarch64"))
        .unwrap_or("cc".to_owned());
    let built = Command::new(&compiler)
        .args(["-shared", "-fPIC", "tests/provider.c", "-o"])
        .arg(folder.join("probe.so"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{compiler}: {built:?}");
    // A context of its own: what is loaded into the one of the process, and dropped, would be missing to other tests.
    let context = LibCtx::new().unwrap();
    Provider::load(Some(&context), "default").unwrap();
    Provider::set_default_search_path(Some(&context), folder.to_str().unwrap()).unwrap();
    assert!(Provider::load(Some(&context), "absent").is_err());
    Provider::load(Some(&context), "probe").unwrap();
}
