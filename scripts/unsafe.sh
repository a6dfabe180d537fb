#!/usr/bin/env bash
# Counts the places where Rust is told to trust (`unsafe` blocks and implementations) and the reasons given for them
# (`SAFETY:`), per crate below ffi/, and how both came to be: the same count at earlier commits. That every block has its
# own reason is clippy's to enforce; here fewer reasons than places fail, and any place outside ffi/.
#
#   scripts/unsafe.sh         now, and eight commits of the past
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi

places='^[^/]*\<unsafe (\{|impl)' reasons='SAFETY:'
# count PATTERN [REVISION] PATH: occurrences in lines of Rust.
count() { { git grep -hE "$1" "${@:2:$#-2}" -- "${@: -1}" || true; } | wc -l; }

failed=0 total=0
printf '%-12s %7s %8s\n' crate places reasons
for manifest in ffi/*/Cargo.toml; do
    crate=${manifest%/Cargo.toml}
    found=$(count "$places" "$crate/*.rs") said=$(count "$reasons" "$crate/*.rs")
    printf '%-12s %7d %8d\n' "${crate#ffi/}" "$found" "$said"
    total=$((total + found))
    if ((said < found)); then
        say "$crate: fewer reasons than places"
        failed=1
    fi
done
outside=$(count "$places" 'src/*.rs')
if ((outside > 0)); then
    say "src/ has $outside"
    failed=1
fi

heading "how it came to be"
mapfile -t commits < <(git rev-list --first-parent HEAD -- ffi)
step=$((${#commits[@]} / 8 + 1))
for ((at = ${#commits[@]} - 1; at >= 0; at -= step)); do
    commit=${commits[at]}
    printf '%s %s %5d places %5d reasons\n' "$(git show -s --format='%cs %h' "$commit")" "" \
        "$(count "$places" "$commit" 'ffi/*.rs')" "$(count "$reasons" "$commit" 'ffi/*.rs')"
done
echo "unsafe: $total places below ffi/, $outside in src/"
exit "$failed"
