/* A step: a run of create_transfer events that workers apply together, with exactly the results of applying them one after
 * the other (engine/ledger.h). docs/concurrency.md has the reasons.
 *
 * Every account and every partition of the index of ids has an owner, a worker, and nobody else changes it. A step goes
 * through passes; all workers make a pass, each its share, and none begins the next one before all have ended this one:
 *
 *   route    by ranges of events: what an event is by itself, its hash, the accounts' numbers, the owners
 *   resolve  by ranges: what posts and voids resolve. Left out where there are none
 *   intern   by owner: claims the ids; reserves the amounts on limited accounts, and marks those as unsafe that events may find
 *            in different states: whatever touches an unsafe account is listed, and so is what is not plainly going to succeed
 *   residue  by one worker, where something was listed: decides the listed events in their order, by the same rules and the
 *            same code as ever, and changes unsafe accounts
 *   apply    by owner: balances of all that succeeded, but on unsafe accounts. Claims become final
 *   write    by ranges: bodies and traces; by the debit account's owner: both accounts' balances after each event
 *   commit   by one worker
 *
 * Why that is serial: an event that isn't listed succeeds whatever the listed ones do. Its id was free and nobody before it in the
 * step can take it (every event that could has claimed its own, in order). On its accounts every check passes in any order: a safe
 * account isn't closed or wide, nothing in the step closes it, and its limit holds even if all debits in the step come before
 * all credits. And a listed event is decided when all before it are: on an unsafe account all events are listed, so there the
 * balance is that of its turn; on a safe one its checks pass as well.
 *
 * What this can't be done for (amounts and balances that come near 64 bits, an account whose fingerprint was another's) makes the
 * step sequential: the passes so far are undone and the events applied one by one.
 *
 * The struct is shared by the passes' files and by tests. Pure: no threads in here; passes of one kind may run on
 * several threads at once, each for its worker. */
#ifndef TAEL_ENGINE_STEP_H
#define TAEL_ENGINE_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>
#include <tael/request.h>

#include "engine/ledger_state.h"
#include "engine/parallel.h"
#include "engine/step_reason.h"

#define TAEL_STEP_EVENTS_MAX 2048

/* Amounts and balances in a step lie below these, so no sum in it needs more than 64 bits. */
#define TAEL_STEP_AMOUNT_MAX ((1ull << 48) - 1)
#define TAEL_STEP_BALANCE_MAX ((1ull << 62) - 1)
/* But for a few balancing events, which may ask for more, mostly for all there is, of accounts that have not more than this. What such an
 * account can come to have in the step is what these have at first, 2^59 together, and what all other events bring, 2^59: what
 * balancing events move from one to another does not add to it. So none moves more than 2^60 and all together 2^63,
 * and 2^63 + 2^62 + 2^59 is less than 2^64. */
#define TAEL_STEP_ASK_MAX 8
#define TAEL_STEP_ASKED_MAX ((1ull << 56) - 1)

/* Events that stand back to back, and whose they are. */
struct tael_step_segment {
    struct tael_ledger_part part;
    uint32_t first; /* its first event's place in the step */
    uint32_t request; /* the caller's number of the request */
};

/* What an event is. Written by route, resolve and the residue. */
enum tael_step_kind {
    TAEL_STEP_PENDING = 1u << 0, /* is pending; plain where neither this nor RESOLVE is set */
    TAEL_STEP_RESOLVE = 1u << 1, /* posts or voids `pending` */
    TAEL_STEP_POST = 1u << 2, /* posts it */
    TAEL_STEP_CLAIMS = 1u << 3, /* may take its id, or burn it */
    TAEL_STEP_UNSAFE = 1u << 4, /* makes its accounts unsafe */
    TAEL_STEP_LISTED = 1u << 5, /* to be decided in the residue */
    TAEL_STEP_LINKED = 1u << 6, /* the next event is of the same chain */
    TAEL_STEP_WRITTEN = 1u << 7, /* its body stands in the journal already */
};

/* Balances after an event, of one of its accounts. */
struct tael_step_half {
    _Alignas(32) uint64_t balance[TAEL_BALANCES];
};

/* What a worker hands to itself and others between apply and write: balances after events, in their order. */
struct tael_step_boxes {
    /* Of its debit accounts, each followed by that of the event's credit account where that is its own too. */
    struct tael_step_half held[2 * TAEL_STEP_EVENTS_MAX];
    /* Of its credit accounts, where the debit account is another's: those for worker w begin at sent_begin[w]. */
    struct tael_step_half sent[TAEL_STEP_EVENTS_MAX];
    uint32_t sent_begin[TAEL_WORKERS_MAX];
    /* Behind the last ones. */
    const struct tael_step_half *held_end;
    struct tael_step_half *sent_end[TAEL_WORKERS_MAX];
};

