#include "engine/transfer_rules.h"

#include <string.h>

#include <tael/limits.h>

#include "engine/relay.h"
#include "engine/step.h"

/* Whom the rules decide for. They stand here once and are compiled three times: for events one after the other, the index of ids at hand
 * (all NULL); for the residue of a step, which changes unsafe accounts only (engine/step.h); and for an event whose id another worker
 * has looked up (engine/relay.h). */
struct view {
    struct tael_step *step;
    struct tael_leg *leg;
    uint32_t event; /* of either */
};

#define BOTH __attribute__((always_inline)) static inline

#define BALANCING (TAEL_TRANSFER_FLAG_balancing_debit | TAEL_TRANSFER_FLAG_balancing_credit)
#define CLOSING (TAEL_TRANSFER_FLAG_closing_debit | TAEL_TRANSFER_FLAG_closing_credit)

/* ---- looking ahead ---- */

void tael_transfer_hash(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                        struct tael_transfer_ahead *ahead) {
    ahead->id_hash = tael_ledger_hash(ledger, transfer->id);
    if (transfer->flags & TAEL_TRANSFER_RESOLVES) {
        ahead->debit_hash = tael_ledger_hash(ledger, transfer->pending_id);
        return;
    }
    ahead->debit_hash = tael_ledger_hash(ledger, transfer->debit_account_id);
    ahead->credit_hash = tael_ledger_hash(ledger, transfer->credit_account_id);
}

void tael_transfer_fetch_buckets(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                 const struct tael_transfer_ahead *ahead) {
    if (transfer->flags & TAEL_TRANSFER_RESOLVES) {
        tael_id_index_fetch(&ledger->index, ahead->debit_hash);
        return;
    }
    tael_id_index_fetch(&ledger->accounts.index, ahead->debit_hash);
    tael_id_index_fetch(&ledger->accounts.index, ahead->credit_hash);
}

void tael_transfer_fetch_transfers(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                   const struct tael_transfer_ahead *ahead) {
    uint64_t position;
    tael_id_index_fetch(&ledger->index, ahead->id_hash);
    if ((transfer->flags & TAEL_TRANSFER_RESOLVES) == 0) return;
    if (tael_ledger_guess_transfer(ledger, ahead->debit_hash, &position)) {
        tael_journal_prefetch(&ledger->journal, position);
    }
}

static void fetch_pending_accounts(const struct tael_ledger *ledger, uint64_t pending_hash) {
    uint64_t position;
    if (!tael_ledger_guess_transfer(ledger, pending_hash, &position)) return;
    const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    __builtin_prefetch(&ledger->accounts.lines[trace->debit_number], 1);
    __builtin_prefetch(&ledger->accounts.lines[trace->credit_number], 1);
}

void tael_transfer_fetch_accounts(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                  struct tael_transfer_ahead *ahead) {
    if (transfer->flags & TAEL_TRANSFER_RESOLVES) {
        fetch_pending_accounts(ledger, ahead->debit_hash);
        return;
    }
    ahead->debit = tael_account_table_guess(&ledger->accounts, ahead->debit_hash);
    ahead->credit = tael_account_table_guess(&ledger->accounts, ahead->credit_hash);
    __builtin_prefetch(ahead->debit, 1);
    __builtin_prefetch(ahead->credit, 1);
}

void tael_transfer_hash_in_leg(const struct tael_leg *leg, uint32_t event, const struct tael_transfer *t,
                               struct tael_transfer_ahead *ahead) {
    const struct tael_ledger *ledger = leg->ledger;
    if (t->flags & TAEL_TRANSFER_RESOLVES) return;
    if (event >= leg->debits) {
        ahead->debit_hash = tael_ledger_hash(ledger, t->debit_account_id);
        tael_id_index_fetch(&ledger->accounts.index, ahead->debit_hash);
    }
    if (event >= leg->credits) {
        ahead->credit_hash = tael_ledger_hash(ledger, t->credit_account_id);
        tael_id_index_fetch(&ledger->accounts.index, ahead->credit_hash);
    }
}

void tael_transfer_fetch_transfers_in_leg(const struct tael_leg *leg, uint32_t event, const struct tael_transfer *t) {
    if ((t->flags & TAEL_TRANSFER_RESOLVES) == 0 || leg->pending[event] != TAEL_LEG_TRANSFER) return;
    tael_journal_prefetch(&leg->ledger->journal, leg->pending_at[event]);
}

static struct tael_account_line *numbered(struct tael_account_line *lines, uint32_t number) {
    return number == 0 ? NULL : &lines[number];
}

void tael_transfer_fetch_accounts_in_leg(const struct tael_leg *leg, uint32_t event, const struct tael_transfer *t,
                                         struct tael_transfer_ahead *ahead) {
    const struct tael_ledger *ledger = leg->ledger;
    struct tael_account_line *lines = ledger->accounts.lines;
    if (t->flags & TAEL_TRANSFER_RESOLVES) {
        if (leg->pending[event] != TAEL_LEG_TRANSFER) return;
        const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, leg->pending_at[event]);
        __builtin_prefetch(&lines[trace->debit_number], 1);
        __builtin_prefetch(&lines[trace->credit_number], 1);
        return;
    }
    ahead->debit = event < leg->debits ? numbered(lines, leg->debit[event])
                                       : tael_account_table_guess(&ledger->accounts, ahead->debit_hash);
    ahead->credit = event < leg->credits ? numbered(lines, leg->credit[event])
                                         : tael_account_table_guess(&ledger->accounts, ahead->credit_hash);
    __builtin_prefetch(ahead->debit, 1);
    __builtin_prefetch(ahead->credit, 1);
}

/* The account that was guessed ahead, if it is the one; another with the same fingerprint, or none, takes a search. */
static struct tael_account_line *find_account(const struct tael_ledger *ledger, struct tael_account_line *guess,
                                              tael_u128 id) {
    if (TAEL_LIKELY(guess != NULL && guess->id == id)) return guess;
    return tael_account_table_find_id(&ledger->accounts, id);
}

