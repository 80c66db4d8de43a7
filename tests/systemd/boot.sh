#!/usr/bin/env bash
# Become the PID 1 of a throw-away copy of this machine: boot.sh FOLDER, in new mount, PID, UTS, IPC, network and cgroup namespaces.
#
# The copy is an overlay of / in memory: everything installed here is there, and nothing written there lasts. It has cgroup v2, D-Bus,
# journald, and loopback alone for a network. FOLDER/up appears when it is up, in the copy as well as here.
set -euo pipefail
folder=$1
stage=$folder/stage root=$folder/stage/root
mount --make-rprivate /
mkdir "$stage"
mount -t tmpfs none "$stage"
mkdir "$stage/upper" "$stage/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$stage/upper,workdir=$stage/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys" -o ro
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t tmpfs none "$root/run"
mount -t tmpfs none "$root/dev"
for node in null zero full random urandom tty; do
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -sf pts/ptmx "$root/dev/ptmx"
mount -t tmpfs none "$root/dev/shm"
mount --bind "$folder" "$root/mnt"
# The memory controller, where the kernel has it in version 1: before any service makes a mount namespace of its own.
mkdir "$root/run/v1"
mount -t cgroup -o memory none "$root/run/v1" 2>/dev/null || rmdir "$root/run/v1"
ip link set lo up
hostname onetrainerd-lab

rm -rf "${root:?}"/etc/systemd/system/* "$root"/var/lib/onetrainerd
for file in systemd/system/tmp.mount tmpfiles.d/tmp.conf; do ln -sf /dev/null "$root/etc/$file"; done # /tmp stays as it is
cat >"$root/etc/systemd/system/up.service" <<UNIT
[Unit]
After=dbus.socket systemd-journald.service sockets.target
[Service]
Type=oneshot
ExecStart=/usr/bin/touch /mnt/up
UNIT
cat >"$root/etc/systemd/system/lab.target" <<UNIT
[Unit]
Requires=up.service
Wants=systemd-journald.service dbus.socket dbus.service sockets.target
AllowIsolate=yes
UNIT
export container=onetrainerd-lab
exec chroot "$root" /lib/systemd/systemd --system --unit=lab.target --log-target=journal --show-status=0
