#!/usr/bin/env bash
# Runs the tests of the host protocol, of the launcher, of supervision and of the ring under ThreadSanitizer, on the pinned stable
# compiler. The standard library is built with it, too: without, every lock of it would look like a race. Arguments go to
# cargo nextest run:
#
#   scripts/tsan.sh                            all of them
#   scripts/tsan.sh -E 'binary(supervision)'   some
#
# Instrumented is Rust: tests, agent side and driver hosts. C is not. A race that is planted must be found first.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root" || exit 1

host=$(rustc -vV | sed -n 's/^host: //p')
[[ -d $(rustc --print sysroot)/lib/rustlib/src/rust/library ]] ||
    die "there are no sources of the standard library" "scripts/setup.sh test"
out=$root/target/tsan
mkdir -p "$out"

# Linked in, because a driver host starts with an empty environment. Signals are left to the host and to the standard
# library, as in scripts/asan.sh. "exited with code 98" is a finding: nothing else ends so.
cat >"$out/options.c" <<'END'
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0:exitcode=98:halt_on_error=1";
}
END
# Named after its content, since cargo links anew only where a flag changed.
options=$out/options-$(cksum <"$out/options.c" | cut -d ' ' -f 1).o
"${CC:-cc}" -c -o "$options" "$out/options.c"

# DUNLIN_ASAN tells the tests that a sanitizer is there, whose shadow memory fits in no limit of address space.
export RUSTC_BOOTSTRAP=1 DUNLIN_ASAN=1
export RUSTFLAGS="-Zsanitizer=thread -Cforce-frame-pointers=yes -Clink-arg=$options"
what=(--locked -Zbuild-std --profile asan --target "$host" --target-dir "$out" -p dunlin-driver -p dunlin-ring)
if cargo nextest run "${what[@]}" --ignore-default-filter -E 'test(planted_race)' >"$out/planted.log" 2>&1 ||
    ! grep -q 'ThreadSanitizer: data race' "$out/planted.log"; then
    tail -20 "$out/planted.log"
    die "a planted race is not seen" "the lines above say what happened instead"
fi
say "a planted race is seen"
if [[ $# -eq 0 ]]; then set -- -E 'binary(supervision) or binary(launcher) or binary(hostile_bytes) or binary(threads) or kind(lib)'; fi
cargo nextest run "${what[@]}" "$@"