/* ---- balances ---- */

static inline tael_u128 balance(const struct tael_ledger *ledger, const struct tael_account_line *line,
                                enum tael_balance which) {
    return tael_account_table_balance(&ledger->accounts, line, which);
}

/* The owner of a safe account adds and subtracts for itself. */
BOTH bool is_left_to_its_owner(struct view view, const struct tael_account_line *line) {
    return view.step != NULL && (line->flags & TAEL_ACCOUNT_LINE_UNSAFE) == 0;
}

BOTH void balance_add(struct tael_ledger *ledger, struct view view, struct tael_account_line *line,
                      enum tael_balance which, tael_u128 amount) {
    if (is_left_to_its_owner(view, line)) return;
    const tael_u128 before = balance(ledger, line, which);
    TAEL_ASSERT(!tael_u128_sum_overflows(before, amount));
    tael_account_table_balance_set(&ledger->accounts, line, which, before + amount);
    if (tael_audit_passed(&ledger->audit, line)) tael_audit_balance(&ledger->audit, line, which, amount, true);
}

BOTH void balance_subtract(struct tael_ledger *ledger, struct view view, struct tael_account_line *line,
                           enum tael_balance which, tael_u128 amount) {
    if (is_left_to_its_owner(view, line)) return;
    const tael_u128 before = balance(ledger, line, which);
    TAEL_ASSERT(before >= amount);
    tael_account_table_balance_set(&ledger->accounts, line, which, before - amount);
    if (tael_audit_passed(&ledger->audit, line)) tael_audit_balance(&ledger->audit, line, which, amount, false);
}

BOTH void set_closed(struct view view, struct tael_account_line *line, bool closed) {
    TAEL_ASSERT(!is_left_to_its_owner(view, line));
    if (closed) {
        line->flags |= TAEL_ACCOUNT_FLAG_closed;
    } else {
        line->flags &= (uint16_t)~TAEL_ACCOUNT_FLAG_closed;
    }
}

/* ---- the exists chain ---- */

/* Compares a repeated event with the transfer that has its id. For a post or void `pending` is the transfer that it resolved,
 * for which zero (or, for a post's amount, max) stands; otherwise NULL. */
static uint32_t check_exists(const struct tael_transfer *t, const struct tael_transfer *existing,
                             const struct tael_transfer *pending) {
    if (t->flags != existing->flags) return TAEL_TRANSFER_exists_with_different_flags;
    if (t->pending_id != existing->pending_id) return TAEL_TRANSFER_exists_with_different_pending_id;
    if (t->timeout != existing->timeout) return TAEL_TRANSFER_exists_with_different_timeout;

    const bool resolves = (t->flags & TAEL_TRANSFER_RESOLVES) != 0;
    const bool any = resolves; /* zero ids, ledger and code match anything */
    if (t->debit_account_id != existing->debit_account_id && !(any && t->debit_account_id == 0)) {
        return TAEL_TRANSFER_exists_with_different_debit_account_id;
    }
    if (t->credit_account_id != existing->credit_account_id && !(any && t->credit_account_id == 0)) {
        return TAEL_TRANSFER_exists_with_different_credit_account_id;
    }

    tael_u128 amount = t->amount;
    if ((t->flags & TAEL_TRANSFER_FLAG_void_pending_transfer) && amount == 0) amount = pending->amount;
    if ((t->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) && amount == TAEL_U128_MAX) amount = pending->amount;
    /* What a balancing transfer moved may be anything up to what was asked for. */
    const bool amount_differs = t->flags & BALANCING ? amount < existing->amount : amount != existing->amount;
    if (amount_differs) return TAEL_TRANSFER_exists_with_different_amount;

    const tael_u128 data_128 = resolves && t->user_data_128 == 0 ? pending->user_data_128 : t->user_data_128;
    const uint64_t data_64 = resolves && t->user_data_64 == 0 ? pending->user_data_64 : t->user_data_64;
    const uint32_t data_32 = resolves && t->user_data_32 == 0 ? pending->user_data_32 : t->user_data_32;
    if (data_128 != existing->user_data_128) return TAEL_TRANSFER_exists_with_different_user_data_128;
    if (data_64 != existing->user_data_64) return TAEL_TRANSFER_exists_with_different_user_data_64;
    if (data_32 != existing->user_data_32) return TAEL_TRANSFER_exists_with_different_user_data_32;
    if (t->ledger != existing->ledger && !(any && t->ledger == 0)) return TAEL_TRANSFER_exists_with_different_ledger;
    if (t->code != existing->code && !(any && t->code == 0)) return TAEL_TRANSFER_exists_with_different_code;
    return TAEL_TRANSFER_exists;
}

/* ---- finding transfers ---- */

/* An id as the event finds it that is decided. After TAEL_ID_FREE, where it is to be entered: `probe`, or in whose `claim` it stands. */
struct found {
    enum tael_id_state state;
    uint64_t position; /* of a transfer */
    struct tael_index_probe probe;
    uint32_t claim;
};

BOTH struct found find(const struct tael_ledger *ledger, struct view view, tael_u128 id, uint64_t hash) {
    struct found found;
    if (view.step == NULL) {
        found.state = tael_ledger_find_transfer(ledger, id, hash, &found.probe, &found.position);
    } else {
        found.state = tael_step_find_transfer(view.step, view.event, id, hash, &found.position, &found.claim);
    }
    return found;
}

BOTH struct found find_own(const struct tael_ledger *ledger, struct view view, tael_u128 id, uint64_t hash) {
    if (view.leg == NULL) return find(ledger, view, id, hash);
    struct found found;
    found.state = tael_leg_own(view.leg, view.event, &found.position, &found.claim);
    return found;
}

