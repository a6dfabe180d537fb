//! Messages that are larger than the broker takes: as several, with the same records in the same order.

use super::{Delivery, PACKET_BYTES};
use crate::payload;
use crate::sinks::uplink::ledger;
use crate::uplink::ReasonCode;
use bytes::Bytes;
use std::sync::Arc;

/// Some records of a stored message.
pub(super) struct Part {
    pub(super) token: u64,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
}

impl Delivery {
    /// Puts what a message says into as many as it takes for the broker, in its order. What cannot be split is rejected
    /// later by who knows the exact size.
    pub(super) fn send_in_parts(&mut self, token: u64, topic: &Arc<str>, payload: Bytes) {
        let room = self
            .packet_max_bytes
            .saturating_sub(topic.len() + PACKET_BYTES);
        let mut whole = vec![payload];
        let mut parts = Vec::new();
        while let Some(next) = whole.pop() {
            match (next.len() > room).then(|| halves(&next)).flatten() {
                Some((first, second)) => whole.extend([second, first]),
                None => parts.push(next),
            }
        }
        self.queue_parts(token, topic, parts);
    }

    fn queue_parts(&mut self, token: u64, topic: &Arc<str>, parts: Vec<Bytes>) {
        let (class, position) = ledger::of_token(token);
        let more = u32::try_from(parts.len() - 1).unwrap_or(u32::MAX);
        self.ledgers[class as usize].split(position, more);
        self.parts.stats.split.add(u64::from(more > 0));
        for payload in parts.into_iter().rev() {
            let topic = Arc::clone(topic);
            self.parts_out[class as usize].push_front(Part {
                token,
                topic,
                payload,
            });
        }
    }

    /// A message is not for this broker: smaller ones with its records may be.
    pub(super) fn rejected(
        &mut self,
        token: u64,
        topic: Arc<str>,
        payload: Bytes,
        (reason, detail): (ReasonCode, &str),
    ) {
        let (class, position) = ledger::of_token(token);
        // An answer is one record, whatever its bytes look like.
        let records = self.ledgers[class as usize].records(position);
        if reason == ReasonCode::PACKET_TOO_LARGE
            && records.is_some_and(|records| records > 1)
            && let Some((first, second)) = halves(&payload)
        {
            // It was under way before the bound was known: its parts come behind what followed it.
            self.queue_parts(token, &topic, vec![first, second]);
            return;
        }
        let reason = format!("{reason} {detail}");
        let reason = reason.trim_end().to_owned();
        self.refused((class, position), topic, payload, reason);
    }
}

/// Two messages with the records of one, whichever encoding it is in.
fn halves(payload: &Bytes) -> Option<(Bytes, Bytes)> {
    let encoding = match payload.first()? {
        b'{' => payload::Encoding::Json,
        _ => payload::Encoding::Cbor,
    };
    let (first, second) = payload::halves(encoding, payload)?;
    Some((first.into(), second.into()))
}
