#!/bin/sh
# More roles than processors: a commit must take no more than twice as long as the bare write does that makes it durable. Roles that
# looked for work all the time would keep what the kernel does for the disk from its turn: a commit then takes milliseconds.
# usage: trap.sh PATH-OF-TAEL
tael=$1
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tael-trap-XXXXXX")
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT
commits=3000

fail() {
    echo "trap.sh: $*" >&2
    cat "$work"/out "$work"/err >&2
    exit 1
}

processors=$(taskset -cp $$ | sed 's/.*: //')
first=${processors%%[-,]*}
rest=${processors#"$first"}
[ -n "$rest" ] || {
    echo "skip: one processor"
    exit 77
}
case $rest in
-*) second=$((first + 1)) ;;
*) second=$(echo "${rest#,}" | sed 's/[-,].*//') ;;
esac

# bare: what one durable write of 4 KiB takes, in us.
bare() {
    dd if=/dev/zero of="$work/file" bs=4k count=$commits oflag=direct,dsync conv=notrunc 2>&1 |
        awk -v n=$commits '/copied/ { for (i = 2; i <= NF; i++) if ($i ~ /^s,?$/) printf "%d\n", $(i - 1) * 1e6 / n }'
}

counter() { sed -n "s/^ *$1 *\([0-9]*\) .*/\1/p" "$work/err" | tail -1; }

# commit: what one takes a server of five threads on two processors, in us.
commit() {
    rm -rf "$work/ledger"
    "$tael" format --accounts-max 20000 --transfers-max 100000 "$work/ledger" >/dev/null || fail "format"
    : >"$work/out"
    "$tael" start --lazy-memory --listen 127.0.0.1:0 --cores "net=$first,log=$second,worker=$first,$second,$second" \
        "$work/ledger" >"$work/out" 2>"$work/err" &
    server=$!
    for _ in $(seq 200); do
        address=$(sed -n 's/^listening on //p' "$work/out")
        [ -n "$address" ] && break
        sleep 0.05
    done
    [ -n "$address" ] || fail "the server does not listen"
    "$tael" bench --to "$address" --sessions 1 --batch 1 --accounts 100 --transfers $commits >"$work/bench" 2>&1 ||
        fail "bench: $(cat "$work/bench")"
    kill -USR1 "$server"
    for _ in $(seq 100); do
        [ -n "$(counter log_commit_us)" ] && break
        sleep 0.05
    done
    kill -TERM "$server"
    wait "$server" || fail "exit status $?"
    server=
    counter log_commit_us
}

dd if=/dev/zero of="$work/file" bs=4k count=$commits oflag=direct,dsync 2>/dev/null || {
    echo "skip: no direct writes in $work"
    exit 77
}
# The machine's disk has good moments and bad ones: one of five tries has to do.
for try in 1 2 3 4 5; do
    bare_us=$(bare)
    commit_us=$(commit)
    echo "bare write $bare_us us, commit $commit_us us"
    [ "${bare_us:-0}" -gt 0 ] || fail "try $try wrote nothing"
    [ "${commit_us:-0}" -gt 0 ] || fail "try $try counted no commit"
    [ "$commit_us" -le $((2 * bare_us)) ] && exit 0
done
fail "a commit takes more than twice as long as a bare write"
