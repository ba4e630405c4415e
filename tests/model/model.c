/* The rules, read straight from the specification ("Order of checks"): each function returns at the first check that
 * fails, in the order in which the page lists them. Nothing is changed before the last check has passed. */
#include "tests/model/model.h"

#include <stdlib.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "tests/model/model_state.h"

/* What one event came to. */
struct outcome {
    uint32_t status;
    uint64_t timestamp;
};

/* An event and where it stands. */
struct place {
    bool accounts; /* an account, not a transfer */
    bool batch_imported; /* the batch's first event is imported */
    uint64_t batch_timestamp; /* of the batch's last event */
    uint64_t timestamp; /* the event's own, sequenced */
};

static bool has(uint32_t flags, uint32_t flag) { return (flags & flag) != 0; }

static struct outcome fails(uint32_t status, const struct place *at) { return (struct outcome){status, at->timestamp}; }

static struct outcome succeeds(uint64_t timestamp) { return (struct outcome){TAEL_STATUS_CREATED, timestamp}; }

/* --- accounts --- */

static struct outcome account_exists(const struct tael_account *a, const struct tael_account *e,
                                     const struct place *at) {
    if (a->flags != e->flags) return fails(TAEL_ACCOUNT_exists_with_different_flags, at);
    if (a->user_data_128 != e->user_data_128) return fails(TAEL_ACCOUNT_exists_with_different_user_data_128, at);
    if (a->user_data_64 != e->user_data_64) return fails(TAEL_ACCOUNT_exists_with_different_user_data_64, at);
    if (a->user_data_32 != e->user_data_32) return fails(TAEL_ACCOUNT_exists_with_different_user_data_32, at);
    if (a->ledger != e->ledger) return fails(TAEL_ACCOUNT_exists_with_different_ledger, at);
    if (a->code != e->code) return fails(TAEL_ACCOUNT_exists_with_different_code, at);
    return (struct outcome){TAEL_ACCOUNT_exists, e->timestamp};
}

static struct outcome create_account(struct tael_model *model, const struct tael_account *a, const struct place *at) {
    const bool imported = has(a->flags, TAEL_ACCOUNT_FLAG_imported);
    if (a->reserved != 0) return fails(TAEL_ACCOUNT_reserved_field, at);
    if (has(a->flags, 0xFFC0)) return fails(TAEL_ACCOUNT_reserved_flag, at);
    if (a->id == 0) return fails(TAEL_ACCOUNT_id_must_not_be_zero, at);
    if (a->id == TAEL_U128_MAX) return fails(TAEL_ACCOUNT_id_must_not_be_int_max, at);

    const uint32_t found = model_find_account(model, a->id);
    if (found != MODEL_NONE) return account_exists(a, &model->accounts[found], at);

    if (has(a->flags, TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits) &&
        has(a->flags, TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits)) {
        return fails(TAEL_ACCOUNT_flags_are_mutually_exclusive, at);
    }
    if (a->debits_pending != 0) return fails(TAEL_ACCOUNT_debits_pending_must_be_zero, at);
    if (a->debits_posted != 0) return fails(TAEL_ACCOUNT_debits_posted_must_be_zero, at);
    if (a->credits_pending != 0) return fails(TAEL_ACCOUNT_credits_pending_must_be_zero, at);
    if (a->credits_posted != 0) return fails(TAEL_ACCOUNT_credits_posted_must_be_zero, at);
    if (a->ledger == 0) return fails(TAEL_ACCOUNT_ledger_must_not_be_zero, at);
    if (a->code == 0) return fails(TAEL_ACCOUNT_code_must_not_be_zero, at);
    if (imported &&
        (a->timestamp <= model_account_timestamp_last(model) || model_has_transfer_at(model, a->timestamp))) {
        return fails(TAEL_ACCOUNT_imported_event_timestamp_must_not_regress, at);
    }

    struct tael_account created = *a;
    created.timestamp = imported ? a->timestamp : at->timestamp;
    model_add_account(model, &created);
    return succeeds(created.timestamp);
}

/* --- transfers --- */

