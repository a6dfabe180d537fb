//! What is wrong with a configuration: every problem, with file, line, key and remedy.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 where the problem has no place (the file cannot be read).
    pub line: usize,
    /// Dotted path of the key, such as `sources.boiler.interval_ms`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything that is wrong with one file.
#[derive(Debug, thiserror::Error)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// At least one problem, in the order of their lines.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{file}")?;
            if problem.line > 0 {
                write!(f, ":{}", problem.line)?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            let what = problem.what.trim_end_matches('.');
            let stop = if what.ends_with('?') { "" } else { "." };
            write!(f, ": {what}{stop}\n  Remedy: {}.", problem.remedy)?;
        }
        Ok(())
    }
}

/// Collects problems while a file is read. Cheap to clone; all clones collect into one list.
#[derive(Clone, Debug, Default)]
pub struct Report {
    list: Rc<RefCell<Vec<Problem>>>,
}

impl Report {
    /// Adds a problem.
    pub fn add(&self, problem: Problem) {
        self.list.borrow_mut().push(problem);
    }

    /// The problems so far, in the order of their lines.
    pub fn take(&self) -> Vec<Problem> {
        let mut list = self.list.take();
        list.sort_by_key(|problem| problem.line);
        list
    }
}

/// The candidate that a misspelt word most probably meant: at most a third of its letters are off.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= word.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let keys = ["interval_ms", "driver", "options"];
        assert_eq!(nearest("intervall_ms", keys), Some("interval_ms"));
        assert_eq!(nearest("drivr", keys), Some("driver"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
