//! Codes of units: the part of UCUM that telemetry uses (case-sensitive; <https://ucum.org/ucum>). A code is checked, not
//! computed with.

/// Units that a prefix may stand before.
const METRIC: [&str; 32] = [
    "m", "s", "g", "A", "K", "mol", "cd", "rad", "sr", "Hz", "N", "Pa", "J", "W", "C", "V", "F",
    "Ohm", "S", "Wb", "T", "H", "Cel", "lm", "lx", "Bq", "Gy", "Sv", "L", "bar", "eV", "bit",
];
/// Units that stand alone. `By` takes prefixes, too, those of two among them.
const PLAIN: [&str; 18] = [
    "1", "%", "[ppm]", "[ppth]", "deg", "'", "''", "min", "h", "d", "wk", "[degF]", "[psi]", "atm",
    "B[V]", "dB", "circ", "[g]",
];
const PREFIXES: [&str; 20] = [
    "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f", "a", "z",
    "y",
];
const BINARY: [&str; 4] = ["Ki", "Mi", "Gi", "Ti"];

/// Longest code, in bytes: what a driver may declare.
const BYTES_MAX: usize = 31;

/// Why a code is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitError {
    #[error("a code has 1 to {BYTES_MAX} bytes")]
    Length,
    #[error("a unit is missing beside a dot or a slash")]
    Empty,
    #[error("{0:?} is no unit that is known here")]
    Unknown(String),
}

/// Whether a code is a product or quotient of units with exponents.
pub(super) fn check(code: &str) -> Result<(), UnitError> {
    if !(1..=BYTES_MAX).contains(&code.len()) {
        return Err(UnitError::Length);
    }
    // A slash may stand first: `/min`. Those in a note are of no meaning: `{counts/s}`.
    let mut is_note = false;
    let is_between = |character: char| {
        is_note = character == '{' || (is_note && character != '}');
        !is_note && ['.', '/'].contains(&character)
    };
    code.strip_prefix('/')
        .unwrap_or(code)
        .split(is_between)
        .try_for_each(term)
}

/// A unit with its exponent, and what it is of in braces: `m2`, `s-1`, `{count}`.
fn term(term: &str) -> Result<(), UnitError> {
    let unknown = || Err(UnitError::Unknown(term.to_owned()));
    let (unit, note) = match term.split_once('{') {
        Some((unit, note)) => (unit, Some(note)),
        None => (term, None),
    };
    if let Some(note) = note {
        let is_closed = note
            .strip_suffix('}')
            .is_some_and(|note| !note.contains(['{', '}']));
        if !is_closed {
            return unknown();
        }
        if unit.is_empty() {
            return Ok(());
        }
    }
    if unit.is_empty() {
        return Err(UnitError::Empty);
    }
    let is_known = |unit: &str| {
        let prefixed = |units: &[&str], prefixes: &[&str]| {
            let rest = |prefix: &&str| {
                unit.strip_prefix(*prefix)
                    .is_some_and(|rest| units.contains(&rest))
            };
            prefixes.iter().any(rest)
        };
        PLAIN.contains(&unit)
            || METRIC.contains(&unit)
            || unit == "By"
            || prefixed(&METRIC, &PREFIXES)
            || prefixed(&["By"], &PREFIXES)
            || prefixed(&["By", "bit"], &BINARY)
    };
    let without_exponent = unit.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let base = without_exponent
        .strip_suffix(['-', '+'])
        .unwrap_or(without_exponent);
    if is_known(unit) || (base != unit && without_exponent != unit && is_known(base)) {
        Ok(())
    } else {
        unknown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for right in [
            "1",
            "%",
            "V",
            "mV",
            "Cel",
            "kPa",
            "m/s",
            "m/s2",
            "m.s-2",
            "/min",
            "KiBy/s",
            "deg/s",
            "uT",
            "{count}",
            "V{rms}",
            "kW.h",
            "dB",
            "MBy",
            "rad/s",
            "K-1",
            "10",
            "Ohm",
            "kOhm",
            "[degF]",
            "bit/s",
            "Mibit/s",
            "dam",
            "s-1",
            "{counts/s}",
            "{a.b}/m{c/d}.s",
        ] {
            let is_ten = right == "10";
            assert_eq!(check(right).is_err(), is_ten, "{right}");
        }
        for wrong in [
            "", "v", "volt", "m/", "m..s", "°C", "mm/ss", "m-", "V{", "V{}}", "kmin", "-1", "kk",
            "s--1", "{a/b", "{a}/b}", "{a/{b}}",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(check(&"m.".repeat(40)), Err(UnitError::Length));
    }
}
