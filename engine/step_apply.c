/* Everything is decided: balances by the accounts' owners, and the claims become final by the ids' owners.
 *
 * Whose an account is is as good as random, so nothing in the loop over halves branches on it: a branch that is guessed wrong costs as
 * much as all the rest. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <string.h>

#include <tael/status.h>

#define BOTH __attribute__((always_inline)) static inline

static_assert(TAEL_DEBITS_PENDING == 2 * TAEL_STEP_DEBIT, "a side's balances stand together");
static_assert(TAEL_CREDITS_PENDING == 2 * TAEL_STEP_CREDIT, "a side's balances stand together");
static_assert(TAEL_DEBITS_POSTED == TAEL_DEBITS_PENDING + 1, "a side's balances stand together");
static_assert(TAEL_CREDITS_POSTED == TAEL_CREDITS_PENDING + 1, "a side's balances stand together");

/* --- balances --- */

/* What became of the pending transfer: the owner of its debit account tells, unless the residue has. */
static void pending_settle(struct tael_step *step, uint32_t event) {
    if (step->pending[event] >= step->base) return; /* created in this step: the residue has seen to all of it */
    struct tael_transfer_trace *trace = &step->ledger->journal.traces[step->pending[event]];
    trace->reserved = 0;
    if (tael_step_is_listed(step, event)) return;
    trace->pending_status = step->kind[event] & TAEL_STEP_POST ? TAEL_PENDING_POSTED : TAEL_PENDING_VOIDED;
}

static inline uint64_t if_set(uint32_t bits, uint64_t value) { return bits != 0 ? value : 0; }

/* Applies a side of an event that succeeded; `resolves` is false where no event of the step posts or voids. */
BOTH void half_apply(struct tael_step *step, uint32_t event, uint32_t side, struct tael_account_line *line,
                     bool resolves) {
    const uint8_t kind = step->kind[event];
    const uint64_t amount = step->amount[event];
    uint64_t *pending = &line->balance[2 * side];
    uint64_t *posted = &line->balance[2 * side + 1];
    const uint64_t added = if_set(kind & TAEL_STEP_PENDING, amount);
    if (!resolves) {
        *pending += added;
        *posted += amount - added;
        return;
    }
    const uint64_t resolved = if_set(kind & TAEL_STEP_RESOLVE, step->pending_amount[event]);
    const bool is_void = (kind & (TAEL_STEP_RESOLVE | TAEL_STEP_POST)) == TAEL_STEP_RESOLVE;
    TAEL_ASSERT(*pending >= resolved);
    *pending += added - resolved;
    *posted += is_void ? 0 : amount - added;
}

/* A side of an event of which the residue has applied one, on an unsafe account: the other's owner adds its half to history. */
static void half_apply_beside_residue(struct tael_step *step, uint32_t event, uint32_t side,
                                      struct tael_account_line *line) {
    if (step->sides_written[event] & (1u << side)) return;
    half_apply(step, event, side, line, true);
    struct tael_history_entry *entry = &step->ledger->history.transfers[tael_step_position(step, event)];
    memcpy(&entry->value[side * TAEL_BALANCES], line->balance, sizeof line->balance);
}

/* Where the balances that are sent to each worker begin. */
static void boxes_begin(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count) {
    uint32_t counts[256] = {0};
    for (uint32_t i = 0; i < count; i++) counts[step->owner[TAEL_STEP_DEBIT][own[i] >> 1]] += own[i] & 1;
    uint32_t begin = 0;
    for (uint32_t i = 0; i < step->worker_count; i++) {
        step->boxes[worker].sent_begin[i] = begin;
        if (i != worker) begin += counts[i];
    }
}

BOTH void halves_apply(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count, bool irregular,
                       bool resolves) {
    enum { DISTANCE = 8 };
    struct tael_account_line *lines = step->ledger->accounts.lines;
    struct tael_step_half *held = step->boxes[worker].held;
    struct tael_step_half *sent[TAEL_WORKERS_MAX];
    for (uint32_t i = 0; i < step->worker_count; i++) {
        sent[i] = step->boxes[worker].sent + step->boxes[worker].sent_begin[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i] >> 1;
        const uint32_t side = own[i] & 1;
        struct tael_account_line *line = &lines[step->number[side][event]];
        if (i + DISTANCE < count) {
            const uint32_t ahead = own[i + DISTANCE];
            __builtin_prefetch(&lines[step->number[ahead & 1][ahead >> 1]], 1);
        }
        line->reserved_low = 0;
        line->reserved_high = 0;
        if (resolves && side == TAEL_STEP_DEBIT && (step->kind[event] & TAEL_STEP_RESOLVE)) {
            pending_settle(step, event);
        }
        if (irregular && !tael_step_is_created(step, event)) continue;
        if (irregular && step->sides_written[event] != 0) {
            half_apply_beside_residue(step, event, side, line);
            continue;
        }
        half_apply(step, event, side, line, resolves);
        const uint32_t to = step->owner[TAEL_STEP_DEBIT][event];
        const bool is_sent = to != worker;
        struct tael_step_half *after = is_sent ? sent[to] : held;
        for (int k = 0; k < TAEL_BALANCES; k++) after->balance[k] = line->balance[k];
        sent[to] += is_sent;
        held += !is_sent;
    }
    step->boxes[worker].held_end = held;
    memcpy(step->boxes[worker].sent_end, sent, step->worker_count * sizeof *sent);
}