static bool is_post(const struct tael_transfer *t) { return has(t->flags, TAEL_TRANSFER_FLAG_post_pending_transfer); }
static bool is_void(const struct tael_transfer *t) { return has(t->flags, TAEL_TRANSFER_FLAG_void_pending_transfer); }
static bool is_balancing(const struct tael_transfer *t) {
    return has(t->flags, TAEL_TRANSFER_FLAG_balancing_debit | TAEL_TRANSFER_FLAG_balancing_credit);
}
static bool is_closing(const struct tael_transfer *t) {
    return has(t->flags, TAEL_TRANSFER_FLAG_closing_debit | TAEL_TRANSFER_FLAG_closing_credit);
}
static bool is_closed(const struct tael_account *a) { return has(a->flags, TAEL_ACCOUNT_FLAG_closed); }

static bool overflows(tael_u128 a, tael_u128 b) { return (tael_u128)(a + b) < a; }

/* A wish that stands for the whole of a pending transfer: a void of zero, a post of the largest amount. */
static bool wants_all(const struct tael_transfer *t) {
    return is_void(t) ? t->amount == 0 : t->amount == TAEL_U128_MAX;
}

/* A post or a void that is repeated: what it left out was inherited, so leaving it out again is the same again. */
static struct outcome post_or_void_exists(const struct tael_model *model, const struct tael_transfer *t,
                                          const struct tael_transfer *e, const struct place *at) {
    const struct tael_transfer *p = &model->transfers[model_find_transfer(model, e->pending_id)].record;
    const tael_u128 amount = wants_all(t) ? p->amount : t->amount;
    const tael_u128 user_data_128 = t->user_data_128 == 0 ? p->user_data_128 : t->user_data_128;
    const uint64_t user_data_64 = t->user_data_64 == 0 ? p->user_data_64 : t->user_data_64;
    const uint32_t user_data_32 = t->user_data_32 == 0 ? p->user_data_32 : t->user_data_32;

    if (t->debit_account_id != 0 && t->debit_account_id != e->debit_account_id) {
        return fails(TAEL_TRANSFER_exists_with_different_debit_account_id, at);
    }
    if (t->credit_account_id != 0 && t->credit_account_id != e->credit_account_id) {
        return fails(TAEL_TRANSFER_exists_with_different_credit_account_id, at);
    }
    if (amount != e->amount) return fails(TAEL_TRANSFER_exists_with_different_amount, at);
    if (user_data_128 != e->user_data_128) return fails(TAEL_TRANSFER_exists_with_different_user_data_128, at);
    if (user_data_64 != e->user_data_64) return fails(TAEL_TRANSFER_exists_with_different_user_data_64, at);
    if (user_data_32 != e->user_data_32) return fails(TAEL_TRANSFER_exists_with_different_user_data_32, at);
    if (t->ledger != 0 && t->ledger != e->ledger) return fails(TAEL_TRANSFER_exists_with_different_ledger, at);
    if (t->code != 0 && t->code != e->code) return fails(TAEL_TRANSFER_exists_with_different_code, at);
    return (struct outcome){TAEL_TRANSFER_exists, e->timestamp};
}

static struct outcome transfer_exists(const struct tael_model *model, const struct tael_transfer *t,
                                      const struct tael_transfer *e, const struct place *at) {
    if (t->flags != e->flags) return fails(TAEL_TRANSFER_exists_with_different_flags, at);
    if (t->pending_id != e->pending_id) return fails(TAEL_TRANSFER_exists_with_different_pending_id, at);
    if (t->timeout != e->timeout) return fails(TAEL_TRANSFER_exists_with_different_timeout, at);
    if (is_post(t) || is_void(t)) return post_or_void_exists(model, t, e, at);

    if (t->debit_account_id != e->debit_account_id) {
        return fails(TAEL_TRANSFER_exists_with_different_debit_account_id, at);
    }
    if (t->credit_account_id != e->credit_account_id) {
        return fails(TAEL_TRANSFER_exists_with_different_credit_account_id, at);
    }
    if (is_balancing(t) ? t->amount < e->amount : t->amount != e->amount) {
        return fails(TAEL_TRANSFER_exists_with_different_amount, at);
    }
    if (t->user_data_128 != e->user_data_128) return fails(TAEL_TRANSFER_exists_with_different_user_data_128, at);
    if (t->user_data_64 != e->user_data_64) return fails(TAEL_TRANSFER_exists_with_different_user_data_64, at);
    if (t->user_data_32 != e->user_data_32) return fails(TAEL_TRANSFER_exists_with_different_user_data_32, at);
    if (t->ledger != e->ledger) return fails(TAEL_TRANSFER_exists_with_different_ledger, at);
    if (t->code != e->code) return fails(TAEL_TRANSFER_exists_with_different_code, at);
    return (struct outcome){TAEL_TRANSFER_exists, e->timestamp};
}