BOTH struct found find_pending(const struct tael_ledger *ledger, struct view view, tael_u128 id, uint64_t hash) {
    if (view.leg == NULL) return find(ledger, view, id, hash);
    struct found found;
    found.state = tael_leg_pending(view.leg, view.event, &found.position);
    return found;
}

/* The pending transfer that a post or void in the journal has resolved, which the event repeats. */
BOTH const struct tael_transfer *resolved_by(const struct tael_ledger *ledger, struct view view,
                                             const struct tael_transfer *resolver) {
    if (view.leg != NULL) return tael_journal_body(&ledger->journal, tael_leg_resolved(view.leg, view.event));
    const struct found found = find(ledger, view, resolver->pending_id, tael_ledger_hash(ledger, resolver->pending_id));
    TAEL_ASSERT(found.state == TAEL_ID_TRANSFER);
    return tael_journal_body(&ledger->journal, found.position);
}

BOTH uint32_t repeat(const struct tael_ledger *ledger, struct view view, const struct tael_transfer *t,
                     uint64_t position, uint64_t *timestamp) {
    const struct tael_transfer *existing = tael_journal_body(&ledger->journal, position);
    const struct tael_transfer *pending =
        existing->flags & TAEL_TRANSFER_RESOLVES ? resolved_by(ledger, view, existing) : NULL;
    const uint32_t status = check_exists(t, existing, pending);
    if (status == TAEL_TRANSFER_exists) *timestamp = existing->timestamp;
    return status;
}

/* ---- entering what was decided ---- */

/* Appends a transfer with both accounts' balances after it, and returns the place for its body.
 * Body and trace are written in place: copied from a struct that was just put together, the copy waits for its stores, and they
 * for all earlier ones that miss the caches. */
static inline struct tael_transfer *append(struct tael_ledger *ledger, uint64_t timestamp,
                                           const struct tael_account_line *debit,
                                           const struct tael_account_line *credit,
                                           enum tael_pending_status pending_status) {
    const uint64_t position = ledger->journal.count;
    struct tael_transfer_trace *trace;
    struct tael_transfer *body = tael_journal_append(&ledger->journal, timestamp, &trace);
    trace->debit_number = debit->number;
    trace->credit_number = credit->number;
    trace->pending_status = (uint8_t)pending_status;
    trace->after =
        tael_history_write(&ledger->history, &ledger->history.transfers[position], &ledger->accounts, debit, credit);
    trace->reserved = 0;
    return body;
}

/* Notes where the transfer of a leg's event is, whose claim stands in the index. */
static inline void claim_hold(struct tael_ledger *ledger, struct view view, const struct found *found) {
    struct tael_leg *leg = view.leg;
    const uint64_t position = ledger->journal.count - 1;
    leg->at[view.event] = (uint32_t)position;
    leg->outcome[view.event] = TAEL_LEG_CREATED;
    leg->shifted |= position != leg->base + view.event;
    if (found->claim != view.event) leg->heir[found->claim] = (uint16_t)view.event;
    ledger->index.count++;
}

/* The same as append for an event of a step, with the balances of unsafe accounts; the owners write those of safe ones. Its claim
 * stands already, or it takes over that of an event that failed. */
static struct tael_transfer *enter_in_step(struct tael_ledger *ledger, struct view view, const struct found *found,
                                           const struct tael_account_line *debit,
                                           const struct tael_account_line *credit,
                                           enum tael_pending_status pending_status) {
    struct tael_step *step = view.step;
    const uint32_t event = view.event;
    const uint64_t position = tael_step_position(step, event);
    TAEL_ASSERT(position < ledger->journal.count_max);
    TAEL_ASSERT(found->claim != UINT32_MAX);
    if (found->claim != event) step->heir[found->claim] = (uint16_t)event;
    step->number[TAEL_STEP_DEBIT][event] = debit->number;
    step->number[TAEL_STEP_CREDIT][event] = credit->number;
    step->owner[TAEL_STEP_DEBIT][event] = tael_step_account_owner(step, debit->number);
    step->owner[TAEL_STEP_CREDIT][event] = tael_step_account_owner(step, credit->number);
    step->kind[event] |= TAEL_STEP_WRITTEN;
    ledger->journal.count = position + 1;
    struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    *trace = (struct tael_transfer_trace){
        .debit_number = debit->number, .credit_number = credit->number, .pending_status = (uint8_t)pending_status};
    struct tael_history_entry *entry = &ledger->history.transfers[position];
    if (debit->flags & TAEL_ACCOUNT_FLAG_closed) trace->after |= TAEL_HISTORY_DEBIT_CLOSED;
    if (credit->flags & TAEL_ACCOUNT_FLAG_closed) trace->after |= TAEL_HISTORY_CREDIT_CLOSED;
    step->sides_written[event] = 0;
    if (!is_left_to_its_owner(view, debit)) {
        memcpy(&entry->value[0], debit->balance, sizeof debit->balance);
        step->sides_written[event] |= 1u << TAEL_STEP_DEBIT;
    }
    if (!is_left_to_its_owner(view, credit)) {
        memcpy(&entry->value[TAEL_BALANCES], credit->balance, sizeof credit->balance);
        step->sides_written[event] |= 1u << TAEL_STEP_CREDIT;
    }
    return &ledger->journal.bodies[position];
}

/* `found` is what was found of its id. */
BOTH struct tael_transfer *enter(struct tael_ledger *ledger, struct view view, const struct found *found,
                                 uint64_t timestamp, const struct tael_account_line *debit,
                                 const struct tael_account_line *credit, enum tael_pending_status pending_status) {
    if (view.step != NULL) return enter_in_step(ledger, view, found, debit, credit, pending_status);
    struct tael_transfer *body = append(ledger, timestamp, debit, credit, pending_status);
    if (view.leg != NULL) {
        claim_hold(ledger, view, found);
    } else {
        tael_id_index_insert(&ledger->index, &found->probe, ledger->journal.count - 1);
    }
    return body;
}

