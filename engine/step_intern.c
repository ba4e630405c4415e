/* By owner: ids are claimed, amounts reserved, accounts found to be unsafe; and all that is undone where a step is to be
 * sequential. */
#include "engine/step.h"

#include <tael/flag.h>

static_assert(TAEL_LISTED_REASONS - 1 <= TAEL_ACCOUNT_LINE_UNSAFE >> TAEL_ACCOUNT_LINE_UNSAFE_SHIFT,
              "an account's line has room for the reason");

/* Lines are fetched for so many events at a time, in loops that do little else: a prefetch is held up by its page walk, and only what
 * stands close behind it in the code walks meanwhile. */
enum { GROUP = 16 };

static uint32_t group_end(uint32_t first, uint32_t count) { return count < first + GROUP ? count : first + GROUP; }

/* --- ids --- */

/* Whether the id is taken already, by a transfer, a burnt one or an earlier event of the step. If not, `probe` is where it goes. */
static bool is_taken(const struct tael_step *step, uint32_t event, struct tael_index_probe *probe) {
    const struct tael_ledger *ledger = step->ledger;
    uint64_t value;
    while (tael_index_probe_next(&ledger->index, probe, &value)) {
        const tael_u128 id = step->event[event]->id; /* looked at here only: the event is in another's cache mostly */
        if (value & TAEL_INDEX_BURNT) {
            if (ledger->journal.burnt[value & ~TAEL_INDEX_BURNT] == id) return true;
        } else if (value >= step->base) {
            if (step->event[value - step->base]->id == id) return true;
        } else if (ledger->journal.bodies[value].id == id) {
            return true;
        }
    }
    return false;
}

/* Returns where the claim stands; NULL where the id is taken. */
static uint64_t *claim(struct tael_step *step, uint32_t worker, uint32_t event) {
    struct tael_index_probe probe = tael_index_probe_begin(&step->ledger->index, step->id_hash[event]);
    if (TAEL_UNLIKELY(is_taken(step, event, &probe))) {
        step->listed_id[event] = TAEL_LISTED_id_taken;
        step->unclaimed[event] = 1;
        step->workers[worker].listed++;
        return NULL;
    }
    return tael_id_index_enter(&step->ledger->index, &probe, step->base + event);
}

static void buckets_fetch(const struct tael_step *step, const uint16_t *own, uint32_t first, uint32_t count) {
    const uint32_t end = group_end(first, count);
    for (uint32_t i = first; i < end; i++) tael_id_index_fetch(&step->ledger->index, step->id_hash[own[i]]);
}

static void claim_all(struct tael_step *step, uint32_t worker) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    uint64_t **slots = step->claims[worker].slot;
    const uint32_t count = tael_step_select(step, step->owner_id, worker, own);
    buckets_fetch(step, own, 0, count);
    for (uint32_t first = 0; first < count; first += GROUP) {
        buckets_fetch(step, own, first + GROUP, count);
        const uint32_t end = group_end(first, count);
        for (uint32_t i = first; i < end; i++) slots[i] = claim(step, worker, own[i]);
    }
}

/* --- accounts --- */

static uint64_t reserved(const struct tael_account_line *line) {
    return (uint64_t)line->reserved_high << 32 | line->reserved_low;
}

/* False where the amount doesn't fit. */
static bool reserve(struct tael_account_line *line, uint64_t amount) {
    const uint64_t sum = reserved(line) + amount;
    if (sum > TAEL_ACCOUNT_RESERVED_MAX) return false;
    line->reserved_high = (uint16_t)(sum >> 32);
    line->reserved_low = (uint32_t)sum;
    return true;
}

/* Reserves the amount on a limited account. False where the limit might not hold, credits still to come left aside. */
static bool limit_holds(struct tael_account_line *line, enum tael_step_side side, uint64_t amount) {
    const bool is_debit = side == TAEL_STEP_DEBIT;
    const uint16_t limit =
        is_debit ? TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits : TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits;
    if (TAEL_LIKELY((line->flags & limit) == 0)) return true;
    if (!reserve(line, amount)) return false;
    const uint64_t *spent = &line->balance[is_debit ? TAEL_DEBITS_PENDING : TAEL_CREDITS_PENDING];
    const uint64_t funds = line->balance[is_debit ? TAEL_CREDITS_POSTED : TAEL_DEBITS_POSTED];
    return spent[0] + spent[1] + reserved(line) <= funds;
}

