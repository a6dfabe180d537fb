//! Two implementations of SHA-2, the `sha2` crate's and OpenSSL's, on random inputs of every length that matters.

use dunlin_crypto::{random_bytes, random_u32};
use openssl::hash::{Hasher, MessageDigest, hash};
use sha2::{Digest, Sha256, Sha384};

/// Inputs of a run: all lengths around the blocks, then random ones.
const RANDOM_INPUTS: usize = 500;

#[test]
fn sha2_and_openssl_agree() {
    let random = (0..RANDOM_INPUTS).map(|_| random_u32().unwrap() as usize % 20_000);
    for length in (0..300).chain(random) {
        let mut data = vec![0; length];
        random_bytes(&mut data).unwrap();
        // In pieces, since both keep what does not fill a block.
        let cut = random_u32().unwrap() as usize % (length + 1);
        let (front, back) = data.split_at(cut);
        let openssl = |kind| {
            let mut hasher = Hasher::new(kind).unwrap();
            hasher.update(front).unwrap();
            hasher.update(back).unwrap();
            let pieces = hasher.finish().unwrap().to_vec();
            assert_eq!(hash(kind, &data).unwrap()[..], pieces);
            pieces
        };
        let ours = Sha256::new()
            .chain_update(front)
            .chain_update(back)
            .finalize();
        assert_eq!(
            ours[..],
            openssl(MessageDigest::sha256()),
            "{length}, cut at {cut}"
        );
        let ours = Sha384::new()
            .chain_update(front)
            .chain_update(back)
            .finalize();
        assert_eq!(
            ours[..],
            openssl(MessageDigest::sha384()),
            "{length}, cut at {cut}"
        );
    }
}