/* An imported transfer must be younger than every transfer, and no account may have its timestamp. */
static bool import_regresses(const struct tael_ledger *ledger, uint64_t timestamp) {
    if (timestamp <= ledger->journal.timestamp_last) return true;
    const uint64_t number = tael_account_table_number_from(&ledger->accounts, timestamp);
    return number <= ledger->accounts.count && ledger->accounts.cold[number].timestamp == timestamp;
}

/* ---- what a transfer is by itself ---- */

static uint32_t id_refusal(const struct tael_transfer *t) {
    if ((t->flags & ~TAEL_TRANSFER_FLAGS_DEFINED) != 0) return TAEL_TRANSFER_reserved_flag;
    return t->id == 0 ? TAEL_TRANSFER_id_must_not_be_zero : TAEL_TRANSFER_id_must_not_be_int_max;
}

/* ---- post and void ---- */

uint32_t tael_transfer_check_resolver(const struct tael_transfer *t) {
    const uint32_t excluded = TAEL_TRANSFER_FLAG_pending | BALANCING | CLOSING;
    if ((t->flags & TAEL_TRANSFER_RESOLVES) == TAEL_TRANSFER_RESOLVES)
        return TAEL_TRANSFER_flags_are_mutually_exclusive;
    if (t->flags & excluded) return TAEL_TRANSFER_flags_are_mutually_exclusive;
    if (t->pending_id == 0) return TAEL_TRANSFER_pending_id_must_not_be_zero;
    if (t->pending_id == TAEL_U128_MAX) return TAEL_TRANSFER_pending_id_must_not_be_int_max;
    if (t->pending_id == t->id) return TAEL_TRANSFER_pending_id_must_be_different;
    if (t->timeout != 0) return TAEL_TRANSFER_timeout_reserved_for_pending_transfer;
    return TAEL_STATUS_CREATED;
}

static uint32_t check_against_pending(const struct tael_transfer *t, const struct tael_transfer *pending,
                                      tael_u128 amount) {
    if (t->debit_account_id != 0 && t->debit_account_id != pending->debit_account_id) {
        return TAEL_TRANSFER_pending_transfer_has_different_debit_account_id;
    }
    if (t->credit_account_id != 0 && t->credit_account_id != pending->credit_account_id) {
        return TAEL_TRANSFER_pending_transfer_has_different_credit_account_id;
    }
    if (t->ledger != 0 && t->ledger != pending->ledger) return TAEL_TRANSFER_pending_transfer_has_different_ledger;
    if (t->code != 0 && t->code != pending->code) return TAEL_TRANSFER_pending_transfer_has_different_code;
    if (amount > pending->amount) return TAEL_TRANSFER_exceeds_pending_transfer_amount;
    if ((t->flags & TAEL_TRANSFER_FLAG_void_pending_transfer) && amount < pending->amount) {
        return TAEL_TRANSFER_pending_transfer_has_different_amount;
    }
    return TAEL_STATUS_CREATED;
}

static uint32_t check_still_pending(const struct tael_transfer *pending, enum tael_pending_status status,
                                    uint64_t timestamp) {
    switch (status) {
    case TAEL_PENDING_POSTED:
        return TAEL_TRANSFER_pending_transfer_already_posted;
    case TAEL_PENDING_VOIDED:
        return TAEL_TRANSFER_pending_transfer_already_voided;
    case TAEL_PENDING_EXPIRED:
        return TAEL_TRANSFER_pending_transfer_expired;
    case TAEL_PENDING_PENDING:
        break;
    case TAEL_PENDING_NONE:
        TAEL_UNREACHABLE("a pending transfer without a pending status");
    }
    /* The pulse may not have run yet: what counts is the event's sequenced timestamp. */
    const uint64_t expires_at = tael_transfer_expires_at(pending);
    if (expires_at != 0 && expires_at <= timestamp) return TAEL_TRANSFER_pending_transfer_expired;
    return TAEL_STATUS_CREATED;
}

/* What a post or void moves. */
static inline tael_u128 resolved_amount(const struct tael_transfer *t, const struct tael_transfer *pending) {
    const tael_u128 all = t->flags & TAEL_TRANSFER_FLAG_post_pending_transfer ? TAEL_U128_MAX : 0;
    return t->amount == all ? pending->amount : t->amount;
}

enum tael_transfer_outlook tael_transfer_outlook(const struct tael_transfer *t, const struct tael_transfer *pending,
                                                 enum tael_pending_status status, uint64_t timestamp,
                                                 tael_u128 *amount) {
    if ((pending->flags & TAEL_TRANSFER_FLAG_pending) == 0) return TAEL_OUTLOOK_FAILS;
    *amount = resolved_amount(t, pending);
    if (check_against_pending(t, pending, *amount) != TAEL_STATUS_CREATED) return TAEL_OUTLOOK_FAILS;
    if (check_still_pending(pending, status, timestamp) != TAEL_STATUS_CREATED) return TAEL_OUTLOOK_UNCERTAIN;
    return pending->flags & CLOSING ? TAEL_OUTLOOK_UNCERTAIN : TAEL_OUTLOOK_PASSES;
}

/* Reopens what the pending transfer closed. */
BOTH void reopen(struct view view, struct tael_account_line *debit, struct tael_account_line *credit,
                 const struct tael_transfer *pending) {
    if (pending->flags & TAEL_TRANSFER_FLAG_closing_debit) set_closed(view, debit, false);
    if (pending->flags & TAEL_TRANSFER_FLAG_closing_credit) set_closed(view, credit, false);
}

static inline void write_resolver(struct tael_transfer *body, const struct tael_transfer *t,
                                  const struct tael_transfer *pending, tael_u128 amount, uint64_t timestamp) {
    body->id = t->id;
    body->debit_account_id = pending->debit_account_id;
    body->credit_account_id = pending->credit_account_id;
    body->amount = amount;
    body->pending_id = t->pending_id;
    body->user_data_128 = t->user_data_128 != 0 ? t->user_data_128 : pending->user_data_128;
    body->user_data_64 = t->user_data_64 != 0 ? t->user_data_64 : pending->user_data_64;
    body->user_data_32 = t->user_data_32 != 0 ? t->user_data_32 : pending->user_data_32;
    body->timeout = 0;
    body->ledger = pending->ledger;
    body->code = pending->code;
    body->flags = t->flags;
    body->timestamp = timestamp;
}

