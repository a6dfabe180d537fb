//! Verdicts for people and for machines: lines, JSON, `JUnit` XML.

use std::path::Path;
use std::time::Duration;

use crate::check::{Check, Verdict};
use crate::target::Target;

/// One check and how it went.
pub(crate) struct Result {
    pub(crate) check: &'static Check,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

impl Result {
    pub(crate) fn is_found(&self) -> bool {
        !matches!(self.verdict, Verdict::Kept(_) | Verdict::Skipped(_))
    }

    /// The verdict's word, and what goes with it.
    fn words(&self) -> (&'static str, String) {
        match &self.verdict {
            Verdict::Kept(note) => ("ok", note.clone()),
            Verdict::Skipped(why) => ("skipped", why.clone()),
            Verdict::Failed(why) => ("FAILED", why.clone()),
            Verdict::Crashed(how) => ("CRASHED", how.clone()),
            Verdict::Hung(ms) => ("HUNG", format!("{ms} ms")),
        }
    }
}

/// Prints one verdict, and for a finding the rule and the remedy.
pub(crate) fn line(result: &Result) {
    let (word, rest) = result.words();
    println!("{word:<8} {:<24} {rest}", result.check.name);
    if result.is_found() {
        println!("         rule:   {}", result.check.says);
        println!("         remedy: {}", result.check.fix);
    }
}

/// Prints the sum and writes the files that were asked for; true where nothing was found.
pub(crate) fn finish(target: &Target, results: &[Result]) -> std::result::Result<bool, String> {
    let found = results.iter().filter(|result| result.is_found()).count();
    let skipped = results
        .iter()
        .filter(|result| matches!(result.verdict, Verdict::Skipped(_)))
        .count();
    let kept = results.len() - found - skipped;
    println!("\n{kept} ok, {found} found, {skipped} skipped");
    let library = target.library.display().to_string();
    if let Some(path) = &target.json {
        write(path, &json(&library, results))?;
    }
    if let Some(path) = &target.junit {
        write(path, &junit(&library, results))?;
    }
    Ok(found == 0)
}

fn write(path: &Path, text: &str) -> std::result::Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn json(library: &str, results: &[Result]) -> String {
    let checks: Vec<serde_json::Value> = results
        .iter()
        .map(|result| {
            let (verdict, detail) = result.words();
            serde_json::json!({
                "name": result.check.name,
                "rule": result.check.says,
                "verdict": verdict,
                "detail": detail,
                "remedy": result.check.fix,
                "took_ms": result.took.as_secs_f64() * 1000.0,
            })
        })
        .collect();
    let whole = serde_json::json!({ "driver": library, "checks": checks });
    format!("{whole:#}\n")
}

/// Text for XML 1.0: the five entities, and no character that XML forbids.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

fn junit(library: &str, results: &[Result]) -> String {
    let found = results.iter().filter(|result| result.is_found()).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{found}\">\n",
        escaped(library),
        results.len()
    );
    for result in results {
        let (word, rest) = result.words();
        xml += &format!(
            "  <testcase classname=\"dunlin-driver-kit\" name=\"{}\" time=\"{:.3}\">",
            result.check.name,
            result.took.as_secs_f64()
        );
        if result.is_found() {
            xml += &format!(
                "<failure type=\"{word}\" message=\"{}\">{}</failure>",
                escaped(&rest),
                escaped(result.check.fix)
            );
        } else if word == "skipped" {
            xml += &format!("<skipped message=\"{}\"/>", escaped(&rest));
        }
        xml += "</testcase>\n";
    }
    xml + "</testsuite>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CHECKS;

    #[test]
    fn what_a_driver_says_cannot_break_the_xml() {
        let result = Result {
            check: &CHECKS[0],
            verdict: Verdict::Failed("<\"&'>\u{1b}".to_owned()),
            took: Duration::from_millis(1500),
        };
        let xml = junit("a&b.so", &[result]);
        assert!(
            xml.contains("message=\"&lt;&quot;&amp;&apos;&gt;?\""),
            "{xml}"
        );
        assert!(
            xml.contains("name=\"a&amp;b.so\" tests=\"1\" failures=\"1\""),
            "{xml}"
        );
        assert!(xml.contains("time=\"1.500\""), "{xml}");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
