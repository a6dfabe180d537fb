# shellcheck shell=bash disable=SC2154
# Sourced by what builds for the devices, or looks at what was built: how `cross` is called, and the target's tools.

# shellcheck disable=SC2034 # those who source this use both
target=aarch64-unknown-linux-gnu
# shellcheck disable=SC2034 # those who source this use it
tools=aarch64-linux-gnu-

# container_engine: the one that CROSS_CONTAINER_ENGINE names, docker where its daemon answers, or podman.
container_engine() {
    if [[ -n ${CROSS_CONTAINER_ENGINE:-} ]]; then
        echo "$CROSS_CONTAINER_ENGINE"
    elif have docker && docker info >/dev/null 2>&1; then
        echo docker
    else
        echo podman
    fi
}

# with_engine COMMAND ARGUMENTS: podman as it works without a daemon and without rights; Docker as its owner has set it up.
with_engine() {
    case $(container_engine) in
        *podman) CONTAINERS_CONF=$root/deploy/cross/containers.conf "$@" ;;
        *) "$@" ;;
    esac
}

# run_cross ARGUMENTS: CROSS_BUILD_OPTS and CROSS_CONTAINER_OPTS of the caller are kept.
run_cross() {
    local engine network=
    engine=$(container_engine)
    [[ $engine != *podman ]] || network=--network=host
    CROSS_CONTAINER_ENGINE=$engine CROSS_BUILD_OPTS="$network ${CROSS_BUILD_OPTS:-}" \
        CROSS_CONTAINER_OPTS="$network ${CROSS_CONTAINER_OPTS:-}" with_engine cross "$@"
}

# cross_image: the newest image that cross built for the target here.
cross_image() {
    with_engine "$(container_engine)" images --quiet --filter "label=org.cross-rs.for-cross-target=$target" \
        --filter "label=org.cross-rs.workspace_root=$root" | sed -n 1p
}

# release_build ARGUMENTS: what is released, and what must come out of it again. Nothing unwinds (panic is abort), and what
# names the calls of a crash is kept aside: without tables for it in the binary the compiler writes them as .debug_frame,
# which scripts/symbolize.sh --core reads. What many places do alike is put aside once (the outliner): 1 % of the core build;
# and less is inlined than the compiler does for size by itself (50): half a percent more.
# Not in .cargo/config.toml: tests unwind.
release_build() {
    # The time before which no clock of a device can be right; the same commit gives the same bytes.
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
    run_cross build --locked --release --target "$target" \
        --config "target.$target.rustflags=['-Cforce-unwind-tables=no', '-Cllvm-args=-enable-machine-outliner=always -inline-threshold=20']" "$@"
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
build_id() { "${tools}readelf" --notes "$1" 2>/dev/null | sed -n 's/^ *Build ID: //p'; }

# glibc_floor FILE...: the highest version of glibc that any of them asks for.
glibc_floor() { "${tools}objdump" -T "$@" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1; }

# from_image FOLDER FILE...: copies files, by their whole paths, out of the image that cross built for the target.
from_image() {
    local folder=$1 image
    shift
    image=$(cross_image)
    [[ -n $image ]] || die "there is no image for $target" "scripts/build.sh"
    with_engine "$(container_engine)" run --rm --network=host --volume "$folder:/out" "$image" cp --dereference "$@" /out
}