BOTH uint32_t post_or_void(struct tael_ledger *ledger, struct view view, const struct tael_transfer *t,
                           uint64_t pending_hash, const struct found *found, uint64_t *timestamp) {
    uint32_t status = tael_transfer_check_resolver(t);
    if (status != TAEL_STATUS_CREATED) return status;

    const struct found of_pending = find_pending(ledger, view, t->pending_id, pending_hash);
    if (of_pending.state != TAEL_ID_TRANSFER) return TAEL_TRANSFER_pending_transfer_not_found;
    const struct tael_transfer *pending = tael_journal_body(&ledger->journal, of_pending.position);
    struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, of_pending.position);
    if ((pending->flags & TAEL_TRANSFER_FLAG_pending) == 0) return TAEL_TRANSFER_pending_transfer_not_pending;

    const bool posts = (t->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) != 0;
    const tael_u128 amount = resolved_amount(t, pending);
    status = check_against_pending(t, pending, amount);
    if (status != TAEL_STATUS_CREATED) return status;
    status = check_still_pending(pending, (enum tael_pending_status)trace->pending_status, *timestamp);
    if (status != TAEL_STATUS_CREATED) return status;
    if (t->flags & TAEL_TRANSFER_FLAG_imported) {
        if (import_regresses(ledger, t->timestamp)) return TAEL_TRANSFER_imported_event_timestamp_must_not_regress;
    }
    struct tael_account_line *debit = &ledger->accounts.lines[trace->debit_number];
    struct tael_account_line *credit = &ledger->accounts.lines[trace->credit_number];
    TAEL_ASSERT(debit->id == pending->debit_account_id);
    TAEL_ASSERT(credit->id == pending->credit_account_id);
    if (posts) {
        if (debit->flags & TAEL_ACCOUNT_FLAG_closed) return TAEL_TRANSFER_debit_account_already_closed;
        if (credit->flags & TAEL_ACCOUNT_FLAG_closed) return TAEL_TRANSFER_credit_account_already_closed;
    }

    /* Everything is checked: from here on it succeeds. */
    if (t->flags & TAEL_TRANSFER_FLAG_imported) *timestamp = t->timestamp;
    balance_subtract(ledger, view, debit, TAEL_DEBITS_PENDING, pending->amount);
    balance_subtract(ledger, view, credit, TAEL_CREDITS_PENDING, pending->amount);
    if (posts) {
        balance_add(ledger, view, debit, TAEL_DEBITS_POSTED, amount);
        balance_add(ledger, view, credit, TAEL_CREDITS_POSTED, amount);
    } else {
        reopen(view, debit, credit, pending);
    }
    trace->pending_status = posts ? TAEL_PENDING_POSTED : TAEL_PENDING_VOIDED;
    if (view.step != NULL) {
        view.step->pending[view.event] = (uint32_t)of_pending.position;
        view.step->amount[view.event] = tael_u128_low(amount);
        view.step->pending_amount[view.event] = tael_u128_low(pending->amount);
    }
    struct tael_transfer *body = enter(ledger, view, found, *timestamp, debit, credit, TAEL_PENDING_NONE);
    write_resolver(body, t, pending, amount, *timestamp);
    return TAEL_STATUS_CREATED;
}

void tael_transfer_write_resolver(struct tael_transfer *body, const struct tael_transfer *t,
                                  const struct tael_transfer *pending, tael_u128 amount, uint64_t timestamp) {
    write_resolver(body, t, pending, amount, timestamp);
}

/* ---- plain and pending ---- */

uint32_t tael_transfer_check_fields(const struct tael_transfer *t) {
    if (t->debit_account_id == 0) return TAEL_TRANSFER_debit_account_id_must_not_be_zero;
    if (t->debit_account_id == TAEL_U128_MAX) return TAEL_TRANSFER_debit_account_id_must_not_be_int_max;
    if (t->credit_account_id == 0) return TAEL_TRANSFER_credit_account_id_must_not_be_zero;
    if (t->credit_account_id == TAEL_U128_MAX) return TAEL_TRANSFER_credit_account_id_must_not_be_int_max;
    if (t->credit_account_id == t->debit_account_id) return TAEL_TRANSFER_accounts_must_be_different;
    if (t->pending_id != 0) return TAEL_TRANSFER_pending_id_must_be_zero;
    if ((t->flags & TAEL_TRANSFER_FLAG_pending) == 0) {
        if (t->timeout != 0) return TAEL_TRANSFER_timeout_reserved_for_pending_transfer;
        if (t->flags & CLOSING) return TAEL_TRANSFER_closing_transfer_must_be_pending;
    }
    if (t->ledger == 0) return TAEL_TRANSFER_ledger_must_not_be_zero;
    if (t->code == 0) return TAEL_TRANSFER_code_must_not_be_zero;
    return TAEL_STATUS_CREATED;
}

static uint32_t check_import(const struct tael_ledger *ledger, const struct tael_transfer *t,
                             const struct tael_account_line *debit, const struct tael_account_line *credit) {
    if (import_regresses(ledger, t->timestamp)) return TAEL_TRANSFER_imported_event_timestamp_must_not_regress;
    if (t->timestamp <= ledger->accounts.cold[debit->number].timestamp) {
        return TAEL_TRANSFER_imported_event_timestamp_must_postdate_debit_account;
    }
    if (t->timestamp <= ledger->accounts.cold[credit->number].timestamp) {
        return TAEL_TRANSFER_imported_event_timestamp_must_postdate_credit_account;
    }
    if (t->timeout != 0) return TAEL_TRANSFER_imported_event_timeout_must_be_zero;
    return TAEL_STATUS_CREATED;
}

