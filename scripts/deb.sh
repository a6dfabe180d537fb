#!/usr/bin/env bash
# Packs a built agent and its drivers into a .deb.
#
#   scripts/deb.sh [--binaries DIR] [--revision N] [--out DIR]
#
#   --binaries DIR   where `dunlin` and `drivers/` are (target/aarch64-unknown-linux-gnu/release); their machine is the
#                    package's architecture
#   --revision N     Debian revision, 1 by default: VERSION-N
#   --out DIR        where the package and its .sha256 go (target/deb)
#
# What the package depends on is read from the binaries: the C library by the highest symbol version that they ask for,
# and every library of the agent. Libraries of drivers are recommended: a driver without its library fails by itself.
# The same binaries and the same commit give the same bytes (SOURCE_DATE_EPOCH, or the commit's time).
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

binaries=target/aarch64-unknown-linux-gnu/release revision=1 out=target/deb
while [[ $# -gt 0 ]]; do
    case $1 in
        --binaries | --revision | --out)
            [[ -n ${2:-} ]] || die "$1 wants a value" "scripts/deb.sh --help"
            declare "${1#--}=$2"
            shift 2
            ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
        *) die "does not know ${1@Q}" "scripts/deb.sh --help" ;;
    esac
done
[[ $revision =~ ^[0-9]+$ ]] || die "a revision is a number, not ${revision@Q}" "--revision 2"
for tool in dpkg-deb readelf; do
    have "$tool" || die "there is no $tool" "scripts/setup.sh flash"
done
[[ -x $binaries/dunlin && -e $binaries/drivers/sim.so ]] ||
    die "there is no agent with drivers in ${binaries@Q}" "scripts/build.sh, or --binaries DIR"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)-$revision
case $(readelf -h "$binaries/dunlin" | sed -n 's/^ *Machine: *//p') in
    AArch64) architecture=arm64 strip=aarch64-linux-gnu-strip ;;
    *X86-64) architecture=amd64 strip=x86_64-linux-gnu-strip ;;
    *) die "${binaries@Q} holds neither an AArch64 nor an x86-64 program" "scripts/build.sh" ;;
esac
have "$strip" || die "there is no $strip" "scripts/setup.sh test"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# package_of SONAME: the Debian and Ubuntu packages that bring it, in every release from Debian 11 and Ubuntu 20.04 on.
package_of() {
    case $1 in
        libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libutil.so.1 | ld-linux-*) ;;
        libgcc_s.so.1) echo libgcc-s1 ;;
        libssl.so.3 | libcrypto.so.3) echo "libssl3 | libssl3t64" ;;
        libssl.so.1.1 | libcrypto.so.1.1) echo libssl1.1 ;;
        libmodbus.so.5) echo libmodbus5 ;;
        libsensors.so.5) echo libsensors5 ;;
        libgpiod.so.2) echo libgpiod2 ;;
        libgpiod.so.3) echo libgpiod3 ;;
        libiio.so.0) echo libiio0 ;;
        *) die "does not know which package brings $1" "add it to package_of in scripts/deb.sh" ;;
    esac
}
needed() { readelf -d "$@" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u; }
# Joined by commas, as in a control file.
packages_of() { while read -r soname; do package_of "$soname"; done | sort -u | paste -sd, | sed 's/,/, /g'; }

mapfile -t drivers < <(find "$binaries/drivers" -name '[!.]*.so' | sort)
libc=$(readelf -V "$binaries/dunlin" "${drivers[@]}" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
others=$(needed "$binaries/dunlin" | packages_of)
depends="libc6 (>= ${libc#GLIBC_})${others:+, $others}"
recommends=$(needed "${drivers[@]}" | packages_of)
[[ $others != *libssl* ]] ||
    say "careful: this agent needs $others and runs only where that is; scripts/build.sh links OpenSSL into it"

mkdir -p "$out"
package=dunlin_${version}_$architecture.deb
tree=$(mktemp -d)
trap 'rm -rf "$tree" "$out/$package.new"' EXIT
# Said, since bash goes on where the program that it waits for takes the signal for itself.
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$tree"
umask 022
put() { install -D -m "$1" "$2" "$tree$3"; }

put 755 "$binaries/dunlin" /usr/bin/dunlin
for driver in "${drivers[@]}"; do
    put 644 "$driver" "/usr/lib/dunlin/drivers/${driver##*/}"
    "$strip" --strip-unneeded "$tree/usr/lib/dunlin/drivers/${driver##*/}"
done
for unit in deploy/systemd/*; do put 644 "$unit" "/usr/lib/systemd/system/${unit##*/}"; done
put 644 deploy/sysusers/dunlin.conf /usr/lib/sysusers.d/dunlin.conf
put 644 deploy/udev/60-dunlin.rules /usr/lib/udev/rules.d/60-dunlin.rules
put 644 deploy/debian/dunlin.toml /etc/dunlin/dunlin.toml
put 644 deploy/debian/lintian-overrides /usr/share/lintian/overrides/dunlin
put 644 docs/configuration.md /usr/share/doc/dunlin/configuration.md
put 644 docs/pipeline.md /usr/share/doc/dunlin/pipeline.md
put 644 docs/identity.md /usr/share/doc/dunlin/identity.md
for page in docs/drivers/*.md; do put 644 "$page" "/usr/share/doc/dunlin/drivers/${page##*/}"; done
{
    cat deploy/debian/copyright
    sed -n '/^Permission/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'
} >"$tree/usr/share/doc/dunlin/copyright"
printf 'dunlin (%s) stable; urgency=medium\n\n  * Built from the repository; its history is the log of changes.\n\n -- %s  %s\n' \
    "$version" "The dunlin developers <packages@dunlin.invalid>" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$tree/usr/share/doc/dunlin/changelog.Debian.gz"

for script in postinst prerm postrm; do put 755 "deploy/debian/$script" "/DEBIAN/$script"; done
put 644 deploy/debian/conffiles /DEBIAN/conffiles
installed=$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f 1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@INSTALLED_KIB@/$installed/" \
    -e "s/@DEPENDS@/$depends/; s/@RECOMMENDS@/$recommends/" deploy/debian/control.in >"$tree/DEBIAN/control"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
chmod 644 "$tree/DEBIAN/control" "$tree/DEBIAN/md5sums"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

# xz, which dpkg of every release reads; zstd it reads from Debian 12 on.
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/$package.new" >/dev/null
rm -f "$out/$package.sha256"
mv "$out/$package.new" "$out/$package"
(cd "$out" && sha256sum "$package" >"$package.sha256")
say "$out/$package, $(stat -c %s "$out/$package") bytes; depends: $depends; recommends: $recommends"
