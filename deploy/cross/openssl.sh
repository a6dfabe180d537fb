#!/usr/bin/env bash
# Builds the part of OpenSSL that dunlin uses: two static libraries and their headers.
#
#   deploy/cross/openssl.sh SOURCE PREFIX [TOOLS]
#
#   SOURCE  an OpenSSL source tree, which is left as it is: the folder openssl/ of the crate openssl-src
#   PREFIX  where lib/ and include/ are made, anew
#   TOOLS   the prefix of the C compiler's name, aarch64-linux-gnu- for the devices; nothing for this machine
#
# What is left out is listed below by reason. `scripts/test.sh aarch64` shows that the rest works.
set -euo pipefail

case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
esac
[[ $# -ge 2 && -f $1/Configure ]] || { echo "usage: $0 SOURCE PREFIX [TOOLS]; SOURCE holds OpenSSL's Configure" >&2; exit 64; }
# Absolute, since it is built elsewhere.
source=$(cd "$1" && pwd) prefix=$(realpath --canonicalize-missing "$2") tools=${3:-}
machine=$("${tools}gcc" -dumpmachine)
machine=${machine%%-*}

left_out=(
    # Only libraries are wanted, and no others with them.
    no-shared no-module no-apps no-docs no-tests no-demos no-comp no-zlib
    # The agent speaks TLS 1.3 or nothing, and QUIC by quinn, which needs ciphers of OpenSSL and not its protocol.
    no-dtls no-tls1 no-tls1_1 no-tls1_2 no-quic no-srp no-srtp no-psk no-nextprotoneg no-ech no-ct no-ktls no-tfo
    no-integrity-only-ciphers no-tls-deprecated-ec no-sctp no-ssl-trace no-sslkeylog
    # Ciphers, digests, MACs and signatures that neither TLS 1.3 nor X.509 as we use it asks for. The provider's tables name
    # every algorithm, so that no linker can drop what is not switched off here.
    no-legacy no-weak-ssl-ciphers no-aria no-bf no-blake2 no-camellia no-cast no-des no-idea no-md4 no-mdc2 no-rc2 no-rc4
    no-rmd160 no-seed no-siphash no-siv no-sm2 no-sm3 no-sm4 no-whirlpool no-ocb no-dsa no-ec2m no-gost no-lms
    no-ml-dsa no-slh-dsa no-dh no-cmac
    # Derivations for passwords, SSH, Kerberos and others that a gateway has no use for.
    no-argon2 no-scrypt no-krb5kdf no-snmpkdf no-srtpkdf no-sshkdf no-pvkkdf no-x942kdf no-x963kdf no-kbkdf no-sskdf
    no-hmac-drbg-kdf
    # Formats and protocols around certificates: time stamps, CMS, CMP, OCSP, addresses of networks, an HTTP client.
    no-cms no-cmp no-ts no-ocsp no-rfc3779 no-http no-dgram
    no-ec_explicit_curves
    # Nothing of the device decides what the agent does: no openssl.cnf is read unless code asks. No terminal is asked.
    no-autoload-config no-ui-console
    # Never used: coroutines, pools of threads, self-tests of FIPS, sources of entropy beside the kernel's.
    no-async no-thread-pool no-default-thread-pool no-fips-securitychecks no-acvp-tests no-multiblock no-egd
    # Errors are numbers: their texts are 250 KB, and `openssl errstr NUMBER` knows them on any desk. No paths in them.
    no-err no-filenames
)

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
# The same bytes on every day: OpenSSL stores when it was built.
export SOURCE_DATE_EPOCH=0
# Hidden: no symbol of it leaves the agent, whatever a driver or the device brings. Sections: the linker drops what is not
# called. No tables for unwinding in the agent: nothing unwinds through C. -g1 has them written as .debug_frame, which is
# stripped and kept aside: the calls of a crash in here, or below it, are found by them. Undefined: the table for fast P-256
# is 150 KB, and a gateway does a few such operations a handshake. pac-ret: return addresses are signed, where the processor
# can.
flags=(-Os -g1 -fPIE -fvisibility=hidden -ffunction-sections -fdata-sections
    -fstack-protector-strong -fno-asynchronous-unwind-tables -fno-unwind-tables -DOPENSSL_SMALL_FOOTPRINT -UECP_NISTZ256_ASM)
if [[ $machine == aarch64 ]]; then flags+=(-mbranch-protection=pac-ret); fi

# OpenSSL has a table of some 1,500 objects, with two names, a number and an entry in three indices each: 260 KB, with what
# the loader has to relocate. Kept are those that its own code names, those of AES, whose names it puts together from parts,
# and what stands in certificates as names, extensions and purposes; another is then what an unknown object is to it anyway,
# its numbers with dots. The numbers of the kept ones do not change. `scripts/test.sh aarch64` shows that none is missing.
# The generator is OpenSSL's; the source tree is read through links, since it is left as it is.
cp -rs "$source" "$build/source"
objects=$build/source/crypto/objects
mapfile -t sources < <(find "$source"/{crypto,ssl,providers,include} -type f \( -name '*.[ch]' -o -name '*.in' -o -name '*.inc' \) \
    ! -name obj_dat.h ! -name obj_mac.h ! -name obj_compat.h)
[[ ${#sources[@]} -gt 1000 ]] || { echo "$0: ${#sources[@]} files of C are not the whole of OpenSSL" >&2; exit 1; }
perl -e '
    my ($names, @sources) = @ARGV;
    my %kept;
    for (@sources) {
        open(my $in, "<", $_) or die "$_: $!";
        while (<$in>) { $kept{$1} = 1 while /\b(?:NID|SN|LN|OBJ)_(\w+)/g }
    }
    open(my $in, "<", $names) or die "$names: $!";
    my @lines = <$in>;
    for (@lines) { $kept{$1} = 1 if /^#define OBJ_(\w+)\s+OBJ_(?:X509|id_ce|id_pe|id_kp|pkcs9|pilotAttributeType),/ }
    for (@lines) { $kept{$1} = 1 if /^#define NID_(aes_\w+|HKDF_\w+)\s/ }
    for (@lines) { print unless /^#define NID_(\w+)/ && !$kept{$1} }
' "$source/include/openssl/obj_mac.h" "${sources[@]}" >"$build/obj_mac.h"
rm "$objects/obj_dat.h"
# The year is that of a comment; without it git is asked.
OSSL_COPYRIGHT_YEAR=1970 perl "$objects/obj_dat.pl" "$build/obj_mac.h" >"$objects/obj_dat.h"
echo "objects: $(grep -c '^#define NID_' "$build/obj_mac.h") of $(grep -c '^#define NID_' "$source/include/openssl/obj_mac.h") kept"

cd "$build"
# libdir is Debian's, where its packages of providers put theirs; openssldir is nobody's but the agent's.
"$build/source/Configure" "linux-$machine" "--cross-compile-prefix=$tools" --prefix=/usr "--libdir=lib/$machine-linux-gnu" \
    --openssldir=/etc/dunlin/openssl "${left_out[@]}" "${flags[@]}" >configure.log 2>&1 ||
    { cat configure.log >&2; exit 1; }
# AES-CBC joined with HMAC is for TLS 1.2, and has no option of its own. Where its header says that the processor cannot,
# the provider lists none of it, and 62 KB of assembler are not asked for.
mkdir -p include/crypto
printf '%s\n' '#include_next "crypto/aes_platform.h"' '#undef AES_CBC_HMAC_SHA_ETM_CAPABLE' >include/crypto/aes_platform.h
# The folder has another name each time, and the compiler writes down the name it is given: this one is true of any.
PWD=/proc/self/cwd make -s -j"$(nproc)" build_libs >make.log 2>&1 || { tail -40 make.log >&2; exit 1; }
rm -rf "$prefix"
mkdir -p "$prefix/lib" "$prefix/include"
cp libssl.a libcrypto.a "$prefix/lib"
cp -r "$source/include/openssl" "$prefix/include"
# Headers that are made from *.in lie in the build folder.
cp include/openssl/*.h "$prefix/include/openssl"
find "$prefix/include" -name '*.in' -delete
echo "OpenSSL $(sed -n 's/^MAJOR=//p' "$source/VERSION.dat").$(sed -n 's/^MINOR=//p' "$source/VERSION.dat").$(sed -n \
    's/^PATCH=//p' "$source/VERSION.dat") for $machine in $prefix: $(stat -c '%n %s' "$prefix"/lib/*.a | sed "s|$prefix/lib/||" | tr '\n' ' ')"