/* What a balancing transfer moves: as much as it may and as there is. */
static tael_u128 balancing_amount(const struct tael_ledger *ledger, const struct tael_transfer *t,
                                  const struct tael_account_line *debit, const struct tael_account_line *credit) {
    tael_u128 amount = t->amount;
    if (t->flags & TAEL_TRANSFER_FLAG_balancing_debit) {
        const tael_u128 spent =
            balance(ledger, debit, TAEL_DEBITS_POSTED) + balance(ledger, debit, TAEL_DEBITS_PENDING);
        const tael_u128 funds = balance(ledger, debit, TAEL_CREDITS_POSTED);
        const tael_u128 available = funds > spent ? funds - spent : 0;
        if (amount > available) amount = available;
    }
    if (t->flags & TAEL_TRANSFER_FLAG_balancing_credit) {
        const tael_u128 spent =
            balance(ledger, credit, TAEL_CREDITS_POSTED) + balance(ledger, credit, TAEL_CREDITS_PENDING);
        const tael_u128 funds = balance(ledger, credit, TAEL_DEBITS_POSTED);
        const tael_u128 available = funds > spent ? funds - spent : 0;
        if (amount > available) amount = available;
    }
    return amount;
}

static uint32_t check_overflow(const struct tael_ledger *ledger, const struct tael_transfer *t, tael_u128 amount,
                               const struct tael_account_line *debit, const struct tael_account_line *credit) {
    const tael_u128 debits_pending = balance(ledger, debit, TAEL_DEBITS_PENDING);
    const tael_u128 debits_posted = balance(ledger, debit, TAEL_DEBITS_POSTED);
    const tael_u128 credits_pending = balance(ledger, credit, TAEL_CREDITS_PENDING);
    const tael_u128 credits_posted = balance(ledger, credit, TAEL_CREDITS_POSTED);
    if (t->flags & TAEL_TRANSFER_FLAG_pending) {
        if (tael_u128_sum_overflows(amount, debits_pending)) return TAEL_TRANSFER_overflows_debits_pending;
        if (tael_u128_sum_overflows(amount, credits_pending)) return TAEL_TRANSFER_overflows_credits_pending;
    }
    if (tael_u128_sum_overflows(amount, debits_posted)) return TAEL_TRANSFER_overflows_debits_posted;
    if (tael_u128_sum_overflows(amount, credits_posted)) return TAEL_TRANSFER_overflows_credits_posted;
    /* Pending and posted together never overflow: these very checks see to it. */
    if (tael_u128_sum_overflows(amount, debits_pending + debits_posted)) return TAEL_TRANSFER_overflows_debits;
    if (tael_u128_sum_overflows(amount, credits_pending + credits_posted)) return TAEL_TRANSFER_overflows_credits;
    return TAEL_STATUS_CREATED;
}

static uint32_t check_limits(const struct tael_ledger *ledger, tael_u128 amount, const struct tael_account_line *debit,
                             const struct tael_account_line *credit) {
    if (debit->flags & TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits) {
        const tael_u128 debits =
            balance(ledger, debit, TAEL_DEBITS_PENDING) + balance(ledger, debit, TAEL_DEBITS_POSTED) + amount;
        if (debits > balance(ledger, debit, TAEL_CREDITS_POSTED)) return TAEL_TRANSFER_exceeds_credits;
    }
    if (credit->flags & TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits) {
        const tael_u128 credits =
            balance(ledger, credit, TAEL_CREDITS_PENDING) + balance(ledger, credit, TAEL_CREDITS_POSTED) + amount;
        if (credits > balance(ledger, credit, TAEL_DEBITS_POSTED)) return TAEL_TRANSFER_exceeds_debits;
    }
    return TAEL_STATUS_CREATED;
}

bool tael_transfer_timeout_overflows(const struct tael_transfer *t, uint64_t timestamp) {
    return t->timeout != 0 && t->timeout * TAEL_NS_PER_S > TAEL_TIMESTAMP_MAX - timestamp;
}

/* Balances and amounts of 64 bits: no sum of three comes near 128. */
static bool may_overflow(tael_u128 amount, const struct tael_account_line *debit,
                         const struct tael_account_line *credit) {
    return tael_u128_high(amount) != 0 || ((debit->flags | credit->flags) & TAEL_ACCOUNT_LINE_WIDE) != 0;
}

