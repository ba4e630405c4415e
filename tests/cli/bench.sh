#!/bin/sh
# The load generator against real servers, with small numbers: its counts add up, the books balance, it cleans up, and it
# says what is wrong with its options.
# usage: bench.sh PATH-OF-TAEL
tael=$1
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT
export TMPDIR="$work/temporary"
mkdir "$TMPDIR"

fail() {
    echo "bench.sh: $*" >&2
    echo "--- what it printed last:" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

bench() { "$tael" bench --warm-up 1 --json "$@" >"$work/out" 2>"$work/err"; }

# json KEY: the first of that name.
json() { grep -o "\"$1\": \"\{0,1\}[^,\"}]*" "$work/out" | head -1 | sed 's/.*: "\{0,1\}//'; }

# expect KEY VALUE
expect() { [ "$(json "$1")" = "$2" ] || fail "$1 is $(json "$1"), not $2"; }

# all_created TRANSFERS: in the run that was measured.
all_created() {
    expect transfers "$1"
    expect created "$1"
    expect rejected "{"
    expect failed_batches 0
    expect balanced true
    [ -z "$(ls -A "$TMPDIR")" ] || fail "it left $(ls -A "$TMPDIR")"
}

# On ledgers of its own, which are gone afterwards.
bench --accounts 500 --transfers 20011 --batch 1000 --sessions 3 || fail "closed loop"
all_created 20011
expect batches 21
expect requests 21
expect accounts_opened 500
bench --transfers 30000 --batch 700 --sessions 2 --pending 30 --voids 50 --chains 40 --chain-length 5 ||
    fail "two-phase and chains"
all_created 30000
bench --transfers 5000 --batch 10 --sessions 2 --clients 2 --outstanding 50 --choice hot --history ||
    fail "more batches at once than sessions"
all_created 5000
expect batches 500
[ "$(json requests)" -lt 500 ] || fail "batches don't share requests"
bench --transfers 3000 --batch 1 --sessions 8 --choice zipf --rate 20000 || fail "at a rate"
all_created 3000
rate=$(json transfers_per_s)
[ "${rate%.*}" -le 20100 ] || fail "faster than asked for: $rate"
grep -q '"rate_is_held": ' "$work/out" || fail "no word of whether the rate is held"
bench --transfers 3000 --batch 1 --sessions 1 --rate 900000 || fail "at a rate that one session can't have"
expect rate_is_held false
all_created 3000
bench --transfers 3000 --batch 1 --sessions 8 --rate 20000 --clients 2 || fail "at a rate, two clients"
all_created 3000
grep -q '"late_us": {"count": ' "$work/out" || fail "no word of how late it was"
"$tael" bench --transfers 2000 --batch 100 --runs 3 >"$work/out" 2>"$work/err" || fail "three runs"
grep -q "^median .* of 3 runs" "$work/out" || fail "no median"
grep -q "^balanced$" "$work/out" || fail "no trial balance"

# In the server's own process, on one thread and with roles apart; what it keeps is a ledger as any other.
in_process() {
    bench --in-process --start "$work/inside" "$@" || fail "in process: $*"
    expect balanced true
    expect failed_batches 0
    for role in net log worker; do
        grep -q "\"$role\": {\"time\": 0\.[0-9]*[1-9]" "$work/out" || fail "no share of $role"
    done
    cp "$work/out" "$work/inside.json"
    "$tael" verify --json "$work/inside" >"$work/out" 2>"$work/err" || fail "verify of a ledger made in process"
    expect balanced true
    verified=$(json transfers)
    rm -rf "$work/inside"
    cp "$work/inside.json" "$work/out"
}
in_process --transfers 20011 --batch 1000 --sessions 3 --accounts 500
expect created 20011
expect requests 21
expect accounts_opened 500
[ "$verified" = 22013 ] || fail "$verified transfers in the ledger, not the warm-up's 2002 besides"
in_process --transfers 30000 --batch 700 --sessions 5 --pending 30 --chains 40 --chain-length 5 --workers 2 --runs 2
expect created 30000
in_process --transfers 3000 --batch 1 --sessions 8 --cores auto
expect created 3000
bench --in-process --rate 1000 && fail "in process at a rate"
grep -q "in-process knows no --rate" "$work/err" || fail "no word of the rate"
bench --in-process --transfers 1000 --cores net=0,log=0,worker=9999 && fail "a processor that is not there"
[ -z "$(ls -A "$TMPDIR")" ] || fail "in process it left $(ls -A "$TMPDIR")"

# On a ledger that it keeps, of which the last batch is short for lack of room.
bench --start "$work/kept" --seconds 100 --transfers-max 30000 --batch 1000 --sessions 2 || fail "until the ledger is full"
expect balanced true
"$tael" verify --json "$work/kept" >"$work/out" 2>"$work/err" || fail "verify"
expect transfers 30000
expect balanced true
bench --start "$work/kept" --transfers 1 && fail "a second ledger in one directory"
grep -q "there is a ledger" "$work/err" || fail "no word of the ledger that is there"

# On a server that runs already: twice, with the same accounts and other transfers.
"$tael" format "$work/ledger" >/dev/null || fail "format"
: >"$work/server.out"
"$tael" start --listen 127.0.0.1:0 "$work/ledger" >"$work/server.out" 2>"$work/server.err" &
server=$!
for _ in $(seq 200); do
    address=$(sed -n 's/^listening on //p' "$work/server.out")
    [ -n "$address" ] && break
    sleep 0.05
done
for _ in 1 2; do
    bench --to "$address" --transfers 10000 --batch 500 || fail "a running server"
    all_created 10000
done
expect accounts_opened 0
expect server_cpu null
kill -TERM "$server"
wait "$server" || fail "the server's end"
server=
bench --to "$address" --timeout 1 && fail "without a server"

# A server without room is a failure, and no endless one.
"$tael" format --transfers-max 2000 "$work/small" >/dev/null || fail "format"
: >"$work/server.out"
"$tael" start --listen "$address" "$work/small" >"$work/server.out" 2>"$work/server.err" &
server=$!
for _ in $(seq 200); do
    grep -q '^listening on ' "$work/server.out" && break
    sleep 0.05
done
bench --to "$address" --transfers 5000 --batch 500 --timeout 1 && fail "a full ledger is a success"
grep -q "batches failed, the first: " "$work/err" || fail "no word of the batches that failed"
[ "$(json failed_batches)" -gt 0 ] || fail "no failed batches"
expect created 1500
expect balanced true
kill -TERM "$server"
wait "$server" || fail "the small server's end"
server=

# Stopped by a signal it cleans up all the same.
"$tael" bench --seconds 60 >"$work/out" 2>"$work/err" &
bench=$!
for _ in $(seq 200); do
    [ -n "$(ls -A "$TMPDIR"/* 2>/dev/null)" ] && break
    sleep 0.05
done
sleep 1
kill -TERM "$bench"
wait "$bench" && fail "a stopped run is a success"
[ -z "$(ls -A "$TMPDIR")" ] || fail "stopped, it left $(ls -A "$TMPDIR")"

# wrong TEXT OPTIONS...
wrong() {
    text=$1
    shift
    bench "$@"
    [ $? = 2 ] || fail "$* is accepted"
    grep -q -- "$text" "$work/err" || fail "$* says something else"
}
wrong "exclude each other" --to 1 --start "$work/x"
wrong "takes uniform, hot or zipf" --choice some
wrong "are more than 100 %" --pending 40 --chains 30
wrong "fit a batch" --chains 10 --batch 3
wrong "needs a session" --clients 5 --sessions 4
wrong "less than the sessions" --outstanding 2
echo "all held"
