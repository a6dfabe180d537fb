//! Where a driver may connect to, as its grants say it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of a driver's network grants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<Target>);

#[derive(Debug, PartialEq, Eq)]
struct Target {
    network: IpAddr,
    prefix: u32,
    /// All of them, where there is none.
    port: Option<u16>,
}

/// The first bits of an address, of which an IPv4 address has 32 and an IPv6 address 128.
fn bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (ip.into(), 128),
    }
}

impl Addresses {
    pub(crate) fn parse(grants: &[String]) -> Result<Addresses, String> {
        let targets = grants.iter().map(|grant| {
            Target::parse(grant).ok_or_else(|| {
                format!(
                    "network grant {grant:?} is not ip:port, [ip6]:port, ip/bits:port, or one of them with * as its port"
                )
            })
        });
        Ok(Addresses(targets.collect::<Result<_, _>>()?))
    }

    /// Whether a connection may be made.
    pub(super) fn allow(&self, to: SocketAddr) -> bool {
        // An IPv4 address in IPv6 is the IPv4 address.
        let (ip, port) = (to.ip().to_canonical(), to.port());
        self.0.iter().any(|target| target.is(ip, port))
    }
}

impl Target {
    fn parse(grant: &str) -> Option<Target> {
        let (ip, port) = grant.rsplit_once(':')?;
        let port = match port {
            "*" => None,
            _ => Some(port.parse().ok().filter(|port| *port != 0)?),
        };
        let bracketed = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        let (ip, prefix) = match bracketed.unwrap_or(ip).split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse().ok()?)),
            None => (bracketed.unwrap_or(ip), None),
        };
        let network: IpAddr = if bracketed.is_some() {
            ip.parse::<Ipv6Addr>().ok()?.into()
        } else {
            ip.parse::<Ipv4Addr>().ok()?.into()
        };
        let most = bits(network).1;
        let prefix = prefix.unwrap_or(most);
        // Said as the kernel will see it, or it would never match.
        let mapped = network != network.to_canonical();
        (prefix <= most && !mapped).then_some(Target {
            network,
            prefix,
            port,
        })
    }

    fn is(&self, ip: IpAddr, port: u16) -> bool {
        let ((own, own_bits), (other, other_bits)) = (bits(self.network), bits(ip));
        let differ = (own ^ other).leading_zeros() < self.prefix;
        own_bits == other_bits && !differ && self.port.is_none_or(|own| own == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(grants: &[&str]) -> Result<Addresses, String> {
        let owned: Vec<String> = grants.iter().map(|g| (*g).to_owned()).collect();
        Addresses::parse(&owned)
    }

    #[test]
    fn network_grants_are_parsed_or_refused() {
        parse(&["10.0.0.1:502", "[::1]:80", "10.0.0.0/24:502", "[::1]:*"]).unwrap();
        for bad in [
            "",
            "10.0.0.1",
            "host:502",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:70000",
            "10.0.0.0/33:1",
            "10.0.0.0/:1",
            "10.0.0.0/x:1",
            "[::/129]:1",
            "::1:80",
            "[::1]",
            "[10.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
        ] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_allows_what_it_names() {
        for (grant, to, allowed) in [
            ("127.0.0.1:1502", "127.0.0.1:1502", true),
            ("127.0.0.1:1502", "127.0.0.2:1502", false),
            ("127.0.0.1:1502", "127.0.0.1:1503", false),
            ("127.0.0.1:1502", "[::ffff:127.0.0.1]:1502", true),
            ("127.0.0.1:1502", "[::ffff:127.0.0.2]:1502", false),
            ("127.0.0.1:*", "127.0.0.1:9", true),
            ("127.0.0.1:*", "127.0.0.2:9", false),
            ("10.1.0.0/16:502", "10.1.255.1:502", true),
            ("10.1.0.0/16:502", "10.2.0.0:502", false),
            ("0.0.0.0/0:502", "192.0.2.1:502", true),
            ("0.0.0.0/0:502", "[2001:db8::1]:502", false),
            ("[2001:db8::/32]:502", "[2001:db8:1::1]:502", true),
            ("[2001:db8::/32]:502", "[2001:db9::1]:502", false),
            ("[::/0]:502", "10.0.0.1:502", false),
        ] {
            let granted = parse(&[grant]).unwrap();
            assert_eq!(granted.allow(to.parse().unwrap()), allowed, "{grant} {to}");
        }
    }
}
