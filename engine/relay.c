#include "engine/relay.h"

#include <string.h>

#include <tael/flag.h>

#include "engine/transfer_rules.h"

/* Lines are fetched for so many events at a time, in loops that do little else. A prefetch is held up by its page walk, and only what stands
 * close behind it in the code walks meanwhile: one at a time between other work they took 53 ns each, in such groups 20. */
enum { GROUP = 16 };

void tael_leg_begin(struct tael_leg *leg, struct tael_leg *before) {
    leg->before = before;
    leg->count = 0;
    leg->part_count = 0;
    leg->vacated = false;
    leg->shifted = false;
    leg->debits = 0;
    leg->credits = 0;
    atomic_store_explicit(&leg->applied, false, memory_order_relaxed); /* relaxed: a hint */
    leg->base = before == NULL ? leg->ledger->journal.count : before->base + before->count;
    leg->base_before = before == NULL ? leg->base : before->base;
    leg->index = leg->ledger->index;
    leg->accounts = leg->ledger->accounts;
    leg->bodies = leg->ledger->journal.bodies;
    leg->burnt = leg->ledger->journal.burnt;
}

void tael_leg_add(struct tael_leg *leg, const struct tael_ledger_part *part, uint32_t request) {
    TAEL_ASSERT(part->count > 0);
    TAEL_ASSERT(leg->count + part->count <= TAEL_LEG_EVENTS_MAX);
    leg->parts[leg->part_count++] = (struct tael_leg_part){.part = *part, .first = leg->count, .request = request};
    leg->count += part->count;
}

/* --- the worker ahead: claiming --- */

/* What an id is: TAEL_LEG_NONE where it is free, with the probe where it goes. */
static enum tael_leg_id id_find(const struct tael_leg *leg, tael_u128 id, struct tael_index_probe *probe,
                                uint32_t *at) {
    uint64_t value;
    while (tael_index_probe_next(&leg->index, probe, &value)) {
        if (value & TAEL_INDEX_BURNT) {
            if (leg->burnt[value & ~TAEL_INDEX_BURNT] == id) return TAEL_LEG_BURNT;
        } else if (value >= leg->base) {
            *at = (uint32_t)(value - leg->base);
            if (leg->event[*at]->id == id) return TAEL_LEG_EVENT;
        } else if (value >= leg->base_before) {
            *at = (uint32_t)(value - leg->base_before);
            if (leg->before->event[*at]->id == id) return TAEL_LEG_EVENT_BEFORE;
        } else {
            *at = (uint32_t)value;
            if (leg->bodies[value].id == id) return TAEL_LEG_TRANSFER;
        }
    }
    return TAEL_LEG_NONE;
}

static void pending_find(struct tael_leg *leg, uint32_t event, tael_u128 id, uint64_t hash) {
    struct tael_index_probe probe = tael_index_probe_begin(&leg->index, hash);
    leg->pending[event] = (uint8_t)id_find(leg, id, &probe, &leg->pending_at[event]);
}

static void id_claim(struct tael_leg *leg, uint32_t event) {
    struct tael_id_index *index = &leg->index;
    const struct tael_transfer *t = leg->event[event];
    leg->own[event] = TAEL_LEG_NONE;
    if (!tael_transfer_may_have_id(t)) return; /* it is refused before its id is looked up */
    /* Before its own id: a post or void that repeats another has that one's pending transfer looked up in place of its own. */
    if (t->flags & TAEL_TRANSFER_RESOLVES) pending_find(leg, event, t->pending_id, leg->pending_hash[event]);
    struct tael_index_probe probe = tael_index_probe_begin(index, leg->id_hash[event]);
    const enum tael_leg_id found = id_find(leg, t->id, &probe, &leg->own_at[event]);
    if (TAEL_LIKELY(found == TAEL_LEG_NONE)) {
        leg->own[event] = TAEL_LEG_FREE;
        leg->slot[event] = tael_id_index_enter(index, &probe, leg->base + event);
        return;
    }
    leg->own[event] = (uint8_t)found;
    if (found != TAEL_LEG_TRANSFER) return;
    const struct tael_transfer *existing = &leg->bodies[leg->own_at[event]];
    if ((existing->flags & TAEL_TRANSFER_RESOLVES) == 0) return;
    pending_find(leg, event, existing->pending_id, tael_hash_id(&leg->accounts.hash, existing->pending_id));
}

static void events_list(struct tael_leg *leg) {
    for (uint32_t i = 0; i < leg->part_count; i++) {
        const struct tael_leg_part *part = &leg->parts[i];
        for (uint32_t k = 0; k < part->part.count; k++) leg->event[part->first + k] = &part->part.events[k];
    }
}

