/* What an event is by itself, and where it belongs: the passes by ranges that come first. They read the ledger, which nobody
 * changes meanwhile, and write what stands in the step about the range's own events. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <string.h>

#include <tael/status.h>

enum { GROUP = 16 };

#define BALANCING (TAEL_TRANSFER_FLAG_balancing_debit | TAEL_TRANSFER_FLAG_balancing_credit)
#define CLOSING (TAEL_TRANSFER_FLAG_closing_debit | TAEL_TRANSFER_FLAG_closing_credit)

/* Hashes of a group's accounts. */
struct hashes {
    uint64_t debit[GROUP];
    uint64_t credit[GROUP];
};

struct cursor {
    const struct tael_step_segment *segment;
    uint32_t index; /* in it */
};

static struct cursor cursor_at(const struct tael_step *step, uint32_t event) {
    uint32_t low = 0;
    uint32_t high = step->segment_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (step->segments[middle].first <= event) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (struct cursor){.segment = &step->segments[low], .index = event - step->segments[low].first};
}

static void cursor_advance(struct cursor *cursor) {
    if (++cursor->index < cursor->segment->part.count) return;
    cursor->segment++;
    cursor->index = 0;
}

/* 0, or what an event is refused for before its id is looked up, but for what its flags and id themselves are. No batch in a step is
 * imported. */
static uint32_t refusal_at_once(const struct tael_transfer *t, bool ends_batch) {
    if (ends_batch && (t->flags & TAEL_TRANSFER_FLAG_linked)) return TAEL_TRANSFER_linked_event_chain_open;
    if (t->flags & TAEL_TRANSFER_FLAG_imported) return TAEL_TRANSFER_imported_event_not_expected;
    return t->timestamp == 0 ? 0 : (uint32_t)TAEL_TRANSFER_timestamp_must_be_zero;
}

/* Why it takes the exact state of both accounts to tell what becomes of a plain or pending transfer, or it changes what they let
 * pass; TAEL_LISTED_NOT where neither is so. */
static enum tael_listed why_exactly(const struct tael_transfer *t, uint64_t timestamp) {
    if (TAEL_UNLIKELY((t->flags & (BALANCING | CLOSING)) != 0)) {
        return t->flags & BALANCING ? TAEL_LISTED_balancing : TAEL_LISTED_closing;
    }
    return tael_transfer_timeout_overflows(t, timestamp) ? TAEL_LISTED_expiry : TAEL_LISTED_NOT;
}

/* The kind of a plain or pending transfer, as far as it can be told from it alone, and why it is listed. */
static uint8_t kind_of_plain(struct tael_step_worker *own, const struct tael_transfer *t, uint64_t timestamp,
                             enum tael_listed *why) {
    uint8_t kind = t->flags & TAEL_TRANSFER_FLAG_pending ? TAEL_STEP_PENDING : 0;
    if (tael_transfer_check_fields(t) != TAEL_STATUS_CREATED) {
        *why = TAEL_LISTED_refused;
        return kind | TAEL_STEP_LISTED;
    }
    kind |= TAEL_STEP_CLAIMS;
    if (TAEL_UNLIKELY(t->amount > TAEL_STEP_AMOUNT_MAX)) {
        if (t->flags & BALANCING) {
            own->asks++;
        } else {
            tael_step_give_up(own, TAEL_SEQUENTIAL_amount);
        }
    }
    if (t->timeout != 0) own->timeouts = true;
    *why = why_exactly(t, timestamp);
    return *why == TAEL_LISTED_NOT ? kind : kind | TAEL_STEP_LISTED | TAEL_STEP_UNSAFE;
}

static uint8_t kind_of_resolver(const struct tael_transfer *t, enum tael_listed *why) {
    uint8_t kind = TAEL_STEP_RESOLVE;
    if (t->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) kind |= TAEL_STEP_POST;
    if (tael_transfer_check_resolver(t) == TAEL_STATUS_CREATED) return kind | TAEL_STEP_CLAIMS;
    *why = TAEL_LISTED_refused;
    return kind | TAEL_STEP_LISTED;
}

