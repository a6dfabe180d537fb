//! Mean time from a PUBLISH to its PUBACK: one message at a time is followed, whatever the rate.

/// Weight of a new sample, as one of so many. The first ones weigh more, so that the mean is one from the start.
const WEIGHT: u64 = 8;
/// Samples below which nothing is said.
const SAMPLES_MIN: u64 = 4;

/// The mean over a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    /// Number of the message that is followed, and when it was sent.
    followed: Option<(u64, u64)>,
    samples: u64,
    mean_ms: u64,
}

impl Latency {
    /// A message was sent.
    pub(super) fn sent(&mut self, seq: u64, now_ms: u64) {
        self.followed.get_or_insert((seq, now_ms));
    }

    /// A message was acknowledged.
    pub(super) fn acked(&mut self, seq: u64, now_ms: u64) {
        if let Some((_, sent_ms)) = self.followed.take_if(|(followed, _)| *followed == seq) {
            self.samples += 1;
            let weight = self.samples.min(WEIGHT);
            let sample_ms = now_ms.saturating_sub(sent_ms);
            self.mean_ms = (self.mean_ms * (weight - 1) + sample_ms) / weight;
        }
    }

    /// The mean in milliseconds, once there are enough samples. A message that still waits counts as one sample with the
    /// time that it has waited, where that makes the mean larger: nothing else shows a path that went silent.
    pub(super) fn mean_ms(&self, now_ms: u64) -> Option<u64> {
        let waited_ms = self
            .followed
            .map_or(0, |(_, sent_ms)| now_ms.saturating_sub(sent_ms));
        let with_it = (self.mean_ms * (WEIGHT - 1) + waited_ms) / WEIGHT;
        if with_it > self.mean_ms {
            Some(with_it)
        } else {
            (self.samples >= SAMPLES_MIN).then_some(self.mean_ms)
        }
    }

    /// When the mean passes `bound_ms` if the message that is followed goes on to wait.
    pub(super) fn passes_at_ms(&self, bound_ms: u64) -> Option<u64> {
        let (_, sent_ms) = self.followed?;
        let needed_ms = WEIGHT * (bound_ms + 1);
        Some(sent_ms + needed_ms.saturating_sub(self.mean_ms * (WEIGHT - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_one_message_at_a_time() {
        let mut latency = Latency::default();
        for seq in 0..3 {
            latency.sent(seq, 100 * seq);
            latency.sent(seq + 50, 100 * seq + 1);
            latency.acked(seq + 50, 100 * seq + 2);
            latency.acked(seq, 100 * seq + 40);
            assert_eq!(latency.mean_ms(100 * seq + 40), None);
        }
        latency.sent(3, 300);
        latency.acked(3, 340);
        assert_eq!(latency.mean_ms(340), Some(40));
        for seq in 4..40 {
            latency.sent(seq, 1_000);
            latency.acked(seq, 2_000);
        }
        assert!(latency.mean_ms(2_000).unwrap() > 900);
    }

    #[test]
    fn silence_counts_while_it_lasts() {
        let mut latency = Latency::default();
        assert_eq!(latency.passes_at_ms(800), None);
        latency.sent(0, 1_000);
        let at_ms = latency.passes_at_ms(800).unwrap();
        assert_eq!(at_ms, 1_000 + 8 * 801);
        assert!(latency.mean_ms(at_ms - 8).unwrap() <= 800);
        assert!(latency.mean_ms(at_ms).unwrap() > 800);
        latency.acked(0, 1_010);
        assert_eq!(latency.mean_ms(60_000), None, "nothing is waited for");
    }
}
