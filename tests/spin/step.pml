/* A step of engine/step.h by two workers, held against the same events one after the other. Two stand for any number: what an event
 * touches has one owner, or another one.
 *
 * Events are chosen in every way that the alphabet below allows; the reference decides them in order; then the workers make
 * the passes, in every interleaving, an event at a time. What must come out the same: statuses, balances, what each id leads
 * to, bodies, and the balances after each transfer. Between steps no reservation, unsafe mark or claim may be left.
 *
 *   EVENTS_FIRST, EVENTS_SECOND   events of the two steps; 0: no second one
 *   LINKS                         events may be linked to the next one
 *   RESOLVE                       there are pending transfers, posts and voids, and the pass that resolves them
 *   FAULT_...                     a fault planted in the passes, never in the reference
 *   NEVER_...                     something that does happen is asserted not to
 *
 * Left out:
 *   closing and balancing events, missing, closed and wide accounts, timeouts: listed for what they are, or left to one worker
 *   buckets and fingerprints of the index: an id leads to its value at once
 *   the route of the next step beside `write`: it reads events and the index of accounts, which no pass changes
 *   the crew: crew.pml. Here a pass begins when its turn is published, and ends when the other worker says so
 *
 * Memory is sequentially consistent. The crew's acquire and release make it so from pass to pass; within one, no worker may look at
 * what another changes: it would see it in some interleavings and not in others, and the outcomes would differ (FAULT_NO_BOX). */

#ifndef EVENTS_FIRST
#define EVENTS_FIRST 3
#endif
#ifndef EVENTS_SECOND
#define EVENTS_SECOND 1
#endif

#define EVENTS 4 /* at the most, of one step */
#define PLACES 8 /* for transfers, and for names of ids */
#define NONE 255

/* Account 0: its debits must not exceed its credits. Account 1: its credits must not exceed its debits. Account 2: no limit. */
#define ACCOUNTS 3
#define LIMITS_DEBITS(a) ((a) == 0)
#define LIMITS_CREDITS(a) ((a) == 1)

/* One pair of accounts has one owner, the other pairs two. */
#define OWNER(a) ((a) > 0)
#define OWNER_OF_ID(i) ((i) & 1)
#define BEGIN(w) ((w) * ((count + 1) / 2))
#define END(w) ((w) == 0 -> (count + 1) / 2 : count)

/* Statuses. TRANSIENT ones burn the id. */
#define CREATED 0
#define EXCEEDS_CREDITS 1
#define EXCEEDS_DEBITS 2
#define EXISTS 3
#define EXISTS_DIFFERENT 4
#define ALREADY_FAILED 5
#define WRONG_LEDGER 6
#define LINKED_FAILED 7
#define NOT_FOUND 8
#define NOT_PENDING 9
#define ALREADY_POSTED 10
#define ALREADY_VOIDED 11
#define TRANSIENT(s) ((s) == EXCEEDS_CREDITS || (s) == EXCEEDS_DEBITS || (s) == NOT_FOUND)

/* Kinds of events. A post moves 1 of what is pending, which may be 2. */
#define PLAIN 0
#define PENDING 1
#define POST 2
#define VOID 3

/* What an id leads to: nothing, a position (+ 1), from `base` on a claim (+ 1), or that it is burnt. */
#define FREE 0
#define BURNT 100

/* What an account's balances are, and what an event asks for, in one number. A post or void names no accounts. */
#ifdef RESOLVE
#define NUMBER int
#define BODY_TYPE short
#else
#define NUMBER byte
#define BODY_TYPE byte
#endif
#define BALANCE(a) (((debits_pending[a] * 16 + credits_pending[a]) * 16 + debits[a]) * 16 + credits[a])
#define R_BALANCE(a) (((r_debits_pending[a] * 16 + r_credits_pending[a]) * 16 + r_debits[a]) * 16 + r_credits[a])
#define BODY(e) (kind[e] >= POST -> 128 + kind[e] * 256 + target[e] : \
                                    128 + kind[e] * 256 + debit[e] * 32 + credit[e] * 8 + amount[e])
#define BODY_KIND(b) ((b) / 256)
#define BODY_DEBIT(b) (((b) % 128) / 32)
#define BODY_CREDIT(b) (((b) % 32) / 8)
#define BODY_AMOUNT(b) ((b) % 8)

/* Turns. The passes follow each other in this order. */
#define WRITE 0
#define ROUTE 1
#ifdef RESOLVE
#define RESOLVING 2
#define INTERN 3
#define APPLY 4
#define PASSES 5
#else
#define INTERN 2
#define APPLY 3
#define PASSES 4
#endif
byte turn = WRITE;
byte ended = WRITE; /* by worker 1; worker 0 leads */
bool dismissed;

