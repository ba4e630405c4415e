#!/bin/bash
# The client library on a real server: the example, then a load over four sessions while the server is killed again and
# again. All that was acknowledged exists, once.
# usage: kills.sh PATH-OF-TAEL POST EXAMPLE
tael=$1
post=$2
example=$3
dir=$(mktemp -d)
ledger=$dir/ledger
server=
fail() {
    echo "kills.sh: $*" >&2
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

"$tael" format --accounts-max 2000 --transfers-max 200000 "$ledger" >/dev/null || fail "format"
start
"$example" "$to" >"$dir/example" || fail "the example: $(cat "$dir/example")"
grep -q "account 2 was credited 100" "$dir/example" || fail "the example: $(cat "$dir/example")"
kill -TERM "$server"
wait "$server" || fail "the server ends with $?"
rm -rf "$ledger"
"$tael" format --accounts-max 2000 --transfers-max 200000 "$ledger" >/dev/null || fail "format"
start

transfers=100000
"$post" "$to" 4 "$transfers" 1 40 250 >"$dir/post" 2>&1 &
load=$!
kills=0
while kill -0 "$load" 2>/dev/null; do
    sleep 0.2
    [ $kills -lt 5 ] || continue
    kill -9 "$server"
    wait "$server" 2>/dev/null
    kills=$((kills + 1))
    start
done
wait "$load" || fail "$(cat "$dir/post")"
[ $kills -ge 2 ] || fail "only $kills kills: the load was too fast"
json=$("$tael" trial-balance --to "$to" --json) || fail "trial balance: $json"
[[ $json == *"\"debits_posted\": \"$transfers\", \"credits_posted\": \"$transfers\""* ]] || fail "sums: $json"
kill -TERM "$server"
wait "$server" || fail "the server ends with $?"
server=
"$tael" verify "$ledger" >/dev/null || fail "verify"
echo "$kills kills"
cat "$dir/post"
