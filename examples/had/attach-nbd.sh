#!/bin/sh
# Makes a block device of storage by the kernel's client of NBD. It needs nbd-client, and the module
# nbd, loaded.
#
#   attach-nbd.sh [attach|detach]        with HAD_UNIT, HAD_SOCKET, HAD_EXPORT, HAD_DEVICE
#
# Both are harmless when there is nothing to do. A client whose server was killed is taken away as
# well: its requests fail then.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

is_attached() {
    nbd-client -check "$HAD_DEVICE" >/dev/null 2>&1
}

detach() {
    is_attached || return 0
    if grep -q "^$HAD_DEVICE " /proc/mounts; then
        echo "$HAD_DEVICE is mounted" >&2
        exit 1
    fi
    nbd-client -disconnect "$HAD_DEVICE" >/dev/null || exit 1
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        is_attached || return 0
        sleep 0.1
    done
    echo "$HAD_DEVICE is still there" >&2
    exit 1
}

attach() {
    # What is there may be of a server that is gone.
    detach
    nbd-client -unix "$HAD_SOCKET" -name "$HAD_EXPORT" -timeout 30 "$HAD_DEVICE" >/dev/null || exit 1
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(cat "/sys/block/${HAD_DEVICE##*/}/size" 2>/dev/null || echo 0)" != 0 ] && return 0
        sleep 0.1
    done
    echo "$HAD_DEVICE has no size" >&2
    exit 1
}

case "${1:-attach}" in
attach) attach ;;
detach) detach ;;
*) echo "usage: $0 [attach|detach]" >&2; exit 64 ;;
esac
