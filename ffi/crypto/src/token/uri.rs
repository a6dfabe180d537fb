//! `pkcs11:` URIs (RFC 7512), the part of them that names one private key.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which key of which token, by which module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUri {
    text: String,
    /// The module, a shared object.
    pub(super) module: PathBuf,
    /// Label of the token.
    pub(super) token: Option<String>,
    /// Serial number of the token.
    pub(super) serial: Option<String>,
    /// Label of the key.
    pub(super) object: Option<String>,
    /// Id of the key.
    pub(super) id: Option<Vec<u8>>,
    /// File that holds the PIN.
    pub(super) pin: Option<PathBuf>,
}

/// Why a URI names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{uri:?} {what}")]
pub struct TokenUriError {
    uri: String,
    what: String,
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TokenUri {
    type Err = TokenUriError;

    fn from_str(text: &str) -> Result<TokenUri, TokenUriError> {
        parse(text).map_err(|what| TokenUriError {
            uri: text.to_owned(),
            what,
        })
    }
}

fn parse(text: &str) -> Result<TokenUri, String> {
    let rest = text
        .strip_prefix("pkcs11:")
        .ok_or("does not begin with pkcs11:")?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut uri = TokenUri {
        text: text.to_owned(),
        module: PathBuf::new(),
        token: None,
        serial: None,
        object: None,
        id: None,
        pin: None,
    };
    let attributes = path.split(';').map(|attribute| (attribute, false));
    let queries = query.split('&').map(|attribute| (attribute, true));
    for (attribute, in_query) in attributes.chain(queries) {
        if attribute.is_empty() {
            continue;
        }
        let (name, value) = attribute
            .split_once('=')
            .ok_or_else(|| format!("has {attribute:?}, which is no name=value"))?;
        let bytes =
            decoded(value).ok_or_else(|| format!("has a broken % in the value of {name}"))?;
        let words =
            || String::from_utf8(bytes.clone()).map_err(|_| format!("has no UTF-8 in {name}"));
        match (name, in_query) {
            ("token", false) => uri.token = Some(words()?),
            ("serial", false) => uri.serial = Some(words()?),
            ("object", false) => uri.object = Some(words()?),
            ("id", false) => uri.id = Some(bytes),
            ("type", false) if bytes == b"private" => {}
            ("type", false) => return Err("has a type other than private".to_owned()),
            ("module-path", true) => uri.module = PathBuf::from(words()?),
            ("pin-source", true) => {
                let words = words()?;
                uri.pin = Some(PathBuf::from(words.strip_prefix("file:").unwrap_or(&words)));
            }
            ("pin-value", true) => {
                return Err("has the PIN in it: put it into a file that only the agent's user can read, and name that \
                            by pin-source"
                    .to_owned());
            }
            _ => return Err(format!("has {name}, which is not known here")),
        }
    }
    if !uri.module.is_absolute() {
        return Err("names no module: end it with ?module-path=/path/of/the/module.so".to_owned());
    }
    if uri.pin.as_ref().is_some_and(|pin| !pin.is_absolute()) {
        return Err("has a pin-source that is no absolute path".to_owned());
    }
    if uri.object.is_none() && uri.id.is_none() {
        return Err("names no key: give object=LABEL or id=%01".to_owned());
    }
    Ok(uri)
}

/// Percent-encoding taken off.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_or_the_uri_is_refused() {
        let uri: TokenUri = "pkcs11:token=my%20tpm;serial=7;object=device;id=%01%fF;type=private?module-path=/m.so&pin-source=file:/pin"
            .parse()
            .unwrap();
        assert_eq!(uri.module, PathBuf::from("/m.so"));
        assert_eq!(uri.token.as_deref(), Some("my tpm"));
        assert_eq!(uri.serial.as_deref(), Some("7"));
        assert_eq!(uri.object.as_deref(), Some("device"));
        assert_eq!(uri.id, Some(vec![1, 255]));
        assert_eq!(uri.pin, Some(PathBuf::from("/pin")));
        assert_eq!(uri.to_string().parse(), Ok(uri));
        for (bad, why) in [
            ("device.key", "begin with pkcs11:"),
            ("pkcs11:object=a", "names no module"),
            ("pkcs11:object=a?module-path=m.so", "names no module"),
            ("pkcs11:token=a?module-path=/m.so", "names no key"),
            ("pkcs11:object=%4?module-path=/m.so", "broken %"),
            ("pkcs11:object=%ff?module-path=/m.so", "no UTF-8"),
            ("pkcs11:id=%+1?module-path=/m.so", "broken %"),
            ("pkcs11:object?module-path=/m.so", "no name=value"),
            (
                "pkcs11:object=a;type=cert?module-path=/m.so",
                "a type other than private",
            ),
            (
                "pkcs11:object=a?module-path=/m.so&pin-value=1",
                "the PIN in it",
            ),
            (
                "pkcs11:object=a?module-path=/m.so&pin-source=pin",
                "no absolute path",
            ),
            (
                "pkcs11:slot-id=1;object=a?module-path=/m.so",
                "slot-id, which is not known",
            ),
            (
                "pkcs11:module-path=/m.so",
                "module-path, which is not known",
            ),
        ] {
            let error = bad.parse::<TokenUri>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
