#!/bin/sh
# `tael repl` against a real server: each statement once, its answers for people and as JSON, scripts from stdin, mistakes that
# change nothing, and a server that has gone.
# usage: repl.sh PATH-OF-TAEL
tael=$1
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    echo "repl.sh: $*" >&2
    exit 1
}

# run STATUS STATEMENTS OPTIONS...: by --command; what it prints is in $work/out and $work/err.
run() {
    wanted=$1
    statements=$2
    shift 2
    "$tael" repl --to "$address" --cluster "$cluster" "$@" --command "$statements" >"$work/out" 2>"$work/err"
    status=$?
    [ "$status" = "$wanted" ] || fail "status $status, not $wanted, of: $statements: $(cat "$work/out" "$work/err")"
}

# said TEXT: one of the answer's lines has it. complained TEXT: the same of stderr.
said() { grep -qF -- "$1" "$work/out" || fail "no '$1' in the answer to '$statements': $(cat "$work/out" "$work/err")"; }
complained() { grep -qF -- "$1" "$work/err" || fail "no '$1' in the complaint about '$statements': $(cat "$work/err")"; }
unsaid() { if grep -qF -- "$1" "$work/out"; then fail "'$1' in the answer to '$statements'"; fi; }

cluster=0xfedcba9876543210fedcba9876543210 # as wide as clients may name one
"$tael" format --cluster "$cluster" --accounts-max 1000 --transfers-max 10000 --segment-size 4M "$work/ledger" >/dev/null || fail "format"
"$tael" start --listen 127.0.0.1:0 "$work/ledger" >"$work/server.out" 2>"$work/server.err" &
server=$!
address=
for _ in $(seq 200); do
    address=$(sed -n 's/^listening on //p' "$work/server.out")
    [ -n "$address" ] && break
    kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat "$work/server.err")"
    sleep 0.05
done
[ -n "$address" ] || fail "the server does not listen"

run 0 'create_accounts id=1 ledger=700 code=10 flags=history, id=2 ledger=700 code=10;
       create_transfers id=1 debit_account_id=1 credit_account_id=2 amount=1_000 ledger=700 code=7,
                        id=0x2 debit_account_id=1 credit_account_id=2 amount=5 ledger=700 code=7 flags=pending timeout=600'
[ "$(grep -c "2 created, 0 not" "$work/out")" = 2 ] || fail "not created: $(cat "$work/out")"
run 0 'create_transfers id=3 pending_id=2 amount=-0 flags=post_pending_transfer, id=4 debit_account_id=1 credit_account_id=9
       amount=1 ledger=700 code=7;'
said "4  credit_account_not_found: the credit account does not exist"
said "1 created, 1 not"

run 0 'lookup_accounts id=1, id=9; lookup_transfers id=3;'
said "debits_posted:   1005"
said "flags:           history"
said "not found: 9"
said "pending_id:        2"
said "flags:             post_pending_transfer"
run 0 'get_account_transfers account_id=2 flags=credits|reversed limit=1;'
said "id:                3"
said "1 transfer ("
said "what may follow begins with timestamp_max="
run 0 'get_account_balances account_id=1;'
said "debits_pending:  5"
said "3 balances ("
run 0 'query_accounts ledger=700 limit=1000; query_accounts ledger=701; query_transfers code=7;'
said "2 accounts ("
said "0 accounts ("
said "3 transfers ("
run 0 'get_change_events;'
said "two_phase_pending"
said "two_phase_posted"
said "3 change events ("
run 0 'trial_balance; help; help lookup_accounts; quit; lookup_accounts id=1'
said "ledger 700, 2 accounts"
said "balanced"
said "create_transfers  "
said "for instance: lookup_accounts id=1, id=2;"
unsaid "debits_posted"

