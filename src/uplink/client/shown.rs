//! What secure transports show and trust: read from the files once, or, where the agent gets its own certificates, each
//! time that there is another one.

#![cfg_attr(
    not(feature = "identity"),
    expect(
        clippy::unused_self,
        clippy::unused_async,
        clippy::unnecessary_wraps,
        reason = "without certificates that change there is nothing to look at or to wait for"
    )
)]

use crate::uplink::error::{Lost, UplinkError};
use crate::uplink::settings::Settings;
#[cfg(feature = "identity")]
use crate::uplink::settings::TlsFiles;
use crate::uplink::transport::Security;
#[cfg(feature = "identity")]
use tokio::sync::watch;

/// The certificate that is shown now.
pub(super) struct Shown {
    pub(super) security: Option<Security>,
    /// Number of the certificate, where it is the agent's own.
    #[cfg(feature = "identity")]
    number: Option<u64>,
    #[cfg(feature = "identity")]
    changes: Option<watch::Receiver<u64>>,
}

impl Shown {
    /// Reads the files, but those of an identity, which may come later.
    pub(super) fn new(settings: &Settings) -> Result<Shown, UplinkError> {
        #[cfg(feature = "identity")]
        if let Some(credential) = &settings.credential {
            return Ok(Shown {
                security: None,
                number: None,
                changes: Some(credential.watch()),
            });
        }
        Ok(Shown {
            security: match &settings.tls {
                None => None,
                Some(files) => Some(Security::new(files, settings)?),
            },
            #[cfg(feature = "identity")]
            number: None,
            #[cfg(feature = "identity")]
            changes: None,
        })
    }

    /// What the next connection shows.
    pub(super) async fn security(&mut self, settings: &Settings) -> Result<Option<Security>, Lost> {
        #[cfg(feature = "identity")]
        if let (Some(credential), Some(files)) = (&settings.credential, &settings.tls) {
            if let Some(changes) = &mut self.changes {
                changes.borrow_and_update();
            }
            let chosen = credential.choose().ok_or(Lost::NoCertificate)?;
            if self.number != Some(chosen.number) {
                self.number = Some(chosen.number);
                let files = TlsFiles {
                    ca_file: files.ca_file.clone(),
                    cert_file: chosen.cert_file,
                    key: chosen.key,
                };
                let settings = settings.clone();
                // A token takes its time.
                let made = tokio::task::spawn_blocking(move || Security::new(&files, &settings));
                let made = made.await.expect("reading certificates does not panic");
                self.security = match made {
                    Ok(security) => Some(security),
                    Err(error) => {
                        self.number = None;
                        credential.failed(chosen.number, true);
                        return Err(Lost::Certificate(error));
                    }
                };
            }
        }
        let _ = settings;
        Ok(self.security.clone())
    }

    /// The broker has sent CONNACK.
    pub(super) fn connected(&self, settings: &Settings) {
        #[cfg(feature = "identity")]
        if let (Some(credential), Some(number)) = (&settings.credential, self.number) {
            credential.connected(number);
        }
        let _ = settings;
    }

    /// An attempt failed.
    pub(super) fn failed(&self, settings: &Settings, lost: &Lost) {
        #[cfg(feature = "identity")]
        if let (Some(credential), Some(number)) = (&settings.credential, self.number) {
            credential.failed(number, lost.is_about_us());
        }
        let _ = (settings, lost);
    }

    /// Tells of other certificates from the one on that was chosen last.
    pub(super) fn changes(&self) -> Changes {
        Changes {
            #[cfg(feature = "identity")]
            heard: self.changes.clone(),
        }
    }
}

/// Hears of other certificates.
pub(super) struct Changes {
    #[cfg(feature = "identity")]
    heard: Option<watch::Receiver<u64>>,
}

impl Changes {
    /// Waits until there may be another certificate; for ever where there never is. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) {
        #[cfg(feature = "identity")]
        if let Some(heard) = &self.heard {
            let mut heard = heard.clone();
            if heard.changed().await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// An error where the connection shows another certificate than it should by now.
    pub(super) fn judge(&mut self, shown: &Shown, settings: &Settings) -> Result<(), Lost> {
        #[cfg(feature = "identity")]
        if let (Some(heard), Some(credential)) = (&mut self.heard, &settings.credential)
            && heard.has_changed().unwrap_or(false)
        {
            heard.borrow_and_update();
            if credential.choose().map(|chosen| chosen.number) != shown.number {
                return Err(Lost::NewCertificate);
            }
        }
        let _ = (shown, settings);
        Ok(())
    }
}
