//! The samples in the documentation are sound configurations.

use super::*;
use std::fs;
use std::path::PathBuf;

fn defaults() -> Defaults {
    // Drivers lie beside the program; tests use those of the build.
    let dir = PathBuf::from(dunlin_drivers::DIR);
    let beside = tempfile::tempdir().unwrap().keep();
    std::os::unix::fs::symlink(&dir, beside.join("drivers")).unwrap();
    Defaults {
        credentials_dir: None,
        runtime_dir: None,
        program: beside.join("dunlin"),
        driver_hosts: None,
    }
}

/// The TOML blocks of a page of the documentation.
fn samples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).unwrap();
    text.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

fn assert_sound(page: &str, config: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    let telemetry = dir.path().join("telemetry.toml");
    fs::write(&telemetry, samples("docs/telemetry.md").concat()).unwrap();
    // Certificates of a sample do not exist here, and are checked elsewhere; everything else is real.
    let config: String = config
        .lines()
        .filter(|line| !line.contains("_file = "))
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .replace("mqtts://broker.example:8883", "mqtt://127.0.0.1:1883")
        .replace("/var/lib/dunlin", &dir.path().display().to_string())
        .replace(
            "/etc/dunlin/telemetry.toml",
            &telemetry.display().to_string(),
        );
    fs::write(&file, &config).unwrap();
    let draft = draft(&file, &defaults());
    assert!(
        draft.problems.is_empty(),
        "{page}: {:#?}\n{config}",
        draft.problems
    );
    assert!(draft.plan.is_some());
}

#[test]
fn the_pipeline_page_is_one_configuration_with_every_type() {
    let page = "docs/pipeline.md";
    let text = "[sources.boiler]\ntype = \"driver\"\ndriver = \"sim\"\n".to_owned()
        + &samples(page).concat();
    for kind in transforms::TYPES.iter().chain(sinks::TYPES) {
        assert!(
            text.contains(&format!("type = \"{kind}\"")),
            "no sample of {kind}"
        );
    }
    assert_sound(page, &text);
}

#[test]
fn the_samples_of_other_pages_are_sound() {
    for page in ["README.md", "docs/configuration.md"] {
        let samples = samples(page);
        assert!(!samples.is_empty(), "{page} has a sample");
        for sample in samples {
            assert_sound(page, &sample);
        }
    }
}

#[test]
fn the_samples_of_drivers_are_sound() {
    const SINK: &str = "[sinks.out]\ntype = \"console\"\ninputs = ";
    for driver in [
        "can", "gpio", "host", "i2c", "iio", "modbus", "serial", "sim",
    ] {
        let page = format!("docs/drivers/{driver}.md");
        for sample in samples(&page) {
            let names: Vec<&str> = sample
                .lines()
                .filter_map(|line| line.strip_prefix("[sources.")?.strip_suffix(']'))
                // A table below a source, such as its options, is no source.
                .filter(|name| !name.contains('.'))
                .collect();
            assert!(!names.is_empty(), "{page}: {sample}");
            assert_sound(&page, &format!("{sample}\n{SINK}{names:?}\n"));
        }
    }
}

#[cfg(feature = "live")]
#[test]
fn a_socket_that_viewers_could_not_reach_is_found_before_the_start() {
    let config = |dir: &str| {
        format!(
            "[agent]\nruntime_dir = \"{dir}\"\n[sources.s]\ntype = \"driver\"\ndriver = \"sim\"\n\
             [sinks.view]\ntype = \"live\"\ninputs = [\"s\"]\n"
        )
    };
    let problems = |dir: &str| draft_of(&config(dir), &defaults()).problems;
    assert_eq!(problems("/run/dunlin"), []);
    let found = problems(&format!("/run/{}", "d".repeat(100)));
    let [problem] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((problem.line, &*problem.key), (6, "sinks.view"));
    assert!(problem.remedy.contains("agent.runtime_dir"), "{problem:?}");
}
