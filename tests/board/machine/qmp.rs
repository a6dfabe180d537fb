//! QEMU's machine protocol: a JSON object a line, over a Unix socket.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for QEMU to make its socket, and for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection to a running QEMU.
pub struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects as soon as the socket is there.
    pub fn connect(socket: &Path) -> Qmp {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(start.elapsed() < ANSWER_LIMIT, "QMP: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        let mut qmp = Qmp {
            lines: BufReader::new(stream),
        };
        let greeting = qmp.line();
        assert!(greeting.get("QMP").is_some(), "QMP said {greeting}");
        qmp.run("qmp_capabilities", &json!({}))
            .expect("QMP is ready");
        qmp
    }

    /// Runs a command; the error is QEMU's description.
    pub fn run(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.lines.get_mut(), "{request}").expect("QMP takes a command");
        loop {
            let mut answer = self.line();
            if let Some(error) = answer.get("error") {
                return Err(error["desc"].as_str().unwrap_or("no reason").to_owned());
            }
            // Whatever else comes is an event.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Sets a property of a device that was given an id.
    pub fn set(&mut self, id: &str, property: &str, value: &Value) {
        let path = format!("/machine/peripheral/{id}");
        let arguments = json!({ "path": path, "property": property, "value": value });
        self.run("qom-set", &arguments)
            .unwrap_or_else(|error| panic!("{id}.{property} = {value}: {error}"));
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("QMP answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("QMP: {error}: {line:?}"))
    }
}
