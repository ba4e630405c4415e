/* The relay of engine/relay.h as engine/parallel.c drives it, held against the same events one after the other.
 *
 * Events are chosen in every way that the alphabet below allows; the worker ahead claims a leg's ids while the leader
 * applies the leg before, in every interleaving: a claim takes two steps, the id that is posted and the event's own; to
 * settle a claim takes one, to apply an event one. What must come out the same: each event's status, the transfer that
 * it repeats and the one that this has posted; after each leg the journal; and whenever nothing is under way, what each
 * id leads to in the index. Nobody may wait for ever.
 *
 * An event creates a pending transfer, or it posts one, by id. What it posts may be
 *   itself: it fails and its id stays free, as with any field error
 *   not there: it fails and its id is burnt
 *   no pending transfer, or posted already: it fails and its id stays free
 *
 *   EVENTS_FIRST, ..._SECOND, ..._THIRD, ..._FOURTH   events of each leg, four at the most; 0: there is no such leg
 *   IDS          how many ids there are
 *   LINKS        events may be linked to the next one of their leg
 *   LONG_CHAIN   before, between or behind legs a chain may stand that has no room in one, and is applied by itself
 *   FAULT_...    a fault planted in the relay, never in the reference
 *   NEVER_...    something that does happen is asserted not to
 *
 * The index is as bad as can be: all ids have the same fingerprint and home, so each look-up passes by all entries
 * before the one that it wants, and has to tell by the value alone whose id that is. Buckets have two slots.
 *
 * Left out:
 *   accounts: either worker looks them up, and what is found is confirmed
 *   amounts, limits, voids: the leader's affair, in order
 *   events that are refused before their ids are looked up: they are told nothing
 *   legs of several parts: one is applied behind the other
 *   the crew: crew.pml. Here a pass begins when its turn is published, and ends when the worker ahead says so
 *
 * Memory is sequentially consistent. The crew's acquire and release make it so from pass to pass; within one, neither
 * may look at what the other changes, so finer steps would show no more. Hence the worker ahead is asserted to read of
 * the journal only what stood there when the pass began (`stable`), and what nothing should read any more is wiped
 * (`forget`). */

#ifndef EVENTS_FIRST
#define EVENTS_FIRST 2
#endif
#ifndef EVENTS_SECOND
#define EVENTS_SECOND 2
#endif
#ifndef EVENTS_THIRD
#define EVENTS_THIRD 1
#endif
#ifndef EVENTS_FOURTH
#define EVENTS_FOURTH 0
#endif
#ifndef IDS
#define IDS 2
#endif

#define LEGS_ALL (1 + (EVENTS_SECOND > 0) + (EVENTS_THIRD > 0) + (EVENTS_FOURTH > 0))
#define SIZE(n)                                                                                                        \
    ((n) == 0 -> EVENTS_FIRST : ((n) == 1 -> EVENTS_SECOND : ((n) == 2 -> EVENTS_THIRD : EVENTS_FOURTH)))
#if EVENTS_FIRST > 2 || EVENTS_SECOND > 2 || EVENTS_THIRD > 2 || EVENTS_FOURTH > 2
#define EVENTS 4 /* at the most, of one leg */
#else
#define EVENTS 2
#endif

#ifdef FAULT_LEGS
#define LEGS FAULT_LEGS
#else
#define LEGS 4
#endif

#define NOBODY 255

/* What an event is told about an id. The first three are also what an id is. */
#define FREE 0
#define TRANSFER 1
#define BURNT 2
#define EVENT 3
#define EVENT_BEFORE 4
#define NO_ID 5
#define UNKNOWN 6 /* not written, or wiped */

/* What became of an event, or UNKNOWN. */
#define FAILED 0
#define CREATED 1
#define BURNED 2

/* Statuses: CREATED, and these. NOT_FOUND burns the id. */
#define MUST_BE_DIFFERENT 3
#define NOT_FOUND 4
#define NOT_PENDING 5
#define ALREADY_POSTED 6
#define EXISTS 7
#define EXISTS_DIFFERENT 8
#define ALREADY_FAILED 9
#define LINKED_FAILED 10