/* Whether an event balances an account on this side, by more than an amount may be in a step, that has as much. */
static bool asks_too_much(const struct tael_transfer *t, enum tael_step_side side,
                          const struct tael_account_line *line) {
    const bool is_debit = side == TAEL_STEP_DEBIT;
    const uint16_t balancing = is_debit ? TAEL_TRANSFER_FLAG_balancing_debit : TAEL_TRANSFER_FLAG_balancing_credit;
    if ((t->flags & balancing) == 0 || t->amount <= TAEL_STEP_AMOUNT_MAX) return false;
    return line->balance[is_debit ? TAEL_CREDITS_POSTED : TAEL_DEBITS_POSTED] > TAEL_STEP_ASKED_MAX;
}

static void make_unsafe(struct tael_step_worker *own, struct tael_account_line *line, enum tael_listed why) {
    TAEL_ASSERT(why != TAEL_LISTED_NOT);
    if (line->flags & TAEL_ACCOUNT_LINE_UNSAFE) return;
    line->flags |= (uint16_t)(why << TAEL_ACCOUNT_LINE_UNSAFE_SHIFT);
    own->unsafe_accounts++;
}

/* Why an event is listed whose account another one has made unsafe. */
static enum tael_listed beside(const struct tael_account_line *line) {
    static const uint8_t reasons[TAEL_LISTED_REASONS] = {
        [TAEL_LISTED_balancing] = TAEL_LISTED_beside_balancing, [TAEL_LISTED_closing] = TAEL_LISTED_beside_closing,
        [TAEL_LISTED_expiry] = TAEL_LISTED_beside_expiry,       [TAEL_LISTED_contested] = TAEL_LISTED_beside_contested,
        [TAEL_LISTED_limit] = TAEL_LISTED_beside_limit,
    };
    const uint8_t reason = reasons[(line->flags & TAEL_ACCOUNT_LINE_UNSAFE) >> TAEL_ACCOUNT_LINE_UNSAFE_SHIFT];
    TAEL_ASSERT(reason != TAEL_LISTED_NOT); /* on a closed account each event has its own */
    return (enum tael_listed)reason;
}

/* A pending transfer that two events of the step resolve: found by the owner of its debit account, which both change. */
static bool is_contested(struct tael_step *step, uint32_t event) {
    struct tael_transfer_trace *trace = tael_journal_trace(&step->ledger->journal, step->pending[event]);
    const bool contested = trace->reserved != 0;
    trace->reserved = 1;
    return contested;
}

static void half_intern(struct tael_step *step, uint32_t worker, uint32_t event, enum tael_step_side side) {
    struct tael_step_worker *own = &step->workers[worker];
    struct tael_account_line *line = &step->ledger->accounts.lines[step->number[side][event]];
    const struct tael_transfer *t = step->event[event];
    const uint8_t kind = step->kind[event];
    const uint64_t balances = line->balance[0] | line->balance[1] | line->balance[2] | line->balance[3];
    if (TAEL_UNLIKELY((line->flags & TAEL_ACCOUNT_LINE_WIDE) != 0 || balances > TAEL_STEP_BALANCE_MAX)) {
        tael_step_give_up(own, line->flags & TAEL_ACCOUNT_LINE_WIDE ? TAEL_SEQUENTIAL_account_wide
                                                                    : TAEL_SEQUENTIAL_account_balance);
        return;
    }
    enum tael_listed why = TAEL_LISTED_NOT; /* for which the event makes the account unsafe */
    bool other_ledger = false;
    if (TAEL_UNLIKELY((kind & TAEL_STEP_UNSAFE) != 0)) {
        why = step->why[event];
        if (asks_too_much(t, side, line)) tael_step_give_up(own, TAEL_SEQUENTIAL_amount_balancing);
    }
    if (TAEL_UNLIKELY((line->flags & TAEL_ACCOUNT_FLAG_closed) != 0)) why = TAEL_LISTED_closed;
    if (kind & TAEL_STEP_RESOLVE) {
        if (side == TAEL_STEP_DEBIT && is_contested(step, event) && why == TAEL_LISTED_NOT) why = TAEL_LISTED_contested;
    } else {
        if (TAEL_UNLIKELY(line->id != (side == TAEL_STEP_DEBIT ? t->debit_account_id : t->credit_account_id))) {
            tael_step_give_up(own, TAEL_SEQUENTIAL_account_twin);
            return;
        }
        other_ledger = line->ledger != step->account_ledger[event];
        if (why == TAEL_LISTED_NOT && !limit_holds(line, side, step->amount[event])) why = TAEL_LISTED_limit;
    }
    if (TAEL_UNLIKELY(why != TAEL_LISTED_NOT)) {
        make_unsafe(own, line, why);
        step->listed_half[side][event] = (uint8_t)why;
    }
    if (TAEL_UNLIKELY(other_ledger)) {
        own->listed++;
        step->listed_half[side][event] = TAEL_LISTED_account_ledger;
    }
}

