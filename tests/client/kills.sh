#!/bin/bash
# The client library on a real server: the example, then a load over four sessions while the server is killed again and
# again. All that was acknowledged exists, once.
# usage: kills.sh PATH-OF-TAEL POST EXAMPLE
tael=$1
post=$2
example=$3
# shellcheck source=tests/support/server.sh
. "$(dirname "$0")/../support/server.sh" || exit 1

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
    kill_server
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
