# shellcheck shell=bash
# A ledger in a directory of its own and a server on it that keeps its port over all restarts. Sourced by test scripts that
# have set `tael`, the program. Gives them `dir`, which is removed at the end, `ledger` in it, `to`, the address, and the
# functions below; the server's words go to $dir/log.
: "${tael:?the program to test}"
dir=$(mktemp -d)
ledger=$dir/ledger
server=

# fail WORDS...: the test has failed.
fail() {
    echo "${0##*/}: $*" >&2
    tail -5 "$dir/log" >&2
    exit 1
}
clean_up() {
    [ -n "$server" ] && kill -9 "$server" 2>/dev/null
    rm -rf "$dir"
}
trap clean_up EXIT

# A port that the kernel thinks free; it stays the same over all restarts.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])') || fail "no port"
to=127.0.0.1:$port

start() {
    "$tael" start --listen "$to" "$ledger" >>"$dir/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null && return
        kill -0 "$server" 2>/dev/null || fail "the server doesn't start"
        sleep 0.1
    done
    fail "the server doesn't listen"
}
kill_server() {
    kill -9 "$server"
    wait "$server" 2>/dev/null
}