/* In the place of the id that an event posts: it creates a pending transfer. */
#define PENDING IDS

/* struct tael_leg */
typedef leg_type {
    byte base;
    byte base_before;
    byte before;
    byte count;
    bool vacated;
    bool shifted;
    /* Events; and what the worker ahead writes, by event. */
    byte id[EVENTS];
    byte target[EVENTS];
    bool linked[EVENTS];
    byte own[EVENTS];
    byte own_at[EVENTS];
    byte pending[EVENTS];
    byte pending_at[EVENTS];
    byte slot[EVENTS];
    /* Written by the leader, by event. */
    byte at[EVENTS];
    byte heir[EVENTS];
    byte outcome[EVENTS]
};
leg_type leg[LEGS];

/* The index: 0, or 1 more than a position, base + event of a claim, or BURNT_FIRST + the number of a burnt id. */
#define BUCKET 2
#define SLOTS (IDS / BUCKET * BUCKET + BUCKET)
#define BURNT_FIRST 100
byte index[SLOTS];

/* The journal. */
byte body_id[IDS]; /* by position */
byte body_target[IDS];
bool posted[IDS];
byte count;
byte burnt[IDS]; /* by number */
byte burnt_count;
byte stable; /* `count` when the pass began */
byte burnt_stable;

/* struct tael_parallel */
#define LEG 0
#define RECLAIM 1
#define DISMISSED 2
byte turn;
byte pass; /* what the turn is for */
byte ended; /* the turn that the worker ahead has ended */
byte done = NOBODY;
byte now = NOBODY;
byte next;

/* The feed. */
byte taken; /* legs */
byte names; /* of ids, given in the order of their first use */
#ifdef LONG_CHAIN
bool chain_left = true;
bool chain_next;
#else
#define chain_next false
#endif
#define FEED_IS_EMPTY (taken == LEGS_ALL && !chain_next)

/* What the events of the leg that is applied came to. */
byte status[EVENTS];
byte existing[EVENTS]; /* position of the transfer that it repeats, + 1 */
byte resolved[EVENTS]; /* and of the one that this has posted, + 1 */

/* The reference. */
#define R_BURNT 100
byte r_index[IDS]; /* by id: FREE, R_BURNT or position + 1 */
byte r_id[IDS]; /* by position */
byte r_target[IDS];
bool r_posted[IDS];
byte r_count;

#ifndef FAULT_SKIP_BARRIER
#define FAULT_SKIP_BARRIER NOBODY
#endif

/* Within one d_step only. */
hidden byte a, b, c, h, i, j, k, p, v;
hidden byte at, found, position, state, was;
hidden byte chain; /* its first event */
hidden byte chained, broken, keeps;
hidden byte r_status, r_existing, r_resolved;
hidden byte r_statuses[EVENTS];

/* --- events --- */

inline choose_id(which) {
    which = 0;
    do
    :: which < names && which + 1 < IDS -> which++
    :: break
    od;
    if
    :: which == names -> names++
    :: else
    fi
}

inline choose_event(l, e) {
    choose_id(leg[l].id[e]);
    if
    :: leg[l].target[e] = PENDING
    :: choose_id(leg[l].target[e])
    fi;
#ifdef LINKS
    if
    :: e + 1 < leg[l].count -> leg[l].linked[e] = true
    :: leg[l].linked[e] = false
    fi
#endif
}

/* --- the reference: engine/ledger.c, one event after the other --- */

inline r_check(id_, target_) {
    r_status = CREATED;
    if
    :: target_ == PENDING
    :: target_ == id_ -> r_status = MUST_BE_DIFFERENT
    :: else ->
        p = r_index[target_];
        if
        :: p == FREE || p == R_BURNT -> r_status = NOT_FOUND
        :: else ->
            p--;
            r_status = (r_target[p] != PENDING -> NOT_PENDING : (r_posted[p] -> ALREADY_POSTED : CREATED));
            r_posted[p] = r_posted[p] || r_status == CREATED
        fi
    fi
}

