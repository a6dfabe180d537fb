//! Options: what a driver declares, and whether a configuration fits it.
//!
//! A pure check, run by the agent before it starts anything and again by the host before it calls `open`.

use std::fmt;

use dunlin_driver_sys as sys;

/// Kind of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text without NUL.
    Text,
    /// Decimal or `0x...`, in `i64`.
    Int,
    /// Decimal, finite, in `f64`.
    Float,
    /// `true` or `false`.
    Bool,
}

impl OptionKind {
    /// The kind of an ABI number, `None` where the ABI has no such number.
    pub fn from_raw(raw: u32) -> Option<OptionKind> {
        match raw {
            sys::OPTION_TEXT => Some(OptionKind::Text),
            sys::OPTION_INT => Some(OptionKind::Int),
            sys::OPTION_FLOAT => Some(OptionKind::Float),
            sys::OPTION_BOOL => Some(OptionKind::Bool),
            _ => None,
        }
    }

    /// The ABI number of the kind.
    pub fn raw(self) -> u32 {
        match self {
            OptionKind::Text => sys::OPTION_TEXT,
            OptionKind::Int => sys::OPTION_INT,
            OptionKind::Float => sys::OPTION_FLOAT,
            OptionKind::Bool => sys::OPTION_BOOL,
        }
    }

    /// The kind's name for a human.
    pub fn name(self) -> &'static str {
        match self {
            OptionKind::Text => "text",
            OptionKind::Int => "integer",
            OptionKind::Float => "number",
            OptionKind::Bool => "true or false",
        }
    }
}

/// One option that a driver declares.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionSpec {
    /// Key, `[a-z0-9_]{1,31}`.
    pub key: String,
    /// One sentence for a human.
    pub summary: String,
    /// Value that the driver uses when the option is absent.
    pub fallback: Option<String>,
    /// Kind of its value.
    pub kind: OptionKind,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be given more than once.
    pub list: bool,
    /// Bounds of numbers, inclusive; `None` = unbounded.
    pub bounds: Option<(f64, f64)>,
}

/// One way in which a configuration does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The option's key.
    pub key: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {:?}: {}", self.key, self.detail)
    }
}

/// Everything that is wrong with `options`, in the order of the configuration, missing keys last. Empty = it fits.
pub fn check_options(specs: &[OptionSpec], options: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, detail: String| {
        problems.push(Problem {
            key: key.to_owned(),
            detail,
        });
    };
    for (index, (key, value)) in options.iter().enumerate() {
        let Some(spec) = specs.iter().find(|spec| spec.key == *key) else {
            problem(key, unknown(specs, key));
            continue;
        };
        let repeated = options[..index].iter().any(|(earlier, _)| earlier == key);
        if repeated && !spec.list {
            problem(key, "given more than once; it is not a list".to_owned());
        } else if let Err(detail) = check_value(spec, value) {
            problem(key, detail);
        }
    }
    for spec in specs.iter().filter(|spec| spec.required) {
        if !options.iter().any(|(key, _)| *key == spec.key) {
            problem(&spec.key, format!("missing: {}", spec.summary));
        }
    }
    problems
}

/// Whether one value has the kind and lies within the bounds of its spec.
fn check_value(spec: &OptionSpec, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("contains a NUL byte".to_owned());
    }
    let wrong = || format!("{value:?} is not {}", article(spec.kind));
    let number = match spec.kind {
        OptionKind::Text => return Ok(()),
        OptionKind::Bool if matches!(value, "true" | "false") => return Ok(()),
        OptionKind::Bool => return Err(wrong()),
        OptionKind::Int => parse_int(value).ok_or_else(wrong)? as f64,
        OptionKind::Float => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            _ => return Err(wrong()),
        },
    };
    match spec.bounds {
        Some((min, max)) if number < min || number > max => {
            Err(format!("{value} is outside {min} to {max}"))
        }
        _ => Ok(()),
    }
}

fn article(kind: OptionKind) -> &'static str {
    match kind {
        OptionKind::Text => "text",
        OptionKind::Int => "an integer",
        OptionKind::Float => "a number",
        OptionKind::Bool => "true or false",
    }
}

/// Decimal or hexadecimal, with an optional sign, in `i64`.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let hex = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    match hex {
        // from_str_radix takes a sign of its own, which would let "0x-1" and "--1" pass.
        Some(rest) if rest.starts_with(['+', '-']) => None,
        Some(rest) if negative => i64::from_str_radix(&format!("-{rest}"), 16).ok(),
        Some(rest) => i64::from_str_radix(rest, 16).ok(),
        None if digits.starts_with(['+', '-']) => None,
        None => text.parse().ok(),
    }
}

fn unknown(specs: &[OptionSpec], key: &str) -> String {
    if specs.is_empty() {
        return "not known; this driver has no options".to_owned();
    }
    let nearest = specs
        .iter()
        .map(|spec| (distance(&spec.key, key), &spec.key))
        .min();
    match nearest {
        Some((steps, name)) if steps <= 1 + key.len() / 3 => {
            format!("not known; did you mean {name:?}?")
        }
        _ => {
            let keys: Vec<&str> = specs.iter().map(|spec| spec.key.as_str()).collect();
            format!("not known; this driver has {}", keys.join(", "))
        }
    }
}

/// Edits (insert, delete, replace, each 1) between two keys: the Levenshtein distance, one row at a time.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<OptionSpec> {
        let spec = |key: &str, kind, required, list, bounds| OptionSpec {
            key: key.to_owned(),
            summary: format!("the {key}"),
            fallback: None,
            kind,
            required,
            list,
            bounds,
        };
        vec![
            spec("bus", OptionKind::Int, true, false, Some((0.0, 255.0))),
            spec("register", OptionKind::Text, false, true, None),
            spec("scale", OptionKind::Float, false, false, None),
            spec("invert", OptionKind::Bool, false, false, None),
        ]
    }

    fn details(options: &[(&str, &str)]) -> Vec<String> {
        let owned: Vec<_> = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        check_options(&specs(), &owned)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn fitting_options_have_no_problem() {
        let good = [
            ("bus", "0x1f"),
            ("register", "a"),
            ("register", "b"),
            ("scale", "-1e3"),
        ];
        assert_eq!(details(&good), Vec::<String>::new());
    }

    #[test]
    fn each_misfit_is_named() {
        let cases: [(&[(&str, &str)], &str); 12] = [
            (
                &[("bus", "1"), ("buss", "1")],
                r#"option "buss": not known; did you mean "bus"?"#,
            ),
            (
                &[("bus", "1"), ("zzzzzz", "1")],
                "this driver has bus, register, scale, invert",
            ),
            (&[("bus", "256")], "256 is outside 0 to 255"),
            (&[("bus", "-0x1")], "-0x1 is outside 0 to 255"),
            (&[("bus", "0x-1")], "is not an integer"),
            (&[("bus", "9223372036854775808")], "is not an integer"),
            (&[("bus", "1.5")], "is not an integer"),
            (&[("bus", "1"), ("bus", "2")], "given more than once"),
            (&[("bus", "1"), ("scale", "nan")], "is not a number"),
            (&[("bus", "1"), ("invert", "yes")], "is not true or false"),
            (&[("bus", "1"), ("register", "a\0b")], "contains a NUL byte"),
            (&[], r#"option "bus": missing: the bus"#),
        ];
        for (options, expected) in cases {
            let found = details(options);
            assert_eq!(found.len(), 1, "{options:?}: {found:?}");
            assert!(found[0].contains(expected), "{options:?}: {found:?}");
        }
    }
}
