#!/usr/bin/env bash
# Runs the tests of ffi/ under AddressSanitizer, on the pinned stable compiler. Arguments go to cargo nextest run:
#
#   scripts/asan.sh                        all of them
#   scripts/asan.sh -E 'binary(hazards)'   some
#
# Instrumented is Rust: tests, agent side and driver hosts, the standard library excepted, which comes compiled. C is
# not: a driver that is linked with a sanitizer brings a second runtime, and the process refuses to run. All the same
# its calls of malloc, memcpy, strlen and their like go through the sanitizer's own, which look at what they are handed.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root" || exit 1

host=$(rustc -vV | sed -n 's/^host: //p')
out=$root/target/asan
mkdir -p "$out"

# A driver host starts with an empty environment, so what it needs of the sanitizer is linked into it, and ASAN_OPTIONS
# overrides it in the processes that do see it:
# - handle_*=0: signals are left to the host and to the standard library. The sanitizer would turn every fatal one into
#   a report and an exit, and the tests would see another death than the one that users see.
# - detect_leaks=0: the search for leaks stops the process with ptrace, which the host's sandbox forbids.
# - exitcode=99: what no driver here exits with. "exited with code 99" is a finding.
cat >"$out/options.c" <<'END'
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
  return "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0:detect_leaks=0:exitcode=99:"
         "strict_string_checks=1:detect_stack_use_after_return=1";
}
END
# Named after its content, since cargo links anew only where a flag changed.
options=$out/options-$(cksum <"$out/options.c" | cut -d ' ' -f 1).o
"${CC:-cc}" -c -o "$options" "$out/options.c"

# The sanitizer is in the stable compiler, behind the same switch as all that is not yet stable. DUNLIN_ASAN tells the
# tests, which then set no limit of address space: the sanitizer reserves terabytes of it.
export RUSTC_BOOTSTRAP=1 DUNLIN_ASAN=1
export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes -Clink-arg=$options"
# Leaks of the tests and of the agent's side are looked for.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
what=(--locked --profile asan --target "$host" --target-dir "$out"
    -p dunlin-driver-sys -p dunlin-driver -p dunlin-drivers -p dunlin-crypto -p dunlin-crc)
cargo nextest run "${what[@]}" "$@"
# That leaks are seen, in C that a test in Rust calls: one is planted, and must be found.
if cargo nextest run "${what[@]}" --ignore-default-filter -E 'test(planted_leak)' >"$out/planted.log" 2>&1 ||
    ! grep -q 'LeakSanitizer: detected memory leaks' "$out/planted.log"; then
    tail -20 "$out/planted.log"
    die "a planted leak is not seen" "ptrace must be allowed here"
fi
say "a planted leak is seen"
# What cannot run here carries its reason in an #[ignore]; it is named, and counted as skipped.
cargo nextest list "${what[@]}" --run-ignored only --message-format oneline 2>/dev/null |
    sed 's/^/ignored by #[ignore]: /'
echo "skipped under asan: dunlin-crypto::memory: it searches all memory of the process, of which the sanitizer maps terabytes"
