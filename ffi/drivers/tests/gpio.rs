//! The gpio driver where there is no GPIO chip: what it refuses, and how it says so. Lines, edges and outputs are
//! tested on the kernel's own simulated chip, see `guest.rs`.

mod kit;

use kit::Session;

fn refused(options: &[&str]) -> String {
    match Session::open("gpio", options) {
        Ok(_) => panic!("{options:?} was taken"),
        Err(said) => said,
    }
}

#[test]
fn a_chip_that_is_none_is_named() {
    let line = "lines=line=0";
    for (chip, want) in [
        (
            "chip=77",
            "-19 chip: cannot open /dev/gpiochip77: No such file",
        ),
        ("chip=gpiochip77", "-19 chip: cannot open /dev/gpiochip77: "),
        ("chip=/dev/null", "-95 chip: /dev/null is not a GPIO chip"),
        (
            "chip=/etc/passwd",
            "-95 chip: /etc/passwd is not a GPIO chip",
        ),
    ] {
        let said = refused(&[chip, line]);
        assert!(said.starts_with(want), "{chip}: {said}");
    }
}

#[test]
fn wrong_lines_name_key_and_remedy() {
    for (line, why) in [
        ("name=a", "lines[1] line: is missing"),
        ("line=0,name=b", "lines[1] line: 0 is already taken"),
        ("line=1,name=line0", "lines[1] name: line0 is already taken"),
        ("line=1,name=a b", "is not a channel name"),
        ("line=two words", "name: 'two words' is not a channel name"),
        (
            "line=1,edge=up",
            "edge: up is none of none, rising, falling, both",
        ),
        (
            "line=1,bias=up",
            "bias: up is none of as_is, disabled, pull_up, pull_down",
        ),
        (
            "line=1,direction=output,edge=both",
            "edge: an output has none",
        ),
        (
            "line=1,direction=output,debounce_us=5",
            "debounce_us: goes with input",
        ),
        (
            "line=1,edge=none,debounce_us=5",
            "debounce_us: goes with edge",
        ),
        (
            "line=1,debounce_us=10000001",
            "debounce_us: 10000001 is outside 0 to 10000000",
        ),
        ("line=1,drive=open_drain", "drive: goes with output"),
        ("line=1,initial=true", "initial: goes with output"),
        ("line=1,pull=up", "'pull' is not a known key"),
    ] {
        let option = format!("lines={line}");
        let said = refused(&["chip=77", "lines=line=0", &option]);
        assert!(
            said.starts_with("-22 ") && said.contains(why),
            "{line}: {said}"
        );
    }
    let said = refused(&["chip=77"]);
    assert!(
        said.starts_with("-22 lines: 0 given; 1 to 64 are possible"),
        "{said}"
    );
    let many: Vec<String> = (0..65).map(|i| format!("lines=line={i}")).collect();
    let mut options = vec!["chip=77"];
    options.extend(many.iter().map(String::as_str));
    assert!(refused(&options).starts_with("-22 lines: 65 given"));
    assert!(
        refused(&["chip=77", "lines=line=0", "poll_ms=0"]).starts_with("-22 poll_ms: 0 is outside")
    );
}
