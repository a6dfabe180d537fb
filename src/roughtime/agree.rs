//! What several servers agree on: the span that most of their spans have in common, by Marzullo's algorithm (K. Marzullo,
//! "Maintaining the Time in a Distributed System", Stanford, 1984).

use std::time::Instant;

/// A moment of the monotonic clock, and the times between which it lay, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The moment.
    pub at: Instant,
    /// Not before.
    pub from_s: i64,
    /// Not after.
    pub to_s: i64,
}

impl Span {
    /// The same, said of a later moment. Rounded outwards, since moments have parts of a second.
    fn later(self, at: Instant) -> Span {
        let passed_s = at.saturating_duration_since(self.at).as_secs();
        let passed_s = i64::try_from(passed_s).unwrap_or(i64::MAX);
        Span {
            at,
            from_s: self.from_s.saturating_add(passed_s),
            to_s: self.to_s.saturating_add(passed_s).saturating_add(1),
        }
    }
}

/// The span that at least `needed` of `spans` have in common, and how many have; where there are several, that of the most.
pub fn agree(spans: &[Span], needed: usize, at: Instant) -> Option<(Span, usize)> {
    let spans: Vec<Span> = spans.iter().map(|span| span.later(at)).collect();
    // A span that most have in common begins where one of theirs begins.
    let begun = spans.iter().map(|begin| {
        let holds = |span: &&Span| span.from_s <= begin.from_s && begin.from_s <= span.to_s;
        let holders = || spans.iter().filter(holds);
        let to_s = holders().map(|span| span.to_s).min().unwrap_or(begin.to_s);
        let span = Span { to_s, ..*begin };
        (span, holders().count())
    });
    begun
        .max_by_key(|(_, count)| *count)
        .filter(|(_, count)| *count >= needed.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn spans(at: Instant, limits: &[[i64; 2]]) -> Vec<Span> {
        limits
            .iter()
            .map(|&[from_s, to_s]| Span { at, from_s, to_s })
            .collect()
    }

    fn shared(limits: &[[i64; 2]], needed: usize) -> Option<([i64; 2], usize)> {
        let at = Instant::now();
        let (span, count) = agree(&spans(at, limits), needed, at)?;
        // `later` rounds outwards.
        Some(([span.from_s, span.to_s - 1], count))
    }

    #[test]
    fn most_are_believed_and_a_liar_is_not() {
        assert_eq!(
            shared(&[[100, 110], [900, 910], [104, 114]], 2),
            Some(([104, 110], 2))
        );
        assert_eq!(
            shared(&[[100, 110], [104, 114], [105, 106]], 2),
            Some(([105, 106], 3))
        );
    }

    #[test]
    fn without_a_majority_nothing_is_believed() {
        assert_eq!(shared(&[[100, 110], [900, 910]], 2), None);
        assert_eq!(shared(&[[100, 110]], 2), None);
        assert_eq!(shared(&[], 0), None);
    }

    #[test]
    fn one_suffices_where_one_is_configured() {
        assert_eq!(shared(&[[100, 110]], 1), Some(([100, 110], 1)));
    }

    #[test]
    fn time_passes_between_the_answers() {
        let first = Instant::now();
        let second = first + Duration::from_secs(50);
        let mut both = spans(first, &[[100, 110]]);
        both.extend(spans(second, &[[152, 158]]));
        let (span, count) = agree(&both, 2, second).unwrap();
        assert_eq!((span.from_s, span.to_s, count), (152, 159, 2));
    }
}