static void event_route(struct tael_step *step, uint32_t worker, uint32_t event, const struct cursor *cursor,
                        uint64_t *debit_hash, uint64_t *credit_hash) {
    const struct tael_ledger *ledger = step->ledger;
    const struct tael_ledger_part *part = &cursor->segment->part;
    const struct tael_transfer *t = &part->events[cursor->index];
    const bool ends_batch = part->ends_batch && cursor->index + 1 == part->count;
    struct tael_step_worker *own = &step->workers[worker];
    uint8_t kind = TAEL_STEP_LISTED;
    enum tael_listed why = TAEL_LISTED_refused;
    step->event[event] = t;
    step->timestamp[event] = part->timestamp_first + cursor->index;
    const uint32_t refusal = refusal_at_once(t, ends_batch);
    if (TAEL_UNLIKELY(refusal != 0)) {
        step->refusal[event] = (uint8_t)refusal;
    } else if (TAEL_LIKELY(tael_transfer_may_have_id(t))) {
        kind = t->flags & TAEL_TRANSFER_RESOLVES ? kind_of_resolver(t, &why)
                                                 : kind_of_plain(own, t, step->timestamp[event], &why);
    }
    if (TAEL_UNLIKELY((t->flags & TAEL_TRANSFER_FLAG_linked) != 0 && !ends_batch)) {
        kind |= TAEL_STEP_LINKED;
    }
    if (TAEL_LIKELY((kind & TAEL_STEP_CLAIMS) != 0)) {
        step->id_hash[event] = tael_ledger_hash(ledger, t->id);
        step->owner_id[event] = (uint8_t)tael_id_index_partition(&ledger->index, step->id_hash[event]);
        if (kind & TAEL_STEP_RESOLVE) {
            own->resolves++;
            step->pending_amount[event] = tael_ledger_hash(ledger, t->pending_id); /* until it is resolved */
        } else {
            step->amount[event] = tael_u128_low(t->amount);
            step->account_ledger[event] = t->ledger;
            *debit_hash = tael_ledger_hash(ledger, t->debit_account_id);
            *credit_hash = tael_ledger_hash(ledger, t->credit_account_id);
            tael_id_index_fetch(&ledger->accounts.index, *debit_hash);
            tael_id_index_fetch(&ledger->accounts.index, *credit_hash);
        }
    }
    step->kind[event] = kind;
    if (TAEL_UNLIKELY((kind & TAEL_STEP_LISTED) != 0)) step->why[event] = (uint8_t)why;
}

static void account_set(struct tael_step *step, uint32_t event, enum tael_step_side side, uint32_t number) {
    step->number[side][event] = number;
    step->owner[side][event] = tael_step_account_owner(step, number);
}

/* Finds the accounts' numbers, unconfirmed: their owners confirm them. */
static void event_accounts(struct tael_step *step, uint32_t event, uint64_t debit_hash, uint64_t credit_hash) {
    const struct tael_account_table *accounts = &step->ledger->accounts;
    if ((step->kind[event] & (TAEL_STEP_CLAIMS | TAEL_STEP_RESOLVE)) != TAEL_STEP_CLAIMS) return;
    const struct tael_account_line *debit = tael_account_table_guess(accounts, debit_hash);
    const struct tael_account_line *credit = tael_account_table_guess(accounts, credit_hash);
    if (TAEL_UNLIKELY(debit == NULL || credit == NULL)) {
        tael_step_list(step, event, TAEL_LISTED_account_unknown);
        return;
    }
    account_set(step, event, TAEL_STEP_DEBIT, (uint32_t)(debit - accounts->lines));
    account_set(step, event, TAEL_STEP_CREDIT, (uint32_t)(credit - accounts->lines));
}

static void count_listed(struct tael_step *step, uint32_t worker) {
    struct tael_step_worker *own = &step->workers[worker];
    const uint32_t end = tael_step_range_end(step, worker);
    for (uint32_t event = tael_step_range_begin(step, worker); event < end; event++) {
        own->listed += (step->kind[event] & TAEL_STEP_LISTED) != 0;
    }
}

static void range_clear(struct tael_step *step, uint32_t begin, uint32_t count) {
    memset(step->heir + begin, 0, count * sizeof *step->heir);
    memset(step->refusal + begin, 0, count);
    memset(step->listed_id + begin, 0, count);
    memset(step->sides_written + begin, 0, count);
    memset(step->unclaimed + begin, 0, count);
    memset(step->owner_id + begin, TAEL_STEP_NOBODY, count);
    for (uint32_t side = 0; side < TAEL_STEP_SIDES; side++) {
        memset(step->listed_half[side] + begin, 0, count);
        memset(step->owner[side] + begin, TAEL_STEP_NOBODY, count);
        memset(step->number[side] + begin, 0, count * sizeof *step->number[side]);
    }
}