#ifndef FAULT_SKIP_BARRIER
#define FAULT_SKIP_BARRIER NONE
#endif

/* The ledger. */
byte debits[ACCOUNTS]; /* posted */
byte credits[ACCOUNTS];
byte debits_pending[ACCOUNTS];
byte credits_pending[ACCOUNTS];
byte reserved[ACCOUNTS];
bool unsafe[ACCOUNTS];
byte index[PLACES]; /* by id */
BODY_TYPE body[PLACES]; /* by position */
NUMBER debit_after[PLACES]; /* history */
NUMBER credit_after[PLACES];
byte fate[PLACES]; /* PENDING, or what became of it: its resolver's kind; 0 of a plain one */
bool contested[PLACES]; /* somebody in the step resolves it */
byte base;

/* The step: events, and what the passes know of them. */
byte step;
byte names; /* of ids, given in the order of their first use */
byte count;
byte debit[EVENTS];
byte credit[EVENTS];
byte amount[EVENTS]; /* 0, of a plain one: of another ledger than its accounts */
byte kind[EVENTS];
byte target[EVENTS]; /* of a post or void: its pending transfer's id */
byte pending[EVENTS]; /* and that one's position and amount */
byte pending_amount[EVENTS];
byte id[EVENTS];
bool linked[EVENTS];
byte owner_id[EVENTS];
byte owner_debit[EVENTS];
byte owner_credit[EVENTS];
bool listed[EVENTS];
bool listed_id[EVENTS];
bool listed_debit[EVENTS];
bool listed_credit[EVENTS];
bool unclaimed[EVENTS];
byte heir[EVENTS]; /* of one that claimed its id: who took the claim over; 0: nobody */
bool written[EVENTS];
bool debit_written[EVENTS];
bool credit_written[EVENTS];
byte status[EVENTS];
bool failed[EVENTS];
/* Boxes: balances after events, in their order. By worker: of its debit accounts, each followed by that of the event's credit
 * account where that is its own too; and of its credit accounts where the debit account is the other's. */
#define HELD(w, n) held[(w) * 2 * EVENTS + (n)]
#define SENT(w, n) sent[(w) * EVENTS + (n)]
NUMBER held[4 * EVENTS];
NUMBER sent[2 * EVENTS];
byte held_count[2];
byte sent_count[2];
byte held_next[2]; /* for who writes: the next one of its own, and the next one of those sent to it */
byte sent_next[2];
byte found[2]; /* unsafe accounts, by worker */

/* The reference's outcome. */
byte r_status[EVENTS];
byte r_debits[ACCOUNTS];
byte r_credits[ACCOUNTS];
byte r_debits_pending[ACCOUNTS];
byte r_credits_pending[ACCOUNTS];
byte r_index[PLACES];
BODY_TYPE r_body[PLACES];
NUMBER r_debit_after[PLACES];
NUMBER r_credit_after[PLACES];
byte r_fate[PLACES];
byte r_base;

/* Within one d_step only. */
hidden byte a, b, i, j, k, s, c, h, p, position;
hidden short request;
hidden byte holds, any;
hidden byte chain; /* its first event */
hidden byte chained, broken;

/* --- events --- */

#define MOVE(from, to, moved) debit[e] = from; credit[e] = to; amount[e] = moved

/* An id, or one that has no name yet. */
inline choose_id(which) {
    do
    :: which < names -> which++
    :: break
    od;
    if
    :: which == names -> names++
    :: else
    fi
}

inline choose_event() {
    if
#ifdef RESOLVE
    :: MOVE(0, 1, 1)
    :: MOVE(0, 1, 2); kind[e] = PENDING
    :: MOVE(0, 2, 1); kind[e] = PENDING
    :: kind[e] = POST; amount[e] = 1
    :: kind[e] = VOID
#else
    :: MOVE(0, 1, 1)
    :: MOVE(0, 1, 2)
    :: MOVE(0, 2, 1)
    :: MOVE(0, 2, 2)
    :: MOVE(1, 0, 1)
    :: MOVE(2, 0, 1)
    :: MOVE(2, 1, 1)
#ifndef LINKS
    :: MOVE(1, 2, 1)
    :: MOVE(2, 1, 2)
    :: MOVE(0, 2, 0)
#endif
#endif
    fi;
    choose_id(id[e]);
#ifdef RESOLVE
    if
    :: kind[e] >= POST -> choose_id(target[e])
    :: else
    fi;
#endif
#ifdef LINKS
    if
    :: e + 1 < count -> linked[e] = true
    :: true
    fi;
#endif
    e++
}

/* What `fate` is of a transfer that nobody has resolved. */
#define FATE(e) (kind[e] == PENDING -> PENDING : 0)

/* --- the reference: engine/ledger.c, one event after the other --- */

