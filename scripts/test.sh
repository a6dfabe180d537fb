#!/usr/bin/env bash
# Every check there is, in stages. CI runs this and nothing else.
#
#   scripts/test.sh               all stages
#   scripts/test.sh NAME...       only these
#   scripts/test.sh --list        what there is
#
# A failing stage does not stop the others; the table at the end names it, and its output is in target/test/NAME.log.
# A missing tool is a failure. The last line sums up the tests that ran; a stage that is no test suite counts as one.
set -uo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root" || exit 1

stages=(
    "setup     tools and packages are there (scripts/setup.sh)"
    "fmt       sources are formatted"
    "shell     scripts pass shellcheck"
    "clippy    no lint fires, in tests, benches and fuzz targets neither"
    "docs      documentation builds, no link is broken"
    "headers   driver.h and ext/*.h are clean C99, C11 and C++17, natively and for aarch64"
    "layout    C and Rust agree on the ABI's layout, natively and for aarch64 under qemu"
    "deny      licences, sources and direction of dependencies"
    "lab       the referees of the delivery and durability tests see every loss"
    "test      unit, integration and architecture tests"
    "doctest   examples in the documentation, and what must not compile"
    "asan      the tests of ffi/ under AddressSanitizer"
    "tsan      the host protocol, its supervision and the ring under ThreadSanitizer, after a planted race (scripts/tsan.sh)"
    "loom      the ring in every order of its threads' steps (scripts/ring.sh loom)"
    "unsafe    unsafe blocks are counted, each with a reason, none outside ffi/ (scripts/unsafe.sh)"
    "hostile   the hostile driver under each sanitizer and under Arm's memory tagging"
    "hazards   each of 40 defences is taken out, and its test fails (scripts/hazards.sh)"
    "fuzz      10^6 messages of a host and to one, what key hosts and brokers send, configurations, stores, telemetry (scripts/fuzz.sh)"
    "sanitize  the C drivers under AddressSanitizer and UBSan, and starved of memory"
    "valgrind  the C drivers under Valgrind"
    "campaign  1,000 driver kills, the broker away, 50 kill -9"
    "cross     the agent is built for the devices, within its budget of bytes"
    "floors    what was built starts on every device; its own crates built twice give the same bytes"
    "aarch64   tests of ffi/ on aarch64 under qemu-user, with the trimmed OpenSSL; symbols are found again"
    "mte       the C drivers under Arm's memory tagging, and one that it must catch"
    "board     the aarch64 agent on emulated boards"
    "durable   acknowledged records survive power cuts of simulated, hosted and emulated disks, kill -9, errors, full disks"
    "run       scripts/run.sh for 10 seconds loses nothing, and what the example ground-station sends, loses and shows adds up"
    "network   bad networks: nothing lost, nothing doubled, connected again (scripts/network.sh)"
    "interop   brokers and subscribers of other makers (scripts/interop.sh --sample)"
    "flash     every refusal and failure of scripts/flash.sh, on loop devices and files"
    "package   the arm64 package: same bytes twice, lintian, what it depends on, hardening of its unit"
    "guest     the flashed image boots in QEMU; the package is upgraded, downgraded and purged there"
)

host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')

