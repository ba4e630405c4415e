# shellcheck shell=bash
# Two network namespaces with a veth pair between them: the script runs in one, "in_peer COMMAND" in the other. To be sourced first, with the
# script's own arguments: it starts the script again, in a namespace that goes with it, and ends it with 77, which is a
# skip, where none can be made. Gives `work`, a directory that is removed in the end, and `peer`, the pid whose namespace is the other.

skip() {
    echo "skip: $*"
    exit 77
}

for tool in unshare nsenter ip ping ethtool; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

if [ -z "${TAEL_IN_NAMESPACE-}" ]; then
    export TAEL_IN_NAMESPACE=1
    if [ "$(id -u)" = 0 ] && unshare --net true 2>/dev/null; then
        exec unshare --net "$0" "$@"
    elif unshare --user --map-root-user --net true 2>/dev/null; then
        exec unshare --user --map-root-user --net "$0" "$@"
    fi
    skip "network namespaces cannot be made here"
fi

work=$(mktemp -d)
export XDG_RUNTIME_DIR=$work

# The peer's namespace lives as long as a process in it.
unshare --net sleep 3600 &
peer=$!
in_peer() { nsenter --target "$peer" --net "$@"; }
for _ in $(seq 100); do
    [ "$(readlink "/proc/$peer/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.05
done

# end_namespaces PIDS...: to be trapped at the exit, with what else runs.
end_namespaces() {
    kill "$@" "$peer" 2>/dev/null || true
    wait
    rm -rf "$work"
}

# A veth pair of MTU $1: tael0, which DPDK takes, here; peer0, the kernel's, with the address 10.77.0.1 there.
make_veth() {
    ip link add tael0 mtu "$1" type veth peer name peer0 mtu "$1" netns "$peer" || skip "no veth pair can be made here"
    ip link set lo up
    in_peer ip link set lo up
    ip link set tael0 up
    in_peer ip address add 10.77.0.1/24 dev peer0
    in_peer ip link set peer0 up
    # Else the peer leaves checksums to a device that is not there. Ping's replies would be checked and dropped.
    in_peer ethtool --offload peer0 tx off >/dev/null
}