/* Adds the effect of event e to balances, or takes it back. `sign` is + or -. */
#define R_MOVE(e, sign)                                                                                                \
    if                                                                                                                 \
    :: kind[e] == PLAIN -> r_debits[a] = r_debits[a] sign amount[e]; r_credits[b] = r_credits[b] sign amount[e]        \
    :: kind[e] == PENDING ->                                                                                           \
        r_debits_pending[a] = r_debits_pending[a] sign amount[e];                                                      \
        r_credits_pending[b] = r_credits_pending[b] sign amount[e]                                                     \
    :: else ->                                                                                                         \
        r_debits_pending[a] = r_debits_pending[a] - (0 sign BODY_AMOUNT(r_body[p]));                                   \
        r_credits_pending[b] = r_credits_pending[b] - (0 sign BODY_AMOUNT(r_body[p]));                                 \
        r_debits[a] = r_debits[a] sign (kind[e] == POST);                                                              \
        r_credits[b] = r_credits[b] sign (kind[e] == POST)                                                             \
    fi

#define R_PARTIES(e)                                                                                                   \
    a = debit[e];                                                                                                      \
    b = credit[e];                                                                                                     \
    if                                                                                                                 \
    :: kind[e] >= POST -> p = r_index[target[e]] - 1; a = BODY_DEBIT(r_body[p]); b = BODY_CREDIT(r_body[p])            \
    :: else                                                                                                            \
    fi

inline r_take_back(e) {
    R_PARTIES(e);
    R_MOVE(e, -);
    if
    :: kind[e] >= POST -> r_fate[p] = PENDING
    :: else
    fi;
    r_base--;
    r_index[id[e]] = FREE;
    r_body[r_base] = 0;
    r_debit_after[r_base] = 0;
    r_credit_after[r_base] = 0;
    r_fate[r_base] = 0;
    r_status[e] = LINKED_FAILED
}

/* Why a new plain or pending transfer, or a new post or void, is refused. */
inline r_check_plain(e) {
    if
    :: amount[e] == 0 -> s = WRONG_LEDGER
    :: else ->
        if
        :: LIMITS_DEBITS(debit[e]) && r_debits_pending[debit[e]] + r_debits[debit[e]] + amount[e] > r_credits[debit[e]] ->
            s = EXCEEDS_CREDITS
        :: else ->
            if
            :: LIMITS_CREDITS(credit[e]) &&
               r_credits_pending[credit[e]] + r_credits[credit[e]] + amount[e] > r_debits[credit[e]] ->
                s = EXCEEDS_DEBITS
            :: else -> s = CREATED
            fi
        fi
    fi
}

inline r_check_resolver(e) {
    p = r_index[target[e]];
    if
    :: p == FREE || p == BURNT -> s = NOT_FOUND
    :: else ->
        p--;
        if
        :: BODY_KIND(r_body[p]) != PENDING -> s = NOT_PENDING
        :: else ->
            s = (r_fate[p] == POST -> ALREADY_POSTED : (r_fate[p] == VOID -> ALREADY_VOIDED : CREATED))
        fi
    fi
}

inline r_create(e) {
    s = r_index[id[e]];
    request = BODY(e);
    if
    :: s == BURNT -> s = ALREADY_FAILED
    :: s != FREE && s != BURNT -> s = (r_body[s - 1] == request -> EXISTS : EXISTS_DIFFERENT)
    :: else ->
        if
        :: kind[e] >= POST -> r_check_resolver(e)
        :: else -> r_check_plain(e)
        fi;
        if
        :: s == CREATED ->
            R_PARTIES(e);
            R_MOVE(e, +);
            if
            :: kind[e] >= POST -> r_fate[p] = kind[e]
            :: else -> r_fate[r_base] = FATE(e)
            fi;
            r_body[r_base] = request;
            r_debit_after[r_base] = R_BALANCE(a);
            r_credit_after[r_base] = R_BALANCE(b);
            r_base++;
            r_index[id[e]] = r_base
        :: else
        fi
    fi
}

inline reference() {
    for (i : 0 .. ACCOUNTS - 1) {
        r_debits[i] = debits[i];
        r_credits[i] = credits[i];
        r_debits_pending[i] = debits_pending[i];
        r_credits_pending[i] = credits_pending[i]
    }
    for (i : 0 .. PLACES - 1) {
        r_index[i] = index[i];
        r_body[i] = body[i];
        r_fate[i] = fate[i]
    }
    r_base = base;
    chained = false;
    broken = false;
    for (i : 0 .. count - 1) {
        if
        :: linked[i] && !chained -> chained = true; chain = i
        :: else
        fi;
        if
        :: broken -> s = LINKED_FAILED
        :: else -> r_create(i)
        fi;
        r_status[i] = s;
        if
        :: s != CREATED && chained && !broken ->
            broken = true;
            j = i;
            do
            :: j > chain -> j--; r_take_back(j)
            :: else -> break
            od
        :: else
        fi;
        if
        :: TRANSIENT(s) -> r_index[id[i]] = BURNT
        :: else
        fi;
        if
        :: !linked[i] -> chained = false; broken = false
        :: else
        fi
    }
    i = 0; j = 0
}

