# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # $(REPO_URI) is apt's; root and packages_run are set by setup.sh
# Sourced by setup.sh: what the emulated boards are made of, below target/board.
#
# For the machine that runs this: QEMU 10, because 7.2 of Debian 12 has boards without their I2C. For the board: Debian's
# arm64 kernels, busybox and the libraries of the agent and its drivers, fetched by an apt whose whole state is below
# target/board/apt and unpacked without being installed, so that this system gets no foreign architecture.

board_dir=target/board
qemu_least=10
# The host's side, from bookworm; qemu comes from bookworm-backports.
packages_board=(gdb-multiarch cpio kmod e2fsprogs f2fs-tools gcc-aarch64-linux-gnu xz-utils util-linux qemu-user-static)
# The board's side, by version. Where the archive has moved on, what it has now is taken, and said.
kernel_version=6.12.95+deb12
board_packages=(
    "linux-image-$kernel_version-arm64=6.12.95-1~bpo12+1"
    "linux-image-$kernel_version-arm64-16k=6.12.95-1~bpo12+1"
    busybox-static=1:1.35.0-4+deb12u1+b1
    libc6=2.36-9+deb12u14
    libgcc-s1=12.2.0-14+deb12u1
    libmodbus5=3.1.6-2.1
    libsensors5=1:3.6.0-7.1
    libsensors-config=1:3.6.0-7.1
    libgpiod2=1.6.3-1+b3
    can-utils=2020.11.0-1
    # tc, and what it is linked to
    iproute2=6.1.0-3
    libbpf1=1:1.1.2-0+deb12u1
    libelf1=0.188-2.1
    libmnl0=1.0.4-3
    libbsd0=0.11.7-2
    libmd0=1.0.4-2
    libxtables12=1.8.9-2
    # libiio, and what it is linked to
    libiio0=0.24-4
    libavahi-client3=0.8-10+deb12u1
    libavahi-common3=0.8-10+deb12u1
    libdbus-1-3=1.14.10-1~deb12u1
    libsystemd0=252.39-1~deb12u2
    libcap2=1:2.66-4+deb12u3+b1
    libgcrypt20=1.10.1-3+deb12u1
    libgpg-error0=1.46-1
    liblz4-1=1.9.4-1
    libzstd1=1.5.4+dfsg2-5
    liblzma5=5.4.1-1+deb12u2
    libusb-1.0-0=2:1.0.26-1
    libudev1=252.39-1~deb12u2
    libxml2=2.9.14+dfsg-1.3~deb12u6
    libicu72=72.1-3+deb12u1
    zlib1g=1:1.2.13.dfsg-1
    "libstdc++6=12.2.0-14+deb12u1"
)

# Nothing where there is no QEMU.
qemu_version() { { qemu-system-aarch64 --version 2>/dev/null || true; } | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p'; }

# Where this system gets Debian from, so that a mirror set up for it is used here too.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 2>/dev/null | head -n 1)
    printf '%s\n' "${mirror:-http://deb.debian.org/debian/}"
}

install_qemu() {
    local have_version
    have_version=$(qemu_version)
    [[ ${have_version:-0} -lt $qemu_least ]] || return 0
    if [[ -z $(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm-backports' 2>/dev/null) ]]; then
        say "adding /etc/apt/sources.list.d/dunlin-backports.list (bookworm-backports, of which only qemu is installed)"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) bookworm-backports main" |
            as_root tee /etc/apt/sources.list.d/dunlin-backports.list >/dev/null
    fi
    say "installing QEMU from bookworm-backports"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install -y --no-install-recommends -t bookworm-backports qemu-system-arm
    [[ $(qemu_version) -ge $qemu_least ]] || die "QEMU $(qemu_version) is too old for the boards" \
        "this needs Debian 12 with bookworm-backports, or any QEMU from $qemu_least on in PATH"
}

# An apt of its own for arm64: own sources, own lists, own idea of what is installed (nothing).
board_apt() {
    local state=$root/$board_dir/apt
    if [[ ! -s $state/apt.conf ]]; then
        mkdir -p "$state"/{lists/partial,cache/archives/partial}
        : >"$state/status"
        local suite
        for suite in bookworm bookworm-updates bookworm-backports; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main"
        done >"$state/sources.list"
        cat >"$state/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
END
    fi
    APT_CONFIG=$state/apt.conf "$@"
}

# fetch_board_package NAME=VERSION: the .deb, into target/board/debs.
fetch_board_package() {
    local pinned=$1 name=${1%%=*}
    if ! compgen -G "${name}_*.deb" >/dev/null; then
        say "fetching $name for arm64"
        if ! board_apt apt-get -qq download "$pinned" 2>/dev/null; then
            [[ $name == linux-image-* ]] && die "the archive no longer has $pinned" \
                "set kernel_version in scripts/setup_board.sh to what it has: $(board_apt apt-cache depends \
                    linux-image-arm64/bookworm-backports | sed -n 's/^ *Depends: //p')"
            say "the archive no longer has $pinned; taking the $name that it has now"
            board_apt apt-get -qq download "$name"
        fi
    fi
}

setup_board() {
    install_packages "${packages_run[@]}" "${packages_board[@]}"
    install_rust
    install_qemu
    mkdir -p "$board_dir"
    # All of it again where the list changed, so that no old package stays behind.
    local wanted=$board_dir/sysroot/.packages
    if [[ ! -e $wanted || $(<"$wanted") != "${board_packages[*]}" ]]; then
        rm -rf "$board_dir"/{apt,debs,sysroot}
        mkdir -p "$board_dir"/{debs,sysroot}
        say "fetching package lists for arm64 into $board_dir/apt"
        board_apt apt-get -qq update
        local package
        for package in "${board_packages[@]}"; do
            (cd "$board_dir/debs" && fetch_board_package "$package")
        done
        for package in "$board_dir"/debs/*.deb; do dpkg-deb -x "$package" "$board_dir/sysroot"; done
        rm -rf "$board_dir/debs"
        echo "${board_packages[*]}" >"$wanted"
    fi
}