inline r_create(id_, target_) {
    r_existing = 0;
    r_resolved = 0;
    if
    :: r_index[id_] == R_BURNT -> r_status = ALREADY_FAILED
    :: r_index[id_] == FREE ->
        r_check(id_, target_);
        if
        :: r_status == CREATED ->
            r_id[r_count] = id_;
            r_target[r_count] = target_;
            r_count++;
            r_index[id_] = r_count
        :: r_status == NOT_FOUND -> r_index[id_] = R_BURNT
        :: else
        fi
    :: else ->
        r_existing = r_index[id_];
        p = r_target[r_existing - 1];
        r_resolved = (p == PENDING -> 0 : r_index[p]);
        r_status = (p == target_ -> EXISTS : EXISTS_DIFFERENT)
    fi
}

inline r_take_back(l, e_) {
    p = leg[l].target[e_];
    if
    :: p != PENDING -> r_posted[r_index[p] - 1] = false
    :: else
    fi;
    r_index[leg[l].id[e_]] = FREE;
    r_count--;
    r_id[r_count] = 0;
    r_target[r_count] = 0;
    r_posted[r_count] = false;
    r_statuses[e_] = LINKED_FAILED
}

inline journal_compare() {
    assert(count == r_count);
    for (i : 0 .. IDS - 1) {
        assert(body_id[i] == r_id[i]);
        assert(body_target[i] == r_target[i]);
        assert(posted[i] == r_posted[i])
    }
}

/* Decides the leg's events again, and compares. */
inline leg_compare(l) {
    chained = false;
    broken = false;
    for (i : 0 .. leg[l].count - 1) {
        if
        :: leg[l].linked[i] && !chained -> chained = true; chain = i
        :: else
        fi;
        if
        :: broken -> r_status = LINKED_FAILED; r_existing = 0; r_resolved = 0
        :: else -> r_create(leg[l].id[i], leg[l].target[i])
        fi;
        r_statuses[i] = r_status;
        assert(existing[i] == r_existing);
        assert(resolved[i] == r_resolved);
        if
        :: r_status != CREATED && chained && !broken ->
            broken = true;
            j = i;
            do
            :: j > chain -> j--; r_take_back(l, j)
            :: else -> break
            od
        :: else
        fi;
        if
        :: !leg[l].linked[i] -> chained = false; broken = false
        :: else
        fi
    }
    for (i : 0 .. leg[l].count - 1) {
        assert(status[i] == r_statuses[i])
    }
    journal_compare()
}

/* Each id that isn't free stands in the index once, as what it is. */
inline index_compare() {
    for (h : 0 .. IDS - 1) {
        k = 0;
        for (i : 0 .. SLOTS - 1) {
            if
            :: index[i] == 0
            :: index[i] > BURNT_FIRST ->
                v = index[i] - 1 - BURNT_FIRST;
                assert(v < burnt_count);
                if
                :: burnt[v] == h -> k++; assert(r_index[h] == R_BURNT)
                :: else
                fi
            :: else ->
                v = index[i] - 1;
                assert(v < count);
                if
                :: body_id[v] == h -> k++; assert(r_index[h] == v + 1)
                :: else
                fi
            fi
        }
        assert(k == (r_index[h] != FREE))
    }
}

/* --- the index --- */

#ifdef FAULT_BEFORE_UNKNOWN
#define IS_CLAIM_BEFORE(l, v) false
#else
#define IS_CLAIM_BEFORE(l, v) ((v) >= leg[l].base_before)
#endif

/* What value v of the index is, if it stands for `wanted`: `found`, and where: `at`. */
inline value_look_at(l, wanted) {
    if
    :: v >= BURNT_FIRST ->
        at = v - BURNT_FIRST;
        assert(at < burnt_stable);
        found = (burnt[at] == wanted -> BURNT : NO_ID)
    :: v < BURNT_FIRST && v >= leg[l].base ->
        at = v - leg[l].base;
        assert(at < leg[l].count);
        found = (leg[l].id[at] == wanted -> EVENT : NO_ID)
    :: v < leg[l].base && IS_CLAIM_BEFORE(l, v) ->
        at = v - leg[l].base_before;
        assert(leg[l].before != NOBODY);
        found = (leg[leg[l].before].id[at] == wanted -> EVENT_BEFORE : NO_ID)
    :: else ->
        at = v;
        assert(at < stable);
        found = (body_id[at] == wanted -> TRANSFER : NO_ID)
    fi
}

