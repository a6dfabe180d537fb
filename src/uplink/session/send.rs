//! What is sent next: first what a kept session has to see again, then parked messages that are due, then new ones.

use std::sync::Arc;

use super::window::Given;
use super::{Connection, OUTPUT_MAX_BYTES, Session};
use crate::uplink::codec;
use crate::uplink::event::Event;
use crate::uplink::reason::ReasonCode;
use crate::uplink::settings::Refused;

/// How a message names its topic on this connection.
struct Naming {
    alias: Option<u16>,
    /// The broker knows the alias: the topic is left out.
    known: bool,
}

impl Session {
    /// Encodes what may be sent now.
    pub fn pump(&mut self, now_ms: u64) {
        let Some(limits) = self.connection.as_ref().and_then(|c| c.limits.as_ref()) else {
            return;
        };
        let (inflight_max, packet_max_bytes) = (limits.inflight_max, limits.packet_max_bytes);
        self.parking.wake(now_ms);
        while self.window.sent() < inflight_max && self.output.len() < OUTPUT_MAX_BYTES {
            if let Some((index, packet_id)) = self.window.next_again() {
                let given = self.window.given(index).clone();
                match self.encode(&given, packet_id, true, packet_max_bytes, now_ms) {
                    Ok(()) => self.window.mark_sent(index),
                    Err(detail) => {
                        let (given, probe) = self.window.take(index);
                        self.too_large(given, probe, detail);
                    }
                }
                continue;
            }
            let Some(packet_id) = self.window.next_id() else {
                break;
            };
            let Some((given, probe)) = self.next_given() else {
                break;
            };
            match self.encode(&given, packet_id, false, packet_max_bytes, now_ms) {
                Ok(()) => self.window.sent_first(given, probe),
                Err(detail) => self.too_large(given, probe, detail),
            }
        }
    }

    /// The next message that goes for the first time, or again after a refusal, and whether it is a probe.
    fn next_given(&mut self) -> Option<(Given, bool)> {
        // Parked ones first: those behind them on their topic are parked too, so the order of a topic stays.
        if let Some(parked) = self.parking.next() {
            return Some(parked);
        }
        while let Some(next) = self.window.first_new() {
            if !self.parking.holds(&next.topic) {
                return Some((self.window.take_new()?, false));
            }
            if self.parking.is_full() {
                // To pass this one by would need memory without bound, or break the order of its topic.
                if !self.full_told {
                    self.full_told = true;
                    self.event(Event::ParkingFull {
                        messages: self.parking.messages(),
                        bytes: self.parking.bytes(),
                    });
                }
                if self.settings.refused == Refused::Wait || !self.shed() {
                    return None;
                }
                continue;
            }
            let given = self.window.take_new()?;
            self.parking.park(given);
        }
        None
    }

    /// Rejects the oldest message that is parked; whether there was one.
    fn shed(&mut self) -> bool {
        let Some((given, reason)) = self.parking.shed() else {
            return false;
        };
        self.event(Event::Rejected {
            token: given.token,
            reason,
            detail: "too many messages of the topic wait".to_owned(),
            topic: given.topic,
            payload: given.payload,
        });
        true
    }

    /// Puts a PUBLISH into the output; the words of the fault where the broker does not take that many bytes.
    fn encode(
        &mut self,
        given: &Given,
        packet_id: u16,
        duplicate: bool,
        packet_max_bytes: usize,
        now_ms: u64,
    ) -> Result<(), String> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let Naming { alias, known } = connection.naming(&given.topic);
        let heading = codec::Heading {
            topic: if known { "" } else { &given.topic },
            alias,
            correlation: given.correlation.as_deref(),
        };
        let bytes = heading.publish_bytes(&given.payload);
        if bytes > packet_max_bytes {
            return Err(format!(
                "{bytes} bytes; the broker takes {packet_max_bytes}"
            ));
        }
        codec::publish(
            &mut self.output,
            &heading,
            packet_id,
            duplicate,
            &given.payload,
        );
        if let Some(alias) = alias {
            if !known {
                connection.aliases.insert(Arc::clone(&given.topic), alias);
            }
            connection.last_alias = Some((Arc::clone(&given.topic), alias));
        }
        if self.window.sent() == 0 {
            connection.progress_ms = now_ms;
        }
        connection.sent_ms = now_ms;
        connection.latency.sent(given.seq, now_ms);
        Ok(())
    }

    fn too_large(&mut self, given: Given, probe: bool, detail: String) {
        self.answered(&given.topic, probe);
        self.event(Event::Rejected {
            token: given.token,
            reason: ReasonCode::PACKET_TOO_LARGE,
            detail,
            topic: given.topic,
            payload: given.payload,
        });
    }
}

impl Connection {
    /// The alias of a topic, or the next one where the broker allows one more.
    fn naming(&self, topic: &Arc<str>) -> Naming {
        match &self.last_alias {
            Some((last, alias)) if Arc::ptr_eq(last, topic) => {
                return Naming {
                    alias: Some(*alias),
                    known: true,
                };
            }
            _ => {}
        }
        if let Some(alias) = self.aliases.get(topic) {
            return Naming {
                alias: Some(*alias),
                known: true,
            };
        }
        let alias_max = self.limits.as_ref().map_or(0, |l| l.topic_alias_max);
        Naming {
            alias: u16::try_from(self.aliases.len() + 1)
                .ok()
                .filter(|next| *next <= alias_max),
            known: false,
        }
    }
}