run 0 'create_accounts id=2 ledger=700 code=11; lookup_accounts id=2; get_change_events limit=2; trial_balance; help;' --json
[ "$(wc -l <"$work/out")" = 5 ] || fail "not one object for each statement: $(cat "$work/out")"
said '"status": "exists_with_different_code", "text": "the id exists with another code"'
said '"credits_posted": "1005"'
said '"limit_reached": true'
said '"balanced": true'
if command -v node >/dev/null; then
    node -e 'for (const line of require("fs").readFileSync(process.argv[1], "utf8").trim().split("\n")) JSON.parse(line)' \
        "$work/out" || fail "no JSON: $(cat "$work/out")"
fi

# Of a command all is read before anything is done.
run 1 'create_accounts id=5 ledger=700 code=10; create_accounts id=6 ledgr=700;'
complained "line 1, column 63: expected a field of an account: id, "
run 0 'lookup_accounts id=5, id=6'
said "0 accounts ("
run 1 'lookup_accounts id=x' --json
said '{"operation": null, "error": {"message": "expected a number for id, as 1_000 or 0x3e8", "line": 1, "column": 20}}'

# A script goes up to the first mistake, over lines and several statements in one.
statements="stdin"
printf 'create_accounts\n  id=5 ledger=700\n  code=10; lookup_accounts id=5;\nlookup_accounts id;\ncreate_accounts id=6 ledger=700 code=10;\n' |
    "$tael" repl --to "$address" --cluster "$cluster" >"$work/out" 2>"$work/err" && fail "a script with a mistake: status 0"
said "1 created, 0 not"
said "1 account ("
complained "line 4, column 19: expected '=' and a value for id"
complained "                    ^"
run 0 'lookup_accounts id=6;'
said "0 accounts ("
# One that is cut short is not taken for a shorter statement.
printf 'create_accounts id=6 ledger=700 code=1' | "$tael" repl --to "$address" --cluster "$cluster" >"$work/out" 2>"$work/err" &&
    fail "a statement without its end: status 0"
complained "line 1, column 39: expected ';' before the end"
run 0 'lookup_accounts id=6;'
said "0 accounts ("
"$tael" repl --to "$address" --cluster "$cluster" </dev/null >"$work/out" 2>&1 || fail "nothing to do: $(cat "$work/out")"
[ ! -s "$work/out" ] || fail "something to say about nothing: $(cat "$work/out")"

# A full batch, and one event more.
batch=$(seq -s ', id=' 1 8189)
echo "lookup_transfers id=$batch;" | "$tael" repl --to "$address" --cluster "$cluster" >"$work/out" 2>"$work/err" || fail "$(cat "$work/err")"
said "3 transfers ("
echo "lookup_transfers id=$batch, id=9;" | "$tael" repl --to "$address" --cluster "$cluster" >"$work/out" 2>"$work/err" && fail "too many events"
complained "a statement takes 8189 events at most"

# What can't be written ends it.
echo 'lookup_accounts id=1; create_accounts id=6 ledger=700 code=10;' |
    "$tael" repl --to "$address" --cluster "$cluster" >/dev/full 2>"$work/err" && fail "a full disk: status 0"
run 0 'lookup_accounts id=6;'
said "0 accounts ("

# With the server gone during the session, the request fails in its time.
# shellcheck disable=SC2094 # it waits for the first answer before it goes on
{
    echo 'lookup_accounts id=1;'
    while [ ! -s "$work/first" ]; do sleep 0.05; done
    kill -9 "$server"
    wait "$server" 2>/dev/null
    echo 'create_accounts id=6 ledger=700 code=10; lookup_accounts id=1;'
} | "$tael" repl --json --timeout 1 --to "$address" --cluster "$cluster" >"$work/first" 2>"$work/err" && fail "no server: status 0"
[ "$(wc -l <"$work/first")" = 2 ] || fail "without a server: $(cat "$work/first" "$work/err")"
grep -q '"operation": "create_accounts", "error": {"message"' "$work/first" || fail "no error: $(cat "$work/first")"
server=
echo "tael repl: every statement answered, every mistake pointed at"
