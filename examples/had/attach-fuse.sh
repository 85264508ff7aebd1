#!/bin/sh
# The kernel's device of a unit's storage where there is no module `nbd`: a loop device on a file
# that qemu-storage-daemon shows by FUSE. For [unit.device] of had:
#
#     device = "/run/had/files.device"
#     attach = ["/usr/local/libexec/had/attach-fuse.sh"]
#     detach = ["/usr/local/libexec/had/attach-fuse.sh", "detach"]
#
# The device is a symbolic link to the loop device. Either command may be repeated; `detach` also
# takes away what a had has left behind that was killed.
set -eu

file=$HAD_DEVICE.file
pid=$HAD_DEVICE.pid

# Whether the daemon is alive, and not another process that has got its number. One that has ended
# and that nobody has waited for has no program any more.
runs() {
    [ -s "$pid" ] && read -r number <"$pid" && [ -e "/proc/$number/exe" ] &&
        [ "$(cat "/proc/$number/comm" 2>/dev/null)" = qemu-storage-da ]
}

detach() {
    if loop=$(readlink "$HAD_DEVICE"); then
        losetup --detach "$loop" 2>/dev/null || :
        # In use it stays, until it is not any more.
        if [ "$(losetup --noheadings --output BACK-FILE "$loop" 2>/dev/null)" = "$file" ]; then
            echo "$loop is in use" >&2
            exit 1
        fi
        rm "$HAD_DEVICE"
    fi
    if runs; then
        kill "$number"
        while runs; do sleep 0.005; done
    fi
    # A daemon that was killed leaves its mount.
    umount "$file" 2>/dev/null || :
    rm -f "$pid" "$file"
}

if [ "${1-}" = detach ]; then
    detach
    exit
fi
# What is there now belongs to a former connection.
detach
: >"$file"
qemu-storage-daemon --daemonize --pidfile "$pid" \
    --blockdev "driver=nbd,node-name=unit,server.type=unix,server.path=$HAD_SOCKET,export=$HAD_EXPORT" \
    --export "type=fuse,id=unit,node-name=unit,mountpoint=$file,writable=on,allow-other=off"
ln -s "$(losetup --find --show --direct-io=on "$file")" "$HAD_DEVICE"