/* --- passes --- */

/* Goes on to the next event of the worker's own. */
#define OWN(is_own)                                                                                                    \
    do                                                                                                                 \
    :: e < count && !(is_own) -> e++                                                                                   \
    :: else -> break                                                                                                   \
    od;                                                                                                                \
    skip

inline route(w) {
    e = BEGIN(w);
    do
    :: d_step {
        e < END(w) ->
        owner_id[e] = OWNER_OF_ID(id[e]);
        owner_debit[e] = (kind[e] >= POST -> NONE : OWNER(debit[e]));
        owner_credit[e] = (kind[e] >= POST -> NONE : OWNER(credit[e]));
        status[e] = CREATED;
        e++
    }
    :: else -> break
    od
}

/* What a post or void takes from its pending transfer. */
inline resolver_know(e_) {
    pending[e_] = p;
    pending_amount[e_] = BODY_AMOUNT(body[p]);
    debit[e_] = BODY_DEBIT(body[p]);
    credit[e_] = BODY_CREDIT(body[p]);
    owner_debit[e_] = OWNER(debit[e_]);
    owner_credit[e_] = OWNER(credit[e_])
}

inline resolve(w) {
    e = BEGIN(w);
    do
    :: d_step {
        e < END(w) ->
        if
        :: kind[e] >= POST ->
            p = index[target[e]];
            if
            :: p == FREE || p == BURNT -> listed[e] = true
            :: else ->
                p--;
                assert(p < base); /* nothing is claimed yet */
                if
                :: BODY_KIND(body[p]) != PENDING || fate[p] != PENDING -> listed[e] = true
                :: else -> resolver_know(e)
                fi
            fi
        :: else
        fi;
        e++
    }
    :: else -> break
    od
}

/* An id that is taken leads to a transfer, a burnt one or an earlier event's claim. */
inline claim(w) {
    if
    :: index[id[e]] != FREE ->
#ifndef FAULT_NOT_LISTED
        listed_id[e] = true;
#endif
        unclaimed[e] = true
    :: else -> index[id[e]] = base + e + 1
    fi
}

#ifdef FAULT_RESERVE_ONE_LESS
#define RESERVED(e) (amount[e] > 0 -> amount[e] - 1 : 0)
#else
#define RESERVED(e) amount[e]
#endif

#ifdef FAULT_NOT_CONTESTED
#define CONTESTED(p) false
#else
#define CONTESTED(p) contested[p]
#endif

inline half_intern(w, is_debit, is_limited, spent, funds, mark) {
    assert(OWNER(a) == w);
    holds = true;
    if
    :: kind[e] >= POST ->
        if
        :: is_debit ->
            holds = holds && !CONTESTED(pending[e]);
            contested[pending[e]] = true
        :: else
        fi
    :: kind[e] < POST && is_limited ->
        reserved[a] = reserved[a] + RESERVED(e);
        holds = spent + reserved[a] <= funds
    :: else
    fi;
#ifndef FAULT_NO_UNSAFE_MARK
    if
    :: !holds && !unsafe[a] -> unsafe[a] = true; found[w]++
    :: else
    fi;
#endif
#ifdef FAULT_NO_COLLECT
    if
    :: unsafe[a] -> mark = true
    :: else
    fi;
#endif
    if
    :: kind[e] == PLAIN && amount[e] == 0 -> mark = true
    :: else
    fi
}

inline intern(w) {
    d_step { e = 0; OWN(owner_id[e] == w) }
    do
    :: d_step { e < count -> claim(w); e++; OWN(owner_id[e] == w) }
    :: d_step { e == count -> e = 0; OWN(owner_debit[e] == w) } break
    od;
    do
    :: d_step {
        e < count -> a = debit[e];
        half_intern(w, true, LIMITS_DEBITS(a), debits_pending[a] + debits[a], credits[a], listed_debit[e]);
        e++; OWN(owner_debit[e] == w)
    }
    :: d_step { e == count -> e = 0; OWN(owner_credit[e] == w) } break
    od;
    do
    :: d_step {
        e < count -> a = credit[e];
        half_intern(w, false, LIMITS_CREDITS(a), credits_pending[a] + credits[a], debits[a], listed_credit[e]);
        e++; OWN(owner_credit[e] == w)
    }
    :: d_step {
        e == count;
#ifndef FAULT_NO_COLLECT
        if
        :: found[w] > 0 -> e = 0; OWN(owner_debit[e] == w || owner_credit[e] == w)
        :: else
        fi
#endif
    } break
    od;
    do
    :: d_step {
        e < count ->
        if
        :: owner_debit[e] == w && unsafe[debit[e]] -> listed_debit[e] = true
        :: else
        fi;
        if
        :: owner_credit[e] == w && unsafe[credit[e]] -> listed_credit[e] = true
        :: else
        fi;
        e++; OWN(owner_debit[e] == w || owner_credit[e] == w)
    }
    :: else -> break
    od
}