/* What a worker hands to itself between intern and apply: where its claims stand in the index, in the order of its events. */
struct tael_step_claims {
    uint64_t *slot[TAEL_STEP_EVENTS_MAX]; /* NULL: the id was taken already */
};

/* Sides of an event. */
enum tael_step_side { TAEL_STEP_DEBIT, TAEL_STEP_CREDIT, TAEL_STEP_SIDES };

#define TAEL_STEP_NOBODY 0xffu /* the owner of what is not there */

/* What a worker found in its passes; a cache line of its own. */
struct tael_step_worker {
    _Alignas(TAEL_CACHE_LINE) uint32_t listed;
    uint32_t resolves;
    uint32_t unsafe_accounts;
    uint32_t asks; /* balancing events that ask for more than TAEL_STEP_AMOUNT_MAX */
    bool timeouts; /* some events have one */
    uint8_t sequential; /* why the step can't be done together: bits by enum tael_sequential; 0: it can */
};

struct tael_step {
    struct tael_ledger *ledger;
    uint32_t worker_count;
    uint32_t count; /* events */
    uint64_t base; /* position of the first transfer that it creates */
    uint32_t segment_count;
    struct tael_step_worker workers[TAEL_WORKERS_MAX];
    struct tael_step_segment segments[TAEL_STEP_EVENTS_MAX];

    /* By event. */
    const struct tael_transfer *event[TAEL_STEP_EVENTS_MAX];
    uint64_t timestamp[TAEL_STEP_EVENTS_MAX]; /* its own; once it is decided, that of its result */
    uint64_t id_hash[TAEL_STEP_EVENTS_MAX];
    uint64_t amount[TAEL_STEP_EVENTS_MAX]; /* what it moves */
    uint64_t pending_amount[TAEL_STEP_EVENTS_MAX]; /* RESOLVE: that of the pending transfer */
    uint32_t number[TAEL_STEP_SIDES][TAEL_STEP_EVENTS_MAX]; /* of the accounts; 0: not known */
    uint32_t pending[TAEL_STEP_EVENTS_MAX]; /* RESOLVE: its position */
    uint32_t burnt[TAEL_STEP_EVENTS_MAX]; /* of one that burnt its id: that id's number */
    uint32_t account_ledger[TAEL_STEP_EVENTS_MAX]; /* that its accounts must have */
    uint8_t why[TAEL_STEP_EVENTS_MAX]; /* LISTED: the reason that goes with it, an enum tael_listed */
    /* These are cleared whole. */
    _Alignas(TAEL_CACHE_LINE)
        uint16_t heir[TAEL_STEP_EVENTS_MAX]; /* of one that claimed its id: who took the claim over; 0: nobody */
    _Alignas(TAEL_CACHE_LINE) uint8_t
        refusal[TAEL_STEP_EVENTS_MAX]; /* its status if it failed; before it is decided, one that it has by itself */
    _Alignas(TAEL_CACHE_LINE) uint8_t kind[TAEL_STEP_EVENTS_MAX]; /* enum tael_step_kind */
    /* The owners of the id and of the accounts. */
    _Alignas(TAEL_CACHE_LINE) uint8_t owner_id[TAEL_STEP_EVENTS_MAX];
    _Alignas(TAEL_CACHE_LINE) uint8_t owner[TAEL_STEP_SIDES][TAEL_STEP_EVENTS_MAX];
    /* Listed by the owner of that, and why: an enum tael_listed; 0: not listed. One writer each. */
    _Alignas(TAEL_CACHE_LINE) uint8_t listed_id[TAEL_STEP_EVENTS_MAX];
    _Alignas(TAEL_CACHE_LINE) uint8_t listed_half[TAEL_STEP_SIDES][TAEL_STEP_EVENTS_MAX];
    _Alignas(TAEL_CACHE_LINE) uint8_t
        sides_written[TAEL_STEP_EVENTS_MAX]; /* bits by side: to history, by the residue */
    _Alignas(TAEL_CACHE_LINE)
        uint8_t unclaimed[TAEL_STEP_EVENTS_MAX]; /* its id was taken already, so it stands in no claim of its own */

    bool resolves; /* some events post or void */
    bool irregular; /* there is a residue */

    /* Events that failed, rising: those between are created. */
    uint32_t failed_count;
    uint16_t failed[TAEL_STEP_EVENTS_MAX];

    struct tael_step_boxes *boxes; /* by worker */
    struct tael_step_claims *claims; /* by worker */
};

size_t tael_step_size_bytes(uint32_t worker_count);
struct tael_step *tael_step_init(struct tael_arena *arena, struct tael_ledger *ledger, uint32_t worker_count);
/* Forgets what it was. */
void tael_step_begin(struct tael_step *step);
/* Adds events; there must be room. */
void tael_step_add(struct tael_step *step, const struct tael_ledger_part *part, uint32_t request);