/* Must an imported transfer's timestamp be refused since it does not follow all earlier ones of its kind? */
static bool regresses(const struct tael_model *model, const struct tael_transfer *t) {
    if (!has(t->flags, TAEL_TRANSFER_FLAG_imported)) return false;
    return t->timestamp <= model_transfer_timestamp_last(model) || model_has_account_at(model, t->timestamp);
}

static uint64_t timestamp_of(const struct tael_transfer *t, const struct place *at) {
    return has(t->flags, TAEL_TRANSFER_FLAG_imported) ? t->timestamp : at->timestamp;
}

/* Gives back what a pending transfer holds and opens what it closed. The caller sets the accounts. */
static void release(const struct tael_transfer *p, bool reopen, struct tael_account *debit,
                    struct tael_account *credit) {
    TAEL_ASSERT(debit->debits_pending >= p->amount);
    TAEL_ASSERT(credit->credits_pending >= p->amount);
    debit->debits_pending -= p->amount;
    credit->credits_pending -= p->amount;
    const uint16_t open = (uint16_t)~TAEL_ACCOUNT_FLAG_closed;
    if (reopen && has(p->flags, TAEL_TRANSFER_FLAG_closing_debit)) debit->flags &= open;
    if (reopen && has(p->flags, TAEL_TRANSFER_FLAG_closing_credit)) credit->flags &= open;
}

static struct outcome post_or_void(struct tael_model *model, const struct tael_transfer *t, const struct place *at) {
    if (is_post(t) && is_void(t)) return fails(TAEL_TRANSFER_flags_are_mutually_exclusive, at);
    if (has(t->flags, TAEL_TRANSFER_FLAG_pending)) return fails(TAEL_TRANSFER_flags_are_mutually_exclusive, at);
    if (is_balancing(t)) return fails(TAEL_TRANSFER_flags_are_mutually_exclusive, at);
    if (is_closing(t)) return fails(TAEL_TRANSFER_flags_are_mutually_exclusive, at);
    if (t->pending_id == 0) return fails(TAEL_TRANSFER_pending_id_must_not_be_zero, at);
    if (t->pending_id == TAEL_U128_MAX) return fails(TAEL_TRANSFER_pending_id_must_not_be_int_max, at);
    if (t->pending_id == t->id) return fails(TAEL_TRANSFER_pending_id_must_be_different, at);
    if (t->timeout != 0) return fails(TAEL_TRANSFER_timeout_reserved_for_pending_transfer, at);

    const uint32_t found = model_find_transfer(model, t->pending_id);
    if (found == MODEL_NONE) return fails(TAEL_TRANSFER_pending_transfer_not_found, at);
    const struct tael_transfer p = model->transfers[found].record;
    if (!has(p.flags, TAEL_TRANSFER_FLAG_pending)) return fails(TAEL_TRANSFER_pending_transfer_not_pending, at);
    if (t->debit_account_id != 0 && t->debit_account_id != p.debit_account_id) {
        return fails(TAEL_TRANSFER_pending_transfer_has_different_debit_account_id, at);
    }
    if (t->credit_account_id != 0 && t->credit_account_id != p.credit_account_id) {
        return fails(TAEL_TRANSFER_pending_transfer_has_different_credit_account_id, at);
    }
    if (t->ledger != 0 && t->ledger != p.ledger) return fails(TAEL_TRANSFER_pending_transfer_has_different_ledger, at);
    if (t->code != 0 && t->code != p.code) return fails(TAEL_TRANSFER_pending_transfer_has_different_code, at);

    const tael_u128 amount = wants_all(t) ? p.amount : t->amount;
    if (amount > p.amount) return fails(TAEL_TRANSFER_exceeds_pending_transfer_amount, at);
    if (is_void(t) && amount < p.amount) return fails(TAEL_TRANSFER_pending_transfer_has_different_amount, at);

    const enum model_pending_status status = model->transfers[found].status;
    if (status == MODEL_POSTED) return fails(TAEL_TRANSFER_pending_transfer_already_posted, at);
    if (status == MODEL_VOIDED) return fails(TAEL_TRANSFER_pending_transfer_already_voided, at);
    if (status == MODEL_EXPIRED) return fails(TAEL_TRANSFER_pending_transfer_expired, at);
    TAEL_ASSERT(status == MODEL_PENDING);
    if (p.timeout != 0 && model_expiry(&p) <= at->timestamp) return fails(TAEL_TRANSFER_pending_transfer_expired, at);

