//! What the agent asks of a host.

use std::path::PathBuf;

use super::{
    GRANTS_MAX, Malformed, OPTIONS_MAX, Reader, TEXT_MAX_BYTES, head, kind, malformed, start,
};
use crate::reading::{Kind, Value};
use crate::spec::{Grants, Limits};

/// First message: what to load, and in what sandbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setup {
    /// Who started the host, and takes it along when it dies.
    pub(crate) parent_pid: u32,
    pub(crate) library: PathBuf,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Setup(Box<Setup>),
    Open(Vec<(String, String)>),
    Channels {
        from: u32,
    },
    Read {
        cap: u32,
        timeout_ms: u32,
    },
    ReadFrames {
        cap: u32,
        timeout_ms: u32,
    },
    Write {
        channel: u32,
        value: Value,
        timeout_ms: u32,
    },
    Close,
}

/// Writes a request into `out`.
pub(crate) fn encode_request(out: &mut Vec<u8>, sequence: u32, request: &Request) {
    match request {
        Request::Setup(setup) => encode_setup(out, sequence, setup),
        Request::Open(options) => {
            let mut w = start(out, kind::OPEN, sequence);
            w.count(options.len());
            for (key, value) in options {
                w.text(key, TEXT_MAX_BYTES).text(value, TEXT_MAX_BYTES);
            }
        }
        Request::Channels { from } => {
            start(out, kind::CHANNELS, sequence).u32(*from);
        }
        Request::Read { cap, timeout_ms } => {
            start(out, kind::READ, sequence).u32(*cap).u32(*timeout_ms);
        }
        Request::ReadFrames { cap, timeout_ms } => {
            start(out, kind::READ_FRAMES, sequence)
                .u32(*cap)
                .u32(*timeout_ms);
        }
        Request::Write {
            channel,
            value,
            timeout_ms,
        } => {
            start(out, kind::WRITE, sequence)
                .u32(*channel)
                .u32(*timeout_ms)
                .u32(value.kind().raw())
                .u64(value.bits());
        }
        Request::Close => {
            start(out, kind::CLOSE, sequence);
        }
    }
}

fn encode_setup(out: &mut Vec<u8>, sequence: u32, setup: &Setup) {
    let mut w = start(out, kind::SETUP, sequence);
    w.u32(setup.parent_pid)
        .text(&setup.library.to_string_lossy(), TEXT_MAX_BYTES);
    match &setup.sha256 {
        None => w.u8(0),
        Some(hash) => {
            w.u8(1);
            for byte in hash {
                w.u8(*byte);
            }
            &mut w
        }
    };
    for paths in [&setup.grants.devices, &setup.grants.read] {
        w.count(paths.len());
        for path in paths {
            w.text(&path.to_string_lossy(), TEXT_MAX_BYTES);
        }
    }
    for texts in [&setup.grants.network, &setup.grants.can] {
        w.count(texts.len());
        for text in texts {
            w.text(text, TEXT_MAX_BYTES);
        }
    }
    let limits = &setup.limits;
    for limit in [
        limits.memory_mb,
        limits.fds,
        limits.threads,
        limits.cpu_percent,
    ] {
        match limit {
            None => w.u8(0),
            Some(limit) => w.u8(1).u32(limit),
        };
    }
    w.u32(limits.cpu_window_ms);
}

/// Reads a request.
pub(crate) fn decode_request(message: &[u8]) -> Result<(u32, Request), Malformed> {
    let (kind, sequence, mut r) = head(message)?;
    let request = match kind {
        kind::SETUP => Request::Setup(Box::new(decode_setup(&mut r)?)),
        kind::OPEN => {
            let count = r.count(OPTIONS_MAX, 8)?;
            let mut options = Vec::with_capacity(count);
            for _ in 0..count {
                options.push((r.text(TEXT_MAX_BYTES)?, r.text(TEXT_MAX_BYTES)?));
            }
            Request::Open(options)
        }
        kind::CHANNELS => Request::Channels { from: r.u32()? },
        kind::READ => Request::Read {
            cap: r.u32()?,
            timeout_ms: r.u32()?,
        },
        kind::READ_FRAMES => Request::ReadFrames {
            cap: r.u32()?,
            timeout_ms: r.u32()?,
        },
        kind::WRITE => {
            let (channel, timeout_ms, raw, bits) = (r.u32()?, r.u32()?, r.u32()?, r.u64()?);
            let value = Kind::from_raw(raw).and_then(|kind| Value::from_bits(kind, bits));
            let Some(value) = value else {
                return malformed("no value of its kind");
            };
            Request::Write {
                channel,
                value,
                timeout_ms,
            }
        }
        kind::CLOSE => Request::Close,
        other => return malformed(format!("no request has type {other}")),
    };
    r.end()?;
    Ok((sequence, request))
}

fn decode_setup(r: &mut Reader<'_>) -> Result<Setup, Malformed> {
    let parent_pid = r.u32()?;
    let library = PathBuf::from(r.text(TEXT_MAX_BYTES)?);
    let sha256 = if r.flag()? {
        let mut hash = [0; 32];
        hash.copy_from_slice(r.bytes(32)?);
        Some(hash)
    } else {
        None
    };
    let texts = |r: &mut Reader<'_>| -> Result<Vec<String>, Malformed> {
        let count = r.count(GRANTS_MAX, 4)?;
        (0..count).map(|_| r.text(TEXT_MAX_BYTES)).collect()
    };
    let paths = |texts: Vec<String>| texts.into_iter().map(PathBuf::from).collect();
    let grants = Grants {
        devices: paths(texts(r)?),
        read: paths(texts(r)?),
        network: texts(r)?,
        can: texts(r)?,
    };
    let limit = |r: &mut Reader<'_>| -> Result<Option<u32>, Malformed> {
        if r.flag()? {
            r.u32().map(Some)
        } else {
            Ok(None)
        }
    };
    let limits = Limits {
        memory_mb: limit(r)?,
        fds: limit(r)?,
        threads: limit(r)?,
        cpu_percent: limit(r)?,
        cpu_window_ms: r.u32()?,
    };
    Ok(Setup {
        parent_pid,
        library,
        sha256,
        grants,
        limits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_as_they_went() {
        let setup = Setup {
            parent_pid: 7,
            library: "/lib/x.so".into(),
            sha256: Some([9; 32]),
            grants: Grants {
                devices: vec!["/dev/i2c-1".into()],
                read: vec!["/sys".into(), "/proc".into()],
                network: vec!["127.0.0.1:502".into()],
                can: vec!["can0".into()],
            },
            limits: Limits {
                memory_mb: None,
                ..Limits::default()
            },
        };
        let requests = [
            Request::Setup(Box::new(setup)),
            Request::Open(vec![
                ("bus".into(), "1".into()),
                ("bus".into(), String::new()),
            ]),
            Request::Channels { from: 512 },
            Request::Read {
                cap: 4096,
                timeout_ms: 10,
            },
            Request::ReadFrames {
                cap: 1,
                timeout_ms: 0,
            },
            Request::Write {
                channel: 3,
                value: Value::Bool(true),
                timeout_ms: 5,
            },
            Request::Close,
        ];
        let mut bytes = Vec::new();
        for (sequence, request) in (0..).zip(requests) {
            encode_request(&mut bytes, sequence, &request);
            assert_eq!(decode_request(&bytes), Ok((sequence, request)));
            bytes.push(0);
            assert!(decode_request(&bytes).is_err(), "a byte too many");
            bytes.pop();
            for cut in 0..bytes.len() {
                assert!(decode_request(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
