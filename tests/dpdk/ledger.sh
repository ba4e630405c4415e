#!/usr/bin/env bash
# A ledger behind a port of DPDK, kernel clients on the other side: ping, accounts and transfers of all sizes by datagrams, a network
# that loses, repeats and reorders, kill -9, what is there afterwards; TCP beside it, into the same ledger.
# usage: ledger.sh PATH-OF-tael
set -euo pipefail


# shellcheck source=tests/support/namespaces.sh
. "$(dirname "$0")/../support/namespaces.sh"

tael=$1
server=
# shellcheck disable=SC2086
trap 'end_namespaces $server' EXIT
readonly to=10.77.0.2:3000
device=net_af_packet0,iface=tael0,qdisc_bypass=1,blocksz=262144,framesz=2048,framecnt=512

fail() {
    echo "ledger.sh: $*" >&2
    cat "$work"/log >&2
    exit 1
}

start() {
    : >"$work/log"
    "$tael" start --eal "--no-telemetry --file-prefix=tael-ledger --vdev=$device" --address 10.77.0.2 "$@" "$work/ledger" >>"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        grep -q "^datagrams to $to" "$work/log" && return
        kill -0 "$server" 2>/dev/null || fail "the server does not start"
        sleep 0.05
    done
    fail "the server is not ready"
}

stop() {
    kill -TERM "$server"
    wait "$server" || fail "the server ended with status $?"
    server=
}

kill_server() {
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    server=
}

# bench ARGS...: all that was sent is there, or it says so.
bench() { in_peer "$tael" bench --udp --to "$to" --warm-up 0 --json "$@" >"$work/bench.json" || fail "tael bench --udp $*"; }

# field NAME: of the last one's report.
field() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$work/bench.json" | head -1; }

balanced() {
    in_peer "$tael" trial-balance --udp --to "$to" --json >"$work/balance.json" || fail "no trial balance"
    grep -q '"balanced": *true' "$work/balance.json" || fail "the books do not balance"
}

make_veth 1500
"$tael" format --cluster 0 --transfers-max 200000 --accounts-max 20000 --segment-size 4M "$work/ledger" >/dev/null

# What is wanted and what is not.
start
in_peer ping -c 3 -i 0.2 -W 5 -q 10.77.0.2 >/dev/null || fail "ping is not answered"
bench --sessions 8 --batch 1 --transfers 2000 --accounts 1000
bench --sessions 4 --batch 11 --transfers 11000 --accounts 1000
bench --sessions 2 --batch 8189 --transfers 32756 --accounts 10000
balanced
echo 'create_accounts id=77000 code=1 ledger=3; lookup_accounts id=77000;' >"$work/statements"
in_peer "$tael" repl --udp --to "$to" <"$work/statements" >"$work/repl" || fail "tael repl --udp"
grep -q 77000 "$work/repl" || fail "an account is not found by datagrams"
in_peer "$tael" bench --to "$to" --sessions 1 --transfers 1 --timeout 1 >/dev/null 2>&1 && fail "TCP is answered on a port of DPDK"
# Somebody else's bytes.
# shellcheck disable=SC2016 # it is the other shell that expands them
in_peer bash -c 'for size in 1 95 96 1472; do head -c $size /dev/urandom >/dev/udp/10.77.0.2/3000; done'
sleep 0.2
kill -USR1 "$server"
sleep 0.5
grep -q 'datagram_rejected' "$work/log" || fail "datagrams of random bytes are not counted"
kill_server

# The same with faults, over a kill, and TCP beside it.
start --listen 127.0.0.1:3001
balanced
(bench --sessions 4 --batch 500 --transfers 20000 --accounts 1000 --faults drop=20,duplicate=20,reorder=20,corrupt=1,seed=5) &
load=$!
sleep 1
kill_server
start --listen 127.0.0.1:3001
wait "$load" || fail "the load did not get over a kill"
bench --sessions 2 --batch 8189 --transfers 16378 --accounts 10000 --faults drop=10,duplicate=10,reorder=10,seed=6
balanced
"$tael" bench --to 127.0.0.1:3001 --sessions 2 --batch 100 --transfers 2000 --accounts 1000 --warm-up 0 >/dev/null || fail "TCP beside datagrams"
stop

"$tael" verify --json "$work/ledger" >"$work/verify.json" || fail "tael verify"
grep -q '"balanced": *true' "$work/verify.json" || fail "the log's books do not balance"

# The socket of a killed server of vhost is no obstacle to the next one.
device=net_vhost0,iface=$work/vhost
start
kill_server
[ -S "$work/vhost" ] || fail "no socket of vhost was left"
start
stop