stage_setup() { scripts/setup.sh test; }
stage_fmt() { cargo fmt --all --check; }
stage_shell() {
    shellcheck -x scripts/*.sh lab/*.sh deploy/cross/*.sh tests/flash/*.sh examples/*/*.sh .ci/run lab/board/initrd-init lab/board/store-init lab/board/root/etc/init.d/*
}
core=(-p dunlin --no-default-features --features core)
stage_clippy() {
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo clippy --locked "${core[@]}" --lib --bins --test core -- -D warnings
    # A workspace of their own, but in the same target directory, which has what they share. What is only checked is not
    # linked, so libFuzzer, which would be compiled for that, may be a name.
    CUSTOM_LIBFUZZER_PATH=$PWD/libfuzzer.a cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target \
        --features agent --bins -- -D warnings
}
stage_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items; }

stage_headers() {
    local flags=(-Wall -Wextra -pedantic -Werror -Iffi/include -fsyntax-only) failed=0 prefix header standard
    for prefix in "" aarch64-linux-gnu-; do
        for header in ffi/include/dunlin/driver.h ffi/include/dunlin/ext/*.h; do
            for standard in c99 c11; do
                echo "${prefix}gcc -std=$standard ${header#ffi/include/}"
                echo "#include \"${header#ffi/include/}\"" | "${prefix}gcc" -std="$standard" "${flags[@]}" -x c - || failed=1
            done
            echo "${prefix}g++ -std=c++17 ${header#ffi/include/}"
            echo "#include \"${header#ffi/include/}\"" | "${prefix}g++" -std=c++17 "${flags[@]}" -x c++ - || failed=1
        done
    done
    return "$failed"
}

stage_layout() {
    local failed=0 target
    for target in "$host" aarch64-unknown-linux-gnu; do
        echo "layout on $target"
        # Not nextest: it cannot list the tests of a binary for another machine. A directory of its own, since what
        # Debian's cross compiler links asks for a newer glibc than the image of `cross` has, and cargo sees no difference.
        cargo test --locked --package dunlin-driver-sys --test layout --target "$target" --target-dir target/layout || failed=1
    done
    return "$failed"
}

stage_deny() {
    echo "Advisories are not checked: their database is a git repository that a machine without the internet cannot"
    echo "reach, and a new advisory must not turn an old commit red. To check: cargo deny check advisories"
    cargo deny --locked --config .cargo/deny.toml check --hide-inclusion-graph -A unused-wrapper bans licenses sources
}

stage_lab() { python3 lab/test_count.py && python3 lab/test_ledger.py && python3 lab/test_executed.py && target/lab/venv/bin/python lab/test_est_server.py; }

# Tests that carry #[ignore] are named aloud and counted as skipped; those of the other profile are not.
ignored() {
    cargo nextest list --locked --workspace --message-format json 2>/dev/null | python3 -c '
import json, sys
for suite in json.load(sys.stdin)["rust-suites"].values():
    for name, case in suite["testcases"].items():
        if case["ignored"]:
            print("ignored by #[ignore]:", suite["binary-id"], name)'
}

# The core build first, so that target/debug/dunlin is the full one after.
stage_test() {
    cargo nextest run --locked "${core[@]}" --lib --test core -E 'binary(core) + test(cli::)'
    cargo nextest run --locked --workspace && ignored
}
stage_doctest() { cargo test --locked --workspace --doc; }

stage_asan() { scripts/asan.sh; }
stage_tsan() { scripts/tsan.sh; }
stage_loom() { scripts/ring.sh loom; }
stage_hostile() { scripts/hostile.sh; }
stage_unsafe() { scripts/unsafe.sh; }
stage_hazards() { scripts/hazards.sh; }
stage_fuzz() { scripts/fuzz.sh; }
stage_sanitize() { scripts/sanitize.sh; }
stage_valgrind() { scripts/valgrind.sh; }
stage_campaign() {
    # Optimised, as what runs on a gateway is: a time measured in a debug build says little. Crash states and flips are those of
    # the stage `durable`.
    cargo nextest run --locked --cargo-profile campaign --profile campaign --workspace --no-tests fail \
        -E 'not test(campaign_crash_states) and not test(campaign_flips)'
}
stage_durable() { scripts/durability.sh; }
stage_cross() { scripts/build.sh --check; }
stage_floors() { scripts/floors.sh --twice; }
stage_aarch64() { scripts/aarch64.sh; }
stage_mte() { scripts/mte.sh; }
stage_board() {
    scripts/setup.sh board
    scripts/board_image.sh
    cargo nextest run --locked --profile board --package dunlin --test board --no-tests fail
}
stage_run() {
    scripts/run.sh --seconds 10
    examples/ground-station/run.sh --seconds 6
}
stage_network() { scripts/network.sh --report; }
stage_interop() { scripts/interop.sh --sample; }
# Loop devices and chroot are root's.
privileged() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo env "PATH=$PATH" "$@"; fi; }
stage_flash() {
    scripts/setup.sh flash
    privileged tests/flash/flash.sh
}
stage_package() {
    scripts/setup.sh flash
    tests/flash/package.sh
}
stage_guest() {
    scripts/setup.sh flash
    privileged tests/flash/guest.sh
}

# counts LOG STATUS: passed, failed and skipped of one stage. From the closing lines of its runners, each of which may
# appear several times; a stage without such a line is one check.
counts() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk -v status="$2" '
        /^ *Summary \[/ {
            found = 1
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|timed)/) failed += $(i - 1)
            }
        }
        # cargo test, and our own: `test result: [ok.] N passed; N failed; N ignored`
        /^test result: / {
            found = 1
            for (i = 2; i <= NF; i++) {
                if ($i == "passed;") passed += $(i - 1)
                if ($i == "failed;") failed += $(i - 1)
                if ($i ~ /^ignored/) skipped += $(i - 1)
            }
        }
        /^(ignored by #\[ignore\]|skipped under [a-z-]+): / { skipped++ }
        /^Ran [0-9]+ tests? in / { found = 1; passed += $2 }
        /^FAILED \(/ { for (i = 2; i <= NF; i++) if (split($i, n, "=") == 2) { passed -= n[2] + 0; failed += n[2] + 0 } }
        END {
            if (!found && status == 0) passed = 1
            if (status != 0 && failed == 0) failed = 1
            print passed + 0, failed + 0, skipped + 0
        }'
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi
if [[ ${1:-} == --list ]]; then
    printf '%s\n' "${stages[@]}"
    exit
fi
chosen=("$@")
if [[ $# -eq 0 ]]; then
    for stage in "${stages[@]}"; do chosen+=("${stage%% *}"); done
fi
for name in "${chosen[@]}"; do
    declare -F "stage_$name" >/dev/null || die "there is no stage ${name@Q}" "scripts/test.sh --list"
done

mkdir -p target/test
if [[ -t 1 ]]; then export CARGO_TERM_COLOR=always; fi
passed=0 failed=0 skipped=0 at=0 table=() failures=()
for name in "${chosen[@]}"; do
    at=$((at + 1))
    for stage in "${stages[@]}"; do [[ ${stage%% *} == "$name" ]] && what=${stage#* }; done
    heading "$at/${#chosen[@]} $name: ${what#"${what%%[! ]*}"}"
    from=$SECONDS
    # In a subshell under strict mode, since a stage tested by `||` would run on after an error.
    (
        set -e
        "stage_$name"
    ) 2>&1 </dev/null | tee "target/test/$name.log"
    status=${PIPESTATUS[0]}
    read -r p f s < <(counts "target/test/$name.log" "$status")
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    verdict=ok
    if [[ $status -ne 0 || $f -ne 0 ]]; then
        verdict=FAILED
        failures+=("$name")
    fi
    table+=("$(printf '%-9s %-7s %5d s %6d passed %4d failed %4d skipped' "$name" "$verdict" $((SECONDS - from)) "$p" "$f" "$s")")
    # From here on, what setup installed is found.
    hash -r
    host=${host:-$(rustc -vV | sed -n 's/^host: //p')}
done

heading "summary, ${SECONDS} s"
printf '%s\n' "${table[@]}"
# What was skipped, by stage and reason: `skipped under WHAT: SUITE TEST: reason`, `ignored by #[ignore]: SUITE TEST`.
for name in "${chosen[@]}"; do
    grep -hE '^(ignored by|skipped under)' "target/test/$name.log" | awk -v stage="$name" '
        {
            how = $0; sub(/: .*/, "", how)
            what = substr($0, length(how) + 3)
            why = ""
            if ((at = match(what, /: [^:]*$/))) { why = ", " substr(what, at + 2); what = substr(what, 1, at - 1) }
            key = how why
            if (!(key in names)) order[++keys] = key
            names[key] = names[key] (number[key]++ ? "; " : "") what
        }
        END { for (i = 1; i <= keys; i++) print stage ": " number[order[i]] " " order[i] ": " names[order[i]] }'
done
# The last thing before the closing line, since a reader of a long log begins at its end.
for name in "${failures[@]}"; do
    heading "FAILED: $name, the end of target/test/$name.log"
    sed 's/\x1b\[[0-9;]*m//g' "target/test/$name.log" >"target/test/$name.txt"
    # What runners call a failure with the lines that say why, each line once; then the last lines as they are.
    grep -E -A 4 '^ *([0-9]+ s +)?(FAIL|TIMEOUT|SIG[A-Z]+|FLAKY|FAILED|not ok)\b|^error|panicked at|^test .* FAILED|MISSED' "target/test/$name.txt" |
        awk '!seen[$0]++' | head -n 40
    echo "..."
    tail -n 25 "target/test/$name.txt"
done
if [[ $# -gt 0 ]]; then echo "only the stages named were run: ${chosen[*]}"; fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
