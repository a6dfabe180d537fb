//! Channel names by pattern: `*` stands for any letters, `?` for one.

use crate::config::Section;

/// Most patterns in one list.
const PATTERNS_MAX: usize = 256;

/// A list of patterns.
#[derive(Clone, Debug)]
pub(super) struct Globs(Vec<String>);

impl Globs {
    /// Reads the list under `key`; without it, every name matches.
    pub(super) fn read(section: &mut Section<'_>, key: &'static str) -> Globs {
        let patterns = section.texts(key);
        if section.has(key) && patterns.iter().any(String::is_empty) {
            section.problem(
                key,
                "has an empty pattern",
                "write a channel name, or * for all",
            );
        }
        if patterns.len() > PATTERNS_MAX {
            let what = format!("has {} patterns", patterns.len());
            section.problem(
                key,
                what,
                format_args!("write at most {PATTERNS_MAX}; * and ? help"),
            );
        }
        Globs(patterns)
    }

    /// Whether a name matches one of the patterns, or there are none.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|glob| matches(glob.as_bytes(), name.as_bytes()))
    }
}

/// Greedy with one point of return: linear in the name for each `*`.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    g = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (glob, name, wanted) in [
            ("temp", "temp", true),
            ("temp", "temps", false),
            ("temp*", "temp", true),
            ("temp?", "temp", false),
            ("*.max", "a.b.max", true),
            ("*a*b", "xaxxabxb", true),
            ("*a*b", "xaxxabx", false),
            ("**", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(glob.as_bytes(), name.as_bytes()),
                wanted,
                "{glob} {name}"
            );
        }
    }
}
