//! What is due when: pings, the ends of patience, and messages that were refused for now.

use super::{PING_TIMEOUT_MS, Session};
use crate::uplink::codec;
use crate::uplink::error::Lost;

impl Session {
    /// When `tick` has something to do, in milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        let Some(limits) = &connection.limits else {
            return Some(connection.opened_ms + self.connect_timeout_ms());
        };
        let mut deadline = u64::MAX;
        if limits.keep_alive_ms > 0 {
            deadline = match connection.ping_ms {
                Some(at) => at + PING_TIMEOUT_MS.min(limits.keep_alive_ms),
                None => connection.sent_ms.min(connection.received_ms) + limits.keep_alive_ms,
            };
        }
        if self.window.sent() > 0 {
            deadline = deadline.min(connection.progress_ms + self.ack_timeout_ms());
        }
        if let Some(at) = self.parking.due_ms() {
            deadline = deadline.min(at);
        }
        (deadline < u64::MAX).then_some(deadline)
    }

    /// Does what is due: pings, finds a dead connection, sends refused messages again.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), Lost> {
        let (connect_timeout_ms, ack_timeout_ms) =
            (self.connect_timeout_ms(), self.ack_timeout_ms());
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let Some(limits) = &connection.limits else {
            if now_ms >= connection.opened_ms + connect_timeout_ms {
                return Err(Lost::ConnectTimeout {
                    timeout_ms: connect_timeout_ms,
                });
            }
            return Ok(());
        };
        if self.window.sent() > 0 && now_ms >= connection.progress_ms + ack_timeout_ms {
            return Err(Lost::AckTimeout {
                timeout_ms: ack_timeout_ms,
            });
        }
        if limits.keep_alive_ms > 0 {
            let timeout_ms = PING_TIMEOUT_MS.min(limits.keep_alive_ms);
            let quiet_since_ms = connection.sent_ms.min(connection.received_ms);
            match connection.ping_ms {
                Some(at) if now_ms >= at + timeout_ms => {
                    return Err(Lost::PingTimeout { timeout_ms });
                }
                None if now_ms >= quiet_since_ms + limits.keep_alive_ms => {
                    codec::ping(&mut self.output);
                    connection.ping_ms = Some(now_ms);
                    connection.sent_ms = now_ms;
                }
                _ => {}
            }
        }
        self.pump(now_ms);
        Ok(())
    }

    /// Nothing is read for now because the caller's events are full: silence is not the broker's fault.
    pub fn excuse_silence(&mut self, now_ms: u64) {
        if let Some(connection) = &mut self.connection {
            connection.received_ms = now_ms;
            connection.progress_ms = now_ms;
            connection.ping_ms = None;
        }
    }

    fn connect_timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.connect_timeout.as_millis()).unwrap_or(u64::MAX / 4)
    }

    fn ack_timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.ack_timeout.as_millis()).unwrap_or(u64::MAX / 4)
    }
}