    if (regresses(model, t)) return fails(TAEL_TRANSFER_imported_event_timestamp_must_not_regress, at);

    const uint32_t debit_index = model_find_account(model, p.debit_account_id);
    const uint32_t credit_index = model_find_account(model, p.credit_account_id);
    struct tael_account debit = model->accounts[debit_index];
    struct tael_account credit = model->accounts[credit_index];
    if (is_post(t) && is_closed(&debit)) return fails(TAEL_TRANSFER_debit_account_already_closed, at);
    if (is_post(t) && is_closed(&credit)) return fails(TAEL_TRANSFER_credit_account_already_closed, at);

    release(&p, is_void(t), &debit, &credit);
    if (is_post(t)) debit.debits_posted += amount;
    if (is_post(t)) credit.credits_posted += amount;
    model_set_account(model, debit_index, &debit);
    model_set_account(model, credit_index, &credit);
    model_set_status(model, found, is_post(t) ? MODEL_POSTED : MODEL_VOIDED);
    const struct tael_transfer created = {
        .id = t->id,
        .debit_account_id = p.debit_account_id,
        .credit_account_id = p.credit_account_id,
        .amount = amount,
        .pending_id = p.id,
        .user_data_128 = t->user_data_128 != 0 ? t->user_data_128 : p.user_data_128,
        .user_data_64 = t->user_data_64 != 0 ? t->user_data_64 : p.user_data_64,
        .user_data_32 = t->user_data_32 != 0 ? t->user_data_32 : p.user_data_32,
        .timeout = 0,
        .ledger = p.ledger,
        .code = p.code,
        .flags = t->flags,
        .timestamp = timestamp_of(t, at),
    };
    model_add_transfer(model, &created);
    return succeeds(created.timestamp);
}

/* What is left between two sides of an account; nothing where it is overdrawn. */
static tael_u128 room(tael_u128 limit, tael_u128 posted, tael_u128 pending) {
    const tael_u128 used = posted + pending;
    return used >= limit ? 0 : limit - used;
}

static tael_u128 amount_to_move(const struct tael_transfer *t, const struct tael_account *debit,
                                const struct tael_account *credit) {
    tael_u128 amount = t->amount;
    if (has(t->flags, TAEL_TRANSFER_FLAG_balancing_debit)) {
        const tael_u128 most = room(debit->credits_posted, debit->debits_posted, debit->debits_pending);
        if (amount > most) amount = most;
    }
    if (has(t->flags, TAEL_TRANSFER_FLAG_balancing_credit)) {
        const tael_u128 most = room(credit->debits_posted, credit->credits_posted, credit->credits_pending);
        if (amount > most) amount = most;
    }
    return amount;
}

/* The last checks: what the balances allow. 0 where they allow it. */
static uint32_t check_balances(const struct tael_transfer *t, tael_u128 amount, uint64_t timestamp,
                               const struct tael_account *debit, const struct tael_account *credit) {
    if (has(t->flags, TAEL_TRANSFER_FLAG_pending)) {
        if (overflows(debit->debits_pending, amount)) return TAEL_TRANSFER_overflows_debits_pending;
        if (overflows(credit->credits_pending, amount)) return TAEL_TRANSFER_overflows_credits_pending;
    }
    if (overflows(debit->debits_posted, amount)) return TAEL_TRANSFER_overflows_debits_posted;
    if (overflows(credit->credits_posted, amount)) return TAEL_TRANSFER_overflows_credits_posted;
    if (overflows(debit->debits_pending + debit->debits_posted, amount)) return TAEL_TRANSFER_overflows_debits;
    if (overflows(credit->credits_pending + credit->credits_posted, amount)) return TAEL_TRANSFER_overflows_credits;
    if (timestamp + (tael_u128)t->timeout * TAEL_NS_PER_S > TAEL_TIMESTAMP_MAX) return TAEL_TRANSFER_overflows_timeout;
    if (has(debit->flags, TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits) &&
        debit->debits_pending + debit->debits_posted + amount > debit->credits_posted) {
        return TAEL_TRANSFER_exceeds_credits;
    }
    if (has(credit->flags, TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits) &&
        credit->credits_pending + credit->credits_posted + amount > credit->debits_posted) {
        return TAEL_TRANSFER_exceeds_debits;
    }
    return 0;
}