static uint32_t account_guess(const struct tael_leg *leg, uint64_t hash) {
    const struct tael_account_line *line = tael_account_table_guess(&leg->accounts, hash);
    return line == NULL ? 0 : (uint32_t)(line - leg->accounts.lines);
}

static tael_u128 account_id(const struct tael_transfer *t, bool credit) {
    return credit ? t->credit_account_id : t->debit_account_id;
}

static void accounts_fetch(const struct tael_leg *leg, uint64_t hashes[GROUP], uint32_t first, bool credit) {
    const uint32_t end = leg->count < first + GROUP ? leg->count : first + GROUP;
    for (uint32_t i = first; i < end; i++) {
        hashes[i - first] = tael_hash_id(&leg->accounts.hash, account_id(leg->event[i], credit));
    }
    for (uint32_t i = first; i < end; i++) tael_id_index_fetch(&leg->accounts.index, hashes[i - first]);
}

/* Finds one side's accounts as long as the leg before is being applied: then they are as well found by who applies this one.
 * So both are busy to the end, whatever takes long. Returns of how many events. */
static uint32_t accounts_find(const struct tael_leg *leg, uint32_t *numbers, bool credit) {
    uint64_t hashes[2][GROUP];
    accounts_fetch(leg, hashes[0], 0, credit);
    for (uint32_t first = 0; first < leg->count; first += GROUP) {
        if (atomic_load_explicit(&leg->before->applied, memory_order_relaxed)) return first; /* relaxed: a hint */
        accounts_fetch(leg, hashes[(first / GROUP + 1) % 2], first + GROUP, credit);
        for (uint32_t i = first; i < leg->count && i < first + GROUP; i++) {
            numbers[i] = account_guess(leg, hashes[first / GROUP % 2][i - first]);
        }
    }
    return leg->count;
}

static void ids_hash(struct tael_leg *leg) {
    for (uint32_t i = 0; i < leg->count; i++) {
        __builtin_prefetch((const char *)leg->event[i] + TAEL_CACHE_LINE); /* its flags */
        leg->id_hash[i] = tael_hash_id(&leg->accounts.hash, leg->event[i]->id);
    }
}

static bool resolves(const struct tael_leg *leg, uint32_t event) {
    return (leg->event[event]->flags & TAEL_TRANSFER_RESOLVES) != 0;
}

/* The buckets of a group's ids and of the pending transfers that they name. */
static void buckets_fetch(struct tael_leg *leg, uint32_t first) {
    const uint32_t end = leg->count < first + GROUP ? leg->count : first + GROUP;
    for (uint32_t i = first; i < end; i++) tael_id_index_fetch(&leg->index, leg->id_hash[i]);
    for (uint32_t i = first; i < end; i++) {
        if (!resolves(leg, i)) continue;
        leg->pending_hash[i] = tael_hash_id(&leg->accounts.hash, leg->event[i]->pending_id);
        tael_id_index_fetch(&leg->index, leg->pending_hash[i]);
    }
}

/* The pending transfers, where those buckets say that they are. */
static void pendings_fetch(const struct tael_leg *leg, uint32_t first) {
    const uint32_t end = leg->count < first + GROUP ? leg->count : first + GROUP;
    for (uint32_t i = first; i < end; i++) {
        if (!resolves(leg, i)) continue;
        struct tael_index_probe probe = tael_index_probe_begin(&leg->index, leg->pending_hash[i]);
        uint64_t value;
        if (tael_index_probe_next(&leg->index, &probe, &value) && value < leg->base_before) {
            __builtin_prefetch(&leg->bodies[value]);
        }
    }
}

static void ids_claim(struct tael_leg *leg) {
    buckets_fetch(leg, 0);
    buckets_fetch(leg, GROUP);
    pendings_fetch(leg, 0);
    for (uint32_t first = 0; first < leg->count; first += GROUP) {
        buckets_fetch(leg, first + 2 * GROUP);
        pendings_fetch(leg, first + GROUP);
        for (uint32_t i = first; i < leg->count && i < first + GROUP; i++) id_claim(leg, i);
    }
}

void tael_leg_claim(struct tael_leg *leg) {
    events_list(leg);
    ids_hash(leg);
    ids_claim(leg);
    if (leg->before == NULL) return;
    leg->debits = accounts_find(leg, leg->debit, false);
    leg->credits = accounts_find(leg, leg->credit, true);
}

/* --- the worker ahead: afterwards --- */

/* The event that holds a claim in the end. */
static uint32_t holder_of(const struct tael_leg *leg, uint32_t claimant) {
    return leg->heir[claimant] != 0 ? leg->heir[claimant] : claimant;
}

