"""What an agent acknowledged, beside what its store holds: the referee of the kill and injection rigs.

The agent's debug log says `durable through` when records are acknowledged. The store is read by read_log.py, which
shares no code with the agent. The uplink has no broker, so whatever was acknowledged must still be there.
"""

import json
import pathlib
import struct

import read_log

CONFIG = """
[agent]
name = "gw"
state_dir = "{state}"
runtime_dir = "{run}"
driver_dir = "{drivers}"
drain_timeout_ms = 2000

[sources.sim]
type = "driver"
driver = "sim"
options = {{ rate_hz = {rate_hz}, waves = [{{ name = "n", shape = "counter" }}] }}

[sinks.cloud]
type = "uplink"
inputs = ["sim"]
endpoint = "mqtt://127.0.0.1:1"
buffer = {{ size_mb = {size_mb}, segment_mb = 1, commit_ms_max = 0, leave_free_mb = 0 }}
"""


class Ledger:
    """Acknowledgements of several starts of one agent, in one directory."""

    def __init__(self, directory, drivers, state=None, rate_hz=20000, size_mb=64, run=None):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        state = pathlib.Path(state or self.dir / "state")
        self.config = self.dir / "dunlin.toml"
        text = CONFIG.format(run=run or self.dir / "run", state=state, drivers=drivers, rate_hz=rate_hz, size_mb=size_mb)
        self.config.write_text(text)
        self.log = self.dir / "log"
        self.store = state / "sinks/cloud/buffer"
        self.acked = {}

    def note(self):
        """Reads the log of a start that has ended, and returns how many records it acknowledged."""
        return self.read(self.log.read_bytes())

    def read(self, said):
        """Takes what a log said, and returns how many records were acknowledged in it that were not before."""
        before = self.records()
        for line in said.decode(errors="replace").splitlines():
            if '"durable through"' not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                # The line that was being written when the agent was killed.
                continue
            key = (event["boot"], event["stream"])
            self.acked[key] = max(self.acked.get(key, 0), event["seq"] + 1)
        return self.records() - before

    def records(self):
        return sum(self.acked.values())

    def check(self, holes=False):
        """(records acknowledged, those of them that the store does not hold, complaints).

        With `holes`, damage to what was never acknowledged is no complaint: where the power went, the end of a group may be
        there whose start never reached the drive, in a segment that was written before or on f2fs.
        """
        stored, complaints = {}, []
        if (self.store / "format").exists():
            try:
                classes = read_log.read(self.store)
            except ValueError as error:
                # Nothing in it can be read: then nothing is stored, and everything acknowledged is lost.
                complaints.append(str(error))
                classes = {}
            for name, log in classes.items():
                complaints += [f"{name}: positions {lost} are damaged" for lost in log["lost"] if not holes]
                for _, kind, payload in log["frames"]:
                    if kind == "data":
                        boot, stream, first, count = message(bytes.fromhex(payload))
                        stored.setdefault((boot, stream), set()).update(range(first, first + count))
        lost = 0
        for key, count in self.acked.items():
            missing = count - len(stored.get(key, set()).intersection(range(count)))
            if missing:
                complaints.append(f"boot {key[0]} stream {key[1]}: {missing} of {count} acknowledged records are lost")
            lost += missing
        return self.records(), lost, complaints


def message(stored):
    """Boot, stream, first sequence and number of records of a stored message: src/sinks/uplink/message.rs."""
    stream_bytes, _, _, records, number, nonce, _, first = struct.unpack_from("<HHHIIIIQ", stored, 2)
    stream = stored[32 : 32 + stream_bytes].decode()
    return f"{number}-{nonce:08x}", stream, first, records