static void move(const struct tael_transfer *t, tael_u128 amount, struct tael_account *debit,
                 struct tael_account *credit) {
    if (has(t->flags, TAEL_TRANSFER_FLAG_pending)) {
        debit->debits_pending += amount;
        credit->credits_pending += amount;
    } else {
        debit->debits_posted += amount;
        credit->credits_posted += amount;
    }
    if (has(t->flags, TAEL_TRANSFER_FLAG_closing_debit)) debit->flags |= TAEL_ACCOUNT_FLAG_closed;
    if (has(t->flags, TAEL_TRANSFER_FLAG_closing_credit)) credit->flags |= TAEL_ACCOUNT_FLAG_closed;
}

static struct outcome create_transfer(struct tael_model *model, const struct tael_transfer *t, const struct place *at) {
    const bool imported = has(t->flags, TAEL_TRANSFER_FLAG_imported);
    const bool pending = has(t->flags, TAEL_TRANSFER_FLAG_pending);
    if (has(t->flags, 0xFE00)) return fails(TAEL_TRANSFER_reserved_flag, at);
    if (t->id == 0) return fails(TAEL_TRANSFER_id_must_not_be_zero, at);
    if (t->id == TAEL_U128_MAX) return fails(TAEL_TRANSFER_id_must_not_be_int_max, at);

    const uint32_t found = model_find_transfer(model, t->id);
    if (found != MODEL_NONE) return transfer_exists(model, t, &model->transfers[found].record, at);
    if (model_ids_find(&model->burnt_ids, t->id) != MODEL_NONE) return fails(TAEL_TRANSFER_id_already_failed, at);
    if (is_post(t) || is_void(t)) return post_or_void(model, t, at);

    if (t->debit_account_id == 0) return fails(TAEL_TRANSFER_debit_account_id_must_not_be_zero, at);
    if (t->debit_account_id == TAEL_U128_MAX) return fails(TAEL_TRANSFER_debit_account_id_must_not_be_int_max, at);
    if (t->credit_account_id == 0) return fails(TAEL_TRANSFER_credit_account_id_must_not_be_zero, at);
    if (t->credit_account_id == TAEL_U128_MAX) return fails(TAEL_TRANSFER_credit_account_id_must_not_be_int_max, at);
    if (t->debit_account_id == t->credit_account_id) return fails(TAEL_TRANSFER_accounts_must_be_different, at);
    if (t->pending_id != 0) return fails(TAEL_TRANSFER_pending_id_must_be_zero, at);
    if (!pending && t->timeout != 0) return fails(TAEL_TRANSFER_timeout_reserved_for_pending_transfer, at);
    if (!pending && is_closing(t)) return fails(TAEL_TRANSFER_closing_transfer_must_be_pending, at);
    if (t->ledger == 0) return fails(TAEL_TRANSFER_ledger_must_not_be_zero, at);
    if (t->code == 0) return fails(TAEL_TRANSFER_code_must_not_be_zero, at);

    const uint32_t debit_index = model_find_account(model, t->debit_account_id);
    const uint32_t credit_index = model_find_account(model, t->credit_account_id);
    if (debit_index == MODEL_NONE) return fails(TAEL_TRANSFER_debit_account_not_found, at);
    if (credit_index == MODEL_NONE) return fails(TAEL_TRANSFER_credit_account_not_found, at);
    struct tael_account debit = model->accounts[debit_index];
    struct tael_account credit = model->accounts[credit_index];
    if (debit.ledger != credit.ledger) return fails(TAEL_TRANSFER_accounts_must_have_the_same_ledger, at);
    if (t->ledger != debit.ledger) return fails(TAEL_TRANSFER_transfer_must_have_the_same_ledger_as_accounts, at);

    if (imported) {
        if (regresses(model, t)) return fails(TAEL_TRANSFER_imported_event_timestamp_must_not_regress, at);
        if (t->timestamp <= debit.timestamp) {
            return fails(TAEL_TRANSFER_imported_event_timestamp_must_postdate_debit_account, at);
        }
        if (t->timestamp <= credit.timestamp) {
            return fails(TAEL_TRANSFER_imported_event_timestamp_must_postdate_credit_account, at);
        }
        if (t->timeout != 0) return fails(TAEL_TRANSFER_imported_event_timeout_must_be_zero, at);
    }
    if (is_closed(&debit)) return fails(TAEL_TRANSFER_debit_account_already_closed, at);
    if (is_closed(&credit)) return fails(TAEL_TRANSFER_credit_account_already_closed, at);

