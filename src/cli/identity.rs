//! `dunlin identity`: the certificate that the agent gets itself.

use super::args::IdentityAction;
use super::check::sound;
use super::{Failure, print, runtime};
use crate::agent::{self, Defaults};
use crate::clock;
use crate::credential::Credential;
use crate::exit::Exit;
use crate::identity::{EnrolError, Settings, Times, Way, enrol};
use dunlin_crypto::{CryptoError, PrivateKey, time_text};
use std::path::Path;

/// Does what was asked for.
pub(super) fn identity(
    action: IdentityAction,
    config: &Path,
    defaults: &Defaults,
) -> Result<Exit, Failure> {
    let plan = sound(config, defaults, None)?;
    let Some(settings) = plan.identity else {
        return Err(Failure::new(
            Exit::Config,
            format_args!(
                "{} has no table [identity].\n  Remedy: write one, see docs/identity.md.",
                config.display()
            ),
        ));
    };
    agent::start_clock(&plan.settings);
    match action {
        IdentityAction::Show => show(&settings),
        IdentityAction::Request => get(&settings, Way::Secret),
        IdentityAction::Renew => get(&settings, Way::Certificate),
    }
}

fn show(settings: &Settings) -> Result<Exit, Failure> {
    let now_s = clock::trusted_s();
    let mut lines = vec![format!("est      {}", settings.server)];
    let files = [
        ("in use", settings.current()),
        ("on trial", Credential::next(&settings.dir)),
        ("refused", settings.dir.join("refused.pem")),
    ];
    for (what, file) in files {
        let times = match Times::of(settings, &file) {
            Ok(times) => times,
            Err(CryptoError::Missing { .. }) if what == "in use" => {
                lines.push(format!("{what:<8} no certificate yet: {}", file.display()));
                continue;
            }
            Err(CryptoError::Missing { .. }) => continue,
            Err(error) => return Err(Failure::new(Exit::Data, error)),
        };
        let facts = &times.facts;
        let ended = if facts.to_s < now_s { ", EXPIRED" } else { "" };
        lines.push(format!("{what:<8} {}", file.display()));
        lines.push(format!("  subject  {}", facts.subject));
        lines.push(format!("  issuer   {}", facts.issuer));
        lines.push(format!("  serial   {}", facts.serial));
        lines.push(format!(
            "  valid    {} to {}{ended}",
            time_text(facts.from_s),
            time_text(facts.to_s)
        ));
        lines.push(format!("  renewal  {}", time_text(times.renew_s)));
        lines.push(match settings.key_of(&file) {
            PrivateKey::File(_) => "  key      in the same file".to_owned(),
            #[cfg(feature = "tokens")]
            PrivateKey::Token(uri) => format!("  key      {uri}"),
        });
    }
    print(&lines.join("\n"))
}

fn get(settings: &Settings, way: Way) -> Result<Exit, Failure> {
    let outcome = runtime()?.block_on(enrol(settings, way));
    if let Err(error) = outcome {
        let remedy = match &error {
            EnrolError::Busy => "wait until it is done",
            EnrolError::File { .. } => "run it as the agent's user",
            EnrolError::NoSecret => "write identity.secret_file or identity.secret_credential",
            EnrolError::TooLong { .. } => {
                "have the authority issue shorter ones, or raise the bound"
            }
            EnrolError::Crypto(_) if way == Way::Certificate => {
                "correct what is named; without a certificate, `dunlin identity request`"
            }
            EnrolError::Crypto(_) => "lay down the one-time secret, or correct what is named",
            EnrolError::Est(_) if way == Way::Certificate => {
                "see what the server has against it; with a new one-time secret, `dunlin identity request`"
            }
            _ => {
                "see what the server has against it, and get a new one-time secret where this one is used up"
            }
        };
        let message = format!("no new certificate: {error}.\n  Remedy: {remedy}.");
        return Err(Failure::new(Exit::Unavailable, message));
    }
    show(settings)
}
