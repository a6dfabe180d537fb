//! Help texts. They teach: each shows a line that can be typed.

/// Where to find more, for errors that cannot show it all.
pub(super) const SEE: &str = "See `dunlin --help`.";

/// All commands that a person may type.
pub(super) const COMMANDS: [&str; 7] = [
    "run", "check", "status", "drivers", "buffer", "sub", "version",
];

/// The text for one command, and whether there is such a command.
pub(super) fn of(command: &str) -> (&'static str, bool) {
    match command {
        "run" => (RUN, true),
        "check" => (CHECK, true),
        "status" => (STATUS, true),
        "drivers" => (DRIVERS, true),
        "buffer" => (BUFFER, true),
        "sub" => (SUB, true),
        "version" | "driver-host" | "key-host" | "help" => (TOP, true),
        _ => (TOP, false),
    }
}

/// Without a command.
pub(super) const TOP: &str = "\
dunlin reads sensors through C drivers, keeps the readings durably, and sends them over MQTT 5.

Usage: dunlin COMMAND [ARGUMENTS]

  run CONFIG           run the agent until SIGTERM or Ctrl-C, then drain
  check CONFIG         find every error in a configuration, start nothing
  status CONFIG        what a running agent is doing
  drivers list         which drivers are installed; also show, probe, read, watch, write
  buffer inspect DIR   what is stored and not yet delivered; also verify, export
  sub CONFIG           follow what is being sent, as a table
  version              version and build; --self-test asks cryptography for known answers

Start here:
  dunlin drivers read sim               take one reading from the simulated sensor
  dunlin check /etc/dunlin/dunlin.toml  then `dunlin run` it

Everywhere:
  --help               the same for one command: `dunlin drivers --help`
  --log LEVEL          error, warn, info (default), debug, trace; on standard error
  --log-format FORMAT  human (default on a terminal) or json (default elsewhere)

Exit codes: 0 well, 64 wrong command line, 65 stored data damaged, 69 driver or broker not there, 70 a fault of
dunlin, 71 cryptography gives wrong answers, 73 state directory unusable, 75 stopped before every reading was stored,
78 wrong configuration.";

/// `dunlin run`.
pub(super) const RUN: &str = "\
Runs the agent: sources -> transforms -> sinks, as CONFIG says. SIGTERM or Ctrl-C drains within
agent.drain_timeout_ms; a second one ends at once. Readings that were acknowledged are on flash either way.

Usage: dunlin run CONFIG

  dunlin run /etc/dunlin/dunlin.toml
  dunlin run gateway.toml --log debug

Under systemd it reports READY and feeds the watchdog (Type=notify, WatchdogSec=).";

/// `dunlin check`.
pub(super) const CHECK: &str = "\
Checks a configuration whole: syntax, keys, types, bounds, the graph, certificates, the state directory, and, by
loading each driver into its sandbox, the drivers' own options. Prints every problem with line, key and remedy.
Opens no device and connects to nothing.

Usage: dunlin check CONFIG [--no-drivers]

  --no-drivers   do not load drivers, for a machine that does not have them";

/// `dunlin status`.
pub(super) const STATUS: &str = "\
Shows what a running agent is doing: its sources, sinks, counts and states.

Usage: dunlin status CONFIG [--json]";

/// `dunlin drivers`.
pub(super) const DRIVERS: &str = "\
Works with drivers, each in a sandboxed process as in production.

Usage: dunlin drivers list [--dir DIR]
       dunlin drivers show CONFIG
       dunlin drivers probe DRIVER
       dunlin drivers read  DRIVER [-o KEY=VALUE]... [GRANTS]
       dunlin drivers watch DRIVER [-o KEY=VALUE]... [GRANTS] [--interval-ms N] [--seconds N]
       dunlin drivers write DRIVER CHANNEL VALUE [-o KEY=VALUE]... [GRANTS]

DRIVER is a name (sim, host, modbus, i2c, gpio, serial) looked up in DIR, or a path to a .so with a slash in it.

  show         what each driver of a configuration may reach and use up; loads none
  probe        what it says of itself: version, options, extensions
  read         open a device, read it once
  watch        the same, again and again
  write        tell the device something

Options: -o KEY=VALUE. For a list give it again (-o disks=/ -o disks=/data), for a list of tables write the fields with
commas (-o waves=name=level,shape=sine,period_ms=500).

Grants, as in a configuration; without one a driver may touch no device and no network:
  --device PATH      read and write this device node
  --read-path PATH   read below this path
  --network ADDR     connect to this address, such as 127.0.0.1:502

  dunlin drivers read sim -o rate_hz=10
  dunlin drivers read i2c -o bus=/dev/i2c-2 -o address=0x49 -o chip=tmp105 --device /dev/i2c-2";

/// `dunlin buffer`.
pub(super) const BUFFER: &str = "\
Looks into a stored buffer. Changes nothing, also while an agent runs on it.

Usage: dunlin buffer inspect DIR    segments, positions, cursors
       dunlin buffer verify DIR     read and check every frame; exit code 65 if one is damaged
       dunlin buffer export DIR     every message not yet delivered, as JSON lines

DIR is STATE_DIR/sinks/SINK/buffer, for example /var/lib/dunlin/sinks/cloud/buffer.";

/// `dunlin sub`.
pub(super) const SUB: &str = "\
Follows what is being sent, from the broker's side: subscribes with the endpoint and certificates of an uplink sink
and shows one row a channel, with its latest value, rate, duplicates and holes.

Usage: dunlin sub CONFIG [--sink NAME] [--filter TOPIC] [--json] [--seconds N]

  --json       one line a message instead of a table
  --filter     another topic filter, such as 'dunlin/+/boiler'";