/* The accounts' lines, and the events, which are in another's cache mostly. */
static void halves_fetch(const struct tael_step *step, enum tael_step_side side, const uint16_t *own, uint32_t first,
                         uint32_t count) {
    const uint32_t end = group_end(first, count);
    const struct tael_account_line *lines = step->ledger->accounts.lines;
    for (uint32_t i = first; i < end; i++) __builtin_prefetch(&lines[step->number[side][own[i]]], 1);
    for (uint32_t i = first; i < end; i++) __builtin_prefetch(step->event[own[i]]);
}

static void halves_intern(struct tael_step *step, uint32_t worker, enum tael_step_side side) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    const uint32_t count = tael_step_select(step, step->owner[side], worker, own);
    halves_fetch(step, side, own, 0, count);
    for (uint32_t first = 0; first < count; first += GROUP) {
        halves_fetch(step, side, own, first + GROUP, count);
        const uint32_t end = group_end(first, count);
        for (uint32_t i = first; i < end; i++) half_intern(step, worker, own[i], side);
    }
}

/* Lists what touches an unsafe account, also what came before it was found to be. */
static void halves_collect(struct tael_step *step, uint32_t worker, enum tael_step_side side) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    const uint32_t count = tael_step_select(step, step->owner[side], worker, own);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t number = step->number[side][own[i]];
        const struct tael_account_line *line = &step->ledger->accounts.lines[number];
        if ((line->flags & TAEL_ACCOUNT_LINE_UNSAFE) == 0) continue;
        uint8_t *why = &step->listed_half[side][own[i]];
        if (*why == TAEL_LISTED_NOT) *why = (uint8_t)beside(line);
        step->workers[worker].listed++;
    }
}

void tael_step_intern(struct tael_step *step, uint32_t worker) {
    claim_all(step, worker);
    halves_intern(step, worker, TAEL_STEP_DEBIT);
    halves_intern(step, worker, TAEL_STEP_CREDIT);
    if (TAEL_LIKELY(step->workers[worker].unsafe_accounts == 0)) return;
    if (step->workers[worker].sequential != 0) return; /* to be undone */
    halves_collect(step, worker, TAEL_STEP_DEBIT);
    halves_collect(step, worker, TAEL_STEP_CREDIT);
}

/* --- undoing --- */

static void halves_undo(struct tael_step *step, uint32_t worker) {
    uint16_t own[2 * TAEL_STEP_EVENTS_MAX];
    const uint32_t count = tael_step_select_halves(step, worker, own);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i] >> 1;
        const uint32_t side = own[i] & 1;
        struct tael_account_line *line = &step->ledger->accounts.lines[step->number[side][event]];
        line->reserved_low = 0;
        line->reserved_high = 0;
        line->flags &= (uint16_t)~TAEL_ACCOUNT_LINE_UNSAFE;
        if (side == TAEL_STEP_DEBIT && (step->kind[event] & TAEL_STEP_RESOLVE)) {
            tael_journal_trace(&step->ledger->journal, step->pending[event])->reserved = 0;
        }
    }
}

void tael_step_undo(struct tael_step *step, uint32_t worker) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    for (uint32_t i = tael_step_select(step, step->owner_id, worker, own); i > 0; i--) {
        const uint32_t event = own[i - 1];
        if (step->unclaimed[event] != 0) continue;
        tael_id_index_withdraw_youngest(&step->ledger->index, step->id_hash[event], step->base + event);
    }
    halves_undo(step, worker);
}
