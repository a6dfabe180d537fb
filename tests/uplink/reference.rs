//! A broker as the standard has it, in memory, which checks what it is sent: the reference for the session's model test.
//!
//! It shares no code with the agent. A message is known by the number at the start of its payload. Whatever a client of
//! the standard must not do is a panic with the rule's words.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What CONNACK allows at most.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) in_flight: u16,
    pub(crate) packet_bytes: u32,
    pub(crate) aliases: u16,
}

/// How often each thing happened: a model that meets none of them shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    arrivals: u64,
    repeats: u64,
    duplicates: u64,
    aliases: u64,
    kept_sessions: u64,
    lost_sessions: u64,
    full_windows: u64,
    refusals: u64,
    rejections: u64,
}

impl Met {
    pub(crate) fn with(self, other: &Met) -> Met {
        Met {
            arrivals: self.arrivals + other.arrivals,
            repeats: self.repeats + other.repeats,
            duplicates: self.duplicates + other.duplicates,
            aliases: self.aliases + other.aliases,
            kept_sessions: self.kept_sessions + other.kept_sessions,
            lost_sessions: self.lost_sessions + other.lost_sessions,
            full_windows: self.full_windows + other.full_windows,
            refusals: self.refusals + other.refusals,
            rejections: self.rejections + other.rejections,
        }
    }

    /// How often the rarest of them happened.
    pub(crate) fn least(&self) -> u64 {
        let all = [
            self.arrivals,
            self.repeats,
            self.duplicates,
            self.aliases,
            self.kept_sessions,
            self.lost_sessions,
            self.full_windows,
            self.refusals,
            self.rejections,
        ];
        all.into_iter().min().unwrap_or(0)
    }
}

/// What its arrival at the client means.
enum Says {
    Welcome,
    /// PUBACK for this id, and its reason.
    Taken(u16, u8),
    Other,
}

#[derive(Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any two of them may be true"
)]
pub(crate) struct Reference {
    limits: Option<Limits>,
    inflight_max: usize,
    input: Vec<u8>,
    /// Packets on their way to the client.
    output: VecDeque<(Vec<u8>, Says)>,
    /// A DISCONNECT or a refused CONNACK is on its way: the connection ends behind it.
    pub(crate) leaving: bool,
    /// CONNECT has come.
    greeted: bool,
    connections: u32,
    /// There is a session of this client.
    session: bool,
    /// Of this connection: the session was there, as CONNACK says.
    present: bool,
    /// The client has read a CONNACK with success in its life.
    welcomed: bool,
    aliases: BTreeMap<u16, String>,
    /// Of this connection: ids whose PUBACK was not read yet, and those that were not answered, in their order.
    in_flight: BTreeMap<u16, u64>,
    unanswered: Vec<u16>,
    /// Ids whose PUBACK was read. None is used again within the ring of 65,000.
    answered: Vec<u16>,
    /// Of this session: ids whose PUBACK was not read, with the message and the connection that they last came on.
    ids: BTreeMap<u16, (u64, u32)>,
    /// Of this connection: the last message of each topic.
    last: BTreeMap<String, u64>,
    /// The largest message of each topic.
    newest: BTreeMap<String, u64>,
    topics: BTreeMap<u64, String>,
    refused_topics: BTreeSet<String>,
    /// Of this connection: topics whose messages are all answered, the last with a refusal for now.
    stopped: BTreeSet<String>,
    seen: BTreeSet<u64>,
    pub(crate) accepted: BTreeSet<u64>,
    pub(crate) rejected: BTreeSet<u64>,
    /// PUBACK with success or a final refusal was read.
    finished: BTreeSet<u64>,
    pub(crate) met: Met,
}

impl Reference {
    pub(crate) fn new(inflight_max: u16) -> Reference {
        Reference {
            inflight_max: usize::from(inflight_max),
            ..Reference::default()
        }
    }

    /// A fresh connection; what CONNACK will allow, or the reason for which it refuses.
    pub(crate) fn accept(&mut self, limits: Limits) {
        self.cut();
        self.connections += 1;
        self.limits = Some(limits);
    }

    /// The connection is gone, with all that was on its way.
    pub(crate) fn cut(&mut self) {
        self.limits = None;
        self.input.clear();
        self.output.clear();
        self.leaving = false;
        self.greeted = false;
        self.aliases.clear();
        self.in_flight.clear();
        self.unanswered.clear();
        self.last.clear();
        self.stopped.clear();
    }

