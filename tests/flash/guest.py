#!/usr/bin/env python3
"""Boots a flashed disk on QEMU's virt board and puts the package through its life there.

    tests/flash/guest.py DISK PACKAGE_1 PACKAGE_2 PASSWORD [KILLS]

DISK is a raw disk that scripts/flash.sh wrote, with PACKAGE_1 installed; it is changed. PACKAGE_2 is the next revision.
KILLS instead ends a driver host in its systemd unit that often, and prints how long no reading came.
Everything goes over the serial console: no network, no ssh. The last line is `test result: N passed; ...`.
"""

import os
import re
import select
import subprocess
import sys
import tempfile
import time

BOOT_SECONDS_MAX = 240
COMMAND_SECONDS_MAX = 120
TRANSCRIPT = "target/test/flash-console.log"
FIRMWARE = ["/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "/usr/share/AAVMF/AAVMF_CODE.fd"]


class Board:
    """A running QEMU and its serial console."""

    def __init__(self, disk, packages):
        firmware = next((path for path in FIRMWARE if os.path.exists(path)), None)
        if firmware is None:
            sys.exit("guest.py: there is no UEFI for aarch64\n  Remedy: scripts/setup.sh flash")
        # A device tree and no ACPI, as on a gateway: the GPIO chip is in it.
        # virtio-net is there but leads nowhere: the image must come up without an answer from DHCP.
        self.process = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-bios", firmware,
             "-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk,bootindex=0",
             "-drive", f"if=none,id=packages,format=raw,readonly=on,file={packages}",
             "-device", "virtio-blk-pci,drive=packages",
             "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile=",
             "-display", "none", "-monitor", "none", "-serial", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = b""
        self.transcript = open(TRANSCRIPT, "wb")
        self.commands = 0

    def expect(self, pattern, seconds):
        """Waits for a pattern, returns what came before and with it."""
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                before, self.seen = self.seen[:found.end()], self.seen[found.end():]
                return before.decode(errors="replace")
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no {pattern!r} within {seconds} s; the console: {TRANSCRIPT}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise EOFError(f"QEMU ended while {pattern!r} was waited for; the console: {TRANSCRIPT}")
            self.transcript.write(data)
            self.transcript.flush()
            self.seen += data

    def type(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def log_in(self, password):
        if "Kernel panic" in self.expect(rb"login: |Kernel panic", BOOT_SECONDS_MAX):
            raise EOFError(f"the kernel panicked; the console: {TRANSCRIPT}")
        self.type("root")
        self.expect(rb"Password: ", 60)
        self.type(password)
        self.expect(rb"# ", 60)
        # No echo, so that a command is not mistaken for what it says; kernel messages stay off the console.
        self.type("stty -echo; dmesg --console-off; export PAGER=cat TERM=dumb; PS1= PS2=")
        self.run("true")

    def run(self, command, seconds=COMMAND_SECONDS_MAX):
        """One command line: its exit code and output."""
        self.commands += 1
        self.type(f"{{ {command}\n}} </dev/null 2>&1; printf '<%s:%d>\\n' {self.commands} $?")
        text = self.expect(rf"<{self.commands}:(\d+)>".encode(), seconds)
        found = re.search(rf"<{self.commands}:(\d+)>", text)
        return int(found[1]), text[:found.start()].replace("\r", "").strip()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Checks:
    """Counts what held and what did not."""

    def __init__(self, board):
        self.board = board
        self.passed = 0
        self.failed = 0
        self.since = time.monotonic()

    def that(self, what, command, wanted=None, seconds=COMMAND_SECONDS_MAX):
        """The command succeeds and, where given, prints a line that matches; returns its output."""
        code, text = self.board.run(command, seconds)
        good = code == 0 and (wanted is None or re.search(wanted, text, re.M))
        self.passed += bool(good)
        self.failed += not good
        print(f"{time.monotonic() - self.since:5.0f} s  {'ok    ' if good else 'FAILED'}  {what}", flush=True)
        if not good:
            print(f"         {command}\n         exit {code}, wanted {wanted!r}, got:")
            print("         | " + text.replace("\n", "\n         | "), flush=True)
        return text


ACTIVE = "for i in $(seq 60); do systemctl is-active -q dunlin && break; sleep 1; done; systemctl show -P ActiveState -P SubState dunlin"
READS = ("for i in $(seq 60); do [ -s /var/lib/dunlin/readings.jsonl ] && break; sleep 1; done;"
         " head -n 1 /var/lib/dunlin/readings.jsonl | md5sum")
# The hosts of a unit are what is in its control group beside its main process. The image has no procps.
HOSTS = ("hosts() { grep -vx $(systemctl show -P MainPID $1) /sys/fs/cgroup/system.slice/$1.service/cgroup.procs; }; "
         "agent() { systemctl show -P MainPID dunlin; }; ")
# What must come is waited for, since an emulated board on a busy machine takes the time that it takes.
# Not called `until`, which is a word of the shell itself.
AWAITED = "awaited() { for i in $(seq 60); do \"$@\" && return; sleep 1; done; echo \"not within 60 s: $*\"; return 1; }; "
HOST_AGAIN = (AWAITED + HOSTS + "one() { set -- $(hosts dunlin-hosts 2>/dev/null); [ $# = 1 ] && new=$1; };"
              " another() { one && [ $new != $old ] && [ \"$(agent)\" = \"$was\" ] && echo another host, the same agent; };"
              " gone() { ! [ -e /proc/$old ]; };"
              " awaited one && old=$new && was=$(agent) && ")
KILL_HOST = HOST_AGAIN + "kill -SEGV $old && awaited another"
KILL_LAUNCHER = HOST_AGAIN + "systemctl kill -s KILL --kill-whom=main dunlin-hosts && awaited gone && awaited another"
KILL_AGENT = HOST_AGAIN + "systemctl kill -s KILL dunlin && awaited gone && echo it is gone"
# Beside what the package brings: a driver with a device, one with a network, one with an address that its unit refuses.
SOURCES = r"""
[sources.lines]
type = "driver"
driver = "gpio"
grants = { devices = ["/dev/gpiochip0"], read = ["/sys"] }
options = { chip = "0", lines = [{ line = "5", name = "door" }] }

[sources.plc]
type = "driver"
driver = "modbus"
grants = { network = ["127.0.0.1:502"] }
options = { address = "127.0.0.1:502", registers = [{ name = "t", table = "holding", address = 0, type = "uint16" }] }

[sources.far]
type = "driver"
driver = "modbus"
grants = { network = ["203.0.113.9:502"] }
options = { address = "203.0.113.9:502", registers = [{ name = "t", table = "holding", address = 0, type = "uint16" }] }
"""


def first_boot(board, check):
    check.that("the system is in slot a", "findmnt -no PARTLABEL /", "^root-a$")
    check.that("nothing failed", "systemctl is-system-running --wait; systemctl --failed --no-legend", r"\A(running|starting)$")
    check.that("state lies on the data partition", "findmnt -no PARTLABEL /var/lib/dunlin", "^data$")
    check.that("which grew to the disk", "test $(df --output=size -m /var/lib/dunlin | tail -n 1) -gt 400")
    check.that("the service is up", ACTIVE, "^active$")
    check.that("and said so itself (READY=1), at the first try",
               "systemctl show dunlin -p Type -p NRestarts -p StatusErrno", "^NRestarts=0$")
    check.that("as its own user", "stat -c %U:%G /proc/$(systemctl show -P MainPID dunlin)", "^dunlin:dunlin$")
    check.that("with no capability", "grep CapEff /proc/$(systemctl show -P MainPID dunlin)/status", "0000000000000000")
    check.that("which is in no group of a bus", "id -nG dunlin", "^dunlin$")
    check.that("its hosts' user is", "id -nG dunlin-hosts", r"(?=.*\bi2c\b)(?=.*\bgpio\b)(?=.*\bdialout\b)")
    check.that("GPIO is theirs", "stat -c '%G %a' /dev/gpiochip0", "^gpio 660$")
    check.that("the configuration is good", "runuser -u dunlin -- dunlin check /etc/dunlin/dunlin.toml", "is good")
    check.that("the driver's sandbox is whole on this kernel",
               "journalctl -u dunlin -o cat | grep -i 'sandbox\\|landlock' ; true", r"\A\Z")
    check.that("the driver's host is in a unit of its own, and as its own user",
               HOSTS + "stat -c %U /proc/$(hosts dunlin-hosts)", "^dunlin-hosts$")
    check.that("nobody but the agent is in its unit",
               "[ \"$(cat /sys/fs/cgroup/system.slice/dunlin.service/cgroup.procs)\" = $(systemctl show -P MainPID dunlin) ]")
    check.that("a driver that dies comes back", KILL_HOST, "another host", seconds=240)
    check.that("with a gap that says of what it died",
               "for i in $(seq 60); do grep -h SIGSEGV /var/lib/dunlin/readings.jsonl && break; sleep 1; done", '"cause":"crash"')
    check.that("what starts the hosts dies, and they come back", KILL_LAUNCHER, "another host", seconds=300)
    check.that("no host outlives the agent", KILL_AGENT, "it is gone", seconds=240)
    check.that("which systemd starts again", ACTIVE, "^active$")
    check.that("readings are written", READS)
    check.that("the agent's unit is hardened as the running system sees it", "systemd-analyze security dunlin | tail -n 1",
               r": (0\.\d|1\.[0-5]) ")
    for unit in ("dunlin-hosts", "dunlin-hosts-network"):
        check.that(f"and {unit}", f"systemd-analyze security {unit} | tail -n 1", r": (0\.\d|1\.0) ")


def devices(check):
    """Drivers with devices and with a network, each in the unit that has what it is granted."""
    edit = "sed -i 's/^inputs = .*/inputs = [\"gateway\", \"lines\", \"plc\", \"far\"]/' /etc/dunlin/dunlin.toml"
    check.that("sources with devices and a network are added",
               f"cp /etc/dunlin/dunlin.toml /root/ && {edit} && cat >>/etc/dunlin/dunlin.toml <<'END'{SOURCES}END\n"
               "ip addr add 203.0.113.9/32 dev lo && systemctl restart dunlin && dunlin status /etc/dunlin/dunlin.toml", "plc")
    check.that("GPIO is read through the hosts' unit",
               "for i in $(seq 60); do grep -m 1 '\"door\"' /var/lib/dunlin/readings.jsonl && break; sleep 1; done", '"door"')
    status = "for i in $(seq 60); do dunlin status --json /etc/dunlin/dunlin.toml | grep -q %s && echo so && break; sleep 1; done"
    check.that("a network is reached through the other one", status % "'ECONNREFUSED.*127.0.0.1\\|127.0.0.1.*refused'", "^so$")
    # Nobody listens there: what is let through is refused at once. The list is what stops it, so it is shown with and without.
    refused = ("dunlin status --json /etc/dunlin/dunlin.toml | tr '}' '\\n' | grep '203.0.113.9' | grep -q -i refused"
               " && echo so && break; sleep 1; done; echo end")
    check.that("an address outside of its list is not", "for i in $(seq 8); do " + refused, r"\Aend\r?$")
    check.that("but for the list it would be", "systemctl set-property --runtime dunlin-hosts-network.service"
               " IPAddressAllow=203.0.113.9; for i in $(seq 90); do " + refused, "^so\r?$", seconds=240)
    check.that("the list is as it was", "systemctl revert dunlin-hosts-network.service; systemctl restart dunlin-hosts-network")
    # A host that cannot connect ends and is started again, so that one of the four may be away for a moment.
    check.that("each is where it belongs", AWAITED + HOSTS + "two() { [ \"$(hosts $1 | wc -l)\" = 2 ]; }; "
               "awaited two dunlin-hosts && awaited two dunlin-hosts-network", seconds=240)
    check.that("as it was before", "mv /root/dunlin.toml /etc/dunlin/ && systemctl restart dunlin && " + ACTIVE, "^active$")


def upgrade(check):
    first = (check.that("there are readings before the upgrade", READS).split() or ["none"])[0]
    check.that("somebody edits the configuration", "sed -i 's/^# \\[agent\\]/[agent]/; s/^# name = .*/name = \"press-9\"/'"
               " /etc/dunlin/dunlin.toml && systemctl restart dunlin")
    check.that("packages are at hand", "mkdir -p /mnt && mount -o ro /dev/vdb /mnt && ls /mnt", "2.deb")
    check.that("upgrade", "DEBIAN_FRONTEND=noninteractive dpkg -i /mnt/2.deb", seconds=240)
    check.that("it is the next revision", "dpkg-query -W -f '${Version} ${Status}' dunlin", "-2 install ok installed")
    check.that("the edited configuration is kept", "grep name /etc/dunlin/dunlin.toml", '^name = "press-9"$')
    check.that("the service is up again", ACTIVE, "^active$")
    check.that("under the edited name", "for i in $(seq 60); do dunlin status /etc/dunlin/dunlin.toml && break; sleep 1; done", "press-9")
    check.that("readings of before are there", READS, re.escape(first))
    check.that("downgrade", "DEBIAN_FRONTEND=noninteractive dpkg -i /mnt/1.deb", seconds=240)
    check.that("it is the first revision", "dpkg-query -W -f '${Version} ${Status}' dunlin", "-1 install ok installed")
    check.that("the edited configuration is kept", "grep name /etc/dunlin/dunlin.toml", '^name = "press-9"$')
    check.that("the service is up again", ACTIVE, "^active$")
    check.that("readings of before are there", READS, re.escape(first))
    return first


def second_slot(check, first):
    check.that("the system is in slot b", "findmnt -no PARTLABEL /", "^root-b$")
    check.that("the service is up", ACTIVE, "^active$")
    check.that("with the readings of slot a", READS, re.escape(first))


def purge(check):
    check.that("packages are at hand", "mkdir -p /mnt && mount -o ro /dev/vdb /mnt && ls /mnt", "2.deb")
    check.that("removal keeps configuration, state and user", "dpkg -r dunlin && test -e /etc/dunlin/dunlin.toml &&"
               " test -s /var/lib/dunlin/readings.jsonl && getent passwd dunlin", "dunlin:x:", seconds=240)
    check.that("nothing runs", "! grep -lx dunlin /proc/[0-9]*/comm && ! systemctl is-active -q 'dunlin*'")
    check.that("installed again, it goes on", f"dpkg -i /mnt/2.deb && {ACTIVE}", r"^\s*active$", seconds=240)
    check.that("purge", "dpkg -P dunlin", seconds=240)
    check.that("no user and no group", "! getent passwd dunlin dunlin-hosts && ! getent group dunlin dunlin-hosts")
    check.that("no configuration", "test ! -e /etc/dunlin && test ! -e /etc/systemd/system/multi-user.target.wants/dunlin.service")
    check.that("no state", "test -z \"$(find /var/lib/dunlin -mindepth 1)\"")
    check.that("nothing of it is left", "find / -xdev -path /usr/share/bug -prune -o -iname '*dunlin*' -print | grep -v '^/var/lib/dunlin$' ; true",
               r"\A\Z")
    check.that("installed as new, it runs", f"dpkg -i /mnt/1.deb && {ACTIVE}", r"^\s*active$", seconds=240)


def life(board, check, password):
    first_boot(board, check)
    devices(check)
    first = upgrade(check)
    check.that("slot b is made the default", "sed -i 's/dunlin-a/dunlin-b/' /boot/efi/loader/loader.conf && sync")
    board.type("systemctl reboot")
    board.log_in(password)
    print(f"{time.monotonic() - check.since:5.0f} s          slot b: logged in", flush=True)
    second_slot(check, first)
    purge(check)


# A source that reads often, so that its gap is the time from a host's death until the next one reads.
KILLED = """[sources.fast]
type = "driver"
driver = "sim"
restart = { base_ms = 5, stable_ms = 200 }
options = { rate_hz = 200, batch_ms = 1, waves = [{ name = "n", shape = "counter" }] }

[sinks.readings]
type = "file"
inputs = ["fast"]
path = "/var/lib/dunlin/kills.jsonl"
"""
# Without a command between two looks: those take longer on an emulated CPU than what is measured. Each host lives for longer
# than stable_ms, so that none waits for its back-off.
KILL = (HOSTS + "procs=/sys/fs/cgroup/system.slice/dunlin-hosts.service/cgroup.procs;"
        " launcher=$(systemctl show -P MainPID dunlin-hosts); old=; n=0; tries=0; while [ $n -lt %d ] && [ $tries -lt %d ]; do"
        " tries=$((tries + 1)); sleep 1; while read -r p; do if [ $p != $launcher ] && [ $p != \"$old\" ]; then"
        " kill -KILL $p; old=$p; n=$((n + 1)); fi; done <$procs; done; sleep 3; echo killed $n")


def kills(board, check, number):
    """Prints the gaps that killed hosts leave, of an emulated CPU: figures, and no bound on them."""
    check.that("a source that reads often", f"cat >/etc/dunlin/dunlin.toml <<'END'\n{KILLED}END\n"
               "systemctl restart dunlin && " + AWAITED + HOSTS + "one() { [ \"$(hosts dunlin-hosts | wc -l)\" = 1 ]; }; awaited one")
    check.that("its host is killed again and again", KILL % (number, 4 * number), f"^killed {number}$", seconds=60 + 5 * number)
    _, text = board.run("grep '\"cause\":\"crash\"' /var/lib/dunlin/kills.jsonl")
    gaps = sorted((int(to) - int(since)) / 1e6 for since, to in re.findall(r'"from_ns":(\d+),"to_ns":(\d+)', text))
    good = len(gaps) == number
    check.passed, check.failed = check.passed + good, check.failed + (not good)
    print(f"{len(gaps)} gaps of {number} kills" + (f": p50 {gaps[(len(gaps) - 1) // 2]:.0f} ms, p99 {gaps[(len(gaps) - 1) * 99 // 100]:.0f} ms,"
          f" longest {gaps[-1]:.0f} ms, on an emulated CPU" if gaps else f": {text[-400:]}"))


def main():
    disk, one, two, password = sys.argv[1:5]
    number = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    os.makedirs(os.path.dirname(TRANSCRIPT), exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        os.mkdir(f"{work}/tree")
        for name, package in (("1.deb", one), ("2.deb", two)):
            with open(package, "rb") as source, open(f"{work}/tree/{name}", "wb") as target:
                target.write(source.read())
        packages = f"{work}/packages.img"
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        subprocess.run(["mkfs.ext4", "-q", "-d", f"{work}/tree", packages, "32M"], check=True, env=environment)
        board = Board(disk, packages)
        check = Checks(board)
        try:
            board.log_in(password)
            print(f"{time.monotonic() - check.since:5.0f} s          slot a: logged in", flush=True)
            if number:
                kills(board, check, number)
            else:
                life(board, check, password)
            board.type("systemctl poweroff")
            board.process.wait(timeout=90)
        except (TimeoutError, EOFError, subprocess.TimeoutExpired) as error:
            check.failed += 1
            print(f"FAILED: {error}")
        finally:
            board.end()
    print(f"test result: {check.passed} passed; {check.failed} failed; 0 ignored")
    return 1 if check.failed else 0


sys.exit(main())