/* What an id is. After NO_ID `i` is the last slot of the bucket where it goes. */
inline id_find(l, wanted) {
    found = NO_ID;
    i = 0;
    do
    :: found == NO_ID ->
        assert(i < SLOTS);
        if
        :: index[i] != 0 -> v = index[i] - 1; value_look_at(l, wanted)
        :: else
        fi;
        if
        :: found == NO_ID && i % BUCKET == BUCKET - 1 && index[i] == 0 -> break
        :: else -> i++
        fi
    :: else -> break
    od
}

/* The first free slot of the bucket is `i` then. */
inline index_enter(value) {
    i = i - (BUCKET - 1);
    do
    :: index[i] != 0 -> i++
    :: else -> break
    od;
    index[i] = value + 1
}

inline index_withdraw_youngest(value) {
    i = 0;
    do
    :: i < SLOTS && index[i] != value + 1 -> i++
    :: else -> break
    od;
    assert(i < SLOTS);
    assert(i % BUCKET == BUCKET - 1 || index[(i + 1) % SLOTS] == 0);
    index[i] = 0
}

/* --- the worker ahead --- */

inline pending_find(l, e_, wanted) {
    id_find(l, wanted);
    leg[l].pending[e_] = found;
    if
    :: found != NO_ID -> leg[l].pending_at[e_] = at
    :: else
    fi
}

inline target_look_up(l, e_) {
    if
    :: leg[l].target[e_] != PENDING -> pending_find(l, e_, leg[l].target[e_])
    :: else
    fi
}

/* What a reclaim may change. */
#define BECOMES_FREE(l, e) (was == EVENT_BEFORE && leg[l].own[e] == FREE)
#define BECOMES_EVENT(l, e) (was == EVENT_BEFORE && leg[l].own[e] == EVENT)
#define BECOMES_TRANSFER(l, e) (was == EVENT_BEFORE && leg[l].own[e] == TRANSFER)

inline own_claim(l, e_) {
    was = leg[l].own[e_];
    id_find(l, leg[l].id[e_]);
    if
    :: found == NO_ID ->
        leg[l].own[e_] = FREE;
        index_enter(leg[l].base + e_);
        leg[l].slot[e_] = i
    :: else ->
        leg[l].own[e_] = found;
        leg[l].own_at[e_] = at;
        if
        :: found == TRANSFER && body_target[at] != PENDING -> p = body_target[at]; pending_find(l, e_, p)
        :: else
        fi
    fi;
#ifdef NEVER_RECLAIM
    assert(pass != RECLAIM || !(NEVER_RECLAIM(l, e_)))
#endif
}

/* The event that holds a claim in the end. */
#define HOLDER(l, e) (leg[l].heir[e] != 0 -> leg[l].heir[e] : (e))

#define VALUE(l, e) (leg[l].outcome[e] == CREATED -> leg[l].at[e] : BURNT_FIRST + leg[l].at[e])

inline claim_settle(l, e_) {
    if
    :: leg[l].own[e_] == FREE ->
        assert(leg[l].heir[e_] == 0); /* or it would be vacated */
        index[leg[l].slot[e_]] = VALUE(l, e_) + 1
    :: else
    fi
}

inline claims_withdraw(l) {
    k = leg[l].count;
    do
    :: k > 0 ->
        k--;
#ifdef FAULT_OLDEST_FIRST
        h = leg[l].count - 1 - k;
#else
        h = k;
#endif
        if
        :: leg[l].own[h] == FREE -> index_withdraw_youngest(leg[l].base + h)
        :: else
        fi
    :: else -> break
    od
}