BOTH uint32_t plain_or_pending(struct tael_ledger *ledger, struct view view, const struct tael_transfer *t,
                               const struct tael_transfer_ahead *ahead, const struct found *found,
                               uint64_t *timestamp) {
    uint32_t status = tael_transfer_check_fields(t);
    if (status != TAEL_STATUS_CREATED) return status;
    struct tael_account_line *debit = find_account(ledger, ahead->debit, t->debit_account_id);
    if (debit == NULL) return TAEL_TRANSFER_debit_account_not_found;
    struct tael_account_line *credit = find_account(ledger, ahead->credit, t->credit_account_id);
    if (credit == NULL) return TAEL_TRANSFER_credit_account_not_found;
    if (debit->ledger != credit->ledger) return TAEL_TRANSFER_accounts_must_have_the_same_ledger;
    if (t->ledger != debit->ledger) return TAEL_TRANSFER_transfer_must_have_the_same_ledger_as_accounts;
    const bool imported = (t->flags & TAEL_TRANSFER_FLAG_imported) != 0;
    if (imported) {
        status = check_import(ledger, t, debit, credit);
        if (status != TAEL_STATUS_CREATED) return status;
    }
    if (debit->flags & TAEL_ACCOUNT_FLAG_closed) return TAEL_TRANSFER_debit_account_already_closed;
    if (credit->flags & TAEL_ACCOUNT_FLAG_closed) return TAEL_TRANSFER_credit_account_already_closed;

    const tael_u128 amount = t->flags & BALANCING ? balancing_amount(ledger, t, debit, credit) : t->amount;
    if (may_overflow(amount, debit, credit)) {
        status = check_overflow(ledger, t, amount, debit, credit);
        if (status != TAEL_STATUS_CREATED) return status;
    }
    if (tael_transfer_timeout_overflows(t, imported ? t->timestamp : *timestamp))
        return TAEL_TRANSFER_overflows_timeout;
    status = check_limits(ledger, amount, debit, credit);
    if (status != TAEL_STATUS_CREATED) return status;

    /* Everything is checked: from here on it succeeds. */
    const bool pending = (t->flags & TAEL_TRANSFER_FLAG_pending) != 0;
    balance_add(ledger, view, debit, pending ? TAEL_DEBITS_PENDING : TAEL_DEBITS_POSTED, amount);
    balance_add(ledger, view, credit, pending ? TAEL_CREDITS_PENDING : TAEL_CREDITS_POSTED, amount);
    if (t->flags & TAEL_TRANSFER_FLAG_closing_debit) set_closed(view, debit, true);
    if (t->flags & TAEL_TRANSFER_FLAG_closing_credit) set_closed(view, credit, true);

    if (imported) *timestamp = t->timestamp;
    if (view.step != NULL) view.step->amount[view.event] = tael_u128_low(amount);
    struct tael_transfer *body =
        enter(ledger, view, found, *timestamp, debit, credit, pending ? TAEL_PENDING_PENDING : TAEL_PENDING_NONE);
    tael_journal_write(body, t, amount, *timestamp);
    return TAEL_STATUS_CREATED;
}

BOTH uint32_t create(struct tael_ledger *ledger, struct view view, const struct tael_transfer *t,
                     const struct tael_transfer_ahead *ahead, uint64_t *timestamp) {
    if (!tael_transfer_may_have_id(t)) return id_refusal(t);
    const struct found found = find_own(ledger, view, t->id, ahead->id_hash);
    switch (found.state) {
    case TAEL_ID_TRANSFER:
        return repeat(ledger, view, t, found.position, timestamp);
    case TAEL_ID_BURNT:
        return TAEL_TRANSFER_id_already_failed;
    case TAEL_ID_FREE:
        break;
    }
    if (t->flags & TAEL_TRANSFER_RESOLVES) return post_or_void(ledger, view, t, ahead->debit_hash, &found, timestamp);
    return plain_or_pending(ledger, view, t, ahead, &found, timestamp);
}

uint32_t tael_transfer_create(struct tael_ledger *ledger, const struct tael_transfer *transfer,
                              const struct tael_transfer_ahead *ahead, uint64_t *timestamp) {
    return create(ledger, (struct view){0}, transfer, ahead, timestamp);
}

uint32_t tael_transfer_create_in_leg(struct tael_leg *leg, uint32_t event, const struct tael_transfer *transfer,
                                     const struct tael_transfer_ahead *ahead, uint64_t *timestamp) {
    return create(leg->ledger, (struct view){.leg = leg, .event = event}, transfer, ahead, timestamp);
}

uint32_t tael_transfer_create_in_step(struct tael_step *step, uint32_t event, uint64_t *timestamp) {
    struct tael_ledger *ledger = step->ledger;
    const struct tael_transfer *t = step->event[event];
    struct tael_transfer_ahead ahead;
    tael_transfer_hash(ledger, t, &ahead);
    const bool names_accounts = (t->flags & TAEL_TRANSFER_RESOLVES) == 0;
    const uint32_t debit = names_accounts ? step->number[TAEL_STEP_DEBIT][event] : 0;
    const uint32_t credit = names_accounts ? step->number[TAEL_STEP_CREDIT][event] : 0;
    ahead.debit = debit == 0 ? NULL : &ledger->accounts.lines[debit];
    ahead.credit = credit == 0 ? NULL : &ledger->accounts.lines[credit];
    return create(ledger, (struct view){.step = step, .event = event}, t, &ahead, timestamp);
}

/* ---- rollback, burning, expiry ---- */

/* Undoes a post or void: its pending transfer is pending again. */
BOTH void take_back_resolution(struct tael_ledger *ledger, struct view view, const struct tael_transfer *body,
                               struct tael_account_line *debit, struct tael_account_line *credit) {
    const struct found found = find_pending(ledger, view, body->pending_id, tael_ledger_hash(ledger, body->pending_id));
    TAEL_ASSERT(found.state == TAEL_ID_TRANSFER);
    const struct tael_transfer *pending = tael_journal_body(&ledger->journal, found.position);
    if (body->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) {
        balance_subtract(ledger, view, debit, TAEL_DEBITS_POSTED, body->amount);
        balance_subtract(ledger, view, credit, TAEL_CREDITS_POSTED, body->amount);
    } else {
        if (pending->flags & TAEL_TRANSFER_FLAG_closing_debit) set_closed(view, debit, true);
        if (pending->flags & TAEL_TRANSFER_FLAG_closing_credit) set_closed(view, credit, true);
    }
    balance_add(ledger, view, debit, TAEL_DEBITS_PENDING, pending->amount);
    balance_add(ledger, view, credit, TAEL_CREDITS_PENDING, pending->amount);
    tael_journal_trace(&ledger->journal, found.position)->pending_status = TAEL_PENDING_PENDING;
}