/* The place of an event's transfer, all before it being decided. */
inline place(e_) {
    position = base + e_;
    for (k : 0 .. count - 1) {
        if
        :: k < e_ && failed[k] -> position--
        :: else
        fi
    }
}

#define IS_LISTED(e) (listed[e] || listed_id[e] || listed_debit[e] || listed_credit[e])

inline chains_list() {
    chain = 0;
    any = false;
    for (i : 0 .. count - 1) {
        any = any || IS_LISTED(i);
        if
        :: linked[i]
        :: else ->
            for (j : chain .. i) {
#ifdef FAULT_CHAIN_NOT_WHOLE
                any = false;
#endif
                listed[j] = listed[j] || any
            }
            chain = i + 1;
            any = false
        fi
    }
}

/* The event that holds a claim now. */
#define HOLDER(e) (heir[e] != 0 -> heir[e] : e)

/* Puts into `s` what became of an id, as event i finds it: FREE, BURNT or a position + 1. And into `c` whose claim it is. */
inline find(x) {
    c = NONE;
    s = index[x];
    if
    :: s != FREE && s != BURNT && s > base ->
        c = s - 1 - base;
        s = FREE;
        assert(id[c] == x);
        h = HOLDER(c);
        if
        :: h > i -> c = NONE /* not yet */
        :: h == i
        :: h < i && status[h] == CREATED ->
            place(h);
            s = position + 1;
            if
            :: written[h]
            :: else ->
#ifndef FAULT_NOT_WRITTEN
                body[position] = BODY(h);
                fate[position] = FATE(h);
                written[h] = true
#endif
            fi
        :: h < i && TRANSIENT(status[h]) -> s = BURNT
        :: else
        fi
    :: else
    fi
}

/* The effect of event e on an unsafe account; that on a safe one is its owner's. `sign` is + or -. */
#define MOVE_DEBIT(e, sign)                                                                                            \
    if                                                                                                                 \
    :: kind[e] == PLAIN -> debits[debit[e]] = debits[debit[e]] sign amount[e]                                          \
    :: kind[e] == PENDING -> debits_pending[debit[e]] = debits_pending[debit[e]] sign amount[e]                        \
    :: else ->                                                                                                         \
        debits_pending[debit[e]] = debits_pending[debit[e]] - (0 sign pending_amount[e]);                              \
        debits[debit[e]] = debits[debit[e]] sign (kind[e] == POST)                                                     \
    fi

#define MOVE_CREDIT(e, sign)                                                                                           \
    if                                                                                                                 \
    :: kind[e] == PLAIN -> credits[credit[e]] = credits[credit[e]] sign amount[e]                                      \
    :: kind[e] == PENDING -> credits_pending[credit[e]] = credits_pending[credit[e]] sign amount[e]                    \
    :: else ->                                                                                                         \
        credits_pending[credit[e]] = credits_pending[credit[e]] - (0 sign pending_amount[e]);                          \
        credits[credit[e]] = credits[credit[e]] sign (kind[e] == POST)                                                 \
    fi

inline check_plain() {
    a = debit[i];
    b = credit[i];
    if
    :: amount[i] == 0 -> s = WRONG_LEDGER
    :: else ->
        if
        :: LIMITS_DEBITS(a) && debits_pending[a] + debits[a] + amount[i] > credits[a] -> s = EXCEEDS_CREDITS
        :: else ->
            if
            :: LIMITS_CREDITS(b) && credits_pending[b] + credits[b] + amount[i] > debits[b] -> s = EXCEEDS_DEBITS
            :: else -> s = CREATED
            fi
        fi
    fi
}

inline check_resolver() {
    find(target[i]);
    if
    :: s == FREE || s == BURNT -> s = NOT_FOUND
    :: else ->
        p = s - 1;
        if
        :: BODY_KIND(body[p]) != PENDING -> s = NOT_PENDING
        :: else ->
            s = (fate[p] == POST -> ALREADY_POSTED : (fate[p] == VOID -> ALREADY_VOIDED : CREATED));
            if
            :: s == CREATED -> resolver_know(i); fate[p] = kind[i]
            :: else
            fi
        fi
    fi
}

