#!/bin/sh
# The exit status and the stream of each way to call the program wrongly or rightly: 0 done, 1 failed, 2 wrong usage.
# usage: exit.sh PATH-OF-TAEL DIRECTORY-OF-ACH-FILES
tael=$1
files=$2
failed=0

# expect STATUS TEXT ARGUMENTS...: the status, and a text that stdout (status 0) or stderr (else) holds.
expect() {
    wanted_status=$1
    wanted_text=$2
    shift 2
    out=$("$tael" "$@" 2>/tmp/tael_exit_err.$$)
    status=$?
    err=$(cat /tmp/tael_exit_err.$$)
    [ "$wanted_status" = 0 ] && said=$out || said=$err
    case $said in
    *"$wanted_text"*) found=1 ;;
    *) found=0 ;;
    esac
    if [ "$status" != "$wanted_status" ] || [ $found = 0 ]; then
        echo "tael $*: status $status, wanted $wanted_status and '$wanted_text'; stdout: $out; stderr: $err" >&2
        failed=1
    fi
}

expect 2 "usage: tael COMMAND"
expect 0 "commands:" --help
expect 0 "commands:" help
expect 2 "there is no command 'frobnicate'" frobnicate
expect 0 "tael " version
expect 0 "tael " --version
expect 0 '"version"' version --json
expect 0 "usage: tael version" version --help
expect 2 "there is no option --nonsense" version --nonsense
expect 2 "--json=1 takes no value" version --json=1
expect 2 "one word too many" version more

expect 2 "FILE... is missing" load
expect 2 "--ledger takes a number from 1 to 4294967295, not '0'" load --ledger 0 file
expect 2 "--to needs a value" load --to
expect 1 "No such file" load --check /nonexistent/file.ach
expect 1 "is no address" load --to nowhere file.ach
expect 1 "refused" load --to 127.0.0.1:1 --timeout 1 file.ach
expect 1 "is no address" trial-balance --to localhost
expect 1 "refused" trial-balance --to 127.0.0.1:1 --timeout 1
expect 1 "refused" demo --to 127.0.0.1:1 --timeout 1
expect 1 "refused" repl --to 127.0.0.1:1 --timeout 1
expect 1 "expected one of create_accounts" repl --to 127.0.0.1:1 --command 'pay me;'
expect 2 "one word too many" repl 'help;'
expect 2 "--accounts takes a number from 8" demo --accounts 7
expect 2 "above --ledger-max" trial-balance --ledger-min 9 --ledger-max 3
expect 0 '"control_matched": true' load --check --json "$files/two_batches.ach" "$files/payments.ach.gz"
expect 0 "all control totals match" load --check "$files/returns.ach"
expect 1 "the packed file ends in the middle" load --check "$files/payments_truncated.ach.gz"
expect 1 "must be '094'" load --check "$files/record_size.ach"
expect 1 "(batch) the control" load --check "$files/batch_credits.ach"
expect 1 "1 more problems, not shown" load --check --problems 1 "$files/batch_service_class.ach"

expect 2 "DIR is missing" inspect
expect 1 "No such file" inspect /nonexistent
expect 1 "there is no ledger here" inspect "$files"

expect 2 "no ADDR:PORT" start --listen here /nonexistent
expect 2 "--eal needs an --address" start --eal "" /nonexistent
expect 2 "--address is for --eal" start --address 10.0.0.1 /nonexistent
for address in 10.0.0 10.0.0.1/24 10.0.0.1:x 127.0.0.1 224.0.0.1 ::1; do
    expect 2 "takes the IPv4 address of one host" start --eal "" --address "$address" /nonexistent
done

# What can't be written hasn't been done.
if "$tael" version >/dev/full 2>/dev/null; then
    echo "tael version >/dev/full: status 0" >&2
    failed=1
fi

# Every command explains itself.
for command in $("$tael" --help | sed -n 's/^  \([a-z-]*\) .*/\1/p'); do
    expect 0 "usage: tael $command" "$command" --help
    expect 2 "there is no option" "$command" --nonsense
done

rm -f /tmp/tael_exit_err.$$
exit $failed
