//! The key `key`: a private key in a PKCS#11 token, by its URI.

use super::Section;
use dunlin_crypto::PrivateKey;

impl Section<'_> {
    /// The private key that the `pkcs11:` URI in `key` names; reports a URI that is wrong. `instead` is what else can be
    /// done where this build has no keys in tokens.
    #[cfg(feature = "tokens")]
    pub fn token_key(&self, uri: &str, _instead: &str) -> Option<PrivateKey> {
        uri.parse()
            .map_err(|error: dunlin_crypto::TokenUriError| {
                let remedy = "write pkcs11:token=LABEL;object=LABEL?module-path=/path/of/module.so&pin-source=/path/of/pin";
                self.problem("key", error, remedy);
            })
            .map(PrivateKey::Token)
            .ok()
    }

    /// Reports that this build has no keys in tokens, and what can be done `instead`.
    #[cfg(not(feature = "tokens"))]
    pub fn token_key(&self, uri: &str, instead: &str) -> Option<PrivateKey> {
        self.problem(
            "key",
            format_args!("{uri:?} needs keys in tokens, which this build has not"),
            format_args!("{instead}, or install the full build"),
        );
        None
    }
}