    /// It starts again without its sessions.
    pub(crate) fn forget(&mut self) {
        if self.session {
            self.met.lost_sessions += 1;
        }
        self.session = false;
        self.ids.clear();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.unanswered.len()
    }

    pub(crate) fn kick(&mut self, reason: u8) {
        if self.greeted && !self.leaving {
            self.leaving = true;
            self.send(vec![0xE0, 1, reason], Says::Other);
        }
    }

    fn send(&mut self, bytes: Vec<u8>, says: Says) {
        self.output.push_back((bytes, says));
    }

    /// Answers the waiting message at `at`.
    pub(crate) fn answer(&mut self, at: usize, reason: u8) {
        if !self.leaving && at < self.unanswered.len() {
            let id = self.unanswered.remove(at);
            self.puback(id, reason);
        }
    }

    /// Its PUBACK is never sent on this connection.
    pub(crate) fn swallow(&mut self, at: usize) {
        if at < self.unanswered.len() {
            self.unanswered.remove(at);
        }
    }

    /// A PUBACK that the client has read before comes once more, or one for an id that was never used.
    pub(crate) fn stray(&mut self, at: usize) {
        if !self.greeted || self.leaving {
            return;
        }
        let [high, low] = match self.answered.get(at % (self.answered.len() + 1)) {
            Some(id) => id.to_be_bytes(),
            None => 40_000_u16.to_be_bytes(),
        };
        self.send(vec![0x40, 2, high, low], Says::Other);
    }

    fn puback(&mut self, id: u16, reason: u8) {
        let token = self.in_flight[&id];
        if reason < 0x80 {
            self.accepted.insert(token);
        } else if is_final(reason) {
            self.met.rejections += 1;
            self.rejected.insert(token);
        } else {
            self.met.refusals += 1;
            self.refused_topics.insert(self.topics[&token].clone());
        }
        let [high, low] = id.to_be_bytes();
        self.send(vec![0x40, 3, high, low, reason], Says::Taken(id, reason));
    }

