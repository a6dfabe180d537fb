"""The emulated board of the power cut rigs: QEMU's `virt`, an aarch64 kernel, the agent, and a disk that forgets.

The disk is a drive with a volatile cache (drive.py), served to QEMU by nbd.py from this process. The agent's log comes by
a port of virtio-serial into a file as it is said; what the disk held at the start comes by another, as a tar archive.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from drive import Drive
from nbd import Server

ROOT = pathlib.Path(__file__).resolve().parent.parent
MADE = ROOT / "target/board"
DISK_MB = 128
# What the drive never tears. f2fs keeps no checksum of its blocks, and comes apart on a drive that tears them.
SECTOR = {"ext4": 512, "f2fs": 4096}
# The slowest boot on a busy machine takes a tenth.
WAIT_S = 120

# Of the host's own directories none is in it: the state is on the disk, the rest on a tmpfs.
CONFIG = {"dir": "/run/dunlin", "state": "/data/state", "drivers": "/usr/lib/dunlin/drivers"}


def require():
    for name in ("kernel", "initrd-store"):
        if not (MADE / name).exists():
            sys.exit(f"{MADE / name} is missing\n  Remedy: scripts/setup.sh board && scripts/build.sh && scripts/board_image.sh")


def make_disk(path, fs):
    """An empty file system."""
    with open(path, "wb") as file:
        file.truncate(DISK_MB << 20)
    command = {
        "ext4": ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-F"],
        "f2fs": ["mkfs.f2fs", "-q", "-f", "-t", "0"],
    }[fs]
    subprocess.run([*command, path], check=True, capture_output=True)


def fsck(path, fs):
    """What a check that changes nothing finds wrong, or an empty text. The journal was replayed before."""
    command = {"ext4": ["e2fsck", "-fn"], "f2fs": ["fsck.f2fs", "--dry-run", "-f"]}[fs]
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    bad = done.returncode != 0 or "[Fail]" in done.stdout or "[FIX]" in done.stdout
    return f"{command[0]}: {done.stdout}{done.stderr}" if bad else ""


# What comes before the C library in these modes of store-init.
PRELOADED = {"lie": "no_sync", "deaf": "deaf_sync"}


def initrd(path, config, mode):
    """initrd-store, and behind it an archive with the agent's configuration."""
    tree = path.with_suffix(".tree")
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/dunlin.toml").write_text(config)
    if mode in PRELOADED:
        name = PRELOADED[mode]
        (tree / "lib").mkdir()
        source = ROOT / f"lab/board/{name}.c"
        command = ["aarch64-linux-gnu-gcc", "-shared", "-fPIC", "-nostdlib", "-o", tree / f"lib/{name}.so", source]
        subprocess.run(command, check=True)
    names = "\n".join(str(name.relative_to(tree)) for name in sorted(tree.rglob("*")))
    made = subprocess.run(
        ["cpio", "--quiet", "--create", "--format", "newc", "--owner", "0:0"],
        cwd=tree, input=names.encode(), check=True, capture_output=True,
    )
    with open(path, "wb") as file:
        file.write((MADE / "initrd-store").read_bytes())
        file.write(made.stdout)
    shutil.rmtree(tree)


