#!/usr/bin/env bash
# A DPDK host on one end of a veth pair, the kernel's network on the other, in network namespaces of their own: ARP, ping, UDP by a
# kernel socket, sizes up to the MTU and a jumbo one. Root, or a user who may make user namespaces.
# usage: namespaces.sh PATH-OF-echo_host PATH-OF-udp_ask
set -euo pipefail

# shellcheck source=tests/support/namespaces.sh
. "$(dirname "$0")/../support/namespaces.sh"

echo_host=$1
udp_ask=$2
host=
# shellcheck disable=SC2086
trap 'end_namespaces $host' EXIT

fail() {
    echo "namespaces.sh: $*" >&2
    cat "$work"/host.* >&2
    exit 1
}

# start_host MTU DEVICE-ARGUMENTS: rings of 1 MiB, since a user may lock only 8.
start_host() {
    "$echo_host" "--no-telemetry --file-prefix=tael-test --vdev=net_af_packet0,iface=tael0,qdisc_bypass=1,$2" 10.77.0.2/24 3000 "$1" \
        >"$work/host.out" 2>"$work/host.err" &
    host=$!
    for _ in $(seq 600); do
        grep -q ^ready "$work/host.out" && return
        kill -0 "$host" 2>/dev/null || fail "the host did not start"
        sleep 0.05
    done
    fail "the host is not ready"
}

stop_host() {
    kill -TERM "$host"
    wait "$host" || fail "the host ended with exit code $?"
    host=
}

# counter NAME: of the host that was stopped.
counter() { sed -n "s/^$1 //p" "$work/host.out"; }

test_usual() {
    make_veth 1500
    start_host 1500 blocksz=262144,framesz=2048,framecnt=512
    in_peer ping -c 3 -i 0.2 -W 5 -q 10.77.0.2 >/dev/null || fail "ping is not answered"
    in_peer ping -c 1 -W 5 -s 1472 -M "do" -q 10.77.0.2 >/dev/null || fail "a ping of the MTU's size is not answered"
    in_peer ip neigh show 10.77.0.2 | grep -q "$(sed -n 's/^ready //p' "$work/host.out")" || fail "ARP tells another MAC"
    for size in 0 1 100 1471 1472; do
        in_peer "$udp_ask" 10.77.0.2:3000 20 "$size" 5 || fail "no echo of $size bytes"
    done
    # The driver has the kernel put fragments together: one byte more comes in whole and cannot be sent back; what is
    # longer than a slot of the driver's ring comes in cut.
    in_peer "$udp_ask" 10.77.0.2:3000 1 1473 1 2>/dev/null && fail "an echo of two fragments"
    in_peer "$udp_ask" 10.77.0.2:3000 1 3000 1 2>/dev/null && fail "an echo of three fragments"
    in_peer "$udp_ask" 10.77.0.2:3001 1 10 1 2>/dev/null && fail "an echo of another port"
    # With the peer's checksums left unfinished datagrams are taken all the same.
    in_peer ethtool --offload peer0 tx on >/dev/null
    in_peer ping -c 1 -W 5 -q 10.77.0.2 >/dev/null || fail "ping is not answered where checksums are unfinished"
    in_peer "$udp_ask" 10.77.0.2:3000 20 100 5 || fail "no echo of what has an unfinished checksum"
    stop_host
    [ "$(counter datagrams)" -ge 121 ] || fail "datagrams are not counted"
    [ "$(counter drop_ip_length)" = 1 ] || fail "what was cut is not counted"
    [ "$(counter drop_other_port)" = 1 ] || fail "datagrams for another port are not counted"
    [ "$(counter drop_ip_checksum)" = 0 ] || fail "wrong IP checksums"
    ip link del tael0
}

test_jumbo() {
    make_veth 9000
    start_host 9000 blocksz=262144,framesz=16384,framecnt=64
    in_peer ping -c 1 -W 5 -s 8972 -M "do" -q 10.77.0.2 >/dev/null || fail "a jumbo ping is not answered"
    in_peer "$udp_ask" 10.77.0.2:3000 20 8972 5 || fail "no echo of jumbo datagrams"
    stop_host
    ip link del tael0
}

test_usual
test_jumbo
