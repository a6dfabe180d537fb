//! Help texts. They teach: each shows a line that can be typed.

/// Where to find more, for errors that cannot show it all.
pub(super) const SEE: &str = "See `dunlin --help`.";

/// The commands that only the full build has.
#[cfg(not(feature = "tools"))]
pub(super) const TOOLS: [&str; 5] = ["drivers", "buffer", "sub", "identity", "telemetry"];

/// The error for one of them.
#[cfg(not(feature = "tools"))]
pub(super) fn not_here(command: &str) -> String {
    format!(
        "this build has no `{command}`; install the full one.\n  Remedy: the package dunlin, or a build without \
         --no-default-features."
    )
}

/// All commands that a person may type.
pub(super) const COMMANDS: [&str; 9] = [
    "run",
    "check",
    "status",
    "identity",
    "drivers",
    "buffer",
    "sub",
    "telemetry",
    "version",
];

/// The text for one command, and whether there is such a command.
pub(super) fn of(command: &str) -> (&'static str, bool) {
    match command {
        "run" => (RUN, true),
        "check" => (CHECK, true),
        "status" => (STATUS, true),
        #[cfg(feature = "identity")]
        "identity" => (IDENTITY, true),
        #[cfg(feature = "tools")]
        "drivers" => (DRIVERS, true),
        #[cfg(feature = "tools")]
        "buffer" => (BUFFER, true),
        #[cfg(feature = "tools")]
        "sub" => (SUB, true),
        #[cfg(all(feature = "tools", feature = "telemetry"))]
        "telemetry" => (TELEMETRY, true),
        "version" | "driver-host" | "driver-hosts" | "help" => (TOP, true),
        #[cfg(feature = "tokens")]
        "key-host" => (TOP, true),
        _ => (TOP, false),
    }
}

/// What the top says of the commands in `tools`, and where to start.
#[cfg(feature = "tools")]
macro_rules! tools {
    () => {
        "  identity show CONFIG whose certificate the agent has; also request, renew
  drivers list         which drivers are installed; also show, probe, read, watch, write
  buffer inspect DIR   what is stored and not yet delivered; also verify, export
  sub CONFIG           follow what is being sent, as a table
  telemetry decode F   what is in a recording of telemetry, packet by packet; also check
  version              version and build; --self-test asks cryptography for known answers

Start here:
  dunlin drivers read sim               take one reading from the simulated sensor
"
    };
}
#[cfg(not(feature = "tools"))]
macro_rules! tools {
    () => {
        "  version              version and build; --self-test asks cryptography for known answers

This is the core build: identity, drivers, buffer, sub and telemetry are commands of the full one.

Start here:
"
    };
}

/// Without a command.
pub(super) const TOP: &str = concat!("\
dunlin reads sensors through C drivers, keeps the readings durably, and sends them over MQTT 5.

Usage: dunlin COMMAND [ARGUMENTS]

  run CONFIG           run the agent until SIGTERM or Ctrl-C, then drain
  check CONFIG         find every error in a configuration, start nothing
  status CONFIG        what a running agent is doing
",
    tools!(),
    "  dunlin check /etc/dunlin/dunlin.toml  then `dunlin run` it

Everywhere:
  --help               the same for one command: `dunlin run --help`
  --log LEVEL          error, warn, info (default), debug, trace; on standard error
  --log-format FORMAT  human (default on a terminal) or json (default elsewhere)

Exit codes: 0 well, 64 wrong command line, 65 stored data damaged, 69 driver or broker not there, 70 a fault of
dunlin, 71 cryptography gives wrong answers, 73 state directory unusable, 75 stopped before every reading was stored,
78 wrong configuration."
);

/// `dunlin run`.
pub(super) const RUN: &str = "\
Runs the agent: sources -> transforms -> sinks, as CONFIG says. SIGTERM or Ctrl-C drains within
agent.drain_timeout_ms; a second one ends at once. Readings that were acknowledged are on flash either way.

Usage: dunlin run CONFIG [--driver-hosts DIR]

  --driver-hosts DIR   have driver hosts started by `dunlin driver-hosts`, which listens on DIR/devices and DIR/network;
                       without it they are children of the agent

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

/// `dunlin identity`.
#[cfg(feature = "identity")]
pub(super) const IDENTITY: &str = "\
Works with the certificate that the agent gets itself, by EST (RFC 7030), as the table [identity] of CONFIG says.

