//! What a host gives up before a driver's first instruction runs, constructors included.

mod files;
mod process;
mod syscalls;

use crate::protocol::Setup;

/// Puts everything on, in the one order that works: rights to set limits first, the system call filter last. Returns
/// what this kernel could not do; an error means that the host must not load anything.
pub(crate) fn enter(setup: &Setup) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    let network = Addresses::parse(&setup.grants.network)?;
    process::harden(setup.parent_pid)?;
    process::limit(&setup.limits, &mut missing)?;
    files::restrict(setup, &network, &mut missing)?;
    syscalls::restrict(&setup.grants)?;
    Ok(missing)
}

/// TCP ports that are granted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// These.
    Ports(Vec<u16>),
    /// All, by `ip:*`.
    Any,
}

impl Addresses {
    pub(crate) fn parse(grants: &[String]) -> Result<Addresses, String> {
        let mut ports = Vec::new();
        for grant in grants {
            let wrong = || format!("network grant {grant:?} is not ip:port, [ip6]:port or ip:*");
            let (ip, port) = grant.rsplit_once(':').ok_or_else(wrong)?;
            let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
            let good = match bare {
                Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
                None => ip.parse::<std::net::Ipv4Addr>().is_ok(),
            };
            if !good {
                return Err(wrong());
            }
            if port == "*" {
                return Ok(Addresses::Any);
            }
            ports.push(port.parse().map_err(|_| wrong())?);
        }
        Ok(Addresses::Ports(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_grants_are_parsed_or_refused() {
        let parse = |grants: &[&str]| {
            let owned: Vec<String> = grants.iter().map(|g| (*g).to_owned()).collect();
            Addresses::parse(&owned)
        };
        assert_eq!(
            parse(&["10.0.0.1:502", "[::1]:80"]),
            Ok(Addresses::Ports(vec![502, 80]))
        );
        assert_eq!(parse(&["10.0.0.1:502", "[::1]:*"]), Ok(Addresses::Any));
        for bad in [
            "",
            "10.0.0.1",
            "host:502",
            "10.0.0.1:",
            "10.0.0.1:70000",
            "::1:80",
            "[::1]",
        ] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
