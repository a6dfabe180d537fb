use super::*;

fn parse_line(line: &str) -> Result<(Command, Logging), String> {
    parse(line.split_whitespace().map(OsString::from).collect())
}

#[test]
fn flags_may_stand_anywhere() {
    let (command, logging) = parse_line("--log debug run --log-format json a.toml").unwrap();
    assert!(matches!(command, Command::Run { config, .. } if config.as_os_str() == "a.toml"));
    assert_eq!(
        logging,
        Logging {
            level: Some(tracing::Level::DEBUG),
            json: Some(true)
        }
    );
}

#[cfg(feature = "tools")]
#[test]
fn drivers_take_options_and_grants() {
    let line = "drivers read sim -o rate_hz=5 --option waves=name=a,shape=sine --device /dev/x";
    let Command::Drivers(drivers) = parse_line(line).unwrap().0 else {
        panic!("not drivers")
    };
    assert_eq!(drivers.action, DriversAction::Read);
    assert_eq!(
        drivers.options[1],
        ("waves".into(), "name=a,shape=sine".into())
    );
    assert_eq!(drivers.devices, [PathBuf::from("/dev/x")]);
}

#[cfg(feature = "tools")]
#[test]
fn a_number_below_zero_is_a_value_and_no_flag() {
    for value in ["-40", "-.5", "-1e3"] {
        let line = format!("drivers write sim -o rate_hz=5 setpoint {value}");
        let Command::Drivers(drivers) = parse_line(&line).unwrap().0 else {
            panic!("not drivers")
        };
        assert_eq!(drivers.write, Some(("setpoint".into(), value.into())));
    }
}

#[cfg(feature = "tools")]
#[test]
fn every_mistake_is_named() {
    for (line, part) in [
        ("", "Usage"),
        ("rum x", "did you mean run?"),
        ("run", "CONFIG is missing"),
        ("run a b", "one word too many"),
        ("run a --json", "--json does not belong"),
        ("run a --log loud", "choose error"),
        ("drivers dance", "unknown"),
        ("drivers read sim -o x", "key=value"),
        ("sub a --seconds x", "whole number"),
        ("sub a --sink x --sink y", "2 times"),
        ("buffer inspect", "DIR is missing"),
        ("run -x", "-x"),
    ] {
        let error = parse_line(line).unwrap_err();
        assert!(error.contains(part), "{line:?} gave {error:?}");
    }
}