/* The claim is the event's now. */
inline claim_hold() {
#ifdef FAULT_HEIR_UNKNOWN
    skip
#else
    if
    :: c != i -> heir[c] = i
    :: else
    fi
#endif
}

inline enter_in_step() {
    find(id[i]);
    assert(s == FREE);
    assert(c != NONE);
    claim_hold();
    place(i);
    if
    :: unsafe[debit[i]] -> MOVE_DEBIT(i, +); debit_written[i] = true; debit_after[position] = BALANCE(debit[i])
    :: else
    fi;
    if
    :: unsafe[credit[i]] -> MOVE_CREDIT(i, +); credit_written[i] = true; credit_after[position] = BALANCE(credit[i])
    :: else
    fi;
    body[position] = request;
    fate[position] = FATE(i);
    written[i] = true;
    s = CREATED
}

inline create_in_step() {
    find(id[i]);
    request = BODY(i);
    if
    :: s == BURNT -> s = ALREADY_FAILED
    :: s != FREE && s != BURNT -> s = (body[s - 1] == request -> EXISTS : EXISTS_DIFFERENT)
    :: else ->
        if
        :: kind[i] >= POST -> check_resolver()
        :: else -> check_plain()
        fi;
        if
        :: s == CREATED -> enter_in_step()
        :: else
        fi
    fi
}

inline take_back(e_) {
    place(e_);
    body[position] = 0;
    debit_after[position] = 0;
    credit_after[position] = 0;
    fate[position] = 0;
    if
    :: unsafe[debit[e_]] -> MOVE_DEBIT(e_, -)
    :: else
    fi;
    if
    :: unsafe[credit[e_]] -> MOVE_CREDIT(e_, -)
    :: else
    fi;
    if
    :: kind[e_] >= POST -> fate[pending[e_]] = PENDING
    :: else
    fi
}

inline chain_break() {
    broken = true;
    j = i;
    do
    :: j > chain -> j--; take_back(j)
    :: else -> break
    od;
    for (j : chain .. i) {
        if
        :: j < i -> status[j] = LINKED_FAILED; failed[j] = true
        :: else
        fi
    }
}

inline residue() {
    chains_list();
    chained = false;
    broken = false;
    for (i : 0 .. count - 1) {
        if
        :: !IS_LISTED(i)
        :: else ->
            if
            :: linked[i] && !chained -> chained = true; chain = i
            :: else
            fi;
            if
            :: broken -> s = LINKED_FAILED
            :: else -> create_in_step()
            fi;
            status[i] = s;
            if
            :: s != CREATED && chained && !broken -> chain_break()
            :: else
            fi;
            if
            :: s != CREATED -> failed[i] = true
            :: else
            fi;
            if
            :: TRANSIENT(status[i]) ->
                find(id[i]);
                assert(s == FREE);
                assert(c != NONE);
                claim_hold()
            :: else
            fi;
            if
            :: !linked[i] -> chained = false; broken = false
            :: else
            fi
        fi
    }
    i = 0; j = 0; k = 0
}

/* Where nothing failed, claims name positions already. */
#ifdef FAULT_CLAIMS_KEPT
#define ANY_FAILED false
#else
#define ANY_FAILED (failed[0] || failed[1] || failed[2] || failed[3])
#endif

#ifdef FAULT_SIDE_TWICE
#define BY_RESIDUE(x) false
#else
#define BY_RESIDUE(x) (x)
#endif

inline event_apply(w) {
    place(e);
    if
    :: owner_debit[e] == w && !BY_RESIDUE(debit_written[e]) ->
        assert(OWNER(debit[e]) == w);
        assert(kind[e] < POST || debits_pending[debit[e]] >= pending_amount[e]);
        MOVE_DEBIT(e, +)
    :: else
    fi;
    if
    :: owner_credit[e] == w && !BY_RESIDUE(credit_written[e]) ->
        assert(OWNER(credit[e]) == w);
        MOVE_CREDIT(e, +)
    :: else
    fi;
    if
    :: debit_written[e] || credit_written[e] ->
        if
        :: owner_debit[e] == w && !debit_written[e] -> debit_after[position] = BALANCE(debit[e])
        :: else
        fi;
        if
        :: owner_credit[e] == w && !credit_written[e] -> credit_after[position] = BALANCE(credit[e])
        :: else
        fi
    :: else ->
        if
        :: owner_debit[e] == w -> HELD(w, held_count[w]) = BALANCE(debit[e]); held_count[w]++
        :: else
        fi;
        if
        :: owner_credit[e] == w && owner_debit[e] == w -> HELD(w, held_count[w]) = BALANCE(credit[e]); held_count[w]++
        :: owner_credit[e] == w && owner_debit[e] != w -> SENT(w, sent_count[w]) = BALANCE(credit[e]); sent_count[w]++
        :: else
        fi
    fi
}