void tael_step_route(struct tael_step *step, uint32_t worker) {
    const uint32_t begin = tael_step_range_begin(step, worker);
    const uint32_t end = tael_step_range_end(step, worker);
    if (begin == end) return;
    range_clear(step, begin, end - begin);
    struct hashes hashes[2];
    struct cursor cursor = cursor_at(step, begin);
    for (uint32_t first = begin; first < end + GROUP; first += GROUP) {
        struct hashes *now = &hashes[first / GROUP % 2];
        const struct hashes *before = &hashes[(first / GROUP + 1) % 2];
        for (uint32_t event = first; event < end && event < first + GROUP; event++) {
            event_route(step, worker, event, &cursor, &now->debit[event - first], &now->credit[event - first]);
            cursor_advance(&cursor);
        }
        for (uint32_t event = first - GROUP; first > begin && event < end && event < first; event++) {
            const uint32_t place = event - (first - GROUP);
            event_accounts(step, event, before->debit[place], before->credit[place]);
        }
    }
    if (step->workers[worker].resolves == 0) count_listed(step, worker);
}

/* --- resolve --- */

static bool pending_find(const struct tael_ledger *ledger, tael_u128 id, uint64_t hash, uint64_t *position) {
    struct tael_index_probe probe;
    return tael_ledger_find_transfer(ledger, id, hash, &probe, position) == TAEL_ID_TRANSFER;
}

static void event_resolve(struct tael_step *step, uint32_t worker, uint32_t event) {
    const struct tael_ledger *ledger = step->ledger;
    const struct tael_transfer *t = step->event[event];
    uint64_t position;
    if (!pending_find(ledger, t->pending_id, step->pending_amount[event], &position)) {
        tael_step_list(step, event, TAEL_LISTED_pending_unknown);
        return;
    }
    const struct tael_transfer *pending = tael_journal_body(&ledger->journal, position);
    const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    if (trace->pending_status != TAEL_PENDING_PENDING) {
        /* It never will be again, so the accounts have no say. */
        tael_step_list(step, event, TAEL_LISTED_pending_unfit);
        return;
    }
    tael_u128 amount;
    switch (tael_transfer_outlook(t, pending, TAEL_PENDING_PENDING, step->timestamp[event], &amount)) {
    case TAEL_OUTLOOK_FAILS:
        tael_step_list(step, event, TAEL_LISTED_pending_unfit);
        return;
    case TAEL_OUTLOOK_UNCERTAIN:
        tael_step_list(step, event, pending->flags & CLOSING ? TAEL_LISTED_closing : TAEL_LISTED_expiry);
        step->kind[event] |= TAEL_STEP_UNSAFE;
        break;
    case TAEL_OUTLOOK_PASSES:
        break;
    }
    if (pending->amount > TAEL_STEP_AMOUNT_MAX)
        tael_step_give_up(&step->workers[worker], TAEL_SEQUENTIAL_amount_pending);
    step->pending[event] = (uint32_t)position;
    step->amount[event] = tael_u128_low(amount);
    step->pending_amount[event] = tael_u128_low(pending->amount);
    account_set(step, event, TAEL_STEP_DEBIT, trace->debit_number);
    account_set(step, event, TAEL_STEP_CREDIT, trace->credit_number);
}

void tael_step_resolve(struct tael_step *step, uint32_t worker) {
    enum { DISTANCE = 8 };
    const struct tael_ledger *ledger = step->ledger;
    if (step->workers[worker].resolves == 0) return;
    uint16_t events[TAEL_STEP_EVENTS_MAX];
    uint32_t count = 0;
    const uint32_t end = tael_step_range_end(step, worker);
    const uint8_t both = TAEL_STEP_CLAIMS | TAEL_STEP_RESOLVE;
    for (uint32_t event = tael_step_range_begin(step, worker); event < end; event++) {
        if ((step->kind[event] & both) == both) events[count++] = (uint16_t)event;
    }
    for (uint32_t i = 0; i < count + 2 * DISTANCE; i++) {
        uint64_t position;
        if (i < count) tael_id_index_fetch(&ledger->index, step->pending_amount[events[i]]);
        if (i >= DISTANCE && i - DISTANCE < count &&
            tael_ledger_guess_transfer(ledger, step->pending_amount[events[i - DISTANCE]], &position)) {
            tael_journal_prefetch(&ledger->journal, position);
        }
        if (i >= 2 * DISTANCE) event_resolve(step, worker, events[i - 2 * DISTANCE]);
    }
    count_listed(step, worker);
}