inline claims_enter_final(l) {
    for (k : 0 .. leg[l].count - 1) {
#ifdef FAULT_HEIR_NOT_ENTERED
        h = k;
#else
        h = HOLDER(l, k);
#endif
        if
        :: leg[l].own[k] == FREE && leg[l].outcome[h] != FAILED ->
            i = BUCKET - 1;
            do
            :: index[i] != 0 -> i = i + BUCKET; assert(i < SLOTS)
            :: else -> break
            od;
            v = VALUE(l, h);
            index_enter(v)
        :: else
        fi
    }
}

/* Puts the index right; claims of the next leg are made anew by who calls this. */
inline reclaim(l, following) {
#ifndef FAULT_NEXT_NOT_WITHDRAWN
    claims_withdraw(following);
#endif
    claims_withdraw(l);
    claims_enter_final(l);
#ifndef FAULT_BASE_BEFORE_KEPT
    leg[following].before = NOBODY;
    leg[following].base_before = leg[following].base
#endif
}

/* --- who applies --- */

/* What an id is, all events before being decided: `state`, and of a transfer its `position`. */
inline told(l, what, where) {
    position = where;
    if
    :: what == EVENT || what == EVENT_BEFORE ->
        a = (what == EVENT -> l : leg[l].before);
        assert(a != NOBODY);
        h = position;
#ifndef FAULT_HEIR_UNKNOWN
        h = HOLDER(a, h);
#endif
        position = leg[a].at[h];
        assert(leg[a].outcome[h] != UNKNOWN);
#ifdef FAULT_FAILED_NOT_FREE
        state = (leg[a].outcome[h] == CREATED -> TRANSFER : BURNT)
#else
        state = (leg[a].outcome[h] == CREATED -> TRANSFER : (leg[a].outcome[h] == BURNED -> BURNT : FREE))
#endif
    :: else ->
        assert(what != UNKNOWN);
        state = (what == NO_ID -> FREE : what)
    fi;
    assert(state != TRANSFER || position < count)
}

/* `c` is the event in whose name a free id stands. */
inline leg_own(l, e_) {
    c = (leg[l].own[e_] == EVENT -> leg[l].own_at[e_] : e_);
    told(l, leg[l].own[e_], leg[l].own_at[e_]);
    assert(leg[l].own[e_] != EVENT_BEFORE || state != FREE)
}

/* What the transfer that event e repeats has posted: `position`. */
inline leg_resolved(l, e_) {
    b = (leg[l].own[e_] == EVENT_BEFORE -> leg[l].before : l);
    k = (leg[l].own[e_] == TRANSFER -> e_ : leg[l].own_at[e_]);
#ifndef FAULT_RESOLVED_BY_CLAIMANT
    if
    :: leg[l].own[e_] != TRANSFER -> k = HOLDER(b, k)
    :: else
    fi;
#endif
    told(b, leg[b].pending[k], leg[b].pending_at[k]);
    assert(state == TRANSFER)
}

inline repeat(l, e_) {
    existing[e_] = position + 1;
    p = body_target[position];
    if
    :: p != PENDING -> leg_resolved(l, e_); resolved[e_] = position + 1
    :: else
    fi;
    status[e_] = (p == leg[l].target[e_] -> EXISTS : EXISTS_DIFFERENT)
}

inline check(l, e_) {
    status[e_] = CREATED;
    if
    :: leg[l].target[e_] == PENDING
    :: leg[l].target[e_] == leg[l].id[e_] -> status[e_] = MUST_BE_DIFFERENT
    :: else ->
        told(l, leg[l].pending[e_], leg[l].pending_at[e_]);
        if
        :: state != TRANSFER -> status[e_] = NOT_FOUND
        :: else ->
            status[e_] =
                (body_target[position] != PENDING -> NOT_PENDING : (posted[position] -> ALREADY_POSTED : CREATED));
            posted[position] = posted[position] || status[e_] == CREATED
        fi
    fi
}

