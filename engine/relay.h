/* A relay of two workers: one looks ids up, ahead; the other applies events in their order by the rules, and need not look at the index of
 * ids any more, which takes a third to a half of its time. While one applies a leg of events, the other has the next in hand.
 *
 * The index belongs to the worker ahead. It claims the id of every event that finds it free, in the event's name: value
 * `base` + event, which no position of a transfer has, so others see that the id is in somebody's hands. What an event is told about its id:
 * free, and claimed for it; a transfer; a burnt one; or an event of this leg or the one before, which is decided when it is
 * this event's turn. The same about the pending transfer that it posts or voids.
 *
 * When a leg is applied its claims are settled: they get the positions of what was created, or stand for ids that were burnt. An id whose
 * event failed and did not burn it is free again: a later event of the leg may have taken it over. Then claims of the next leg were
 * made on false grounds. So where that happened, both legs' claims are withdrawn, youngest first, the leg's made final and
 * the next one's made anew, before the next one is applied (tael_leg_reclaim).
 *
 * Pure: no threads in here. What each function may touch is said there; the two workers' functions run at the same time. */
#ifndef TAEL_ENGINE_RELAY_H
#define TAEL_ENGINE_RELAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/ledger_state.h"

#define TAEL_LEG_EVENTS_MAX 2048

/* What an event is told about an id. */
enum tael_leg_id {
    TAEL_LEG_FREE, /* its own: claimed for it */
    TAEL_LEG_TRANSFER, /* at a position */
    TAEL_LEG_BURNT,
    TAEL_LEG_EVENT, /* claimed for an event of this leg */
    TAEL_LEG_EVENT_BEFORE, /* claimed for an event of the leg before */
    TAEL_LEG_NONE, /* a pending transfer's: there is no such id */
};

/* What became of an event. */
enum tael_leg_outcome { TAEL_LEG_FAILED, TAEL_LEG_CREATED, TAEL_LEG_BURNED };

struct tael_leg_part {
    struct tael_ledger_part part;
    uint32_t first; /* its first event's place in the leg */
    uint32_t request; /* the caller's number of the request */
};

struct tael_leg {
    struct tael_ledger *ledger;
    struct tael_leg *before; /* NULL: none */
    uint64_t base; /* of claims */
    uint32_t count; /* events */
    uint32_t part_count;
    struct tael_leg_part parts[TAEL_LEG_EVENTS_MAX];

    /* Written by the worker ahead, by event. */
    const struct tael_transfer *event[TAEL_LEG_EVENTS_MAX];
    uint32_t own_at[TAEL_LEG_EVENTS_MAX]; /* position or event */
    uint32_t pending_at[TAEL_LEG_EVENTS_MAX]; /* the same; where its own id is a post or void: of what that resolved */
    uint32_t debit[TAEL_LEG_EVENTS_MAX]; /* number of the debit account, nearly always; 0: there is none */
    uint32_t credit[TAEL_LEG_EVENTS_MAX];
    uint32_t debits; /* so many events' debit accounts have been looked up, from the first one on */
    uint32_t credits;
    uint8_t own[TAEL_LEG_EVENTS_MAX]; /* enum tael_leg_id */
    uint8_t pending[TAEL_LEG_EVENTS_MAX];
    /* For itself: copies, for who applies changes what stands beside the originals all the time. */
    struct tael_id_index index;
    struct tael_account_table accounts;
    const struct tael_transfer *bodies;
    const tael_u128 *burnt;
    uint64_t base_before; /* of the leg before; as `base` where there is none */
    uint64_t id_hash[TAEL_LEG_EVENTS_MAX];
    uint64_t pending_hash[TAEL_LEG_EVENTS_MAX]; /* of posts and voids */
    uint64_t *slot[TAEL_LEG_EVENTS_MAX]; /* of its claim */

    /* Written by who applies, by event. */
    _Alignas(TAEL_CACHE_LINE) uint32_t at[TAEL_LEG_EVENTS_MAX]; /* created: position; burnt: the burnt id's number */
    uint16_t heir[TAEL_LEG_EVENTS_MAX]; /* of one whose claim another took over; 0: nobody */
    uint8_t outcome[TAEL_LEG_EVENTS_MAX]; /* enum tael_leg_outcome */
    /* It has been applied: the worker ahead looks at this again and again. */
    _Alignas(TAEL_CACHE_LINE) _Atomic bool applied;
    _Alignas(TAEL_CACHE_LINE) bool vacated; /* some event failed, had a claim and did not burn its id */
    bool shifted; /* some claim is not the position */
};

/* Forgets what it was; it follows `before`. */
void tael_leg_begin(struct tael_leg *leg, struct tael_leg *before);
void tael_leg_add(struct tael_leg *leg, const struct tael_ledger_part *part, uint32_t request);

/* By the worker ahead: claims ids, looks pending transfers up, and accounts as long as the leg before is being applied. Owns the index; reads the journal below `base` of the leg
 * before, and that leg's event pointers. */
void tael_leg_claim(struct tael_leg *leg);
/* By the worker ahead, once the leg is applied: makes its claims final. Not where it is `vacated`. */
void tael_leg_settle(struct tael_leg *leg);
/* By the worker ahead, nobody else being at work: the same for a leg that is vacated, and claims anew for the next (NULL: none). */
void tael_leg_reclaim(struct tael_leg *leg, struct tael_leg *next);

/* Applies a part of the leg; see tael_ledger_apply_part. Owns all but the index, and the leg's own arrays. */
uint32_t tael_leg_apply(struct tael_leg *leg, const struct tael_leg_part *part, struct tael_exception *exceptions);

/* --- for the rules --- */

/* What an event's id is now that all events before it are decided. After TAEL_ID_FREE `claim` is the event in whose name it stands. */
enum tael_id_state tael_leg_own(const struct tael_leg *leg, uint32_t event, uint64_t *position, uint32_t *claim);
/* The pending transfer that it posts or voids. */
enum tael_id_state tael_leg_pending(const struct tael_leg *leg, uint32_t event, uint64_t *position);
/* Where its id is a transfer that posted or voided another: the position of that. */
uint64_t tael_leg_resolved(const struct tael_leg *leg, uint32_t event);

#endif
