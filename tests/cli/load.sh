#!/bin/bash
# ACH files into a real server: totals, a second load, a load killed midway, the server killed midway, returns, the trial
# balance, and the tools that look at the directory afterwards. Each entry must be posted once, whatever was killed.
# usage: load.sh PATH-OF-TAEL DIRECTORY-OF-ACH-FILES
tael=$1
files=$2
entries=20000
# shellcheck source=tests/support/server.sh
. "$(dirname "$0")/../support/server.sh" || exit 1

# field NAME JSON: the value of a key of the outermost object.
field() { python3 -c 'import json, sys; print(json.dumps(json.loads(sys.argv[2])[sys.argv[1]]))' "$1" "$2"; }

# expect JSON NAME=VALUE...
expect() {
    json=$1
    shift
    for pair in "$@"; do
        value=$(field "${pair%%=*}" "$json")
        [ "$value" = "${pair#*=}" ] || fail "${pair%%=*} is $value, wanted ${pair#*=}: $json"
    done
}

# A file of credits to a few hundred accounts, its trace numbers all the same.
python3 - "$entries" >"$dir/many.ach" <<'PYTHON'
import sys
count = int(sys.argv[1])
bank, records, total = "23138010", [], 0
records.append("101 231380104 1210428822611240900A094101" + "FEDERAL RESERVE BANK".ljust(23) + "MY BANK".ljust(31))
records.append("5220" + "ACME".ljust(36) + "1210428820PPDPAYROLL".ljust(29) + "261125   1121042880000001")
for i in range(count):
    total += i + 1
    records.append("622" + bank + "4" + str(i % 300).ljust(17) + "%010d" % (i + 1) + " " * 39 + "0121042880000001")
sums = "%010d" % (int(bank) * count % 10**10) + "0" * 12 + "%012d" % total
records.append("8220%06d" % count + sums + "1210428820" + " " * 25 + "121042880000001")
records.append("9000001%06d%08d" % ((len(records) + 10) // 10, count) + sums + " " * 39)
print("\n".join(records))
PYTHON
gzip -k "$dir/many.ach"
credits=$((entries * (entries + 1) / 2))

"$tael" format --accounts-max 10000 --transfers-max 200000 "$ledger" >/dev/null || fail "format"
start

# A load that is killed midway, then whole, then again: packed or not is the same file.
"$tael" load --to "$to" --batch 2 "$dir/many.ach" >/dev/null 2>&1 &
load=$!
sleep 0.4
kill -9 "$load" 2>/dev/null
wait "$load" 2>/dev/null
json=$("$tael" load --to "$to" --json "$dir/many.ach.gz") || fail "load after the kill: $json"
expect "$json" entries=$entries rejected=0 debits=0 credits=$credits control_matched=true
posted=$(field posted "$json")
[ $((posted + $(field duplicates "$json"))) = $entries ] || fail "posted and duplicates: $json"
echo "killed midway: $((entries - posted)) posted before, $posted behind"
json=$("$tael" load --to "$to" --json "$dir/many.ach") || fail "second load: $json"
expect "$json" posted=0 duplicates=$entries rejected=0

# The server is killed under a load that goes on, in a ledger of its own; nothing is lost and nothing posted twice.
"$tael" load --to "$to" --json --batch 10 --ledger 978 "$dir/many.ach" >"$dir/other" 2>&1
[ $? = 1 ] || fail "the same ids in another ledger: $(cat "$dir/other")"
sed 's/ACME/EMCA/' "$dir/many.ach" >"$dir/other.ach"
"$tael" load --to "$to" --json --batch 5 "$dir/other.ach" >"$dir/during" 2>>"$dir/log" &
load=$!
for _ in 1 2 3; do
    sleep 0.15
    kill_server
    start
done
wait "$load" || fail "load over restarts: $(cat "$dir/during")"
json=$(cat "$dir/during")
expect "$json" posted=$entries duplicates=0 rejected=0 interrupted=false

json=$("$tael" trial-balance --to "$to" --json) || fail "trial balance: $json"
expect "$json" balanced=true
[[ $json == *"\"debits_posted\": \"$((2 * credits))\", \"credits_posted\": \"$((2 * credits))\""* ]] || fail "sums: $json"

# A file and its returns come to nothing on every account; a wrong batch and a wrong file post nothing.
json=$("$tael" load --to "$to" --json --ledger 1 "$files/payments.ach" "$files/returns.ach") || fail "returns: $json"
expect "$json" posted=8 returns=4 rejected=0
json=$("$tael" load --to "$to" --json --ledger 1 "$files/batch_credits.ach" 2>/dev/null) && fail "batch_credits.ach: $json"
expect "$json" entries=8 posted=4 rejected=4 control_matched=false
json=$("$tael" load --to "$to" --json --ledger 1 "$files/file_credits.ach" 2>/dev/null) && fail "file_credits.ach: $json"
expect "$json" entries=8 posted=0 rejected=8 control_matched=false

json=$("$tael" demo --to "$to" --ledger 2 --accounts 50 --transfers 20000 --singles 5 --json) || fail "demo: $json"
expect "$json" posted=20005 failed=0

kill -TERM "$server"
wait "$server" || fail "the server ends with $?"
server=
json=$("$tael" verify --json "$ledger") || fail "verify: $json"
expect "$json" ok=true balanced=true
op=$(field op "$json")
json=$("$tael" inspect --json --blocks 2 --events 1 "$ledger") || fail "inspect: $json"
[[ $json == *"\"op_last\": $op,"*"\"clean\": true"* ]] || fail "inspect: $json"
"$tael" inspect --from 3 --blocks 1 --events 2 "$ledger" | grep -q "operation create_" || fail "inspect --from 3"