static uint64_t value_of(const struct tael_leg *leg, uint32_t holder) {
    return leg->outcome[holder] == TAEL_LEG_CREATED ? leg->at[holder] : TAEL_INDEX_BURNT | leg->at[holder];
}

void tael_leg_settle(struct tael_leg *leg) {
    TAEL_ASSERT(!leg->vacated);
    if (!leg->shifted) return;
    for (uint32_t i = 0; i < leg->count; i++) {
        if (leg->own[i] != TAEL_LEG_FREE) continue;
        TAEL_ASSERT(leg->heir[i] == 0); /* or it would be vacated */
        tael_id_index_revalue(leg->slot[i], value_of(leg, i));
    }
}

static void claims_withdraw(struct tael_leg *leg) {
    for (uint32_t i = leg->count; i > 0; i--) {
        if (leg->own[i - 1] != TAEL_LEG_FREE) continue;
        tael_id_index_withdraw_youngest(&leg->index, leg->id_hash[i - 1], leg->base + i - 1);
    }
}

static void claims_enter_final(struct tael_leg *leg) {
    struct tael_id_index *index = &leg->index;
    for (uint32_t i = 0; i < leg->count; i++) {
        const uint32_t holder = holder_of(leg, i);
        if (leg->own[i] != TAEL_LEG_FREE || leg->outcome[holder] == TAEL_LEG_FAILED) continue;
        struct tael_index_probe probe = tael_index_probe_begin(index, leg->id_hash[i]);
        uint64_t other;
        while (tael_index_probe_next(index, &probe, &other)) {
        }
        (void)tael_id_index_enter(index, &probe, value_of(leg, holder));
    }
}

void tael_leg_reclaim(struct tael_leg *leg, struct tael_leg *next) {
    if (next != NULL) claims_withdraw(next);
    claims_withdraw(leg);
    claims_enter_final(leg);
    if (next == NULL) return;
    next->before = NULL; /* what it was told about that leg is final now */
    next->base_before = next->base;
    ids_claim(next);
}

/* --- who applies --- */

/* What a claim stands for, all events before `event` being decided. */
static enum tael_id_state claim_state(const struct tael_leg *leg, uint32_t claimant, uint64_t *position) {
    const uint32_t holder = holder_of(leg, claimant);
    *position = leg->at[holder];
    switch ((enum tael_leg_outcome)leg->outcome[holder]) {
    case TAEL_LEG_CREATED:
        return TAEL_ID_TRANSFER;
    case TAEL_LEG_BURNED:
        return TAEL_ID_BURNT;
    case TAEL_LEG_FAILED:
        break;
    }
    return TAEL_ID_FREE;
}

static enum tael_id_state told(const struct tael_leg *leg, enum tael_leg_id id, uint32_t at, uint64_t *position) {
    *position = at;
    switch (id) {
    case TAEL_LEG_TRANSFER:
        return TAEL_ID_TRANSFER;
    case TAEL_LEG_BURNT:
        return TAEL_ID_BURNT;
    case TAEL_LEG_EVENT:
        return claim_state(leg, at, position);
    case TAEL_LEG_EVENT_BEFORE:
        return claim_state(leg->before, at, position);
    case TAEL_LEG_FREE:
    case TAEL_LEG_NONE:
        break;
    }
    return TAEL_ID_FREE;
}

enum tael_id_state tael_leg_own(const struct tael_leg *leg, uint32_t event, uint64_t *position, uint32_t *claim) {
    const enum tael_leg_id id = (enum tael_leg_id)leg->own[event];
    *claim = id == TAEL_LEG_EVENT ? leg->own_at[event] : event;
    const enum tael_id_state state = told(leg, id, leg->own_at[event], position);
    /* A claim of the leg before that became free would have been reclaimed. */
    TAEL_ASSERT(id != TAEL_LEG_EVENT_BEFORE || state != TAEL_ID_FREE);
    return state;
}

uint64_t tael_leg_resolved(const struct tael_leg *leg, uint32_t event) {
    const enum tael_leg_id id = (enum tael_leg_id)leg->own[event];
    uint64_t position;
    enum tael_id_state state;
    if (id == TAEL_LEG_TRANSFER) {
        state = tael_leg_pending(leg, event, &position);
    } else {
        const struct tael_leg *other = id == TAEL_LEG_EVENT ? leg : leg->before;
        state = tael_leg_pending(other, holder_of(other, leg->own_at[event]), &position);
    }
    TAEL_ASSERT(state == TAEL_ID_TRANSFER);
    return position;
}

enum tael_id_state tael_leg_pending(const struct tael_leg *leg, uint32_t event, uint64_t *position) {
    return told(leg, (enum tael_leg_id)leg->pending[event], leg->pending_at[event], position);
}
