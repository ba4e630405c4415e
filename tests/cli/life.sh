#!/bin/sh
# The life of a ledger from the command line: format, start, a second start, demo, stop, verify, skip-op, limits raised,
# a port that is taken, the counters, also of several workers, that an idle server sleeps, where its threads run, and scratch ledgers.
# usage: life.sh PATH-OF-TAEL
tael=$1
work=$(mktemp -d)
dir=$work/ledger
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    echo "life.sh: $*" >&2
    echo "--- the server's output:" >&2
    cat "$work"/server.* >&2
    exit 1
}

# start OPTIONS...: in the background, on a port of the kernel's choice; sets `server` and `address`.
start() {
    # Emptied here, not in the background: what the last server said must not be taken for this one's word.
    : >"$work/server.out"
    : >"$work/server.err"
    "$tael" start --listen 127.0.0.1:0 "$@" "$dir" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    for _ in $(seq 200); do
        address=$(sed -n 's/^listening on //p' "$work/server.out")
        [ -n "$address" ] && return
        kill -0 "$server" 2>/dev/null || fail "the server did not start"
        sleep 0.05
    done
    fail "the server does not listen"
}

# stop SIGNAL: and its exit status must be 0.
stop() {
    kill "-$1" "$server"
    wait "$server" || fail "exit status $? after SIG$1"
    server=
}

