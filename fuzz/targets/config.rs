//! Configuration files. Whatever is in one, each problem has words, a remedy, and a place in the file.
#![no_main]

use dunlin::agent::{Defaults, draft_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let defaults = Defaults {
        runtime_dir: None,
        program: "/nowhere/dunlin".into(),
        driver_hosts: None,
        credentials_dir: None,
    };
    let draft = draft_of(text, &defaults);
    assert!(draft.plan.is_some() || !draft.problems.is_empty(), "neither a plan nor a reason");
    let lines = text.split('\n').count();
    for problem in draft.problems {
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
        // 0: what is missing has no place.
        assert!(problem.line <= lines, "{problem:?} in {lines} lines");
        let syntax = problem.what.starts_with("is not valid TOML");
        assert!(syntax || !problem.key.is_empty(), "{problem:?}");
    }
});
