//! Endpoints: where a broker is and how it is reached.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Port of `mqtt://` where none is given.
pub const MQTT_PORT: u16 = 1883;
/// Port of `mqtts://` where none is given.
pub const MQTTS_PORT: u16 = 8883;

/// Port of `quic://` where none is given: that of EMQX and `NanoMQ`, since none is registered.
pub const QUIC_PORT: u16 = 14567;

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mqtt://`: TCP in clear text; loopback only.
    Tcp,
    /// `mqtts://`: TLS 1.3 over TCP with mutual certificates.
    Tls,
    /// `quic://`: MQTT on a stream of QUIC, with TLS 1.3 and mutual certificates inside.
    Quic,
}

impl Scheme {
    /// The scheme as written.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Tcp => "mqtt",
            Scheme::Tls => "mqtts",
            Scheme::Quic => "quic",
        }
    }

    /// Whether both sides prove who they are: everything but clear text on loopback.
    pub fn is_secure(self) -> bool {
        self != Scheme::Tcp
    }
}

/// A checked endpoint: a value of this type never asks for clear text beyond loopback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// Why an endpoint was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No `scheme://`.
    #[error(
        "endpoint {0:?} has no scheme: write quic://host[:port] or mqtts://host[:port], or mqtt://host[:port] on loopback"
    )]
    NoScheme(String),
    /// Another scheme.
    #[error(
        "endpoint {endpoint:?} has the unknown scheme {scheme:?}: the schemes are quic, mqtts and, on loopback, mqtt"
    )]
    UnknownScheme {
        /// As given.
        endpoint: String,
        /// The part before `://`.
        scheme: String,
    },
    /// Not `host[:port]`.
    #[error("endpoint {endpoint:?} is not scheme://host[:port]: {why}")]
    Malformed {
        /// As given.
        endpoint: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A build without QUIC.
    #[cfg(not(feature = "quic"))]
    #[error(
        "endpoint {0:?} needs QUIC, which this build has not: use mqtts://, or install the full build"
    )]
    NoQuic(String),
    /// Clear text beyond loopback.
    #[error(
        "endpoint {0:?} would send data in clear text: mqtt:// is for loopback only (127.0.0.0/8, ::1, localhost); \
         use mqtts:// with certificates"
    )]
    ClearText(String),
}

impl Endpoint {
    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let malformed = |why| EndpointError::Malformed {
            endpoint: text.to_owned(),
            why,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(EndpointError::NoScheme(text.to_owned()));
        };
        let (scheme, default_port) = match scheme {
            "mqtt" => (Scheme::Tcp, MQTT_PORT),
            "mqtts" => (Scheme::Tls, MQTTS_PORT),
            #[cfg(feature = "quic")]
            "quic" => (Scheme::Quic, QUIC_PORT),
            #[cfg(not(feature = "quic"))]
            "quic" => return Err(EndpointError::NoQuic(text.to_owned())),
            other => {
                return Err(EndpointError::UnknownScheme {
                    endpoint: text.to_owned(),
                    scheme: other.to_owned(),
                });
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(malformed("a path, query or fragment has no meaning here"));
        }
        if rest.contains('@') {
            return Err(malformed("credentials do not belong in an endpoint"));
        }
        let (host, port) = if let Some(after) = rest.strip_prefix('[') {
            let (host, tail) = after
                .split_once(']')
                .ok_or_else(|| malformed("the ] is missing"))?;
            if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                return Err(malformed("what is in brackets is not an IPv6 address"));
            }
            match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if tail.is_empty() => (host, None),
                None => return Err(malformed("only :port may follow the ]")),
            }
        } else {
            match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(malformed("an IPv6 address is written in brackets"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        if host.is_empty() {
            return Err(malformed("the host is missing"));
        }
        if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(malformed("the host contains white space"));
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return Err(malformed("the port is not a number from 1 to 65535")),
            },
        };
        if scheme == Scheme::Tcp && !is_loopback(host) {
            return Err(EndpointError::ClearText(text.to_owned()));
        }
        Ok(Endpoint {
            scheme,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.scheme.name(), self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.scheme.name(), self.host, self.port)
        }
    }
}

/// Whether a host is this machine by its spelling. `localhost` counts; the transport takes it for loopback and asks no resolver.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_hosts_and_ports() {
        for (text, shown) in [
            ("mqtts://broker.example", "mqtts://broker.example:8883"),
            ("mqtts://broker.example:443/", "mqtts://broker.example:443"),
            ("mqtts://[2001:db8::1]", "mqtts://[2001:db8::1]:8883"),
            #[cfg(feature = "quic")]
            ("quic://broker.example", "quic://broker.example:14567"),
            ("mqtt://127.3.2.1", "mqtt://127.3.2.1:1883"),
            ("mqtt://[::1]:1999", "mqtt://[::1]:1999"),
            ("mqtt://localhost:1", "mqtt://localhost:1"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn clear_text_beyond_loopback_is_refused_with_the_remedy() {
        for text in [
            "mqtt://192.168.1.2:1883",
            "mqtt://broker.example",
            "mqtt://0.0.0.0",
            "mqtt://localhost.example",
            "mqtt://127.0.0.1.example",
            "mqtt://[2001:db8::1]",
            "mqtt://128.0.0.1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error, EndpointError::ClearText(text.to_owned()));
            assert!(error.to_string().contains(text) && error.to_string().contains("mqtts://"));
        }
    }

    #[test]
    fn other_schemes_and_malformed_endpoints_are_refused() {
        let error = "wss://broker.example"
            .parse::<Endpoint>()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"wss\"") && error.contains("mqtts"),
            "{error}"
        );
        for text in [
            "",
            "broker",
            "mqtts://",
            "mqtts://:1",
            "mqtts://a:0",
            "mqtts://a:65536",
            "mqtts://a:b",
            "mqtts://a/b",
            "mqtts://u:p@h",
            "mqtts://::1",
            "mqtts://[::1",
            "mqtts://[a]",
            "mqtts://[::1]x",
            "mqtts://a b",
            "MQTT://localhost",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?} was taken");
        }
    }
}
