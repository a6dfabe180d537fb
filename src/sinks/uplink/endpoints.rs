//! The keys of a `type = "uplink"` sink that say where it delivers: endpoints, certificates, and when one is left.

use super::super::Own;
use crate::config::Section;
use crate::uplink::{Endpoint, StandbySettings, TlsFiles};
use dunlin_crypto::{ClientTls, PrivateKey};
use std::path::PathBuf;

/// `endpoint`, then those of `standby`.
pub(super) fn endpoints(section: &mut Section<'_>) -> Option<Vec<Endpoint>> {
    /// Most endpoints of a sink.
    const ENDPOINTS_MAX: usize = 8;
    let remedy = "write quic://HOST[:PORT] or mqtts://HOST[:PORT], or mqtt://127.0.0.1[:PORT] for a broker on this machine";
    let first = section.required_text("endpoint", remedy);
    let standby = section.texts("standby");
    if standby.len() >= ENDPOINTS_MAX {
        section.problem(
            "standby",
            format_args!("has {} endpoints", standby.len()),
            format_args!("name at most {}", ENDPOINTS_MAX - 1),
        );
        return None;
    }
    let parse = |key, text: String| {
        text.parse::<Endpoint>()
            .map_err(|error| section.problem(key, error, remedy))
            .ok()
    };
    // All of them, so that each wrong one is reported.
    let first = first.map(|text| parse("endpoint", text));
    let rest: Vec<_> = standby
        .into_iter()
        .map(|text| parse("standby", text))
        .collect();
    let endpoints: Vec<Endpoint> = std::iter::once(first?).chain(rest).collect::<Option<_>>()?;
    for (at, endpoint) in endpoints.iter().enumerate().skip(1) {
        if endpoints[..at].contains(endpoint) {
            section.problem(
                "standby",
                format_args!("names {endpoint} twice"),
                "name each endpoint once, in the order of preference",
            );
            return None;
        }
    }
    Some(endpoints)
}

/// When an endpoint is left for the next one, and the way back.
pub(super) fn breaker(sink: &mut Section<'_>) -> StandbySettings {
    let default = StandbySettings::default();
    let Some(mut section) = sink.section("breaker") else {
        return default;
    };
    let percent = section.integer("failure_percent", 1..=100, default.failure_percent.into());
    let attempts = section.integer("attempts_min", 1..=10, default.attempts_min as u64);
    let open_ms = section.integer("open_ms", 100..=3_600_000, default.open_ms);
    StandbySettings {
        failure_percent: u8::try_from(percent).unwrap_or(default.failure_percent),
        attempts_min: usize::try_from(attempts).unwrap_or(default.attempts_min),
        window_ms: section.integer("window_ms", 1_000..=3_600_000, default.window_ms),
        open_ms,
        open_ms_max: default.open_ms_max.max(open_ms),
        ack_ms_max: section.integer("ack_ms_max", 10..=600_000, default.ack_ms_max),
        calm_ms: section.integer("calm_ms", 100..=86_400_000, default.calm_ms),
    }
}

/// Whether a sink names a certificate or a key, and so shows that and not the agent's own.
pub(super) fn shows_another(section: &Section<'_>) -> bool {
    ["cert_file", "key_file", "key"]
        .iter()
        .any(|key| section.has(key))
}

/// The files and the key go together: with TLS all must be there, without it none.
pub(super) fn tls(
    section: &mut Section<'_>,
    endpoints: Option<&[Endpoint]>,
    own: Option<&Own>,
) -> Option<TlsFiles> {
    const KEYS: [(&str, &str); 2] = [
        (
            "ca_file",
            "name the PEM file of the authority that signed the broker's certificate",
        ),
        ("cert_file", "name the PEM file of this agent's certificate"),
    ];
    let secure = endpoints.is_some_and(|all| all.iter().any(|e| e.scheme().is_secure()));
    let given = ["ca_file", "cert_file", "key_file", "key"]
        .iter()
        .any(|key| section.has(key));
    if !secure && !given {
        return None;
    }
    // Without this feature there is no table that makes one.
    #[cfg(feature = "identity")]
    if let Some(own) = own {
        let (key, remedy) = KEYS[0];
        let ca_file = PathBuf::from(section.required_text(key, remedy)?);
        if let Err(error) = ClientTls::anonymous(&ca_file) {
            section.problem(
                "ca_file",
                error,
                "give a PEM file that the agent's user can read",
            );
        }
        return Some(TlsFiles {
            ca_file,
            cert_file: own.cert_file.clone(),
            key: own.key.clone(),
        });
    }
    #[cfg(not(feature = "identity"))]
    let _ = own;
    let [ca_file, cert_file] =
        KEYS.map(|(key, remedy)| section.required_text(key, remedy).map(PathBuf::from));
    let key = private_key(section);
    Some(TlsFiles {
        ca_file: ca_file?,
        cert_file: cert_file?,
        key: key?,
    })
}

/// `key_file`, or for a key in a token `key`.
fn private_key(section: &mut Section<'_>) -> Option<PrivateKey> {
    let Some(uri) = section.text("key") else {
        let remedy = "name the PEM file of this agent's private key, or, in key, the pkcs11: URI of a key in a token";
        let path = section.required_text("key_file", remedy)?;
        return Some(PrivateKey::File(PathBuf::from(path)));
    };
    if section.text("key_file").is_some() {
        section.problem("key", "is given beside key_file", "give one of them");
        return None;
    }
    section.token_key(&uri, "use key_file")
}

/// Whether the certificates can be used; reports what is wrong with each file at its own key.
pub(super) fn usable(files: &TlsFiles, section: &Section<'_>) -> bool {
    let remedy = "correct the path, or make the file readable for the agent's user";
    let mut keys = vec![("ca_file", &files.ca_file), ("cert_file", &files.cert_file)];
    match &files.key {
        PrivateKey::File(path) => keys.push(("key_file", path)),
        #[cfg(feature = "tokens")]
        PrivateKey::Token(_) => {}
    }
    let mut readable = true;
    for (key, path) in &keys {
        if let Err(error) = std::fs::File::open(path) {
            section.problem(key, format_args!("{}: {error}", path.display()), remedy);
            readable = false;
        }
    }
    if !readable {
        return false;
    }
    let Err(error) = ClientTls::new(&files.ca_file, &files.cert_file, &files.key) else {
        return true;
    };
    #[cfg(feature = "tokens")]
    if let dunlin_crypto::CryptoError::Token { .. } = error {
        section.problem(
            "key",
            error,
            "correct the URI, the file of its PIN (chmod 600) or the token; docs/uplink.md has how modules are set up",
        );
        return false;
    }
    let named = |path: &PathBuf| error.to_string().contains(&*path.display().to_string());
    let key = keys.iter().rev().find(|(_, path)| named(path));
    section.problem(
        key.map_or("ca_file", |(key, _)| key),
        error,
        "give PEM files that belong together; the private key readable by its owner only (chmod 600)",
    );
    false
}
