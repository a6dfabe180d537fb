# shellcheck shell=bash
# Sourced by the other scripts: the repository's root, and one way to speak.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export root
export PATH="$root/target/tools/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

# A heading.
heading() { printf '\n%s== %s ==%s\n' "$bold" "$*" "$plain"; }

# One line of what is being done.
say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# die WHAT REMEDY: ends the script.
die() {
    printf '%s: %s\n  Remedy: %s\n' "${0##*/}" "$1" "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
