#!/usr/bin/env bash
# Draws docs/storm.svg anew: connects per second of 10,000 agents after their broker restarts, by simulation with the
# agent's own backoff (tests/uplink/storm.rs, whose test fails where the picture is another).
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
DUNLIN_STORM_SVG=1 cargo test --locked --quiet --test uplink agents_that_lose_one_broker_together
