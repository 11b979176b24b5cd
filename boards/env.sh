# Sourced by the scripts beside it: where things are, how to speak, how to get a mount namespace of our own, where
# Debian's packages come from.
# shellcheck shell=bash disable=SC2034,SC2154 # what is used elsewhere, and $log of the caller
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PATH=$PATH:/usr/sbin:/sbin # chroot is there, and a Debian user has not got it
cache=${HYPERNODE_TOOLCHAIN:-${XDG_CACHE_HOME:-$HOME/.cache}/hypernode/toolchain}
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

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
    # 2.38 is of Debian 13, whose libm brings a new fmod. Of these processors two have no instruction that does the same;
    # toml_writer asks for it, to write floats, of which a network file has none.
    armhf) triple=armv7-unknown-linux-gnueabihf gcc=arm-linux-gnueabihf qemu=(qemu-arm) glibc=2.38 ;;
    riscv64) triple=riscv64gc-unknown-linux-gnu gcc=riscv64-linux-gnu qemu=(qemu-riscv64) ;;
    amd64) triple=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu qemu=() glibc=2.38 ;;
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

# Ends with the tail of $log, which the caller has set.
failed() {
    tail -n 15 "$log" | sed 's/^/    /' >&2
    die "$@" "the whole log: $log"
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

# Prints $HYPERNODE_DEBIAN_MIRROR, or the first of apt's own sources which is a Debian with our suite, asked for through
# apt with its proxies. What apt says goes to $log.
find_mirror() {
    local uri file
    if [ -n "${HYPERNODE_DEBIAN_MIRROR:-}" ]; then
        echo "$HYPERNODE_DEBIAN_MIRROR"
        return
    fi
    file=$cache/InRelease
    # shellcheck disable=SC2016 # apt fills the format in
    for uri in $(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sort -u); do
        if /usr/lib/apt/apt-helper download-file "${uri%/}/dists/$suite/InRelease" "$file" >>"$log" 2>&1 &&
            grep -qx 'Origin: Debian' "$file" && grep -qx "Codename: $suite" "$file"; then
            rm -f "$file"
            echo "${uri%/}"
            return
        fi
    done
    rm -f "$file"
    echo http://deb.debian.org/debian
}

# mmdebstrap does not read the host's apt.conf: what says how to reach a mirror is added to its options.
reaches_mirror() {
    local line
    local -n into=$1
    while IFS= read -r line; do
        into+=(--aptopt="$line")
    done < <(apt-config dump 2>/dev/null | grep -E '^Acquire::(https?|Retries|ForceIPv|Check-)')
}
