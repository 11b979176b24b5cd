# Sourced by the scripts beside it: where things are, how to speak, how to get a mount namespace of our own.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PATH=$PATH:/usr/sbin:/sbin # chroot is there, and a Debian user has not got it
cache=${HYPERNODE_TOOLCHAIN:-${XDG_CACHE_HOME:-$HOME/.cache}/hypernode/toolchain}

say() { printf '%s: %s\n' "boards/${0##*/}" "$*" >&2; }
die() {
    local line
    for line in "$@"; do say "$line"; done
    exit 1
}

# What is to be known of an architecture: Rust's name and the compiler's, the qemu that runs it here if one is needed,
# and the glibc that boards have.
architectures='arm64|armhf|riscv64|amd64'
architecture() {
    # Of Debian 12: many boards still run it.
    glibc=2.36
    case $1 in
    arm64) triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu qemu=(qemu-aarch64) ;;
    # Of Debian 13: its libm brings the fmod of 2.38 into the 32-bit binary. Which crate asks for it is not known yet.
    armhf) triple=armv7-unknown-linux-gnueabihf gcc=arm-linux-gnueabihf qemu=(qemu-arm) glibc=2.38 ;;
    riscv64) triple=riscv64gc-unknown-linux-gnu gcc=riscv64-linux-gnu qemu=(qemu-riscv64) ;;
    amd64) triple=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu qemu=() ;;
    *) die "usage: boards/${0##*/} $architectures" ;;
    esac
}

# The date that binaries and packages bear: of the last commit, so that the same source gives the same bytes.
source_date() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        printf '%s\n' "$SOURCE_DATE_EPOCH"
    else
        git -C "$repo" log -1 --format=%ct 2>/dev/null || die "git does not say when this source was committed" \
            "set SOURCE_DATE_EPOCH to its date, in seconds since 1970"
    fi
}

# Runs a command where every mount disappears with it, whatever way it ends. Without root, in a user
# namespace in which we are root and the sub-ids of /etc/subuid are everybody else.
private() {
    if [ "$(id -u)" = 0 ]; then
        unshare --mount -- "$@"
    else
        unshare --map-root-user --map-auto --mount -- "$@"
    fi
}
