//! `dunlin driver-hosts`: starts driver hosts for an agent, in a unit of their own.

use super::{Failure, runtime};
use crate::exit::Exit;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Serves standard input, a listening socket, until the service manager ends it.
pub(super) fn hosts(program: &Path) -> Result<Exit, Failure> {
    let failed = |exit, what: &dyn std::fmt::Display| {
        let remedy = "give it one that listens for SOCK_SEQPACKET, as a service manager does";
        Failure::new(
            exit,
            format_args!("cannot serve standard input: {what}.\n  Remedy: {remedy}."),
        )
    };
    let listener = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| failed(Exit::Internal, &error))?;
    match runtime()?.block_on(dunlin_driver::launch(listener, program)) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(failed(Exit::Usage, &"it is no socket that listens"))
        }
        Err(error) => Err(failed(Exit::Internal, &error)),
    }
}