class Board:
    """A boot. Ends with `cut`, or with `close`. With `stops` QEMU stops the board where its disk is full."""

    def __init__(self, root, image, fs, mode, config, log=None, sector=None, stops=False):
        self.root, self.fs, self.sector = root, fs, sector or SECTOR[fs]
        root.mkdir(parents=True, exist_ok=True)
        self.drive = Drive(image)
        self.server = Server(self.drive, root / "nbd", log)
        self.acks, self.store, self.console = root / "acks", root / "store", root / "console"
        for path in (self.acks, self.store):
            path.write_bytes(b"")
        initrd(root / "initrd", config, mode)
        command = [
            "setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-nodefaults", "-display", "none", "-no-reboot",
            "-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-smp", "1", "-m", "256",
            "-kernel", MADE / "kernel", "-initrd", root / "initrd",
            "-append", f"console=ttyAMA0 quiet loglevel=3 panic=-1 dunlin.fs={fs} dunlin.mode={mode}",
            "-blockdev", f"driver=nbd,node-name=medium,server.type=unix,server.path={root / 'nbd'}",
            # Above it, so that what is below can be exchanged: qmp.py.
            "-blockdev", "driver=raw,node-name=disk,file=medium",
            "-device",
            f"virtio-blk-device,drive=disk,write-cache=on,logical_block_size={self.sector},physical_block_size={self.sector},"
            f"rerror=report,werror={'enospc' if stops else 'report'}",
            "-qmp", f"unix:{root / 'qmp'},server=on,wait=off", "-device", "virtio-serial-device",
            "-chardev", f"file,id=log,path={self.acks}", "-device", "virtserialport,chardev=log,name=log",
            "-chardev", f"file,id=store,path={self.store},append=on", "-device", "virtserialport,chardev=store,name=store",
            "-serial", "stdio",
        ]  # fmt: skip
        self.began = time.monotonic()
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.PIPE, stdout=console, stderr=subprocess.STDOUT
            )

    def fails(self, what):
        said = self.console.read_text(errors="replace")[-1500:]
        log = self.acks.read_text(errors="replace")[-1500:]
        return RuntimeError(f"{what}\nconsole: {said}\nagent: {log}")

    def wait_for(self, what, condition):
        began = time.monotonic()
        while not condition():
            if self.process.poll() is not None:
                raise self.fails(f"the board ended while this was awaited: {what}")
            if time.monotonic() - began > WAIT_S:
                raise self.fails(f"not within {WAIT_S} s: {what}")
            time.sleep(0.01)

    def found(self, into):
        """Waits for what the disk held, and unpacks it; the disk's complaint, or an empty text."""
        self.wait_for("the disk is read", lambda: ending(self.store) is not None)
        line, size = ending(self.store)
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        if line != "sent 0":
            return f"the board does not mount it, or cannot read it: {self.store.read_text(errors='replace')[-1500:]}"
        with open(self.store, "r+b") as file:
            file.truncate(size)
        subprocess.run(["tar", "-x", "-f", self.store, "-C", into], check=True)
        return ""

    def look(self, into):
        """Mode `look`: lets the board mount what the drive now has; as `found`."""
        self.store.write_bytes(b"")
        looked = self.console.read_bytes().count(b"store-init: looked")
        self.go()
        self.wait_for("the board looked", lambda: self.console.read_bytes().count(b"store-init: looked") > looked)
        return self.found(into)

    def recovered(self):
        """Mode `run`: waits until the board has mounted the disk and let go of it; what fsck then finds, or an empty text."""
        self.wait_for("the disk is recovered", lambda: b"store-init: recovered" in self.console.read_bytes())
        found = self.checked()
        self.go()
        return found

    def checked(self):
        """What fsck finds on the drive, which the board has just let go of."""
        self.drive.flush()
        return fsck(self.drive.backing, self.fs)

    def go(self, word="go"):
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def ask(self, word):
        """What the board answers to `status` or `written` while its agent runs."""
        before = len(self.answers(word))
        self.go(word)
        self.wait_for(f"the board answers {word}", lambda: len(self.answers(word)) > before)
        return self.answers(word)[-1]

    def answers(self, word):
        """What came by the console after a word, as far as the lines are whole."""
        whole = self.console.read_text(errors="replace").rpartition("\n")[0]
        said = (line.partition(f"store-init: {word} ") for line in whole.splitlines())
        return [answer.strip() for _, found, answer in said if found]

    def status(self):
        """What the agent says of its uplink."""
        return json.loads(self.ask("status"))["sinks"]["cloud"]

    def cut(self, seed, target):
        """The power goes: the drive first, most often at a write, then the board. As Drive.cut."""
        self.server.freeze(seed % 8)
        self.kill()
        with self.drive.guard:
            return self.drive.cut(seed, target, self.sector)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.kill()
        self.server.close()
        self.drive.close()


def ending(path):
    """The last line of what came by the port `store`, and how much there is before it; None while it is not complete."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - 40))
        tail = file.read()
    at = tail.rfind(b"sent ")
    if at < 0 or not tail.endswith(b"\n"):
        return None
    return tail[at:].decode(errors="replace").strip(), size - len(tail) + at
