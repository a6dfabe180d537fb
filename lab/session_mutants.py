#!/usr/bin/env python3
"""Takes guards of the session, its streams, the standby, the downlink and the identity's files away, one at a time, and shows that a test notices.

    lab/session_mutants.py             all of them, and a table
    lab/session_mutants.py WORD...     only those whose name or test has one of the words

Each has a line in MUTANTS: a piece of the source, which occurs once, and what takes its place. The tracked files are
copied below target/, never changed in the tree. Without a change the tests must pass; with one its test must fail.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target/session-mutants"
TREE = OUT / "tree"
TIMEOUT_S = 120
TESTS = {
    "model": ["--test", "uplink", "the_session_keeps_every_promise"],
    "session": ["--lib", "uplink::session"],
    "downlink": ["--lib", "downlink::"],
    "identity": ["--lib", "power_cuts"],
    "codec": ["--lib", "uplink::codec"],
    "standby": ["--lib", "uplink::standby"],
    "streams": ["--test", "uplink", "quic::"],
    "shares": ["--test", "agent", "lanes"],
}

# (test, name, file below src, piece, what takes its place)
MUTANTS = [
    ("model", "DUP on what goes again", "uplink/session/send.rs", "self.encode(&given, packet_id, true,", "self.encode(&given, packet_id, false,"),
    ("model", "Receive Maximum", "uplink/session/send.rs", "self.window.sent() < inflight_max && ", ""),
    ("model", "Maximum Packet Size", "uplink/session/send.rs", "if bytes > packet_max_bytes {", "if bytes > usize::MAX - packet_max_bytes {"),
    ("model", "Topic Alias Maximum", "uplink/session/send.rs", ".filter(|next| *next <= alias_max)", ".filter(|_| alias_max > 0)"),
    ("model", "a lost session's messages keep their order", "uplink/session.rs", "forget_session().into_iter().rev()", "forget_session().into_iter()"),
    ("model", "a kept session's messages keep their ids", "uplink/session.rs", "if !connack.session_present {", "if !connack.session_present || self.connections > 1 {"),
    ("model", "the first connection starts clean", "uplink/session.rs", "let clean_start = !self.established\n            || (", "let clean_start = ("),
    ("model", "a PUBACK counts once", "uplink/session/window.rs", "matches!(self.slots.get(index)?, Slot::Sent(..)).then_some(index)", "self.slots.get(index).map(|_| index)"),
    ("model", "a message without PUBACK is not waited for without end", "uplink/session/timers.rs", "now_ms >= connection.progress_ms + ack_timeout_ms", "now_ms > u64::MAX - ack_timeout_ms"),
    ("model", "a refused message is tried again", "uplink/session/send.rs", "        self.parking.wake(now_ms);\n", ""),
    ("model", "what follows a refused message waits behind it", "uplink/session/send.rs", "if !self.parking.holds(&next.topic) {", "if !self.parking.holds(&next.topic) || next.seq > 0 {"),
    ("model", "what the connection lost goes again", "uplink/session.rs", "        self.window.rewind();\n", ""),
    ("session", "no PUBACK for a message of another connection", "uplink/session/downlink.rs", "let current = receipt.connection == self.connections && self.is_connected();", "let current = self.is_connected();"),
    ("session", "where parking is full other topics go on", "uplink/session/send.rs", "self.settings.refused == Refused::Wait || !self.shed()", "self.settings.refused == Refused::Wait || self.parking.messages() > 0"),
    ("session", "a broker that sends more than it may is not read from", "uplink/session/downlink.rs", "self.unconfirmed > usize::from(self.settings.receive_max)", "self.unconfirmed > usize::MAX - usize::from(self.settings.receive_max)"),
    ("codec", "only a CONNECT that keeps the session goes early", "uplink/codec/write.rs", ".is_some_and(|flags| flags & CLEAN_START == 0)", ".is_some()"),
    ("standby", "one failure is none", "uplink/standby.rs", "let enough = attempts >= settings.attempts_min;", "let enough = attempts > 0 && settings.attempts_min > 0;"),
    ("standby", "a share must have failed", "uplink/standby.rs", "probe || (enough && share)", "probe || enough || share"),
    ("standby", "a failed probe opens at once", "uplink/standby.rs", "probe || (enough && share)", "(enough && share) && !probe"),
    ("standby", "attempts are forgotten", "uplink/standby.rs", "breaker.forget(now_ms.saturating_sub(settings.window_ms));", ""),
    ("standby", "what is blocked is left at once", "uplink/standby.rs", "Outcome::Blocked => true,", "Outcome::Blocked => probe,"),
    ("standby", "it is left longer each time", "uplink/standby.rs", "1_u64.checked_shl(breaker.opened).unwrap_or(u64::MAX)", "1_u64"),
    ("standby", "and not for ever", "uplink/standby.rs", "open_ms.min(settings.open_ms_max)", "open_ms"),
    ("standby", "the way back waits for the calm", "uplink/standby.rs", "find(|&index| calm && self.may_try(index, now_ms))", "find(|&index| self.may_try(index, now_ms) || calm)"),
    ("standby", "slow is left only for something else", "uplink/standby.rs", "let other = |index| index != current && self.may_try(index, now_ms);", "let other = |index| index == current || self.may_try(index, now_ms);"),
    ("standby", "an endpoint is always named", "uplink/standby.rs", "(0..self.breakers.len()).min_by_key(until).unwrap_or(0)", "(0..self.breakers.len()).max_by_key(until).unwrap_or(0)"),
    ("streams", "messages have streams of their own", "uplink/transport/quic/split.rs", "if packet[0] >> 4 != PUBLISH {", "if packet[0] >> 4 != PUBLISH || header > 0 {"),
    ("streams", "a topic by number is on its topic's stream", "uplink/transport/quic/split.rs", "return *self.aliases.get(&alias?)?;", "return alias.and(None);"),
    ("streams", "what is not read holds nothing else", "uplink/transport/quic/split.rs", "            Poll::Pending => break,\n        }\n    }\n    Ok(())", "            Poll::Pending => return Err(io::Error::other(\"full\")),\n        }\n    }\n    Ok(())"),
    ("streams", "the ring has room behind what is not answered", "uplink/session/window.rs", "const RING_FACTOR: usize = 8;", "const RING_FACTOR: usize = 1;"),
    ("streams", "a broker without data streams gets one", "uplink/client/task.rs", "                    self.lanes.give_up(index);\n", ""),
    ("streams", "data streams without an answer are left", "uplink/client/task.rs", "if failed || (split && matches!(lost, Lost::AckTimeout { .. })) {", "if failed && (split || matches!(lost, Lost::AckTimeout { .. })) {"),
    ("streams", "a data stream that ends is noticed", "uplink/transport/quic/split.rs", "                    Ok(true) => {\n                        self.failed = true;\n", "                    Ok(true) => {\n"),
    ("streams", "nothing but CONNECT goes early", "uplink/transport/quic.rs", "send.write_all(hello).await.is_ok()", "send.write_all(&[hello, &[0xc0, 0]].concat()).await.is_ok()"),
    ("streams", "a CONNECT that was not taken is said again", "uplink/transport/quic.rs", "let taken = accepted.await && sent;", "let taken = accepted.await || sent;"),
    ("streams", "silence is probed", "uplink/transport/quic.rs", ".keep_alive_interval(Some(silence))", ".keep_alive_interval(None)"),
    ("streams", "silence ends", "uplink/transport/quic.rs", ".max_idle_timeout(Some(idle.expect(\"a few minutes fit into a QUIC timeout\")))", ".max_idle_timeout(idle.map(|_: quinn::IdleTimeout| None).expect(\"\"))"),
    ("streams", "UDP without an answer is believed at once", "uplink/error.rs", "            Lost::NoUdp { .. } => Outcome::Blocked,\n", ""),
    ("streams", "what is slow is left", "uplink/client/task.rs", "                .and_then(|()| self.slow(index))\n", ""),
    ("streams", "a connection proves its endpoint while it stands", "uplink/client/task.rs", "self.standby.ended(index, Outcome::Proven, now_ms);", ""),
    ("shares", "a class has a share of what is under way", "sinks/uplink/deliver.rs", "_ if !self.parts.streams => return true,", "_ if self.inflight_max > 0 => return true,"),
    ("downlink", "no PUBACK before the message is stored", "downlink/inbox.rs", "                self.append(frames).await?;\n                let mut books", "                drop(self.append(frames));\n                let mut books"),
    ("downlink", "a repeat is not stored", "downlink/inbox.rs", "if message.duplicate && id", "if message.duplicate && self.settings.name.is_empty() && id"),
    ("downlink", "an id that is used again is another message", "downlink/known.rs", "digest: u64::from_le_bytes(*digest),", "digest: u64::from_le_bytes(*digest) >> 63 >> 1,"),
    ("downlink", "marks carry the ids", "downlink/inbox.rs", "ids: books.known.iter().collect(),", "ids: Vec::new(),"),
    ("downlink", "ids are learnt from marks", "downlink/inbox.rs", "books.known.push_older(&mark.ids);", ""),
    ("downlink", "ids are learnt from messages", "downlink/inbox.rs", "message.id.into_iter().for_each(|id| books.known.push(id));", ""),
    ("downlink", "a lost session's ids mean nothing", "downlink/inbox.rs", "            books.known.clear();\n", ""),
    ("downlink", "what is handed over is marked before", "downlink/handing.rs", "            self.inbox.mark(Some((end, count))).await?;\n", ""),
    ("downlink", "what a crash makes uncertain is told", "downlink/inbox.rs", "count: handed.map_or(0, |(_, count)| count),", "count: 0,"),
    ("downlink", "messages are bounded", "downlink/inbox.rs", "            && messages < self.settings.messages_max\n", ""),
    ("downlink", "bytes are bounded", "downlink/inbox.rs", "            && bytes < self.settings.size_max_bytes / 2\n", ""),
    ("downlink", "QoS 0 does not pile up", "downlink/inbox.rs", "message.qos == Qos::AtMostOnce && arrived.len()", "message.qos == Qos::AtMostOnce && usize::MIN * arrived.len()"),
    ("downlink", "topics that nobody asked for are left alone", "downlink/inbox.rs", "if !self.settings.subscriptions.iter().any(asked) {", "if !self.settings.subscriptions.iter().any(asked) && id.is_none() {"),
    ("downlink", "old filters are remembered", "downlink/inbox.rs", "books.filters = mark.filters;", ""),
    ("identity", "a certificate is durable before its key's file goes", "identity/enrol.rs", "files::rename(&made, &next).map_err(file(\"rename\", &made))?;\n    sync_dir(&settings.dir)?;\n", "files::rename(&made, &next).map_err(file(\"rename\", &made))?;\n"),
    ("identity", "the old one stays until the new one is taken", "credential.rs", "(Some(next), _) => (next, Credential::next(&self.dir)),", "(Some(next), _) => {\n                let _ = files::remove(&Credential::current(&self.dir));\n                (next, Credential::next(&self.dir))\n            }"),
    ("identity", "a key is not used twice", "identity/enrol.rs", "!path.exists() || is_used(dir, &path)?", "!path.exists()"),
]


def copy():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, TREE / name
        if not name or not source.is_file():
            continue
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def prepare():
    """What tests use beside the sources: programs in Python, and the drivers beside the agent."""
    link = TREE / "target/lab"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "target/lab")


def passes(test):
    """Whether the test passes, and what it said. What does not compile is no verdict."""
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(OUT / "build"),
        # That it fails is enough; the shortest sequence is not asked for.
        "PROPTEST_MAX_SHRINK_ITERS": "0",
    }
    command = ["timeout", str(TIMEOUT_S), "cargo", "test", "--locked", "--quiet", *TESTS[test]]
    done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode == 124:
        return False, "Test failed: it did not end"
    if "test result:" not in said:
        sys.exit(f"no verdict:\n{said[-2000:]}")
    return done.returncode == 0, said


def main():
    words = sys.argv[1:]
    copy()
    prepare()
    survived = 0
    chosen = [m for m in MUTANTS if not words or any(word in m[0] or word in m[1] for word in words)]
    for test in {m[0] for m in chosen}:
        if not passes(test)[0]:
            sys.exit(f"the test {test} fails without any change")
    for test, name, file, piece, other in chosen:
        path = TREE / "src" / file
        source = path.read_text()
        if source.count(piece) != 1:
            sys.exit(f"{file} has {piece!r} {source.count(piece)} times; the table must follow the code")
        started = time.monotonic()
        path.write_text(source.replace(piece, other))
        try:
            passed, said = passes(test)
        finally:
            path.write_text(source)
        survived += passed
        why = next((line[13:] for line in said.splitlines() if line.startswith("Test failed: ")), "")
        why = why or next((line[4:] for line in said.splitlines() if line.startswith("    ") and "::" in line), "")
        print(f"{'SURVIVED' if passed else 'caught':8}  {test:8}  {name:55} {time.monotonic() - started:4.0f} s  {why[:100]}", flush=True)
    print(f"mutants {len(chosen)}, survived {survived}")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()
