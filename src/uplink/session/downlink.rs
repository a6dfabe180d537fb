//! What the broker sends beside acknowledgements: answers to subscriptions, and messages until they are confirmed.

use super::{SUBSCRIBE_ID, Session, UNSUBSCRIBE_ID};
use crate::uplink::codec::{self, Malformed, SubAck};
use crate::uplink::error::Lost;
use crate::uplink::event::{Event, Receipt};
use crate::uplink::reason::ReasonCode;
use crate::uplink::settings::Qos;

impl Session {
    pub(super) fn suback(&mut self, suback: &SubAck<'_>) -> Result<(), Lost> {
        let (index, code) = answered(suback, SUBSCRIBE_ID)?;
        let Some(asked) = self.settings.subscriptions.get(index) else {
            return Err(Malformed::protocol("a SUBACK for nothing that was asked").into());
        };
        let result = match code {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            code => Err(ReasonCode(code)),
        };
        let filter = asked.filter.clone();
        self.event(Event::Subscribed { filter, result });
        Ok(())
    }

    pub(super) fn unsuback(&mut self, unsuback: &SubAck<'_>) -> Result<(), Lost> {
        let (index, code) = answered(unsuback, UNSUBSCRIBE_ID)?;
        let Some(filter) = self.settings.forgotten.get(index).cloned() else {
            return Err(Malformed::protocol("an UNSUBACK for nothing that was asked").into());
        };
        let reason = ReasonCode(code);
        self.event(Event::Unsubscribed { filter, reason });
        Ok(())
    }

    /// The caller has the message durably: its PUBACK goes out. On another connection than the one that brought it the
    /// id may be another message's, and the broker sends it again.
    pub fn confirm(&mut self, receipt: Receipt) {
        let current = receipt.connection == self.connections && self.is_connected();
        if receipt.packet_id != 0 && current {
            codec::puback(&mut self.output, receipt.packet_id);
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
        }
    }

    /// Whether more messages came and are not confirmed than the Receive Maximum allows: brokers do that (mosquitto 2.0.11
    /// sends up to 20 for each PUBACK), and are then not read from until there are less.
    pub fn is_overrun(&self) -> bool {
        self.unconfirmed > usize::from(self.settings.receive_max)
    }

    /// Bytes of the messages among the events not yet taken.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

/// Which of the filters an answer is for, by the first packet id of its kind, and its one reason code.
fn answered(suback: &SubAck<'_>, first_id: u16) -> Result<(usize, u8), Lost> {
    let &[code] = suback.reasons else {
        return Err(Malformed::protocol("a SUBACK for another number of filters").into());
    };
    let index = suback.packet_id.checked_sub(first_id).map(usize::from);
    // An id below the first is of no filter.
    Ok((index.unwrap_or(usize::MAX), code))
}
