#!/usr/bin/env bash
# The models of this directory, searched to the end by Spin. Then what shows that this means something: each fault that can be planted
# is found, and what is rare does happen. Tells TAP.
# usage: check.sh [MODEL...]: step, relay, crew, bell
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly source_dir

for tool in spin gcc; do
    command -v "$tool" >/dev/null || {
        echo "skip: $tool is not installed"
        exit 77
    }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failures=0

tell() {
    number=$((number + 1))
    echo "$1 $number - $2"
    [ "$1" = ok ] || {
        failures=$((failures + 1))
        sed 's/^/# /' "$work/out"
    }
}

# Searches model $3 with the definitions that follow, compiled with $1, with a table of states that begins with 2^$2
# places. What the search said is in $work/out.
search() (
    cd "$work"
    rm -f ./pan ./pan.* ./*.trail
    spin -a "${@:4}" "$source_dir/$3.pml"
    # COLLAPSE compresses states without loss. A search that needs more memory than that ends, and is no proof.
    gcc "$1" -w -DSAFETY -DCOLLAPSE -DMEMLIM=2048 -o pan pan.c
    ./pan -n -m100000 -w"$2"
) >"$work/out" 2>&1

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/out"; }
seconds() { sed -n 's/^pan: elapsed time \([0-9.]*\) seconds/\1/p' "$work/out"; }

# Whether the search has been everywhere and found nothing.
is_clean() {
    grep -q 'errors: 0$' "$work/out" && ! grep -Eq 'Search not completed|max search depth|out of memory' "$work/out"
}

# Whether it ended with an assertion or a deadlock; a model that doesn't build ends with neither.
is_found() {
    grep -Eq '^pan:1: (assertion violated|invalid end state)' "$work/out"
}

# Compiled with -O2 a search is at most a tenth faster, and takes two seconds more to compile.
# holds WHAT MODEL DEFINITIONS...
holds() {
    if search -O1 24 "${@:2}" && is_clean; then
        tell ok "$2, $1: $(states) states, $(seconds) s"
    else
        tell 'not ok' "$2, $1"
    fi
}

# A fault shows soon, so compiling is what takes time, and clearing a large table.
# finds FAULT MODEL DEFINITIONS...
finds() {
    if search -O0 18 "${@:2}" "-DFAULT_$1" && is_found; then
        tell ok "$2, a fault is found: $1, after $(states) states"
    else
        tell 'not ok' "$2, a fault is found: $1"
    fi
}

# What is asserted never to happen must be found to happen.
# reaches DEFINITION MODEL DEFINITIONS...
reaches() {
    if search -O0 18 "${@:2}" "-DNEVER_$1" && is_found; then
        tell ok "$2, this happens: $1"
    else
        tell 'not ok' "$2, this happens: $1"
    fi
}

check_step() {
    local plain=(step -DEVENTS_FIRST=3 -DEVENTS_SECOND=1)
    local chains=(step -DLINKS -DEVENTS_FIRST=2 -DEVENTS_SECOND=2)
    local pending=(step -DRESOLVE -DLINKS -DEVENTS_FIRST=2 -DEVENTS_SECOND=2)
    local what
    holds 'three events, then one' "${plain[@]}"
    holds 'chains, three events, then one' step -DLINKS -DEVENTS_FIRST=3 -DEVENTS_SECOND=1
    holds 'chains, two events, then two' "${chains[@]}"
    holds 'chains, posts and voids, two events, then two' "${pending[@]}"
    if [ -n "${TAEL_TEST_LONG-}" ]; then
        holds 'chains, three events, then two' step -DLINKS -DEVENTS_FIRST=3 -DEVENTS_SECOND=2
        holds 'posts and voids, one event, then three' step -DRESOLVE -DEVENTS_FIRST=1 -DEVENTS_SECOND=3
    fi
    for what in RESERVE_ONE_LESS NO_UNSAFE_MARK NO_COLLECT NOT_LISTED NOT_WRITTEN SIDE_TWICE NO_BOX RESERVATION_KEPT \
        UNSAFE_KEPT CLAIMS_KEPT HEIR_UNKNOWN SKIP_BARRIER={ROUTE,INTERN,APPLY,WRITE}; do
        finds "$what" "${plain[@]}"
    done
    finds CHAIN_NOT_WHOLE "${chains[@]}"
    for what in NOT_CONTESTED SKIP_BARRIER=RESOLVING; do
        finds "$what" "${pending[@]}"
    done
    for what in EXISTS ALREADY_FAILED LINKED_FAILED NOT_FOUND ALREADY_POSTED; do
        reaches "STATUS=$what" "${pending[@]}"
    done
    for what in ONE_SIDE_UNSAFE LISTED_ON_SAFE CLAIM_TAKEN_OVER RESOLVER_NOT_LISTED RESOLVED_IN_ITS_STEP; do
        reaches "EVENT=$what" "${pending[@]}"
    done
}

check_relay() {
    local plain=(relay -DLINKS -DEVENTS_FIRST=2 -DEVENTS_SECOND=1 -DEVENTS_THIRD=1)
    local short=(-DEVENTS_FIRST=1 -DEVENTS_SECOND=2 -DEVENTS_THIRD=1 -DEVENTS_FOURTH=1)
    local heirs=(relay -DLINKS -DEVENTS_FIRST=1 -DEVENTS_SECOND=3 -DEVENTS_THIRD=1)
    local what
    holds 'legs of two, two, one and one events' relay -DLINKS -DEVENTS_FOURTH=1
    holds 'legs of four, one and one' relay -DLINKS -DEVENTS_FIRST=4 -DEVENTS_SECOND=1 -DEVENTS_THIRD=1
    holds 'legs of one, two, one and one, a long chain' relay -DLINKS -DLONG_CHAIN "${short[@]}"
    holds 'legs of one, two, one and one, three ids' relay -DLINKS -DIDS=3 "${short[@]}"
    if [ -n "${TAEL_TEST_LONG-}" ]; then
        holds 'legs of two, two, one and one, a long chain' relay -DLINKS -DEVENTS_FOURTH=1 -DLONG_CHAIN
        holds 'legs of two, two, two and one' relay -DLINKS -DEVENTS_THIRD=2 -DEVENTS_FOURTH=1
        holds 'legs of two, two, one and one, three ids' relay -DLINKS -DEVENTS_FOURTH=1 -DIDS=3
        holds 'no chains, legs of two, one, two and one, three ids' \
            relay -DIDS=3 -DEVENTS_SECOND=1 -DEVENTS_THIRD=2 -DEVENTS_FOURTH=1
    fi
    for what in NO_RECLAIM NEXT_NOT_WITHDRAWN OLDEST_FIRST NOT_CLAIMED_ANEW BASE_BEFORE_KEPT HEIR_NOT_ENTERED \
        NO_SETTLE END_UNSETTLED LEGS=2 OWN_FIRST FAILED_NOT_FREE BEFORE_UNKNOWN BASE_AT_COUNT \
        {SHIFT,BURN,FAILURE,ROLLBACK}_UNNOTED SKIP_BARRIER={LEG,RECLAIM}; do
        finds "$what" "${plain[@]}"
    done
    for what in HEIR_UNKNOWN RESOLVED_BY_CLAIMANT; do
        finds "$what" "${heirs[@]}"
    done
    finds CHAIN_UNSETTLED relay -DLINKS -DLONG_CHAIN "${short[@]}"
    for what in POSTS_{IN_LEG,BEFORE} HEIR_{CREATED,BURNT} {REPEATS,BURNT}_BEFORE RESOLVED_TWO_BEFORE; do
        reaches "EVENT=$what" "${plain[@]}"
    done
    for what in FREE TRANSFER; do
        reaches "RECLAIM=BECOMES_$what" "${plain[@]}"
    done
    for what in STATUS=ALREADY_POSTED EVENT=POST_TAKEN_BACK; do
        reaches "$what" relay -DLINKS -DIDS=3 "${short[@]}"
    done
}

check_crew() {
    local crew=(crew -DWORKERS=4 -DPASSES=3)
    local what
    holds 'three passes by four' "${crew[@]}"
    for what in NO_LOOK_AGAIN WAIT_BLIND WAKE_ONE NO_ORDER_WAKER NO_ORDER_SLEEPER PASS_AFTER_TURN NO_WAIT; do
        finds "$what" "${crew[@]}"
    done
}

check_bell() {
    local apart=(bell -DWORKER_APART)
    local three=(bell -DNO_REPLIES -DREQUESTS_MAX=1)
    local what
    holds 'two loops, the worker apart, three requests' bell -DWORKER_APART -DREQUESTS_MAX=3
    holds 'two loops, the log apart, two requests' bell -DLOG_APART
    holds 'three loops, two requests, no replies' bell -DNO_REPLIES
    holds 'three loops, one request, the log may fail' bell -DFAILS -DREQUESTS_MAX=1
    if [ -n "${TAEL_TEST_LONG-}" ]; then
        holds 'two loops, the log apart, three requests' bell -DLOG_APART -DREQUESTS_MAX=3
        holds 'three loops, two requests' bell
    fi
    for what in S1_STORED S2_RELAXED S2_LOOKS_FIRST S3_STORED ASLEEP_AFTER_LOOK NO_LAST_LOOK ENDED_NOT_LOOKED_AT \
        TOLD_GREATER TOLD_BEFORE HANDED_UNSAID BELL_NOT_QUEUED BELL_NOT_KEPT BELL_CLEARED DOWN_NOT_RUNG; do
        finds "$what" "${apart[@]}"
    done
    for what in LAST_LOOK_FINDS LAST_LOOK_ENDS IN_VAIN BELL_LEFT MISSED; do
        reaches "EVENT=$what" "${apart[@]}"
    done
    for what in ANOTHER_RINGS RINGS_ITSELF; do
        reaches "EVENT=$what" "${three[@]}"
    done
}

[ $# -gt 0 ] || set -- step relay crew bell
for model in "$@"; do
    "check_$model"
done
[ "$failures" = 0 ]
