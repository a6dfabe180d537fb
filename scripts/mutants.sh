#!/usr/bin/env bash
# cargo-mutants on src/buffer: every function, operator and branch of the durable log is changed in turn, and its tests must
# turn red. (The guards, each taken away by hand, are scripts/durability.sh --mutants.)
#
#   scripts/mutants.sh [--jobs N]    all mutants, two at a time; goes on where an earlier run was ended
#   scripts/mutants.sh SLICE...      only these slices of the 50 that the mutants are dealt into, like `0 7` or {0..9}
#   scripts/mutants.sh --again       what survived, or hung, is tried again, with the tests as they are now
#   scripts/mutants.sh --report      adds up what was run, by file, and names what survived
#
# Outcomes are kept in target/durability/cargo-mutants, until the sources of src/buffer change.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    --report) ;;
    *) scripts/setup.sh mutants ;;
esac
exec python3 lab/cargo_mutants.py "$@"