/* What the youngest transfer changed in its accounts, and in the pending transfer that it resolved. */
BOTH void take_back_effects(struct tael_ledger *ledger, struct view view, uint64_t position) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    const struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    struct tael_account_line *debit = &ledger->accounts.lines[trace->debit_number];
    struct tael_account_line *credit = &ledger->accounts.lines[trace->credit_number];
    if (body->flags & TAEL_TRANSFER_RESOLVES) {
        take_back_resolution(ledger, view, body, debit, credit);
        return;
    }
    const bool pending = (body->flags & TAEL_TRANSFER_FLAG_pending) != 0;
    balance_subtract(ledger, view, debit, pending ? TAEL_DEBITS_PENDING : TAEL_DEBITS_POSTED, body->amount);
    balance_subtract(ledger, view, credit, pending ? TAEL_CREDITS_PENDING : TAEL_CREDITS_POSTED, body->amount);
    /* It was open before, or the transfer would not have passed. */
    if (body->flags & TAEL_TRANSFER_FLAG_closing_debit) set_closed(view, debit, false);
    if (body->flags & TAEL_TRANSFER_FLAG_closing_credit) set_closed(view, credit, false);
}

void tael_transfer_take_back(struct tael_ledger *ledger) {
    TAEL_ASSERT(ledger->journal.count > 0);
    const uint64_t position = ledger->journal.count - 1;
    TAEL_ASSERT(position >= ledger->lists.covered);
    take_back_effects(ledger, (struct view){0}, position);
    const tael_u128 id = tael_journal_body(&ledger->journal, position)->id;
    if (tael_journal_trace(&ledger->journal, position)->after & TAEL_HISTORY_WIDE) ledger->history.wide_count--;
    tael_id_index_remove_youngest(&ledger->index, tael_ledger_hash(ledger, id), position);
    tael_journal_remove_youngest(&ledger->journal);
}

void tael_transfer_take_back_in_leg(struct tael_leg *leg, uint32_t event) {
    struct tael_ledger *ledger = leg->ledger;
    TAEL_ASSERT(leg->outcome[event] == TAEL_LEG_CREATED);
    TAEL_ASSERT(leg->at[event] == ledger->journal.count - 1);
    take_back_effects(ledger, (struct view){.leg = leg, .event = event}, leg->at[event]);
    if (tael_journal_trace(&ledger->journal, leg->at[event])->after & TAEL_HISTORY_WIDE) ledger->history.wide_count--;
    leg->outcome[event] = TAEL_LEG_FAILED;
    leg->vacated = true;
    ledger->index.count--;
    tael_journal_remove_youngest(&ledger->journal);
}

void tael_transfer_fail_in_leg(struct tael_leg *leg, uint32_t event, bool burns) {
    struct tael_ledger *ledger = leg->ledger;
    uint64_t position;
    uint32_t claim;
    leg->outcome[event] = TAEL_LEG_FAILED;
    if (!burns) {
        leg->vacated |= leg->own[event] == TAEL_LEG_FREE;
        return;
    }
    const enum tael_id_state state = tael_leg_own(leg, event, &position, &claim);
    TAEL_ASSERT(state == TAEL_ID_FREE);
    if (claim != event) leg->heir[claim] = (uint16_t)event;
    leg->outcome[event] = TAEL_LEG_BURNED;
    leg->at[event] = (uint32_t)tael_journal_burn(&ledger->journal, leg->event[event]->id);
    leg->shifted = true;
    ledger->index.count++;
}

void tael_transfer_take_back_in_step(struct tael_step *step, uint32_t event) {
    struct tael_journal *journal = &step->ledger->journal;
    const uint64_t position = tael_step_position(step, event);
    TAEL_ASSERT(position + 1 == journal->count);
    take_back_effects(step->ledger, (struct view){.step = step, .event = event}, position);
    journal->count--;
}

void tael_transfer_burn(struct tael_ledger *ledger, tael_u128 id) {
    struct tael_index_probe probe;
    uint64_t position;
    const enum tael_id_state state =
        tael_ledger_find_transfer(ledger, id, tael_ledger_hash(ledger, id), &probe, &position);
    TAEL_ASSERT(state == TAEL_ID_FREE);
    tael_id_index_insert(&ledger->index, &probe, TAEL_INDEX_BURNT | tael_journal_burn(&ledger->journal, id));
}

void tael_transfer_settle(struct tael_ledger *ledger, uint64_t position) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    const uint64_t expires_at = tael_transfer_expires_at(body);
    if (expires_at == 0) return;
    tael_expiry_queue_push(&ledger->expiries, (struct tael_expiry){.expires_at = expires_at, .position = position});
}

static void expire(struct tael_ledger *ledger, uint64_t position, uint64_t timestamp) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    struct tael_transfer_trace *trace = tael_journal_trace(&ledger->journal, position);
    TAEL_ASSERT(trace->pending_status == TAEL_PENDING_PENDING);
    struct tael_account_line *debit = &ledger->accounts.lines[trace->debit_number];
    struct tael_account_line *credit = &ledger->accounts.lines[trace->credit_number];
    balance_subtract(ledger, (struct view){0}, debit, TAEL_DEBITS_PENDING, body->amount);
    balance_subtract(ledger, (struct view){0}, credit, TAEL_CREDITS_PENDING, body->amount);
    reopen((struct view){0}, debit, credit, body);
    trace->pending_status = TAEL_PENDING_EXPIRED;

    TAEL_ASSERT(ledger->history.expiry_count < ledger->history.count_max);
    struct tael_expiry_entry *entry = &ledger->history.expiries[ledger->history.expiry_count++];
    *entry = (struct tael_expiry_entry){.timestamp = timestamp, .position = (uint32_t)position};
    entry->after = tael_history_write(&ledger->history, &entry->balances, &ledger->accounts, debit, credit);
}

void tael_transfers_expire(struct tael_ledger *ledger, uint64_t due, uint64_t timestamp_first) {
    uint32_t expired = 0;
    while (expired < TAEL_EXPIRIES_MAX) {
        const struct tael_expiry *top = tael_expiry_queue_top(&ledger->expiries);
        if (top == NULL || top->expires_at > due) break;
        const uint64_t position = top->position;
        tael_expiry_queue_pop(&ledger->expiries);
        if (tael_journal_trace(&ledger->journal, position)->pending_status != TAEL_PENDING_PENDING) continue;
        expire(ledger, position, timestamp_first + expired++);
    }
}
