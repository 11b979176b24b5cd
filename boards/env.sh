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

# Runs a command where every mount disappears with it, whatever way it ends. Without root, in a user
# namespace in which we are root and the sub-ids of /etc/subuid are everybody else.
private() {
    if [ "$(id -u)" = 0 ]; then
        unshare --mount -- "$@"
    else
        unshare --map-root-user --map-auto --mount -- "$@"
    fi
}