    struct tael_transfer created = *t;
    created.amount = amount_to_move(t, &debit, &credit);
    created.timestamp = timestamp_of(t, at);
    const uint32_t refused = check_balances(t, created.amount, created.timestamp, &debit, &credit);
    if (refused != 0) return fails(refused, at);

    move(t, created.amount, &debit, &credit);
    model_set_account(model, debit_index, &debit);
    model_set_account(model, credit_index, &credit);
    model_add_transfer(model, &created);
    return succeeds(created.timestamp);
}

/* --- requests --- */

/* The part of an event that accounts and transfers have alike. */
struct event_head {
    tael_u128 id;
    bool linked;
    bool imported;
    uint64_t timestamp;
};

static struct event_head head_of(const void *event, bool accounts) {
    if (accounts) {
        const struct tael_account *a = event;
        return (struct event_head){a->id, has(a->flags, TAEL_ACCOUNT_FLAG_linked),
                                   has(a->flags, TAEL_ACCOUNT_FLAG_imported), a->timestamp};
    }
    const struct tael_transfer *t = event;
    return (struct event_head){t->id, has(t->flags, TAEL_TRANSFER_FLAG_linked),
                               has(t->flags, TAEL_TRANSFER_FLAG_imported), t->timestamp};
}

static struct outcome create(struct tael_model *model, const void *event, const struct place *at) {
    const struct event_head head = head_of(event, at->accounts);
    if (head.imported != at->batch_imported) {
        if (at->accounts) {
            return fails(
                head.imported ? TAEL_ACCOUNT_imported_event_not_expected : TAEL_ACCOUNT_imported_event_expected, at);
        }
        return fails(head.imported ? TAEL_TRANSFER_imported_event_not_expected : TAEL_TRANSFER_imported_event_expected,
                     at);
    }
    if (head.imported && (head.timestamp == 0 || head.timestamp > TAEL_TIMESTAMP_MAX)) {
        return fails(at->accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_timestamp_out_of_range
                                  : (uint32_t)TAEL_TRANSFER_imported_event_timestamp_out_of_range,
                     at);
    }
    if (head.imported && head.timestamp >= at->batch_timestamp) {
        return fails(at->accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_timestamp_must_not_advance
                                  : (uint32_t)TAEL_TRANSFER_imported_event_timestamp_must_not_advance,
                     at);
    }
    if (!head.imported && head.timestamp != 0) return fails(TAEL_TRANSFER_timestamp_must_be_zero, at);
    return at->accounts ? create_account(model, event, at) : create_transfer(model, event, at);
}

static_assert(TAEL_ACCOUNT_linked_event_failed == (int)TAEL_TRANSFER_linked_event_failed, "one code for both");
static_assert(TAEL_ACCOUNT_linked_event_chain_open == (int)TAEL_TRANSFER_linked_event_chain_open, "one code for both");
static_assert(TAEL_ACCOUNT_timestamp_must_be_zero == (int)TAEL_TRANSFER_timestamp_must_be_zero, "one code for both");

/* A sub-batch. */
struct batch {
    const uint8_t *events;
    uint32_t count;
    bool accounts;
    uint64_t timestamp; /* of its last event */
};

static const void *event_of(const struct batch *batch, uint32_t index) {
    return batch->events + (size_t)index * TAEL_RECORD_SIZE;
}

/* Applies the events first .. last as one chain; a lone event is a chain of one. `open`: the last is linked too. */
static void apply_chain(struct tael_model *model, const struct batch *batch, uint32_t first, uint32_t last, bool open,
                        struct tael_create_result *results) {
    bool broken = false;
    model_chain_begin(model);
    for (uint32_t i = first; i <= last; i++) {
        const struct place at = {
            .accounts = batch->accounts,
            .batch_imported = head_of(event_of(batch, 0), batch->accounts).imported,
            .batch_timestamp = batch->timestamp,
            .timestamp = batch->timestamp - batch->count + i + 1,
        };
        struct outcome outcome;
        if (open && i == last) {
            outcome = fails(TAEL_TRANSFER_linked_event_chain_open, &at);
        } else if (broken) {
            outcome = fails(TAEL_TRANSFER_linked_event_failed, &at);
        } else {
            outcome = create(model, event_of(batch, i), &at);
        }
        results[i] = (struct tael_create_result){.timestamp = outcome.timestamp, .status = outcome.status};
        if (outcome.status == TAEL_STATUS_CREATED || broken) continue;

        broken = true;
        model_chain_undo(model);
        for (uint32_t earlier = first; earlier < i; earlier++) {
            results[earlier].status = TAEL_TRANSFER_linked_event_failed;
        }
        if (!batch->accounts && tael_transfer_status_is_transient(outcome.status)) {
            model_burn(model, head_of(event_of(batch, i), false).id);
        }
    }
}