    /// The next bytes for the client, at most `count`. `arrived`: all that it has written is here.
    pub(crate) fn read(&mut self, count: usize, arrived: bool) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((bytes, _)) = self.output.front_mut()
        {
            let part = bytes.len().min(count - taken.len());
            taken.extend(bytes.drain(..part));
            if bytes.is_empty() {
                match self.output.pop_front() {
                    Some((_, Says::Taken(id, reason))) => {
                        let token = self.in_flight.remove(&id).unwrap();
                        self.ids.remove(&id);
                        self.answered.push(id);
                        let topic = self.topics[&token].clone();
                        if is_final(reason) {
                            self.finished.insert(token);
                            self.stopped.remove(&topic);
                        } else if arrived
                            && self.in_flight.values().all(|t| self.topics[t] != topic)
                        {
                            self.stopped.insert(topic);
                        }
                    }
                    Some((_, Says::Welcome)) => self.welcomed = true,
                    _ => {}
                }
            }
        }
        taken
    }

    /// What the client wrote.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some((header, whole)) = frame(&self.input) {
            let packet: Vec<u8> = self.input.drain(..whole).collect();
            self.packet(packet[0], &packet[header..], whole);
        }
    }

    fn packet(&mut self, first: u8, body: &[u8], whole: usize) {
        let limits = self.limits.clone().expect("bytes on no connection");
        if self.leaving {
            return;
        }
        match first >> 4 {
            1 => self.connect(body, &limits),
            3 => {
                assert!(
                    whole <= usize::try_from(limits.packet_bytes).unwrap(),
                    "a packet of {whole} bytes; the maximum is {}",
                    limits.packet_bytes
                );
                self.publish(first, body, &limits);
            }
            12 => self.send(vec![0xD0, 0], Says::Other),
            14 => {}
            kind => panic!("packet type {kind} out of place"),
        }
    }

    fn connect(&mut self, body: &[u8], limits: &Limits) {
        assert_eq!(&body[..7], b"\0\x04MQTT\x05");
        let clean = body[7] & 2 != 0;
        assert!(clean || self.welcomed, "a session asked for that never was");
        assert!(
            !clean || !self.welcomed || !self.refused_topics.is_empty(),
            "a clean start gives up a session that the broker may have"
        );
        self.present = self.session && !clean;
        if self.present {
            self.met.kept_sessions += 1;
        } else {
            self.ids.clear();
        }
        self.session = true;
        self.greeted = true;
        let mut properties = vec![0x21];
        properties.extend_from_slice(&limits.in_flight.to_be_bytes());
        properties.push(0x27);
        properties.extend_from_slice(&limits.packet_bytes.to_be_bytes());
        properties.push(0x22);
        properties.extend_from_slice(&limits.aliases.to_be_bytes());
        let len = u8::try_from(properties.len()).unwrap();
        let mut connack = vec![0x20, 3 + len, u8::from(self.present), 0, len];
        connack.extend(properties);
        self.send(connack, Says::Welcome);
    }

    fn publish(&mut self, first: u8, body: &[u8], limits: &Limits) {
        assert_eq!(first & 0b0111, 0b010, "not QoS 1 without RETAIN");
        let duplicate = first & 8 != 0;
        let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = std::str::from_utf8(&body[2..2 + len]).unwrap();
        let rest = &body[2 + len..];
        let id = u16::from_be_bytes([rest[0], rest[1]]);
        assert_ne!(id, 0);
        let (alias, payload) = match rest[2] {
            0 => (None, &rest[3..]),
            3 => {
                assert_eq!(rest[3], 0x23);
                (Some(u16::from_be_bytes([rest[4], rest[5]])), &rest[6..])
            }
            other => panic!("{other} bytes of properties"),
        };
        let topic = match alias {
            None => topic.to_owned(),
            Some(alias) => {
                assert!(
                    (1..=limits.aliases).contains(&alias),
                    "alias {alias}; the maximum is {}",
                    limits.aliases
                );
                self.met.aliases += 1;
                if !topic.is_empty() {
                    self.aliases.insert(alias, topic.to_owned());
                }
                let known = self.aliases.get(&alias);
                known.expect("an alias that names no topic").clone()
            }
        };
        assert!(!topic.is_empty());
        let token = u64::from_be_bytes(payload[..8].try_into().unwrap());
        self.arrived(token, topic, id, duplicate, limits);
    }

    fn arrived(&mut self, token: u64, topic: String, id: u16, duplicate: bool, limits: &Limits) {
        self.met.arrivals += 1;
        assert!(
            !self.finished.contains(&token),
            "message {token} comes again after its PUBACK"
        );
        assert!(
            !self.in_flight.contains_key(&id),
            "id {id} is in use on this connection"
        );
        assert!(
            !self.in_flight.values().any(|other| *other == token),
            "message {token} twice on one connection"
        );
        let again = self.ids.get(&id);
        if let Some((other, connection)) = again {
            assert_eq!(
                *other, token,
                "id {id} is another message's in this session"
            );
            assert!(*connection < self.connections);
        } else {
            let other = self.ids.iter().find(|(_, (other, _))| *other == token);
            assert!(
                other.is_none(),
                "message {token} under id {id} and {other:?} in one session"
            );
        }
        assert!(
            duplicate || again.is_none(),
            "message {token} again without DUP"
        );
        assert!(
            !duplicate || self.present,
            "DUP in a session that never saw the message"
        );
        if self.stopped.remove(&topic) && !duplicate {
            let mut open = self.seen.difference(&self.finished);
            let first = open.find(|other| self.topics[*other] == topic);
            assert_eq!(first, Some(&token), "the probe of {topic}");
        }
        self.met.repeats += u64::from(self.seen.contains(&token));
        self.met.duplicates += u64::from(duplicate);
        self.ids.insert(id, (token, self.connections));
        self.in_flight.insert(id, token);
        self.unanswered.push(id);
        let max = usize::from(limits.in_flight).min(self.inflight_max);
        assert!(
            self.in_flight.len() <= max,
            "{} in flight; the maximum is {max}",
            self.in_flight.len()
        );
        self.met.full_windows += u64::from(self.in_flight.len() == max);
        if self.seen.insert(token)
            && let Some(newest) = self.newest.insert(topic.clone(), token)
        {
            assert!(newest < token, "{token} of {topic} after {newest}");
        }
        // A refusal for now takes a message out of its place: what was in flight behind it has passed it.
        if let Some(last) = self.last.insert(topic.clone(), token)
            && !self.refused_topics.contains(&topic)
        {
            assert!(last < token, "{token} of {topic} behind {last}");
        }
        self.topics.insert(token, topic);
    }
}

/// Whether a PUBACK with this reason ends its message: taken, or such that it can never be.
fn is_final(reason: u8) -> bool {
    reason < 0x80 || matches!(reason, 0x90 | 0x95 | 0x99)
}

/// Header and whole length of the first packet, once it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut body = 0;
    for index in 0..4 {
        let byte = *bytes.get(1 + index)?;
        body |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = 2 + index + body;
            return (bytes.len() >= whole).then_some((2 + index, whole));
        }
    }
    panic!("a length of more than four bytes")
}
