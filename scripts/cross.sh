# shellcheck shell=bash disable=SC2154
# Sourced by what builds for the devices, or looks at what was built: how `cross` is called, and the target's tools.

# shellcheck disable=SC2034 # those who source this use both
target=aarch64-unknown-linux-gnu
# shellcheck disable=SC2034 # those who source this use it
tools=aarch64-linux-gnu-

# run_cross ARGUMENTS: cross with Docker, or, where there is none, with podman.
run_cross() {
    if have docker && docker info >/dev/null 2>&1; then
        cross "$@"
        return
    fi
    CONTAINERS_CONF=$root/deploy/cross/containers.conf CROSS_CONTAINER_ENGINE=podman \
        CROSS_BUILD_OPTS=--network=host CROSS_CONTAINER_OPTS="--network=host ${CROSS_CONTAINER_OPTS:-}" cross "$@"
}

# release_build ARGUMENTS: what is released, and what must come out of it again. Nothing unwinds (panic is abort), and what
# names the calls of a crash is kept aside: without tables for it in the binary the compiler writes them as .debug_frame,
# which scripts/symbolize.sh --core reads. Not in .cargo/config.toml: tests unwind.
release_build() {
    # The time before which no clock of a device can be right; the same commit gives the same bytes.
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} \
    run_cross build --locked --release --target "$target" --config "target.$target.rustflags=['-Cforce-unwind-tables=no']" "$@"
}

# split_symbols WHOLE STRIPPED: strips a copy of WHOLE, and leaves what it lost in STRIPPED.debug.
split_symbols() {
    "${tools}objcopy" --only-keep-debug "$1" "$2.debug"
    "${tools}strip" --strip-all -o "$2.new" "$1"
    "${tools}objcopy" --add-gnu-debuglink="$2.debug" "$2.new"
    chmod 0644 "$2.debug"
    mv -f "$2.new" "$2"
}

# build_id FILE: in hexadecimal.
build_id() { "${tools}readelf" --notes "$1" | sed -n 's/^ *Build ID: //p'; }

# glibc_floor FILE...: the highest version of glibc that any of them asks for.
glibc_floor() { "${tools}objdump" -T "$@" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1; }

# from_image FOLDER FILE...: copies files, by their whole paths, out of the image that cross built for the target.
from_image() {
    local folder=$1 engine=podman image
    shift
    if have docker && docker info >/dev/null 2>&1; then engine=docker; fi
    export CONTAINERS_CONF=$root/deploy/cross/containers.conf
    image=$("$engine" images --quiet --filter "label=org.cross-rs.for-cross-target=$target" \
        --filter "label=org.cross-rs.workspace_root=$root")
    # The newest comes first.
    image=${image%%$'\n'*}
    [[ -n $image ]] || die "there is no image for $target" "scripts/build.sh"
    "$engine" run --rm --network=host --volume "$folder:/out" "$image" cp --dereference "$@" /out
}
