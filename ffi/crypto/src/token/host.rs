//! The key host: a process that loads one PKCS#11 module and signs with one key of it. The module's code, the PIN and,
//! where the token is only software, the key are in this process and not in the agent's.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};

use super::TokenUri;
use super::public::{Curve, Public};
use super::wire::{Answer, Request, receive, send};
use crate::secret;

/// Exit code for a start by hand, from sysexits.h.
const EXIT_USAGE: u8 = 64;

/// Runs a key host on standard input, which must be the socket that the agent made. Call it first thing in `main`.
///
/// It ends with its agent, by SIGKILL, since a module may hang and its exit functions are not ours.
pub fn key_host_main() -> ExitCode {
    let Ok(stream) = take_socket() else {
        eprintln!("key-host is started by the dunlin agent, not by hand");
        return ExitCode::from(EXIT_USAGE);
    };
    if let Err(errno) = harden() {
        let _ = send(&mut &stream, &Answer::Failed(errno.to_string()).encode());
        return ExitCode::from(EXIT_USAGE);
    }
    // One request is under way at a time. The other thread calls the module; this one sees the agent's end meanwhile.
    let (to, requests) = sync_channel(1);
    let Ok(mut answers) = stream.try_clone() else {
        return ExitCode::from(EXIT_USAGE);
    };
    std::thread::spawn(move || {
        let mut key = None;
        for message in requests {
            let answer = match answer(&mut key, message) {
                Ok(body) => Answer::Done(body),
                Err(why) => Answer::Failed(why),
            };
            if send(&mut answers, &answer.encode()).is_err() {
                break;
            }
        }
    });
    let mut from = stream;
    while let Ok(message) = receive(&mut from) {
        if to.send(message).is_err() {
            break;
        }
    }
    // Nothing comes back from it.
    let _ = raise(Signal::SIGKILL);
    ExitCode::SUCCESS
}

fn take_socket() -> std::io::Result<UnixStream> {
    let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    Ok(stream)
}

/// No core file, no tracer of the same user, no new privileges: PIN and key of a token of software are in this process.
fn harden() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// The key that this host signs with. The module lives as long as the session.
struct Key {
    session: Session,
    private: ObjectHandle,
    _module: Pkcs11,
}

fn answer(key: &mut Option<Key>, message: Vec<u8>) -> Result<Vec<u8>, String> {
    match (Request::decode(message), &key) {
        (Some(Request::Open(uri)), None) => {
            let uri: TokenUri = uri.parse().map_err(|error| format!("{error}"))?;
            let (opened, public) = open(&uri)?;
            *key = Some(opened);
            Ok(public.encode())
        }
        (Some(Request::Sign(digest)), Some(key)) => key
            .session
            .sign(&Mechanism::Ecdsa, key.private, &digest)
            .map_err(|error| format!("it does not sign: {error}")),
        _ => Err("a request out of turn".to_owned()),
    }
}

fn open(uri: &TokenUri) -> Result<(Key, Public), String> {
    let module = Pkcs11::new(&uri.module)
        .map_err(|error| format!("{} does not load: {error}", uri.module.display()))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| format!("{} does not start: {error}", uri.module.display()))?;
    let slot = slot(&module, uri)?;
    let told = |what: &'static str| move |error| format!("{what}: {error}");
    let session = module
        .open_ro_session(slot)
        .map_err(told("it gives no session"))?;
    if let Some(file) = &uri.pin {
        let mut content =
            secret::read("PIN", file, secret::CLOSED).map_err(|error| error.to_string())?;
        while content.last().is_some_and(u8::is_ascii_whitespace) {
            content.pop();
        }
        let mut pin = String::with_capacity(content.len());
        (&content[..])
            .read_to_string(&mut pin)
            .map_err(|_| format!("PIN {} is not UTF-8", file.display()))?;
        session
            .login(UserType::User, Some(&AuthPin::from(pin)))
            .map_err(told("it refuses the PIN"))?;
    }
    let find = |class: ObjectClass| {
        let mut template = vec![Attribute::Class(class)];
        template.extend(
            uri.object
                .as_ref()
                .map(|label| Attribute::Label(label.clone().into_bytes())),
        );
        template.extend(uri.id.clone().map(Attribute::Id));
        session
            .find_objects(&template)
            .map_err(told("it lists no keys"))
    };
    let [private] = find(ObjectClass::PRIVATE_KEY)?[..] else {
        return Err(
            "not exactly one private key of that name and id is in it; is a pin-source needed?"
                .to_owned(),
        );
    };
    let [public] = find(ObjectClass::PUBLIC_KEY)?[..] else {
        return Err("not exactly one public key of that name and id is in it".to_owned());
    };
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    let attributes = session
        .get_attributes(public, &wanted)
        .map_err(told("it does not show the public key"))?;
    let (mut curve, mut point) = (None, None);
    for attribute in attributes {
        match attribute {
            Attribute::EcParams(oid) => curve = Curve::of_oid(&oid),
            Attribute::EcPoint(bytes) => point = Some(bytes),
            _ => {}
        }
    }
    let public = curve
        .zip(point)
        .and_then(|(curve, point)| Public::of_token(curve, &point))
        .ok_or("the key is none of P-256 or P-384")?;
    let key = Key {
        session,
        private,
        _module: module,
    };
    Ok((key, public))
}

/// The one slot whose token is named.
fn slot(module: &Pkcs11, uri: &TokenUri) -> Result<Slot, String> {
    let slots = module
        .get_slots_with_initialized_token()
        .map_err(|error| format!("it lists no tokens: {error}"))?;
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for slot in slots {
        let info = module
            .get_token_info(slot)
            .map_err(|error| format!("it says nothing of a token: {error}"))?;
        seen.push(info.label().to_owned());
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        if is(&uri.token, info.label()) && is(&uri.serial, info.serial_number()) {
            found.push(slot);
        }
    }
    match found[..] {
        [slot] => Ok(slot),
        _ => Err(format!(
            "{} of its tokens are of that name; it has {seen:?}",
            found.len()
        )),
    }
}