#ifdef FAULT_RESERVATION_KEPT
#define RESERVATION_END(a) skip
#else
#define RESERVATION_END(a) reserved[a] = 0
#endif

inline event_end(w) {
    if
    :: owner_debit[e] == w ->
        RESERVATION_END(debit[e]);
        if
        :: kind[e] >= POST ->
            contested[pending[e]] = false;
            if
            :: IS_LISTED(e)
            :: else -> fate[pending[e]] = kind[e]
            fi
        :: else
        fi
    :: else
    fi;
    if
    :: owner_credit[e] == w -> RESERVATION_END(credit[e])
    :: else
    fi
}

#ifdef FAULT_UNSAFE_KEPT
#define UNSAFE_END(a) skip
#else
#define UNSAFE_END(a) unsafe[a] = false
#endif

inline accounts_end(w) {
    for (i : 0 .. ACCOUNTS - 1) {
        if
        :: OWNER(i) == w && found[w] > 0 -> UNSAFE_END(i)
        :: else
        fi
    }
}

inline claims_end(w) {
    i = count;
    do
    :: i > 0 ->
        i--;
        if
        :: owner_id[i] == w && !unclaimed[i] ->
            assert(index[id[i]] == base + i + 1);
            index[id[i]] = FREE
        :: else
        fi
    :: else -> break
    od;
    for (i : 0 .. count - 1) {
        if
        :: owner_id[i] == w && !unclaimed[i] ->
            assert(index[id[i]] == FREE);
            h = HOLDER(i);
            if
            :: status[h] == CREATED -> place(h); index[id[i]] = position + 1
            :: TRANSIENT(status[h]) -> index[id[i]] = BURNT
            :: else
            fi
        :: else
        fi
    }
    i = 0
}

inline apply(w) {
    d_step { e = 0; OWN(owner_debit[e] == w || owner_credit[e] == w) }
    do
    :: d_step {
        e < count ->
        event_end(w);
        if
        :: status[e] == CREATED -> event_apply(w)
        :: else
        fi;
        e++; OWN(owner_debit[e] == w || owner_credit[e] == w)
    }
    :: d_step {
        e == count ->
        accounts_end(w);
        if
        :: ANY_FAILED -> claims_end(w)
        :: else
        fi
    } break
    od
}

/* What its owner has found a credit account's balance to be after this very event. */
#ifdef FAULT_NO_BOX
#define CREDIT_AFTER(w, n) BALANCE(credit[e])
#else
#define CREDIT_AFTER(w, n) SENT(w, n)
#endif

#define HAS_HISTORY(e) (status[e] == CREATED && !debit_written[e] && !credit_written[e])

inline write(w) {
    d_step { e = 0; OWN(owner_debit[e] == w && HAS_HISTORY(e)) }
    do
    :: d_step {
        e < count ->
        place(e);
        assert(held_next[w] < held_count[w]);
        debit_after[position] = HELD(w, held_next[w]);
        held_next[w]++;
        if
        :: owner_credit[e] == w ->
            assert(held_next[w] < held_count[w]);
            credit_after[position] = HELD(w, held_next[w]);
            held_next[w]++
        :: else ->
            assert(sent_next[w] < sent_count[1 - w]);
            credit_after[position] = CREDIT_AFTER(1 - w, sent_next[w]);
            sent_next[w]++
        fi;
        e++; OWN(owner_debit[e] == w && HAS_HISTORY(e))
    }
    :: d_step { e == count -> e = BEGIN(w) } break
    od;
    do
    :: d_step {
        e < END(w) ->
        if
        :: status[e] == CREATED && !written[e] -> place(e); body[position] = BODY(e); fate[position] = FATE(e)
        :: else
        fi;
        e++
    }
    :: else -> break
    od
}

/* --- the end of a step --- */

/* What makes a step more than its parts, by event. */
#define ONE_SIDE_UNSAFE(e) (debit_written[e] != credit_written[e])
#define LISTED_ON_SAFE(e) (IS_LISTED(e) && status[e] == CREATED && !debit_written[e] && !credit_written[e])
#define CLAIM_TAKEN_OVER(e) (heir[e] != 0)
#define RESOLVER_NOT_LISTED(e) (kind[e] >= POST && status[e] == CREATED && !IS_LISTED(e))
#define RESOLVED_IN_ITS_STEP(e) (kind[e] >= POST && status[e] == CREATED && pending[e] >= base)

