#!/usr/sbin/busybox sh
# The first process of a test machine: mounts what a node has, runs /command, says how it ended.
# The kernel's log is on ttyS0; everything here speaks on ttyS1. The shell is busybox, which takes
# its own commands before those in PATH, hence the paths.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tracefs trace /sys/kernel/tracing
for word in $(cat /proc/cmdline); do
    case $word in vmnonce=*) nonce=${word#vmnonce=} ;; esac
done
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb
export WHYDROP_BIN=/payload/whydrop
# The clock counts instructions, and this processor executes few of them a second.
export WHYDROP_TEST_SLOW=6
/usr/sbin/ip link set lo up

# What a node has loaded before whydrop starts, where these are modules.
for module in nf_conntrack nf_conntrack_netlink nf_tables tcp_diag br_netfilter tun veth vxlan; do
    /usr/sbin/modprobe "$module"
done

# begin NAME PROGRAM…: runs a program of which the tests belong to NAME.
begin() {
    name=$1
    shift
    echo "@$nonce begin $name"
    "$@"
    echo "@$nonce end $name $?"
}

. /command
echo "@$nonce done"
sync
poweroff -f