static void apply_batch(struct tael_model *model, const struct batch *batch, struct tael_create_result *results) {
    uint32_t first = 0;
    while (first < batch->count) {
        uint32_t last = first;
        while (last < batch->count && head_of(event_of(batch, last), batch->accounts).linked) last++;
        const bool open = last == batch->count;
        if (open) last--;
        apply_chain(model, batch, first, last, open, results);
        first = last + 1;
    }
}

static void apply_create(struct tael_model *model, const struct tael_request *request,
                         struct tael_create_result *results) {
    const uint8_t *events = tael_request_payload(request);
    uint32_t done = 0;
    for (uint32_t i = 0; i < request->batch_count; i++) {
        const uint32_t count = tael_request_batch_events(request, i);
        const struct batch batch = {
            .events = events + (size_t)done * TAEL_RECORD_SIZE,
            .count = count,
            .accounts = tael_operation_creates_accounts(request->operation),
            .timestamp = request->timestamp - request->event_count + done + count,
        };
        apply_batch(model, &batch, results + done);
        done += count;
    }
    TAEL_ASSERT(done == request->event_count);
}

/* --- expiry --- */

struct due {
    uint64_t expiry;
    uint64_t timestamp;
    uint32_t index;
};

static int compare_due(const void *left, const void *right) {
    const struct due *a = left;
    const struct due *b = right;
    if (a->expiry != b->expiry) return a->expiry < b->expiry ? -1 : 1;
    if (a->timestamp != b->timestamp) return a->timestamp < b->timestamp ? -1 : 1;
    return 0;
}

static void expire(struct tael_model *model, uint32_t index, uint64_t timestamp) {
    const struct tael_transfer p = model->transfers[index].record;
    const uint32_t debit_index = model_find_account(model, p.debit_account_id);
    const uint32_t credit_index = model_find_account(model, p.credit_account_id);
    struct tael_account debit = model->accounts[debit_index];
    struct tael_account credit = model->accounts[credit_index];
    release(&p, true, &debit, &credit);
    model_set_account(model, debit_index, &debit);
    model_set_account(model, credit_index, &credit);
    model_set_status(model, index, MODEL_EXPIRED);
    model_add_event(model, &p, TAEL_CHANGE_TWO_PHASE_EXPIRED, timestamp);
}

static void apply_pulse(struct tael_model *model, uint64_t timestamp) {
    const uint64_t first = timestamp - TAEL_EXPIRIES_MAX;
    struct due *due = malloc(((size_t)model->transfer_ids.count + 1) * sizeof *due);
    TAEL_ASSERT(due != NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->transfer_ids.count; i++) {
        const struct model_transfer *transfer = &model->transfers[i];
        if (transfer->status != MODEL_PENDING || transfer->record.timeout == 0) continue;
        if (model_expiry(&transfer->record) > first) continue;
        due[count++] = (struct due){model_expiry(&transfer->record), transfer->record.timestamp, i};
    }
    qsort(due, count, sizeof *due, compare_due);
    if (count > TAEL_EXPIRIES_MAX) count = TAEL_EXPIRIES_MAX;
    model_chain_begin(model);
    for (uint32_t i = 0; i < count; i++) expire(model, due[i].index, first + i + 1);
    free(due);
}

void tael_model_apply(struct tael_model *model, const struct tael_request *request,
                      struct tael_create_result *results) {
    TAEL_ASSERT(request->op > model->op);
    TAEL_ASSERT(request->timestamp > model->timestamp);
    if (tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE) apply_create(model, request, results);
    if (request->operation == TAEL_OPERATION_pulse) apply_pulse(model, request->timestamp);
    model_sessions_apply(model, request, results);
    model->op = request->op;
    model->timestamp = request->timestamp;
}