inline compare() {
    place(count);
    assert(position == r_base);
    for (i : 0 .. count - 1) {
#ifdef NEVER_STATUS
        assert(status[i] != NEVER_STATUS);
#endif
#ifdef NEVER_EVENT
        assert(!NEVER_EVENT(i));
#endif
        assert(status[i] == r_status[i])
    }
    for (i : 0 .. 1) {
        assert(held_next[i] == held_count[i]);
        assert(sent_next[i] == sent_count[1 - i])
    }
    for (i : 0 .. ACCOUNTS - 1) {
        assert(debits[i] == r_debits[i]);
        assert(credits[i] == r_credits[i]);
        assert(debits_pending[i] == r_debits_pending[i]);
        assert(credits_pending[i] == r_credits_pending[i]);
        assert(reserved[i] == 0);
        assert(!unsafe[i])
    }
    for (i : 0 .. PLACES - 1) {
        assert(index[i] == r_index[i]);
        assert(!contested[i]);
        if
        :: i < r_base -> assert(body[i] == r_body[i]); assert(fate[i] == r_fate[i])
        :: else
        fi;
        if
        :: i < r_base && i >= base ->
            assert(debit_after[i] == r_debit_after[i]);
            assert(credit_after[i] == r_credit_after[i])
        :: else
        fi
    }
}

/* What the next step can't ask for is forgotten, so that steps with equal ends go on as one: events, and all ids but the first. */
inline forget() {
    for (i : 0 .. EVENTS - 1) {
        debit[i] = 0; credit[i] = 0; amount[i] = 0; id[i] = 0; linked[i] = false;
        kind[i] = 0; target[i] = 0; pending[i] = 0; pending_amount[i] = 0;
        owner_id[i] = 0; owner_debit[i] = 0; owner_credit[i] = 0;
        listed[i] = false; listed_id[i] = false; listed_debit[i] = false; listed_credit[i] = false;
        unclaimed[i] = false; heir[i] = 0; written[i] = false; debit_written[i] = false; credit_written[i] = false;
        status[i] = 0; failed[i] = false; r_status[i] = 0
    }
    base = 0;
    request = 0;
    s = 0;
    if
    :: index[0] != FREE && index[0] != BURNT ->
        request = body[index[0] - 1];
        s = fate[index[0] - 1];
        index[0] = 1;
        base = 1
    :: else
    fi;
    for (i : 0 .. PLACES - 1) {
        body[i] = 0; debit_after[i] = 0; credit_after[i] = 0; fate[i] = 0; r_fate[i] = 0;
        r_index[i] = 0; r_body[i] = 0; r_debit_after[i] = 0; r_credit_after[i] = 0;
        if
        :: i > 0 -> index[i] = FREE
        :: else
        fi
    }
    body[0] = request;
    fate[0] = s;
    for (i : 0 .. ACCOUNTS - 1) {
        r_debits[i] = 0; r_credits[i] = 0; r_debits_pending[i] = 0; r_credits_pending[i] = 0
    }
    r_base = 0;
    for (i : 0 .. 4 * EVENTS - 1) {
        held[i] = 0
    }
    for (i : 0 .. 2 * EVENTS - 1) {
        sent[i] = 0
    }
    for (i : 0 .. 1) {
        found[i] = 0; held_count[i] = 0; sent_count[i] = 0; held_next[i] = 0; sent_next[i] = 0
    }
    names = 1;
    count = 0;
    step++;
    i = 0
}

/* --- who makes them --- */

inline publish(pass) {
    turn = pass
}

inline await_all(pass) {
    if
    :: pass == FAULT_SKIP_BARRIER
    :: else -> ended == turn
    fi
}

active proctype leader() {
    byte e;
    d_step { credits[0] = 2; debits[1] = 1 }
    do
    :: step == 2 || (step == 1 && EVENTS_SECOND == 0) -> break
    :: else ->
        atomic {
            count = (step == 0 -> EVENTS_FIRST : EVENTS_SECOND);
            e = 0;
            do
            :: e < count -> choose_event()
            :: else -> break
            od;
            d_step { reference(); e = 0 }
        }
        publish(ROUTE); route(0); await_all(ROUTE);
#ifdef RESOLVE
        publish(RESOLVING); resolve(0); await_all(RESOLVING);
#endif
        publish(INTERN); intern(0); await_all(INTERN);
        d_step { e = 0; residue() }
        publish(APPLY); apply(0); await_all(APPLY);
        publish(WRITE); write(0); await_all(WRITE);
        e = 0;
        d_step { compare(); forget() }
    od;
    dismissed = true
}

active proctype worker() {
    byte e;
    do
    :: turn != ended ->
        if
        :: ended == WRITE -> route(1)
#ifdef RESOLVE
        :: ended == ROUTE -> resolve(1)
        :: ended == RESOLVING -> intern(1)
#else
        :: ended == ROUTE -> intern(1)
#endif
        :: ended == INTERN -> apply(1)
        :: ended == APPLY -> write(1)
        fi;
        atomic { e = 0; ended = (ended + 1) % PASSES }
    :: dismissed && turn == ended -> break
    od
}
