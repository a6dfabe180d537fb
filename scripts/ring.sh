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
        # What runs some hundred thousand times is optimised, with the assertions of a debug build.
        optimised=()
        for package in dunlin-ring generator loom; do
            optimised+=(--config "profile.dev.package.$package.opt-level=2")
        done
        export RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_DEBUG=0
        cargo test --locked "${optimised[@]}" --target-dir target/loom -p dunlin-ring --lib "$@"
        ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
    *) die "there is no ${1:-check without a name}" "scripts/ring.sh loom" ;;
esac
