"""src/buffer as a crate of its own below target/, in which mutants are tried (mutants.py, cargo_mutants.py).

A mutant costs a build of the module alone: one second without optimisation, and seven with a little of it. So the tests
are run in two ways: `quick`, those that take less than two seconds where nothing is optimised, which find most mutants; and
`whole`, all of them, for what is left. Both end at the first test that fails, and end a test that hangs. Files are made in
memory, where syncs take no time.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# How much the module is optimised; what it rests on is built once for both.
PROFILES = {"quick": "0", "whole": "1"}
# Crates that the module and its tests name.
NAMED = ["bytes", "crc32c", "lz4_flex", "nix", "thiserror", "tokio", "tracing", "tempfile"]

CARGO = """
[workspace]

[profile.mutant]
inherits = "dev"
debug = false

[profile.mutant.package."*"]
opt-level = 1
"""
# Two seconds and more without optimisation.
SLOW = "crash::nothing|kill::|no_error_of_any|every_flipped_bit_is_found_and|another_reader|random_flips|by_itself"
NEXTEST = f"""
[profile.quick]
default-filter = "not test(/campaign|{SLOW}/)"
fail-fast = true
slow-timeout = {{ period = "20s", terminate-after = 1, grace-period = "0s" }}

[profile.whole]
default-filter = "not test(campaign)"
fail-fast = true
slow-timeout = {{ period = "60s", terminate-after = 2, grace-period = "0s" }}
"""


def write(path, data):
    """Leaves a file alone that has these bytes: what is not touched is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def manifest():
    """With the versions of the whole."""
    whole = tomllib.loads((ROOT / "Cargo.toml").read_text())
    lines = ["[package]", 'name = "dunlin"', f'edition = "{whole["workspace"]["package"]["edition"]}"', "", "[dependencies]"]
    for name in NAMED:
        here = whole["dependencies"].get(name) or whole["dev-dependencies"][name]
        if isinstance(here, dict) and here.pop("workspace", False):
            base = whole["workspace"]["dependencies"][name]
            here = {**({"version": base} if isinstance(base, str) else base), **here}
        keys = {"version": here} if isinstance(here, str) else here
        inner = ", ".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in keys.items())
        lines.append(f"{name} = {{ {inner} }}")
    return "\n".join(lines) + "\n" + CARGO


def make(crates):
    """The crate as the source is now, in each of these places. What was built before, or in the first of them, is used again."""
    for crate in crates:
        if crate != crates[0] and not (crate / "target").exists():
            for profile in PROFILES:
                run(crates[0], profile, "--no-run")
            shutil.copytree(crates[0], crate, symlinks=True, dirs_exist_ok=True)
        files = {crate / "src" / path.relative_to(ROOT / "src"): path for path in (ROOT / "src/buffer").rglob("*.rs")}
        for path in (crate / "src").rglob("*.rs"):
            if path not in files and path.parent != crate / "src":
                path.unlink()
        files |= {crate / "src/record.rs": ROOT / "src/record.rs", crate / "lab/read_log.py": ROOT / "lab/read_log.py"}
        for path, source in files.items():
            write(path, source.read_bytes())
        write(crate / "src/lib.rs", b"pub mod buffer;\npub mod record;\n")
        write(crate / "Cargo.toml", manifest().encode())
        write(crate / ".config/nextest.toml", NEXTEST.encode())
        if not (crate / "Cargo.lock").exists():
            shutil.copy(ROOT / "Cargo.lock", crate / "Cargo.lock")


def run(crate, profile, *words):
    """Builds the crate and runs its tests, in a session of their own."""
    command = ["cargo", "nextest", "run", "--lib", "--color", "never", "--cargo-profile", "mutant", "--profile", profile, *words]
    child = subprocess.Popen(
        command, cwd=crate, env=environment(profile), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = child.communicate()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, said


def environment(profile):
    """Temporary files in memory, where there is a file system for it."""
    memory = {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}
    return {**os.environ, **memory, "CARGO_PROFILE_MUTANT_OPT_LEVEL": PROFILES[profile]}
