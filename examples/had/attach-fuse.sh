#!/bin/sh
# Makes a block device of storage, for machines whose kernel has no NBD: qemu-storage-daemon is the
# client and shows the storage as a file by FUSE, and losetup makes a device of that. HAD_DEVICE
# becomes a symbolic link to it, so give it a name of its own, such as /run/had/files.dev.
#
#   attach-fuse.sh [attach|detach]       with HAD_UNIT, HAD_SOCKET, HAD_EXPORT, HAD_DEVICE
#
# Both are harmless when there is nothing to do. What was left behind by somebody who was killed,
# with requests that nobody answers, is taken away as well.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

file="$HAD_DEVICE.fuse"
pidfile="$HAD_DEVICE.pid"

# The process of the client, if it lives and is what it was. One that has ended, and for which nobody
# has waited, has no program any more. The name of a process is cut to 15 characters.
client() {
    [ -s "$pidfile" ] && read -r pid <"$pidfile" && [ -e "/proc/$pid/exe" ] &&
        read -r name <"/proc/$pid/comm" && [ "$name" = qemu-storage-da ]
}

detach() {
    if [ -L "$HAD_DEVICE" ]; then
        loop=$(readlink "$HAD_DEVICE")
        # As long as it is mounted it is only marked to go; then this must not succeed.
        if grep -q "^$loop " /proc/mounts; then
            echo "$loop is mounted" >&2
            exit 1
        fi
        timeout 5 losetup --detach "$loop" 2>/dev/null
        rm -f "$HAD_DEVICE"
    fi
    if client; then
        kill "$pid" 2>/dev/null
        # Short waits: a planned move of the unit waits as well.
        tries=100
        while [ $tries -gt 0 ] && client; do
            sleep 0.01
            tries=$((tries - 1))
        done
        client && kill -KILL "$pid" 2>/dev/null
    fi
    if grep -q " $file fuse" /proc/mounts; then
        umount --lazy "$file" 2>/dev/null
    fi
    rm -f "$pidfile" "$file"
    return 0
}

attach() {
    if [ -b "$HAD_DEVICE" ] && client; then
        return 0
    fi
    detach
    : >"$file"
    qemu-storage-daemon --daemonize --pidfile "$pidfile" \
        --blockdev "driver=nbd,node-name=had,server.type=unix,server.path=$HAD_SOCKET,export=$HAD_EXPORT" \
        --export "type=fuse,id=had,node-name=had,mountpoint=$file,writable=on,growable=off" || exit 1
    # Not with direct I/O, which does not get through FUSE unharmed. What is flushed is written.
    loop=$(losetup --find --show --direct-io=off "$file") || { detach; exit 1; }
    ln -sfn "$loop" "$HAD_DEVICE"
}

case "${1:-attach}" in
attach) attach ;;
detach) detach ;;
*) echo "usage: $0 [attach|detach]" >&2; exit 64 ;;
esac