# json KEY: of the last verify.
verify() { "$tael" verify --json "$@" "$dir" >"$work/verify" || fail "verify failed: $(cat "$work/verify")"; }
json() { sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p" "$work/verify"; }

"$tael" format --accounts-max 20000 --transfers-max 400000 --segment-size 16M "$dir" >/dev/null || fail "format"
"$tael" format "$dir" 2>"$work/err" && fail "a second format"
grep -q "there is a ledger" "$work/err" || fail "the second format says: $(cat "$work/err")"
[ "$(stat -c %a "$dir")" = 700 ] || fail "the directory's mode"
[ -z "$(find "$dir" -type f ! -perm 600)" ] || fail "a file's mode"
verify
[ "$(json op)" = 0 ] || fail "an empty ledger's op"

start --lazy-memory # what touches memory behind would count as not idle
"$tael" start --listen 127.0.0.1:0 "$dir" >/dev/null 2>"$work/err" && fail "two servers on one ledger"
grep -q "process $server" "$work/err" || fail "the second start does not name the first: $(cat "$work/err")"
"$tael" verify "$dir" >/dev/null 2>&1 && fail "verify under a running server"
"$tael" format "$work/other" >/dev/null
"$tael" start --listen "$address" "$work/other" >/dev/null 2>"$work/err" && fail "two servers on one port"
grep -q "cannot listen on $address" "$work/err" || fail "the taken port: $(cat "$work/err")"
"$tael" demo --to "$address" >"$work/demo" || fail "demo: $(cat "$work/demo")"
kill -USR1 "$server"
before=$(cut -d ' ' -f 14,15 "/proc/$server/stat")
sleep 2
after=$(cut -d ' ' -f 14,15 "/proc/$server/stat")
[ $((${after% *} + ${after#* } - ${before% *} - ${before#* })) -le 4 ] || fail "idle, it spins: $before, then $after"
grep -q "replies to logged requests" "$work/server.err" || fail "no counters"
stop TERM
grep -q "stopped at op" "$work/server.err" || fail "no word of its end"

verify
[ "$(json balanced)" = true ] || fail "not balanced"
op=$(json op)
digest=$(json digest)
transfers=$(json transfers)
[ "$op" -gt 30 ] || fail "op $op"
verify --until $((op - 1))
[ "$(json op)" = $((op - 1)) ] || fail "--until"

start --accounts-max 16 --transfers-max 500000
grep -q "^op $op: replayed $op ops .* nothing cut" "$work/server.out" || fail "the start line"
grep -q "transfers-max is raised from 400000 to 500000" "$work/server.err" || fail "a limit raised"
stop INT
start --accounts-max 1000
grep -q "limits only rise" "$work/server.err" || fail "a limit that would fall"
kill -9 "$server"
wait "$server" 2>/dev/null
server=
verify
[ "$(json digest)" = "$digest" ] || fail "the digest changed without a request"

"$tael" skip-op --op $((op + 1)) "$dir" 2>"$work/err" && fail "an op that is not there is skipped"
grep -q "there is no op $((op + 1))" "$work/err" || fail "skip-op: $(cat "$work/err")"
"$tael" skip-op "$dir" 2>/dev/null
[ $? = 2 ] || fail "skip-op without --op"
"$tael" skip-op --op "$op" "$dir" >/dev/null || fail "skip-op"
verify
[ "$(json op)" = "$op" ] || fail "the op after skip-op"
[ "$(json transfers)" = $((transfers - 1)) ] || fail "the transfers after skip-op: $(json transfers) of $transfers"
start
grep -q "ops left out.*: 1" "$work/server.err" || fail "no word of the op that is left out"
"$tael" trial-balance --to "$address" >/dev/null || fail "trial balance"
stop TERM

# transfers FIRST AMOUNT: 300 at once, the last of AMOUNT, one of an account that is not there.
transfers() {
    awk -v first="$1" -v amount="$2" 'BEGIN {
        for (i = 0; i < 300; i++) printf "%s id=%d debit_account_id=900001 credit_account_id=%d amount=%s ledger=9 code=1\n",
            i == 0 ? "create_transfers" : ",", first + i, i == 7 ? 999999 : 900002, i == 299 ? amount : 1
        print ";"
    }' | "$tael" repl --to "$address" >"$work/repl" 2>&1
    grep -q "299 created, 1 not" "$work/repl" || fail "transfers from $1: $(tail -n 2 "$work/repl")"
}
# counted NAME COUNT
counted() { grep -q "^ *$1  *$2  " "$work/server.err" || fail "not counted: $1 $2"; }

start --workers 3
"$tael" repl --to "$address" --command "create_accounts id=900001 ledger=9 code=1, id=900002 ledger=9 code=1;" >/dev/null
transfers 901000 1
transfers 902000 281474976710656
transfers 903000 1
kill -USR1 "$server"
stop TERM
counted step_events_residue 1
counted listed_account_unknown 1
counted steps_sequential 1
counted sequential_amount 1
counted steps_backed_off 1
grep -q "listed_closed" "$work/server.err" && fail "a reason that never came up"

# The same ledger with more workers than it ever had, and with roles apart, each where it was told to be.
start --workers 7
"$tael" trial-balance --to "$address" >/dev/null || fail "trial balance by seven workers"
stop TERM
verify
digest=$(json digest)
for workers in 2 3; do
    verify --workers "$workers"
    [ "$(json digest)" = "$digest" ] || fail "$workers workers make $(json digest) of it, one makes $digest"
done
allowed=$(taskset -cp $$ | sed 's/.*: //')
first=${allowed%%[-,]*}
last=${allowed##*[-,]}
start --cores "net=$first,log=$last,worker=$first,$last"
grep -q "^processors: net $first, log $last, workers $first,$last$\|^processors: .*workers $first-$last$" \
    "$work/server.out" || fail "where roles run: $(cat "$work/server.out")"
# thread NAME PROCESSOR: there is a thread of that name, and it may run there only. The log's bears the program's name.
thread() {
    for task in "/proc/$server/task"/*; do
        [ "$(cat "$task/comm")" = "$1" ] || continue
        [ "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$task/status")" = "$2" ] && return
    done
    fail "no thread $1 on processor $2"
}
thread tael "$last"
[ "$first" = "$last" ] || thread net "$first"
thread "worker 1" "$last"
"$tael" trial-balance --to "$address" >/dev/null || fail "trial balance with roles apart"
stop TERM
"$tael" start --listen 127.0.0.1:0 --cores "net=$first,log=$first" "$dir" >/dev/null 2>"$work/err"
[ $? = 2 ] || fail "a map without workers: $(cat "$work/err")"
"$tael" start --listen 127.0.0.1:0 --idle=often "$dir" >/dev/null 2>"$work/err"
[ $? = 2 ] || fail "--idle=often"
grep -q "idle is sleep or spin" "$work/err" || fail "--idle says: $(cat "$work/err")"
# A scratch ledger says what it is, and is not served by TCP.
scratch=$work/scratch
"$tael" format --scratch --segment-size 4M "$scratch" >"$work/out" || fail "format --scratch"
grep -q "a scratch ledger, for measuring" "$work/out" || fail "format --scratch says: $(cat "$work/out")"
"$tael" start --listen 127.0.0.1:0 "$scratch" >"$work/out" 2>"$work/err" && fail "a scratch ledger is served by TCP"
grep -q "this is a scratch ledger" "$work/err" || fail "a scratch ledger by TCP: $(cat "$work/err")"
"$tael" verify "$scratch" | grep -q "^scratch" || fail "verify does not show a scratch ledger"
"$tael" verify --json "$scratch" | grep -q '"scratch": *true' || fail "verify --json of a scratch ledger"
"$tael" inspect "$scratch" | grep -q "scratch *\(true\|yes\)" || fail "inspect: $("$tael" inspect "$scratch")"
"$tael" verify --json "$dir" | grep -q '"scratch": *false' || fail "verify --json of a ledger"
echo "all held, $op ops"