/* The claim is the event's now. */
inline claim_hold(l, e_, what, where) {
    leg[l].outcome[e_] = what;
    leg[l].at[e_] = where;
    if
    :: c != e_ -> leg[l].heir[c] = e_
    :: else
    fi
}

inline enter(l, e_) {
    assert(count < IDS);
    body_id[count] = leg[l].id[e_];
    body_target[count] = leg[l].target[e_];
    claim_hold(l, e_, CREATED, count);
#ifndef FAULT_SHIFT_UNNOTED
    leg[l].shifted = leg[l].shifted || count != leg[l].base + e_;
#endif
    count++
}

inline create(l, e_) {
    leg_own(l, e_);
    if
    :: state == TRANSFER -> repeat(l, e_)
    :: state == BURNT -> status[e_] = ALREADY_FAILED
    :: state == FREE ->
        check(l, e_);
        if
        :: status[e_] == CREATED -> enter(l, e_)
        :: else
        fi
    fi
}

inline take_back(l, e_) {
    assert(leg[l].outcome[e_] == CREATED);
    assert(leg[l].at[e_] == count - 1);
    if
    :: leg[l].target[e_] != PENDING ->
        told(l, leg[l].pending[e_], leg[l].pending_at[e_]);
        assert(state == TRANSFER);
        posted[position] = false
    :: else
    fi;
    leg[l].outcome[e_] = FAILED;
#ifndef FAULT_ROLLBACK_UNNOTED
    leg[l].vacated = true;
#endif
    status[e_] = LINKED_FAILED;
    count--;
    body_id[count] = 0;
    body_target[count] = 0;
    posted[count] = false
}

inline fail(l, e_) {
    if
    :: status[e_] == NOT_FOUND ->
        leg_own(l, e_); /* which events of its chain may have had until now */
        assert(state == FREE);
        assert(burnt_count < IDS);
        burnt[burnt_count] = leg[l].id[e_];
        claim_hold(l, e_, BURNED, burnt_count);
        burnt_count++;
#ifndef FAULT_BURN_UNNOTED
        leg[l].shifted = true
#endif
    :: else ->
        leg[l].outcome[e_] = FAILED;
#ifndef FAULT_FAILURE_UNNOTED
        leg[l].vacated = leg[l].vacated || leg[l].own[e_] == FREE
#endif
    fi
}

/* The first event of the chain that event e is in, and whether it is broken. */
inline chain_find(l, e_) {
    chain = e_;
    broken = false;
    do
    :: chain > 0 && leg[l].linked[chain - 1] ->
        chain--;
        broken = broken || leg[l].outcome[chain] != CREATED
    :: else -> break
    od
}

/* What makes a relay more than its parts, by event. */
#define POSTS(l, e, what) (leg[l].target[e] != PENDING && leg[l].pending[e] == what && status[e] == CREATED)
#define POSTS_IN_LEG(l, e) POSTS(l, e, EVENT)
#define POSTS_BEFORE(l, e) POSTS(l, e, EVENT_BEFORE)
#define POSTS_FINAL(l, e) POSTS(l, e, TRANSFER)
#define POST_TAKEN_BACK(l, e) (leg[l].target[e] != PENDING && leg[l].linked[e] && status[e] == LINKED_FAILED)
#define HEIR_CREATED(l, e) (leg[l].own[e] == EVENT && status[e] == CREATED)
#define HEIR_BURNT(l, e) (leg[l].own[e] == EVENT && status[e] == NOT_FOUND)
#define REPEATS_BEFORE(l, e) (leg[l].own[e] == EVENT_BEFORE && status[e] == EXISTS)
#define BURNT_BEFORE(l, e) (leg[l].own[e] == EVENT_BEFORE && status[e] == ALREADY_FAILED)
#define RESOLVED_TWO_BEFORE(l, e)                                                                                      \
    (REPEATS_BEFORE(l, e) && resolved[e] > 0 && leg[leg[l].before].pending[leg[l].own_at[e]] == EVENT_BEFORE)

