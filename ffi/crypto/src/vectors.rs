//! Known answers, each from the standard named above it.

/// The bytes of a text in hexadecimal; the texts are those below.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => c - b'0',
        _ => c - b'a' + 10,
    };
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

// FIPS 180-4, the one-block message "abc".
pub(crate) const SHA256_ABC: &str =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
pub(crate) const SHA384_ABC: &str = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
     8086072ba1e7cc2358baeca134c825a7";

// RFC 4231, test case 2.
pub(crate) const HMAC_KEY: &[u8] = b"Jefe";
pub(crate) const HMAC_DATA: &[u8] = b"what do ya want for nothing?";
pub(crate) const HMAC_SHA256: &str =
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
pub(crate) const HMAC_SHA384: &str = "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
     8e2240ca5e69e2c78b3239ecfab21649";

// RFC 5869, appendix A.1.
pub(crate) const HKDF_KEY: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
pub(crate) const HKDF_SALT: &str = "000102030405060708090a0b0c";
pub(crate) const HKDF_INFO: &str = "f0f1f2f3f4f5f6f7f8f9";
pub(crate) const HKDF_OUT: &str = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf\
     34007208d5b887185865";

/// A cipher that authenticates.
pub(crate) struct Aead {
    pub(crate) key: &'static str,
    pub(crate) nonce: &'static str,
    pub(crate) aad: &'static str,
    pub(crate) plain: &'static str,
    pub(crate) sealed: &'static str,
    pub(crate) tag: &'static str,
}

const GCM_NONCE: &str = "cafebabefacedbaddecaf888";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM_PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";

/// `McGrew` and Viega, The Galois/Counter Mode of Operation (GCM), appendix B, test case 4.
pub(crate) const AES_128_GCM: Aead = Aead {
    key: "feffe9928665731c6d6a8f9467308308",
    nonce: GCM_NONCE,
    aad: GCM_AAD,
    plain: GCM_PLAIN,
    sealed: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
     21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
    tag: "5bc94fbc3221a5db94fae95ae7121a47",
};

/// The same, test case 16.
pub(crate) const AES_256_GCM: Aead = Aead {
    key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    nonce: GCM_NONCE,
    aad: GCM_AAD,
    plain: GCM_PLAIN,
    sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
     8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    tag: "76fc6ece0f4e1768cddf8853bb2d551b",
};

/// RFC 8439, section 2.8.2.
pub(crate) const CHACHA20_POLY1305: Aead = Aead {
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "070000004041424344454647",
    aad: "50515253c0c1c2c3c4c5c6c7",
    plain: "4c616469657320616e642047656e746c656d656e206f662074686520636c617373\
     206f66202739393a204966204920636f756c64206f6666657220796f75206f6e\
     6c79206f6e652074697020666f7220746865206675747572652c2073756e7363\
     7265656e20776f756c642062652069742e",
    sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
     3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
     92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
     3ff4def08e4b7a9de576d26586cec64b6116",
    tag: "1ae10b594f09e26a7e902ecbd0600691",
};

// RFC 7748, section 6.1: Alice's private key, Bob's public key, their secret.
pub(crate) const X25519_OWN: &str =
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
pub(crate) const X25519_PEER: &str =
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
pub(crate) const X25519_SHARED: &str =
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

// RFC 5903, section 8.1: the initiator's key, both points, the secret. 04 marks a point with both coordinates.
pub(crate) const P256_OWN: &str =
    "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";
pub(crate) const P256_OWN_POINT: &str = "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180\
     5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3";
pub(crate) const P256_PEER_POINT: &str = "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
     56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab";
pub(crate) const P256_SHARED: &str =
    "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de";

// RFC 8032, section 7.1, test 2.
pub(crate) const ED25519_PUBLIC: &str =
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
pub(crate) const ED25519_MESSAGE: &[u8] = &[0x72];
pub(crate) const ED25519_SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

// RFC 6979, appendix A.2.5, SHA-256 of "sample".
pub(crate) const ECDSA_POINT: &str = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
     7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
pub(crate) const ECDSA_MESSAGE: &[u8] = b"sample";
pub(crate) const ECDSA_R: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
pub(crate) const ECDSA_S: &str = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