static void accounts_end(struct tael_step *step, const uint16_t *own, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t number = step->number[own[i] & 1][own[i] >> 1];
        step->ledger->accounts.lines[number].flags &= (uint16_t)~TAEL_ACCOUNT_LINE_UNSAFE;
    }
}

static void balances_apply(struct tael_step *step, uint32_t worker) {
    uint16_t own[2 * TAEL_STEP_EVENTS_MAX];
    const uint32_t count = tael_step_select_halves(step, worker, own);
    boxes_begin(step, worker, own, count);
    if (TAEL_UNLIKELY(step->irregular)) {
        halves_apply(step, worker, own, count, true, true);
    } else if (step->resolves) {
        halves_apply(step, worker, own, count, false, true);
    } else {
        halves_apply(step, worker, own, count, false, false);
    }
    if (step->workers[worker].unsafe_accounts > 0) accounts_end(step, own, count);
}

/* --- ids --- */

/* What an event's claim stands for in the end, `failed` events before it having failed. Not where it stands for nothing. */
static uint64_t claim_value(const struct tael_step *step, uint32_t claimant, uint32_t failed) {
    const uint32_t holder = tael_step_holder(step, claimant);
    if (TAEL_UNLIKELY(!tael_step_is_created(step, holder))) {
        TAEL_ASSERT(tael_transfer_status_is_transient(step->refusal[holder]));
        return TAEL_INDEX_BURNT | step->burnt[holder];
    }
    return holder == claimant ? step->base + claimant - failed : tael_step_position(step, holder);
}

/* Whether some id of the worker's that was claimed is free again: its event failed, or who took it over from that did, and neither
 * burnt it. */
static bool is_vacated(const struct tael_step *step, uint32_t worker) {
    for (uint32_t i = 0; i < step->failed_count; i++) {
        const uint32_t claimant = step->failed[i];
        if (step->owner_id[claimant] != worker || step->unclaimed[claimant] != 0) continue;
        const uint32_t holder = tael_step_holder(step, claimant);
        if (tael_step_is_created(step, holder)) continue;
        if (!tael_transfer_status_is_transient(step->refusal[holder])) return true;
    }
    return false;
}

/* Gives claims their values where they stand. */
static void claims_revalue(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count) {
    enum { DISTANCE = 16 };
    uint64_t **slots = step->claims[worker].slot;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i + DISTANCE < count) __builtin_prefetch(slots[i + DISTANCE], 1);
        while (failed < step->failed_count && step->failed[failed] < own[i]) failed++;
        if (slots[i] != NULL) tael_id_index_revalue(slots[i], claim_value(step, own[i], failed));
    }
}

/* Takes all claims back, youngest first, and enters what came of them. */
static void claims_enter_anew(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count) {
    struct tael_id_index *index = &step->ledger->index;
    uint64_t **slots = step->claims[worker].slot;
    uint32_t failed = 0;
    for (uint32_t i = count; i > 0; i--) {
        if (slots[i - 1] == NULL) continue;
        tael_id_index_withdraw_youngest(index, step->id_hash[own[i - 1]], step->base + own[i - 1]);
    }
    for (uint32_t i = 0; i < count; i++) {
        while (failed < step->failed_count && step->failed[failed] < own[i]) failed++;
        if (slots[i] == NULL) continue;
        const uint32_t holder = tael_step_holder(step, own[i]);
        const bool stays =
            tael_step_is_created(step, holder) || tael_transfer_status_is_transient(step->refusal[holder]);
        if (!stays) continue;
        struct tael_index_probe probe = tael_index_probe_begin(index, step->id_hash[own[i]]);
        uint64_t other;
        while (tael_index_probe_next(index, &probe, &other)) {
        }
        (void)tael_id_index_enter(index, &probe, claim_value(step, own[i], failed));
    }
}

/* Claims name events; the index is to name positions. They differ only behind an event that failed. Where all claims stand for something
 * in the end, they need not go from where they are. */
static void claims_end(struct tael_step *step, uint32_t worker) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    if (TAEL_LIKELY(step->failed_count == 0)) return;
    const uint32_t count = tael_step_select(step, step->owner_id, worker, own);
    if (is_vacated(step, worker)) {
        claims_enter_anew(step, worker, own, count);
    } else {
        claims_revalue(step, worker, own, count);
    }
}

void tael_step_apply(struct tael_step *step, uint32_t worker) {
    /* Before anything is written to where it belongs. */
    TAEL_ASSERT(step->base + (step->count - step->failed_count) <= step->ledger->journal.count_max);
    balances_apply(step, worker);
    claims_end(step, worker);
}
