//! The table `[identity]`.

use super::est::Server;
use crate::config::Section;
use crate::credential::Credential;
use dunlin_crypto::{CryptoError, PrivateKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How the agent gets its certificates.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its files lie: `identity` in the state directory.
    pub dir: PathBuf,
    /// The EST server.
    pub server: Server,
    /// The only authorities that may have signed the server's certificate.
    pub ca_file: PathBuf,
    /// What proves who the agent is, while it has no certificate.
    pub secret: Option<Secret>,
    /// Common name of the certificate.
    pub subject: String,
    /// The key, where it is in a token.
    pub key: Option<PrivateKey>,
    /// Share of a certificate's life after which it is renewed, in percent.
    pub renew_percent: u32,
    /// Longest life of a certificate that is taken, in seconds; 0 is any.
    pub life_max_s: i64,
}

/// Where the one-time secret is, `USER:PASSWORD`.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The file.
    pub file: PathBuf,
    /// Whether the service manager gave it.
    pub is_credential: bool,
}

impl Secret {
    /// Reads it; it is wiped when it is dropped.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if self.is_credential {
            dunlin_crypto::read_credential(&self.file)
        } else {
            dunlin_crypto::read_secret(&self.file)
        }
    }
}

impl Settings {
    /// Reads `[identity]`, where there is one. `name` is the agent's, `credentials` the directory of systemd's credentials.
    pub fn configure(
        root: &mut Section<'_>,
        name: &str,
        state_dir: &Path,
        credentials: Option<&Path>,
    ) -> Option<Settings> {
        let mut section = root.section("identity")?;
        let section = &mut section;
        let remedy = "write https://HOST[:PORT][/PATH]; without a path it is /.well-known/est";
        let server = section.required_text("est", remedy).and_then(|text| {
            text.parse::<Server>()
                .map_err(|error| section.problem("est", error, remedy))
                .ok()
        });
        let remedy = "name the PEM file of the authority that signed the EST server's certificate";
        let ca_file = section.required_text("ca_file", remedy).map(PathBuf::from);
        let secret = secret(section, credentials);
        let subject = section.text("subject");
        if let Some(wrong) = subject
            .as_ref()
            .filter(|name| !(1..=64).contains(&name.chars().count()))
        {
            section.problem(
                "subject",
                format_args!("is {wrong:?}"),
                "use 1 to 64 characters, the bound of X.509",
            );
        }
        let key = section
            .text("key")
            .and_then(|uri| section.token_key(&uri, "leave it out"));
        let percent = section.integer("renew_percent", 10..=95, 67);
        let days = section.integer("life_days_max", 0..=36_500, 0);
        let ca_file = ca_file?;
        if let Err(error) = dunlin_crypto::ClientTls::anonymous(&ca_file) {
            section.problem(
                "ca_file",
                error,
                "correct the path, or make the file readable for the agent's user",
            );
        }
        Some(Settings {
            dir: state_dir.join("identity"),
            server: server?,
            ca_file,
            secret,
            subject: subject.unwrap_or_else(|| name.to_owned()),
            key,
            renew_percent: u32::try_from(percent).unwrap_or(67),
            life_max_s: 86_400 * i64::try_from(days).unwrap_or(0),
        })
    }

    /// The file of the certificate in use, and of its key where that is in a file.
    pub fn current(&self) -> PathBuf {
        Credential::current(&self.dir)
    }

    /// The private key of the certificate in `file`.
    pub fn key_of(&self, file: &Path) -> PrivateKey {
        self.key
            .clone()
            .unwrap_or_else(|| PrivateKey::File(file.to_owned()))
    }
}

/// `secret_file`, or `secret_credential`. The file may be absent: the secret is for once.
fn secret(section: &mut Section<'_>, credentials: Option<&Path>) -> Option<Secret> {
    let file = section.text("secret_file").map(PathBuf::from);
    let named = section.text("secret_credential");
    let is_credential = named.is_some();
    let file = match (file, named) {
        (Some(_), Some(_)) => {
            section.problem(
                "secret_credential",
                "is given beside secret_file",
                "give one of them",
            );
            return None;
        }
        (file, None) => file?,
        (None, Some(name)) if name.is_empty() || name.contains('/') || name.starts_with('.') => {
            section.problem(
                "secret_credential",
                format_args!("is {name:?}, which is no name of a credential"),
                "write the name that LoadCredential= gives it",
            );
            return None;
        }
        // Outside of the unit, as in `dunlin check` of a person, there are no credentials.
        (None, Some(name)) => credentials?.join(name),
    };
    let secret = Secret {
        file,
        is_credential,
    };
    match secret.read() {
        Ok(text) if !text.contains(&b':') => section.problem(
            "secret_file",
            format_args!("{} has no USER:PASSWORD in it", secret.file.display()),
            "write the user and the password that the EST server was told, with a colon between them",
        ),
        Ok(_) | Err(CryptoError::Missing { .. }) => {}
        Err(error) => section.problem(
            "secret_file",
            error,
            "make it readable for the agent's user and nobody else (chmod 600)",
        ),
    }
    Some(secret)
}