inline event_apply(l, e_) {
    chain_find(l, e_);
    if
    :: broken -> status[e_] = LINKED_FAILED
    :: else ->
        create(l, e_);
        j = e_;
        do
        :: status[e_] != CREATED && j > chain -> j--; take_back(l, j)
        :: else -> break
        od
    fi;
    if
    :: status[e_] != CREATED -> fail(l, e_)
    :: else
    fi
}

inline leg_end(l) {
    for (i : 0 .. leg[l].count - 1) {
#ifdef NEVER_STATUS
        assert(status[i] != NEVER_STATUS);
#endif
#ifdef NEVER_EVENT
        assert(!(NEVER_EVENT(l, i)));
#endif
        status[i] = 0;
        existing[i] = 0;
        resolved[i] = 0
    }
}

inline leg_apply(l) {
    d_step {
        for (i : 0 .. EVENTS - 1) {
            leg[l].at[i] = 0;
            leg[l].heir[i] = 0;
            leg[l].outcome[i] = (i < leg[l].count -> FAILED : UNKNOWN)
        }
        e = 0
    }
    do
    :: d_step { e < leg[l].count -> event_apply(l, e); e++ }
    :: d_step { e == leg[l].count -> leg_compare(l); leg_end(l); e = 0 } break
    od
}

/* --- the driver --- */

#ifdef FAULT_BASE_AT_COUNT
#define BASE_BEHIND(l) count
#else
#define BASE_BEHIND(l) (leg[l].base + leg[l].count)
#endif

inline leg_fill(l, previous) {
    leg[l].before = previous;
    leg[l].vacated = false;
    leg[l].shifted = false;
    leg[l].base = count;
    leg[l].base_before = count;
    if
    :: previous != NOBODY -> leg[l].base = BASE_BEHIND(previous); leg[l].base_before = leg[previous].base
    :: else
    fi;
    if
    :: chain_next || taken == LEGS_ALL -> leg[l].count = 0
    :: else -> leg[l].count = SIZE(taken); taken++
    fi
}

/* Wipes what nothing may read any more: whoever does is found, and what goes on in the same way is one state. */
inline forget() {
    for (k : 0 .. LEGS - 1) {
        /* Kept: what the events of the leg before post. Which of those of one that is done have claims, and where. */
        keeps = k == done || (now != NOBODY && k == leg[now].before);
        if
        :: k == now
        :: else ->
            leg[k].vacated = false;
            leg[k].shifted = keeps && leg[k].shifted;
            leg[k].base = 0;
            leg[k].base_before = 0;
            leg[k].before = (keeps -> leg[k].before : NOBODY);
            leg[k].count = (keeps -> leg[k].count : 0);
            for (i : 0 .. EVENTS - 1) {
                leg[k].id[i] = 0;
                leg[k].target[i] = 0;
                leg[k].linked[i] = false;
                leg[k].own_at[i] = 0;
                if
                :: i < leg[k].count
                :: else ->
                    leg[k].own[i] = UNKNOWN;
                    leg[k].slot[i] = 0;
                    leg[k].pending[i] = UNKNOWN;
                    leg[k].pending_at[i] = 0
                fi
            }
        fi
    }
    for (k : 0 .. LEGS - 1) {
        /* Kept: what became of the events of the two legs before, and of one that is done. */
        keeps = k == done;
        if
        :: now != NOBODY && leg[now].before != NOBODY ->
            keeps = keeps || k == leg[now].before || k == leg[leg[now].before].before
        :: else
        fi;
        for (i : 0 .. EVENTS - 1) {
            if
            :: keeps
            :: else -> leg[k].at[i] = 0; leg[k].heir[i] = 0; leg[k].outcome[i] = UNKNOWN
            fi
        }
    }
}

inline publish(what) {
    stable = count;
    burnt_stable = burnt_count;
    pass = what;
    turn = (turn + 1) % 4
}

/* Turns begin at 0 again: how many there were makes no difference. */
inline await(what) {
    if
    :: what == FAULT_SKIP_BARRIER
    :: else -> atomic { turn == ended -> turn = 0; ended = 0 }
    fi
}

