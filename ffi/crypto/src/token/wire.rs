//! Messages between agent and key host: a length, then a kind and a body. Both sides bound what they take.

use std::io::{self, Read, Write};

/// Longest message in bytes; the longest is a URI or the text of an error.
const MESSAGE_MAX_BYTES: usize = 8 << 10;

/// What the agent asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Load the module, log in, find the key; answered with its public key.
    Open(String),
    /// Sign a digest; answered with r and s.
    Sign(Vec<u8>),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Request::Open(uri) => (1, uri.as_bytes()),
            Request::Sign(digest) => (2, &digest[..]),
        };
        [&[kind], body].concat()
    }

    pub(super) fn decode(mut message: Vec<u8>) -> Option<Request> {
        if message.is_empty() {
            return None;
        }
        match message.remove(0) {
            1 => String::from_utf8(message).ok().map(Request::Open),
            2 => Some(Request::Sign(message)),
            _ => None,
        }
    }
}

/// What the key host answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done.
    Done(Vec<u8>),
    /// It was not, and why.
    Failed(String),
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Answer::Done(body) => (0, &body[..]),
            Answer::Failed(why) => (1, &why.as_bytes()[..why.len().min(1024)]),
        };
        [&[kind], body].concat()
    }

    /// Text of a key host is text of a vendor's module, which ends up in a log: controls become spaces.
    pub(super) fn decode(mut message: Vec<u8>) -> Option<Answer> {
        if message.is_empty() {
            return None;
        }
        match message.remove(0) {
            0 => Some(Answer::Done(message)),
            1 => {
                let text = String::from_utf8_lossy(&message);
                Some(Answer::Failed(text.replace(char::is_control, " ")))
            }
            _ => None,
        }
    }
}

pub(super) fn send(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_le_bytes(), message].concat())
}

pub(super) fn receive(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MESSAGE_MAX_BYTES {
        return Err(io::Error::other("a message longer than any may be"));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent_and_nothing_else_is_one() {
        for request in [
            Request::Open("pkcs11:".to_owned()),
            Request::Sign(vec![1; 32]),
        ] {
            assert_eq!(Request::decode(request.encode()), Some(request));
        }
        for answer in [Answer::Done(vec![0; 64]), Answer::Failed("no".to_owned())] {
            assert_eq!(Answer::decode(answer.encode()), Some(answer));
        }
        let log = Answer::decode(b"\x01a\nb\x1b[2J".to_vec());
        assert_eq!(log, Some(Answer::Failed("a b [2J".to_owned())));
        assert_eq!(Request::decode(Vec::new()), None);
        assert_eq!(Request::decode(vec![3]), None);
        assert_eq!(Request::decode(vec![1, 0xff]), None);
        assert_eq!(Answer::decode(Vec::new()), None);
        assert_eq!(Answer::decode(vec![2]), None);
    }

    #[test]
    fn a_length_is_believed_only_within_its_bound() {
        let mut wire = Vec::new();
        send(&mut wire, b"hello").unwrap();
        assert_eq!(receive(&mut &wire[..]).unwrap(), b"hello");
        assert!(receive(&mut &wire[..8]).is_err());
        wire[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(receive(&mut &wire[..]).is_err());
    }
}