Usage: dunlin identity show CONFIG
       dunlin identity request CONFIG
       dunlin identity renew CONFIG

  show      whose it is, when it ends, when the next one is asked for
  request   get one by the one-time secret: the first one, or one after the last has expired
  renew     get the next one now, by the one in use

An agent that runs takes what `request` and `renew` got, connects with it, and drops the old one once that has worked.

  sudo -u dunlin dunlin identity show /etc/dunlin/dunlin.toml";

/// `dunlin drivers`.
#[cfg(feature = "tools")]
pub(super) const DRIVERS: &str = "\
Works with drivers, each in a sandboxed process as in production.

Usage: dunlin drivers list [--dir DIR]
       dunlin drivers show CONFIG
       dunlin drivers probe DRIVER
       dunlin drivers read  DRIVER [-o KEY=VALUE]... [GRANTS]
       dunlin drivers watch DRIVER [-o KEY=VALUE]... [GRANTS] [--interval-ms N] [--seconds N]
       dunlin drivers write DRIVER CHANNEL VALUE [-o KEY=VALUE]... [GRANTS]

DRIVER is a name (sim, host, modbus, i2c, gpio, serial, can, iio) looked up in DIR, or a path to a .so with a /.

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
  --can INTERFACE    raw frames of this CAN interface, such as can0

  dunlin drivers read sim -o rate_hz=10
  dunlin drivers read i2c -o bus=/dev/i2c-2 -o address=0x49 -o chip=tmp105 --device /dev/i2c-2";

/// `dunlin buffer`.
#[cfg(feature = "tools")]
pub(super) const BUFFER: &str = "\
Looks into a stored buffer. Changes nothing, also while an agent runs on it.

Usage: dunlin buffer inspect DIR    segments, positions, cursors
       dunlin buffer verify DIR     read and check every frame; exit code 65 if one is damaged
       dunlin buffer export DIR     every message not yet delivered, as JSON lines

DIR is STATE_DIR/sinks/SINK/buffer, for example /var/lib/dunlin/sinks/cloud/buffer.";

/// `dunlin sub`.
#[cfg(feature = "tools")]
pub(super) const SUB: &str = "\
Follows what is being sent, from the broker's side: subscribes with the endpoint and certificates of an uplink sink
and shows one row a channel, with its latest value, limits, rate, duplicates and holes.

Usage: dunlin sub CONFIG [--sink NAME] [--filter TOPIC | --local] [--json] [--seconds N]

  --local      from the agent on this machine, by its sink of the type live: needs no broker
  --json       one line a message instead of a table
  --filter     another topic filter, such as 'dunlin/+/boiler'";

/// `dunlin telemetry`.
#[cfg(all(feature = "tools", feature = "telemetry"))]
pub(super) const TELEMETRY: &str = "\
Decodes a recording of CCSDS telemetry as the transform decode_ccsds does: one line a packet, time and gap, and at the
end the counts. The file is the stream of bits that a receiver gave, in which markers stand before the frames.

Usage: dunlin telemetry decode FILE [-o KEY=VALUE]... [--packets] [--lines] [--json]
                               [--database DB [--plot OUT.svg [--channel NAME]...]]
       dunlin telemetry check DB

  -o KEY=VALUE  a key of decode_ccsds, such as frame_bytes, randomised, protocol, secondary; see docs/pipeline.md
  --packets     the file is space packets, one behind the other, without frames
  --lines       the file is what the sink `file` wrote of a source: the bytes of its frames are taken
  --database    a telemetry database: values and alarms in place of the packets that it knows
  --plot        draw curves of the values over the times of their packets, or over packets where `time` is not given
  --channel     a parameter that is drawn; all where none is given, up to 16
  --json        one line of JSON for each, with all bytes

  dunlin telemetry decode pass7.bin -o frame_bytes=1115 -o frame_bytes_max=1115 -o randomised=true
  dunlin telemetry decode packets.bin --packets -o secondary=pus-c -o 'time={code=\"cds\"}' --json
  dunlin telemetry decode packets.bin --packets --database craft.xml --plot power.svg --channel BATTERY --channel PANEL

Exit code 65 if there is no packet in it.

`check` finds everything that is wrong with a telemetry database, and changes nothing; exit code 78 if something is.

  dunlin telemetry check /etc/dunlin/telemetry.toml";
