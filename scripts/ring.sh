#!/usr/bin/env bash
# The ring of ffi/ring in every order of its threads' steps, as far as loom tries them.
#
#   scripts/ring.sh loom      the models of ffi/ring/src/model.rs; further arguments go to the test program
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
case ${1:-} in
    loom)
        shift
        # Optimised, for a model runs some hundred thousand times, and with the assertions of a debug build.
        export CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=0
        RUSTFLAGS="--cfg loom" cargo test --locked --target-dir target/loom -p dunlin-ring --lib "$@"
        ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
    *) die "there is no ${1:-check without a name}" "scripts/ring.sh loom" ;;
esac
