#!/bin/busybox sh
# The first process of the virtual machine of kernel.mjs: mounts the host's file system, with a layer
# in memory over it, does job.sh there and ends.
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
echo "millrace: up"
# Which needs which is different from kernel to kernel: what could not be loaded is tried again.
for attempt in 1 2 3 4; do
  while read -r module; do
    [ -e "/modules/$module.ko" ] && $busybox insmod "/modules/$module.ko" 2>/dev/null &&
      $busybox rm "/modules/$module.ko"
  done </modules/order
done

# A kernel that is a program of the host's reads its files itself.
if $busybox grep -q hostfs /proc/filesystems; then
  $busybox mount -t hostfs -o ro none /lower
else
  $busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /lower
fi
$busybox mount -t tmpfs -o size=60% tmpfs /upper
$busybox mkdir /upper/data /upper/work
$busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /whole
for folder in proc sys dev; do
  $busybox mount --move /$folder /whole/$folder
done
$busybox mkdir -p /whole/dev/shm /whole/dev/pts
$busybox mount -t tmpfs tmpfs /whole/dev/shm
$busybox ln -sf /proc/self/fd /whole/dev/fd
# Loopback, and as many descriptors as tests of many connections take.
$busybox ifconfig lo 127.0.0.1 up
ulimit -n 65536
$busybox cp /job.sh /whole/tmp/job.sh
$busybox chroot /whole /bin/bash /tmp/job.sh
echo "millrace: the tests ended with code $?"
$busybox poweroff -f