inline legs_advance() {
    done = now;
#ifndef FAULT_NO_RECLAIM
    if
    :: done != NOBODY && leg[done].vacated ->
        d_step { publish(RECLAIM) }
        await(RECLAIM);
        done = NOBODY
    :: else
    fi;
#endif
    d_step {
        now = (leg[next].count > 0 -> next : NOBODY);
        forget();
        next = (next + 1) % LEGS
    }
}

/* The first event of a chain that is longer than a leg stands for it. The sequential code decides it, that is the
 * reference, on an index that must be as the reference's. */
inline chain_apply() {
    atomic {
        assert(chain_next);
        choose_event(next, 0);
        d_step {
            index_compare();
            r_create(leg[next].id[0], leg[next].target[0]);
            stable = count;
            burnt_stable = burnt_count;
            id_find(next, leg[next].id[0]);
            if
            :: r_status == CREATED -> index_enter(count)
            :: r_status == NOT_FOUND ->
                index_enter(BURNT_FIRST + burnt_count);
                burnt[burnt_count] = leg[next].id[0];
                burnt_count++
            :: else
            fi;
            for (i : 0 .. IDS - 1) {
                body_id[i] = r_id[i];
                body_target[i] = r_target[i];
                posted[i] = r_posted[i]
            }
            count = r_count;
            forget();
            chain_next = false
        }
    }
}

#ifdef FAULT_CHAIN_UNSETTLED
#define IS_IDLE (now == NOBODY && leg[next].count == 0)
#else
#define IS_IDLE (now == NOBODY && leg[next].count == 0 && done == NOBODY)
#endif

#ifdef FAULT_END_UNSETTLED
#define IS_OVER (now == NOBODY && FEED_IS_EMPTY)
#else
#define IS_OVER (now == NOBODY && FEED_IS_EMPTY && done == NOBODY)
#endif

active proctype leader() {
    byte e;
    do
    :: atomic {
#ifdef LONG_CHAIN
        if
        :: chain_left -> chain_left = false; chain_next = true
        :: true
        fi;
#endif
        d_step { leg_fill(next, now) }
    }
        if
        :: IS_IDLE ->
#ifdef LONG_CHAIN
            chain_apply()
#else
            assert(false)
#endif
        :: else ->
            d_step { publish(LEG) }
            if
            :: now != NOBODY -> leg_apply(now)
            :: else
            fi;
            await(LEG);
            done = NOBODY;
            legs_advance()
        fi;
        if
        :: !IS_OVER
        :: d_step { IS_OVER -> index_compare(); publish(DISMISSED) } break
        fi
    od
}

active proctype worker_ahead() {
    byte e, l;
    do
    :: turn != ended && pass != DISMISSED ->
        if
#ifdef FAULT_NOT_CLAIMED_ANEW
        :: pass == RECLAIM -> d_step { reclaim(done, next); e = leg[next].count }
#else
        :: pass == RECLAIM -> d_step { reclaim(done, next); e = 0 }
#endif
        :: pass == LEG && done == NOBODY
        :: pass == LEG && done != NOBODY ->
#ifndef FAULT_NO_SETTLE
            l = done;
#ifndef FAULT_NO_RECLAIM
            assert(!leg[l].vacated);
#endif
            do
            :: d_step { leg[l].shifted && e < leg[l].count -> claim_settle(l, e); e++ }
            :: d_step { !leg[l].shifted || e == leg[l].count -> e = 0 } break
            od
#endif
        fi;
        l = next;
        do
        :: atomic {
            e < leg[l].count ->
            if
            :: pass == LEG -> choose_event(l, e)
            :: else
            fi;
#ifdef FAULT_OWN_FIRST
            d_step { own_claim(l, e) }
#else
            d_step { target_look_up(l, e) }
#endif
        }
#ifdef FAULT_OWN_FIRST
            d_step { target_look_up(l, e); e++ }
#else
            d_step { own_claim(l, e); e++ }
#endif
        :: d_step { e == leg[l].count -> e = 0; l = 0; ended = (ended + 1) % 4 } break
        od
    :: turn != ended && pass == DISMISSED -> break
    od
}
