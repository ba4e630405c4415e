#!/usr/bin/env bash
# tests/crash/test_kills by datagrams: the server behind a port of DPDK, its clients in another network namespace, with a network between
# them of which a fifth is lost, a fifth comes twice and a fifth in another order.
# usage: kills.sh PATH-OF-test_kills PATH-OF-tael PATH-OF-model_digest
set -euo pipefail

# shellcheck source=tests/support/namespaces.sh
. "$(dirname "$0")/../support/namespaces.sh"

trap 'end_namespaces' EXIT
readonly device=net_af_packet0,iface=tael0,qdisc_bypass=1,blocksz=262144,framesz=2048,framecnt=512

make_veth 1500
TAEL_CRASH_KILLS=${TAEL_CRASH_KILLS-10} in_peer "$1" "$2" "$3" $$ "--no-telemetry --file-prefix=tael-kills --vdev=$device" 10.77.0.2:3000 \
    drop=20,duplicate=20,reorder=20,corrupt=1,seed=1
