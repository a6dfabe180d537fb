#!/usr/bin/env bash
# Takes out each defence of the table in ffi/README.md, one at a time, and runs the test that the table names: it must
# fail. The edits are those of ffi/mutations.txt; they are made in a copy below target/hazards, never in the tree.
#
#   scripts/hazards.sh            all forty
#   scripts/hazards.sh 13 14      these
#
# Prints the table and, last, `hazards H/40 covered, mutations M/H red`; ends well only if both are all. What is not
# red is named with the reason: the test still passed, the edit no longer fits, or what it left does not compile. What each
# test said is in target/hazards/logs.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi

have cargo-nextest || die "cargo-nextest is missing" "scripts/setup.sh test"
hazards=40 test_timeout_s=60
out=$root/target/hazards
tree=$out/tree
mkdir -p "$tree" "$out/logs"
# The tracked files as they are now, those that differ only, so that cargo builds anew what changed since the last run.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' name; do
    if [[ -f $name ]] && ! cmp -s "$name" "$tree/$name"; then
        mkdir -p "$tree/$(dirname "$name")"
        cp "$name" "$tree/$name"
    fi
done
cd "$tree"
# Without debug information a crate links in half the time.
export CARGO_TARGET_DIR=$out/build CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
package=(--locked --package dunlin-driver)
# A test that holds a host to time may fail for a neighbour's sake, but not three times; one without its defence does.
tries=(--retries 2)

# run TEST: 0 passed, 100 failed, anything else is no verdict.
run() {
    local binary=${1%%::*} name=${1#*::} status=0
    case $binary in
        doctest)
            cargo test "${package[@]}" --doc "$name" >"$out/log" 2>&1 || status=$?
            if grep -q '^test result: FAILED' "$out/log"; then status=100; fi
            grep -q '^test result: .* [1-9][0-9]* \(passed\|failed\)\|FAILED' "$out/log" || status=4
            ;;
        lib) cargo nextest run "${package[@]}" "${tries[@]}" --lib -E "test(=$name)" >"$out/log" 2>&1 || status=$? ;;
        *) timeout "$((test_timeout_s * 3))" cargo nextest run "${package[@]}" "${tries[@]}" --test "$binary" -E "test(=$name)" \
            >"$out/log" 2>&1 || status=$? ;;
    esac
    return "$status"
}

# edit FILE OLD NEW: replaces what must occur exactly once.
edit() {
    local whole without
    whole=$(<"$1")
    without=${whole//"$2"/}
    ((${#whole} - ${#without} == ${#2})) || return 1
    printf '%s\n' "${whole/"$2"/"$3"}" >"$1"
}

# mutate FILE EDITS: applies the edits, in the form of mutations.txt without the head.
mutate() {
    local line part='' old='' new=''
    while IFS= read -r line; do
        case $line in
            '<') part=old old='' new='' ;;
            '=') part=new ;;
            '>') edit "$1" "${old%$'\n'}" "${new%$'\n'}" || return 1 ;;
            *) if [[ $part == old ]]; then old+=$line$'\n'; else new+=$line$'\n'; fi ;;
        esac
    done <<<"$2"
}

say "building the tests and running them as they are"
if ! cargo nextest run "${package[@]}" "${tries[@]}" >"$out/log" 2>&1; then
    tail -40 "$out/log"
    die "a test fails without any mutation" "see above"
fi

declare -A verdicts covered
judge() {
    local number=$1 test=$2 file=$3 edits=$4 status=0 from=$SECONDS verdict
    cp -p "$file" "$out/original"
    if mutate "$file" "$edits"; then
        run "$test" || status=$?
        case $status in
            100) verdict=red ;;
            0) verdict="NOT RED: the test passes without the defence" ;;
            124) verdict=red ;; # the test hangs, as its driver does where nobody ends it
            *)
                verdict="NO VERDICT: status $status, see $out/logs/$number.log"
                ;;
        esac
    else
        verdict="NO VERDICT: the old text is not there exactly once"
    fi
    cp "$out/original" "$file"
    cp "$out/log" "$out/logs/$number.log"
    printf '%2d  %-11s  %3d s  %-34s %s\n' "$number" "${verdict%%:*}" $((SECONDS - from)) "$file" "$test"
    [[ $verdict == red ]] || printf '    %s\n' "$verdict"
    if [[ ${verdicts[$number]:-red} == red ]]; then verdicts[$number]=$verdict; fi
}

heading "hazards: what is taken out, and the test that sees it"
mapfile -t heads < <(grep '^@ ' ffi/mutations.txt)
for index in "${!heads[@]}"; do
    IFS='|' read -r number test file <<<"${heads[index]#@ }"
    number=${number// /} test=${test// /} file=${file// /}
    if [[ $# -gt 0 && " $* " != *" $number "* ]]; then continue; fi
    covered[$number]=yes
    edits=$(awk -v want=$((index + 1)) '/^@ / { at++; next } at == want && !/^$/' ffi/mutations.txt)
    judge "$number" "$test" "$file" "$edits"
done

wanted=$hazards
if [[ $# -gt 0 ]]; then wanted=$#; fi
red=0
for number in "${!verdicts[@]}"; do
    if [[ ${verdicts[$number]} == red ]]; then red=$((red + 1)); fi
done
for ((number = 1; number <= hazards; number++)); do
    if [[ $# -eq 0 && -z ${covered[$number]:-} ]]; then echo "not covered: hazard $number has no mutation"; fi
done
say "took $SECONDS s"
if [[ $# -gt 0 ]]; then echo "only the hazards named were run: $*"; fi
echo "hazards ${#covered[@]}/$wanted covered, mutations $red/${#covered[@]} red"
((${#covered[@]} == wanted && red == wanted))