/* Where its transfers begin: once the step before is committed, and before `resolve`; route may come earlier. */
void tael_step_place(struct tael_step *step);

/* The passes. */
void tael_step_route(struct tael_step *step, uint32_t worker);
void tael_step_resolve(struct tael_step *step, uint32_t worker);
void tael_step_intern(struct tael_step *step, uint32_t worker);
/* Returns how many events it decided, and adds them to `listed` by reason. */
uint32_t tael_step_residue(struct tael_step *step, uint64_t listed[static TAEL_LISTED_REASONS]);
void tael_step_apply(struct tael_step *step, uint32_t worker);
void tael_step_write(struct tael_step *step, uint32_t worker);
void tael_step_undo(struct tael_step *step, uint32_t worker); /* of intern, where the step is to be sequential */
/* Ends the step: what is counted and queued in the ledger. */
void tael_step_commit(struct tael_step *step);

/* What the workers found, all together. */
struct tael_step_worker tael_step_findings(const struct tael_step *step);

/* --- for the passes --- */

/* The events of a worker's range: [begin, end). */
static inline uint32_t tael_step_range_begin(const struct tael_step *step, uint32_t worker) {
    /* Whole cache lines of the arrays of bytes. */
    const uint32_t begin =
        (uint32_t)((uint64_t)step->count * worker / step->worker_count) & ~(uint32_t)(TAEL_CACHE_LINE - 1);
    return worker == step->worker_count ? step->count : begin;
}

static inline uint32_t tael_step_range_end(const struct tael_step *step, uint32_t worker) {
    return tael_step_range_begin(step, worker + 1);
}

/* The owner of an account: scattered, so that patterns in the order of creation don't matter. */
static inline uint8_t tael_step_account_owner(const struct tael_step *step, uint32_t number) {
    return (uint8_t)((uint64_t)(number * 2654435761u) * step->worker_count >> 32);
}

static inline bool tael_step_is_listed(const struct tael_step *step, uint32_t event) {
    return ((step->kind[event] & TAEL_STEP_LISTED) | step->listed_id[event] |
            step->listed_half[TAEL_STEP_DEBIT][event] | step->listed_half[TAEL_STEP_CREDIT][event]) != 0;
}

/* The step can't be done together. */
static inline void tael_step_give_up(struct tael_step_worker *own, enum tael_sequential why) {
    own->sequential |= (uint8_t)(1u << why);
}

/* For a reason that is found in a range; those that are found on a side or in an id stand beside it. */
static inline void tael_step_list(struct tael_step *step, uint32_t event, enum tael_listed why) {
    step->kind[event] |= TAEL_STEP_LISTED;
    step->why[event] = (uint8_t)why;
}

static inline bool tael_step_is_created(const struct tael_step *step, uint32_t event) {
    return step->refusal[event] == 0;
}

/* The event that holds a claim now. */
static inline uint32_t tael_step_holder(const struct tael_step *step, uint32_t claimant) {
    return step->heir[claimant] != 0 ? step->heir[claimant] : claimant;
}

/* The place of the first event that failed and doesn't come before `event`. */
static inline uint32_t tael_step_failed_before(const struct tael_step *step, uint32_t event) {
    uint32_t low = 0;
    uint32_t high = step->failed_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (step->failed[middle] < event) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The position of an event's transfer, all events before it being decided. */
static inline uint64_t tael_step_position(const struct tael_step *step, uint32_t event) {
    return step->base + event - tael_step_failed_before(step, event);
}

/* The events, rising, whose owner in `owners` is `worker`. How many. */
uint32_t tael_step_select(const struct tael_step *step, const uint8_t *owners, uint32_t worker,
                          uint16_t out[static TAEL_STEP_EVENTS_MAX]);
/* The events that are listed, rising. How many. */
uint32_t tael_step_select_listed(const struct tael_step *step, uint16_t out[static TAEL_STEP_EVENTS_MAX]);
/* Whether some events are of a chain with the next one. */
bool tael_step_is_linked(const struct tael_step *step);
/* The halves on a worker's accounts in the order of events, the debit account's first: event << 1 | side. How many. */
uint32_t tael_step_select_halves(const struct tael_step *step, uint32_t worker,
                                 uint16_t out[static 2 * TAEL_STEP_EVENTS_MAX]);

/* Writes the transfer of an event to its position: its body, and its trace. */
void tael_step_write_body(const struct tael_step *step, uint32_t event, uint64_t position);
void tael_step_write_trace(const struct tael_step *step, uint32_t event, uint64_t position);

/* --- for the rules, in the residue --- */

/* An id as event `event` finds it. After TAEL_ID_FREE `claim` is the event in whose name it stands in the index; UINT32_MAX: none. */
enum tael_id_state tael_step_find_transfer(struct tael_step *step, uint32_t event, tael_u128 id, uint64_t hash,
                                           uint64_t *position, uint32_t *claim);

#endif
