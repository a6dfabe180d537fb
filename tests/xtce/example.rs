//! The example `ground-station`: its database in XTCE is the one in TOML, and reads what a reader of others' making does.

use super::{database, found, hex, theirs};

pub const XTCE: &str = "../../examples/ground-station/spacecraft.xml";
const TOML: &str = "../../examples/ground-station/spacecraft.toml";
const NAMES: [&str; 5] = ["mode", "battery", "panel", "wheel", "array"];

#[test]
fn the_databases_of_the_ground_station_are_one() {
    let (xtce, toml) = (database(XTCE), database(TOML));
    let mut packets = 0;
    for line in theirs(XTCE, 1, 400) {
        let mut packet = hex(line["hex"].as_str().unwrap());
        // What XTCE does not ask for: version 0, telemetry, a secondary header, and that of PUS-C.
        (packet[0], packet[6]) = (8, 0x20);
        let mut ours = found(&xtce, &packet);
        ours.retain(|(name, _)| NAMES.contains(&name.as_str()));
        assert_eq!(ours, found(&toml, &packet), "{line}");
        for (name, ours) in ours.iter().filter(|(_, ours)| ours != "nan") {
            let theirs = &line["values"][name]["raw"];
            let theirs = theirs
                .as_str()
                .map_or_else(|| theirs.to_string(), str::to_owned);
            assert_eq!(*ours, theirs, "{name} of {line}");
        }
        packets += 1;
    }
    assert_eq!(packets, 400);
    for name in NAMES {
        let mut wanted = toml.parameter(name).cloned().unwrap_or_default();
        if let Some(limits) = &mut wanted.limits {
            // XTCE knows none.
            limits.hysteresis = 0.0;
        }
        assert_eq!(xtce.parameter(name), Some(&wanted), "{name}");
    }
}
