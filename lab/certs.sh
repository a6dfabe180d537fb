#!/usr/bin/env bash
# Makes certificates for a broker and its clients on loopback, for tests and demonstrations.
#
#   lab/certs.sh DIR [CLIENT...]     clients are `agent` and `subscriber` unless named
#
# DIR/ca.pem signs DIR/server.pem (localhost, 127.0.0.1, ::1, and 10.0.2.2, as which QEMU's user network shows loopback
# to a board) and DIR/CLIENT.pem, each with its key beside it as .key.
# EC P-256, valid for 30 days; what is there and valid for another day is kept.
set -euo pipefail

[[ $# -ge 1 && $1 != -* ]] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 64; }
mkdir -p "$1"
cd "$1"
shift
[[ $# -gt 0 ]] || set -- agent subscriber
umask 077

valid() { [[ -s $1.pem && -s $1.key ]] && openssl x509 -in "$1.pem" -noout -checkend 86400 >/dev/null; }

# key_and NAME SUBJECT ARGUMENTS...: a key and what `openssl req` makes with it.
key_and() {
    local name=$1 subject=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -subj "/CN=$subject" "$@" 2>/dev/null
}

if ! valid ca; then
    rm -f -- *.pem
    key_and ca "dunlin lab CA" -x509 -days 30 -out ca.pem \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
fi

# leaf NAME SUBJECT EXTENSIONS
leaf() {
    valid "$1" && return 0
    key_and "$1" "$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 30 \
        -out "$1.pem" -extfile <(printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n%b\n' "$3") 2>/dev/null
    rm -f "$1.csr"
}

leaf server localhost 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,IP:10.0.2.2'
for client in "$@"; do
    leaf "$client" "$client" 'extendedKeyUsage=clientAuth'
done
