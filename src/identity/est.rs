//! Enrolment over secure transport (RFC 7030): one request, one answer, over TLS 1.3 with a pinned authority.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dunlin_crypto::{ClientTls, HandshakeError};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Longest exchange, from the look-up of the name to the last byte.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const ANSWER_MAX_BYTES: u64 = 256 << 10;
/// Most header fields of an answer.
const HEADERS_MAX: usize = 64;

/// An EST server: `https://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    path: String,
}

/// Why an exchange gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// Not an address of an EST server.
    #[error("{0:?} is no address of an EST server: {1}")]
    Address(String, &'static str),
    /// The connection.
    #[error("cannot reach {server}: {source}")]
    Io {
        /// Which.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{0} did not answer within {seconds} s", seconds = EXCHANGE_MAX.as_secs())]
    Late(Server),
    /// TLS.
    #[error("TLS to {server}: {source}")]
    Tls {
        /// Which.
        server: Server,
        /// Why.
        source: HandshakeError,
    },
    /// 401 or 403: the secret, or the certificate, is not accepted.
    #[error("{server} does not accept who we are (status {status})")]
    Denied {
        /// Which.
        server: Server,
        /// Status.
        status: u16,
    },
    /// 202: somebody has to agree first.
    #[error("{server} has to decide, and asks to be asked again in {retry_s} s")]
    Pending {
        /// Which.
        server: Server,
        /// Its Retry-After.
        retry_s: u64,
    },
    /// Another status than 200.
    #[error("{server} answered with status {status}")]
    Status {
        /// Which.
        server: Server,
        /// Status.
        status: u16,
    },
    /// What came back is not an answer of EST.
    #[error("{server} does not answer as an EST server: {what}")]
    Malformed {
        /// Which.
        server: Server,
        /// What is wrong.
        what: &'static str,
    },
}

impl FromStr for Server {
    type Err = EstError;

    fn from_str(text: &str) -> Result<Server, EstError> {
        let wrong = |why| EstError::Address(text.to_owned(), why);
        let rest = text.strip_prefix("https://").ok_or_else(|| {
            wrong("it does not begin with https://, and clear text is not spoken")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['?', '#', '@']) {
            return Err(wrong("only host, port and path have a meaning here"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .map(|(host, tail)| (host, tail.strip_prefix(':')))
                .ok_or_else(|| wrong("the ] is missing"))?,
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = match port.map(str::parse::<u16>) {
            None => 443,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(wrong("the port is not a number from 1 to 65535")),
        };
        let path = path.trim_end_matches('/');
        Ok(Server {
            host: host.to_owned(),
            port,
            path: if path.is_empty() {
                "/.well-known/est".to_owned()
            } else {
                format!("/{path}")
            },
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(
            f,
            "https://{open}{}{close}:{}{}",
            self.host, self.port, self.path
        )
    }
}

impl Server {
    /// The authorities (/cacerts), as PKCS#7 in DER.
    pub(super) async fn authorities(&self, tls: &ClientTls) -> Result<Vec<u8>, EstError> {
        self.exchange(tls, "cacerts", None, None).await
    }

    /// Asks for a certificate: `operation` is `simpleenroll` or `simplereenroll`, `request` is PKCS#10 in DER, `secret`
    /// is `USER:PASSWORD`. Gives PKCS#7 in DER.
    pub(super) async fn enrol(
        &self,
        tls: &ClientTls,
        operation: &str,
        request: &[u8],
        secret: Option<&[u8]>,
    ) -> Result<Vec<u8>, EstError> {
        self.exchange(tls, operation, Some(request), secret).await
    }

    async fn exchange(
        &self,
        tls: &ClientTls,
        operation: &str,
        body: Option<&[u8]>,
        secret: Option<&[u8]>,
    ) -> Result<Vec<u8>, EstError> {
        let request = self.request(operation, body, secret);
        let talk = async {
            let io = |source| EstError::Io {
                server: self.clone(),
                source,
            };
            let refused = |source| EstError::Tls {
                server: self.clone(),
                source,
            };
            let socket = TcpStream::connect((&*self.host, self.port)).await;
            let mut stream = tls
                .connect(socket.map_err(io)?, &self.host)
                .await
                .map_err(refused)?;
            let mut answer = Vec::new();
            let spoken = async {
                stream.write_all(&request).await?;
                stream.flush().await?;
                (&mut stream)
                    .take(ANSWER_MAX_BYTES)
                    .read_to_end(&mut answer)
                    .await
            };
            match spoken.await {
                // Ended without a farewell: what came says itself how long it is.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) if answer.is_empty() => {
                    return Err(match HandshakeError::from_read(&error) {
                        Some(reason) => refused(reason),
                        None => io(error),
                    });
                }
                _ => {}
            }
            Ok(answer)
        };
        let answer = tokio::time::timeout(EXCHANGE_MAX, talk)
            .await
            .map_err(|_| EstError::Late(self.clone()))??;
        self.read(&answer)
    }

    fn request(
        &self,
        operation: &str,
        body: Option<&[u8]>,
        secret: Option<&[u8]>,
    ) -> Zeroizing<Vec<u8>> {
        let verb = if body.is_some() { "POST" } else { "GET" };
        let mut text = format!(
            "{verb} {}/{operation} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: dunlin\r\nAccept: */*\r\nConnection: close\r\n",
            self.path, self.host, self.port
        );
        let body = body.map(|body| STANDARD.encode(body)).unwrap_or_default();
        if !body.is_empty() {
            text += &format!(
                "Content-Type: application/pkcs10\r\nContent-Transfer-Encoding: base64\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        // Of its final size from the start: memory that grows would leave copies of the secret behind.
        let secret = Zeroizing::new(
            secret
                .map(|secret| STANDARD.encode(secret))
                .unwrap_or_default(),
        );
        let mut request = Zeroizing::new(Vec::with_capacity(
            text.len() + secret.len() + body.len() + 64,
        ));
        request.extend(text.as_bytes());
        if !secret.is_empty() {
            request.extend(b"Authorization: Basic ");
            request.extend(secret.as_bytes());
            request.extend(b"\r\n");
        }
        request.extend(b"\r\n");
        request.extend(body.as_bytes());
        request
    }

    fn read(&self, answer: &[u8]) -> Result<Vec<u8>, EstError> {
        let malformed = |what| EstError::Malformed {
            server: self.clone(),
            what,
        };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = head.parse(answer) else {
            return Err(malformed("that is no HTTP"));
        };
        let field = |name: &str| {
            let found = head
                .headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let (server, status) = (self.clone(), head.code.unwrap_or(0));
        match status {
            200 => {}
            202 => {
                let retry_s = field("retry-after").and_then(|text| text.trim().parse().ok());
                let retry_s = retry_s.unwrap_or(3600);
                return Err(EstError::Pending { server, retry_s });
            }
            401 | 403 => return Err(EstError::Denied { server, status }),
            _ => return Err(EstError::Status { server, status }),
        }
        let rest = &answer[length..];
        let chunked = field("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let body = match field("content-length").map(|text| text.trim().parse::<usize>()) {
            _ if chunked => unchunk(rest).ok_or_else(|| malformed("its chunks have no end"))?,
            Some(Ok(length)) if length <= rest.len() => rest[..length].to_vec(),
            Some(_) => return Err(malformed("its answer is cut off or too long")),
            None => rest.to_vec(),
        };
        // Base64 whatever the headers say (RFC 8951), with line breaks.
        let packed: Vec<u8> = body
            .into_iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        STANDARD
            .decode(packed)
            .map_err(|_| malformed("its answer is not base64"))
    }
}

/// The content of chunks (RFC 9112, section 7.1).
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(rest) else {
            return None;
        };
        if size == 0 {
            return Some(whole);
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        whole.extend(rest.get(at..end)?);
        rest = rest.get(end..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            (
                "https://est.example",
                "https://est.example:443/.well-known/est",
            ),
            (
                "https://est.example:8443/",
                "https://est.example:8443/.well-known/est",
            ),
            ("https://[::1]:1/a/b/", "https://[::1]:1/a/b"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
        for text in [
            "http://est.example",
            "https://",
            "https://u:p@h",
            "https://h:0",
            "https://h/a?b",
            "https://h/a b",
            "est.example",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn answers_are_read_in_each_form_and_refused_when_cut() {
        let server: Server = "https://est.example".parse().unwrap();
        let read = |text: &str| server.read(text.as_bytes());
        for good in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nYWJj\n",
            "HTTP/1.0 200 OK\r\n\r\nYW\r\nJj\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nYW\r\n2\r\nJj\r\n0\r\n\r\n",
        ] {
            assert_eq!(read(good).unwrap(), b"abc", "{good:?}");
        }
        for bad in [
            "",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nYWJj\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nYWJj\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nYW\r\n4\r\nJj",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nYW",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
        ] {
            assert!(
                matches!(read(bad), Err(EstError::Malformed { .. })),
                "{bad:?}"
            );
        }
        let denied = read("HTTP/1.1 401 No\r\n\r\n");
        assert!(matches!(denied, Err(EstError::Denied { status: 401, .. })));
        let pending = read("HTTP/1.1 202 Later\r\nRetry-After: 7\r\n\r\n");
        assert!(matches!(pending, Err(EstError::Pending { retry_s: 7, .. })));
    }
}
