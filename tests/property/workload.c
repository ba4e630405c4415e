/* See workload.h. */
#include "tests/property/workload.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

#define RANDOM (&workload->random)
#define WORKLOAD_LOOKUP_BATCHES 200 /* of a lookup at the most */

static bool chance(struct workload *workload, uint32_t percent) { return test_random_percent(RANDOM, percent); }

static uint64_t below(struct workload *workload, uint64_t bound) { return test_random_below(RANDOM, bound); }

void workload_init(struct workload *workload, uint64_t seed, uint32_t events, const struct tael_model *model) {
    memset(workload, 0, sizeof *workload);
    workload->random.state = seed;
    workload->model = model;
    struct workload_profile *profile = &workload->profile;
    static const uint32_t hash_bits[] = {0, 0, 0, 1, 4, 8, 12};
    static const uint64_t steps[] = {10, 1000000, TAEL_NS_PER_S, 3 * TAEL_NS_PER_S};
    profile->hash_bits = hash_bits[below(workload, 7)];
    profile->accounts_wanted = chance(workload, 60) ? (uint32_t)test_random_between(RANDOM, 3, 12)
                                                    : (uint32_t)test_random_between(RANDOM, 50, 400);
    profile->accounts_max = profile->accounts_wanted + (uint32_t)test_random_between(RANDOM, 16, 400);
    profile->transfers_max = chance(workload, 80) ? events + TAEL_EVENTS_MAX : events / 2 + 16;
    profile->ledgers = (uint32_t)test_random_between(RANDOM, 1, 3);
    profile->limited_percent = (uint32_t)below(workload, 60);
    profile->amounts = (uint32_t)below(workload, 4);
    profile->wide_percent = 100;
    profile->broken_percent = chance(workload, 15) ? 50 : (uint32_t)test_random_between(RANDOM, 0, 15);
    profile->linked_percent = chance(workload, 30) ? 60 : (uint32_t)below(workload, 25);
    profile->imported_percent = chance(workload, 50) ? (uint32_t)test_random_between(RANDOM, 10, 60) : 0;
    profile->events_max = chance(workload, 90) ? (uint32_t)test_random_between(RANDOM, 1, 40) : 600;
    profile->clock_start = chance(workload, 25) ? 7000000000000000000ull : 1750000000000000000ull;
    profile->clock_step_max = steps[below(workload, 4)];
    workload->clock = profile->clock_start;
    workload->id_next = 1;
}

void workload_suit_steps(struct workload *workload, uint64_t seed) {
    struct workload_profile *profile = &workload->profile;
    if (seed % 8 > 0) profile->wide_percent = seed % 4 == 1 ? 1 : 0;
    if (seed % 5 > 0) profile->hash_bits = 0;
}

/* --- values --- */

static tael_u128 new_id(struct workload *workload) {
    if (chance(workload, 10)) return test_random_u128(RANDOM);
    if (chance(workload, 5)) return (tael_u128)test_random_between(RANDOM, 1, workload->id_next + 10);
    /* Equal to another in all but one bit, mostly one of the upper half. */
    if (chance(workload, 5)) {
        return (tael_u128)test_random_between(RANDOM, 1, workload->id_next) ^
               ((tael_u128)1 << test_random_between(RANDOM, 60, 67));
    }
    return (tael_u128)workload->id_next++;
}

static tael_u128 amount(struct workload *workload) {
    if (chance(workload, 5)) return 0;
    if (chance(workload, 3)) return TAEL_U128_MAX - below(workload, 3);
    switch (workload->profile.amounts) {
    case 0:
        return 1 + below(workload, 5);
    case 1:
        return 1 + below(workload, 1000000);
    case 2:
        return ((tael_u128)1 << test_random_between(RANDOM, 60, 68)) - 1 + below(workload, 3);
    default:
        return test_random_u128(RANDOM) >> below(workload, 100);
    }
}

static const struct tael_account *any_account(struct workload *workload) {
    const uint32_t count = tael_model_counts(workload->model).accounts;
    return count == 0 ? NULL : tael_model_account(workload->model, (uint32_t)below(workload, count));
}

static const struct tael_transfer *any_transfer(struct workload *workload) {
    const uint32_t count = tael_model_counts(workload->model).transfers;
    return count == 0 ? NULL : tael_model_transfer(workload->model, (uint32_t)below(workload, count));
}

/* The one that expires next; NULL where there is none. */
static const struct tael_transfer *expiring_transfer(struct workload *workload) {
    const uint64_t expiry_next = tael_model_usage(workload->model).expiry_next;
    for (uint32_t i = tael_model_counts(workload->model).transfers; expiry_next != UINT64_MAX && i-- > 0;) {
        const struct tael_transfer *transfer = tael_model_transfer(workload->model, i);
        if (transfer->timestamp + transfer->timeout * TAEL_NS_PER_S == expiry_next) return transfer;
    }
    return NULL;
}

/* One that is still pending, if a few tries find one. */
static const struct tael_transfer *pending_transfer(struct workload *workload) {
    const uint32_t count = tael_model_counts(workload->model).transfers;
    const struct tael_transfer *expiring = chance(workload, 5) ? expiring_transfer(workload) : NULL;
    if (expiring != NULL) return expiring;
    if (count == 0) return NULL;
    const uint32_t window = count < 200 ? count : 200;
    uint32_t index = 0;
    for (uint32_t i = 0; i < 30; i++) {
        index = count - 1 - (uint32_t)below(workload, window);
        if (tael_model_pending_status(workload->model, index) == 1) break;
    }
    return tael_model_transfer(workload->model, index);
}

static tael_u128 some_id(struct workload *workload) {
    switch (below(workload, 5)) {
    case 0:
        return 0;
    case 1:
        return TAEL_U128_MAX;
    case 2:
        return test_random_u128(RANDOM);
    default: {
        const struct tael_transfer *transfer = any_transfer(workload);
        return transfer == NULL ? 1 : transfer->id;
    }
    }
}

/* Amounts around what the accounts' limits, or 128 bits, allow. */
static tael_u128 amount_at_the_edge(struct workload *workload, const struct tael_account *debit,
                                    const struct tael_account *credit) {
    const tael_u128 off = below(workload, 3);
    switch (below(workload, 8)) {
    case 0:
        return TAEL_U128_MAX - debit->debits_posted + 1 - off;
    case 1:
        return TAEL_U128_MAX - credit->credits_posted + 1 - off;
    case 2:
        return TAEL_U128_MAX - debit->debits_pending + 1 - off;
    case 3:
        return TAEL_U128_MAX - credit->credits_pending + 1 - off;
    case 4:
        return TAEL_U128_MAX - debit->debits_posted - debit->debits_pending + 1 - off;
    case 5:
        return TAEL_U128_MAX - credit->credits_posted - credit->credits_pending + 1 - off;
    case 6:
        return debit->credits_posted - debit->debits_posted - debit->debits_pending + 1 - off;
    default:
        return credit->debits_posted - credit->credits_posted - credit->credits_pending + 1 - off;
    }
}

static uint32_t timeout(struct workload *workload) {
    static const uint32_t timeouts[] = {0, 1, 1, 2, 2, 3, 5, 30, UINT32_MAX};
    return timeouts[below(workload, 9)];
}

/* --- accounts --- */

static struct tael_account new_account(struct workload *workload) {
    const struct workload_profile *profile = &workload->profile;
    struct tael_account account = {
        .id = new_id(workload),
        .user_data_128 = below(workload, 3),
        .user_data_64 = below(workload, 3),
        .user_data_32 = (uint32_t)below(workload, 3),
        .ledger = 1 + (chance(workload, 80) ? 0 : (uint32_t)below(workload, profile->ledgers)),
        .code = (uint16_t)test_random_between(RANDOM, 1, 3),
    };
    if (chance(workload, profile->limited_percent)) {
        account.flags |= chance(workload, 50) ? TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits
                                              : TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits;
    }
    if (chance(workload, 40)) account.flags |= TAEL_ACCOUNT_FLAG_history;
    if (chance(workload, 4)) account.flags |= TAEL_ACCOUNT_FLAG_closed;
    return account;
}

static void change_account(struct workload *workload, struct tael_account *account) {
    switch (below(workload, 16)) {
    case 0:
        account->id = chance(workload, 50) ? 0 : TAEL_U128_MAX;
        break;
    case 1:
        account->flags ^= (uint16_t)(1u << below(workload, 6));
        break;
    case 2:
        account->flags |= (uint16_t)(1u << test_random_between(RANDOM, 6, 15));
        break;
    case 3:
        account->reserved = 1;
        break;
    case 4:
        account->debits_pending = 1;
        break;
    case 5:
        account->debits_posted = 1;
        break;
    case 6:
        account->credits_pending = 1;
        break;
    case 7:
        account->credits_posted = 1;
        break;
    case 8:
        account->user_data_128 += 1;
        break;
    case 9:
        account->user_data_64 += 1;
        break;
    case 10:
        account->user_data_32 += 1;
        break;
    case 11:
        account->ledger = (uint32_t)below(workload, 3);
        break;
    case 12:
        account->code = (uint16_t)below(workload, 3);
        break;
    case 13:
        account->timestamp = test_random_u64(RANDOM) >> below(workload, 63);
        break;
    case 14:
        account->flags |=
            TAEL_ACCOUNT_FLAG_debits_must_not_exceed_credits | TAEL_ACCOUNT_FLAG_credits_must_not_exceed_debits;
        break;
    default:
        account->flags ^= TAEL_ACCOUNT_FLAG_imported;
        break;
    }
}

static struct tael_account next_account(struct workload *workload) {
    const struct tael_account *known = any_account(workload);
    struct tael_account account;
    if (workload->recent_account_count > 0 && chance(workload, 12)) {
        const uint32_t count =
            workload->recent_account_count < WORKLOAD_RECENT ? workload->recent_account_count : WORKLOAD_RECENT;
        account = workload->recent_accounts[below(workload, count)];
    } else if (known != NULL && chance(workload, 12)) {
        account = *known;
        account.debits_pending = account.debits_posted = account.credits_pending = account.credits_posted = 0;
        if (chance(workload, 50)) change_account(workload, &account);
    } else {
        account = new_account(workload);
    }
    account.flags &= (uint16_t) ~(TAEL_ACCOUNT_FLAG_linked | TAEL_ACCOUNT_FLAG_imported);
    account.timestamp = 0;
    return account;
}

/* --- transfers --- */

static struct tael_transfer new_transfer(struct workload *workload) {
    const struct tael_account *debit = any_account(workload);
    const struct tael_account *credit = any_account(workload);
    for (uint32_t i = 0; i < 8 && credit != NULL && (credit == debit || credit->ledger != debit->ledger); i++) {
        credit = any_account(workload);
    }
    struct tael_transfer transfer = {
        .id = new_id(workload),
        .debit_account_id = debit != NULL ? debit->id : 1,
        .credit_account_id = credit != NULL ? credit->id : 2,
        .amount = amount(workload),
        .user_data_128 = below(workload, 3),
        .user_data_64 = below(workload, 3),
        .user_data_32 = (uint32_t)below(workload, 3),
        .ledger = debit != NULL ? debit->ledger : 1,
        .code = (uint16_t)test_random_between(RANDOM, 1, 3),
    };
    if (debit != NULL && chance(workload, 12)) transfer.amount = amount_at_the_edge(workload, debit, credit);
    if (chance(workload, 35)) {
        transfer.flags |= TAEL_TRANSFER_FLAG_pending;
        transfer.timeout = timeout(workload);
        if (chance(workload, 2)) transfer.flags |= TAEL_TRANSFER_FLAG_closing_debit;
        if (chance(workload, 2)) transfer.flags |= TAEL_TRANSFER_FLAG_closing_credit;
    }
    if (chance(workload, 8)) transfer.flags |= TAEL_TRANSFER_FLAG_balancing_debit;
    if (chance(workload, 8)) transfer.flags |= TAEL_TRANSFER_FLAG_balancing_credit;
    return transfer;
}

static struct tael_transfer post_or_void(struct workload *workload) {
    const struct tael_transfer *pending = pending_transfer(workload);
    if (pending == NULL || chance(workload, 8)) pending = any_transfer(workload);
    struct tael_transfer none = {.id = 5, .amount = 1};
    if (pending == NULL) pending = &none;
    /* One that the same request made a moment ago, or that never came to be. */
    if (workload->recent_count > 0 && chance(workload, 6)) {
        pending = &workload->recent[(workload->recent_count - 1) % WORKLOAD_RECENT];
    }
    const uint16_t closing = TAEL_TRANSFER_FLAG_closing_debit | TAEL_TRANSFER_FLAG_closing_credit;
    const bool posts = chance(workload, pending->flags & closing ? 10 : 60);
    struct tael_transfer transfer = {
        .id = new_id(workload),
        .pending_id = pending->id,
        .flags = posts ? TAEL_TRANSFER_FLAG_post_pending_transfer : TAEL_TRANSFER_FLAG_void_pending_transfer,
    };
    const tael_u128 amounts[] = {0, TAEL_U128_MAX, pending->amount, pending->amount / 2, pending->amount + 1};
    transfer.amount = amounts[chance(workload, 75) ? (posts ? 1 : 0) : below(workload, 5)];
    if (chance(workload, 20)) transfer.debit_account_id = pending->debit_account_id;
    if (chance(workload, 20)) transfer.credit_account_id = pending->credit_account_id;
    if (chance(workload, 20)) transfer.ledger = pending->ledger;
    if (chance(workload, 20)) transfer.code = pending->code;
    if (chance(workload, 20)) transfer.user_data_128 = below(workload, 3);
    if (chance(workload, 20)) transfer.user_data_64 = below(workload, 3);
    if (chance(workload, 20)) transfer.user_data_32 = (uint32_t)below(workload, 3);
    return transfer;
}

static void change_transfer(struct workload *workload, struct tael_transfer *transfer) {
    switch (below(workload, 18)) {
    case 0:
        transfer->id = chance(workload, 50) ? 0 : TAEL_U128_MAX;
        break;
    case 1:
        transfer->flags ^= (uint16_t)(1u << below(workload, 9));
        break;
    case 2:
        transfer->flags |= (uint16_t)(1u << test_random_between(RANDOM, 9, 15));
        break;
    case 3:
        transfer->debit_account_id = some_id(workload);
        break;
    case 4:
        transfer->credit_account_id = some_id(workload);
        break;
    case 5:
        transfer->credit_account_id = transfer->debit_account_id;
        break;
    case 6: {
        const struct tael_account *account = any_account(workload);
        if (account != NULL) transfer->debit_account_id = account->id;
        break;
    }
    case 7: {
        const struct tael_account *account = any_account(workload);
        if (account != NULL) transfer->credit_account_id = account->id;
        break;
    }
    case 8:
        transfer->amount += chance(workload, 50) ? 1 : TAEL_U128_MAX;
        break;
    case 9:
        transfer->amount = chance(workload, 50) ? 0 : TAEL_U128_MAX;
        break;
    case 10:
        transfer->pending_id = chance(workload, 30) ? transfer->id : some_id(workload);
        break;
    case 11:
        transfer->user_data_128 = below(workload, 4);
        break;
    case 12:
        transfer->user_data_64 = below(workload, 4);
        break;
    case 13:
        transfer->user_data_32 = (uint32_t)below(workload, 4);
        break;
    case 14:
        transfer->timeout = timeout(workload);
        break;
    case 15:
        transfer->ledger = (uint32_t)below(workload, 4);
        break;
    case 16:
        transfer->code = (uint16_t)below(workload, 4);
        break;
    default:
        transfer->timestamp = test_random_u64(RANDOM) >> below(workload, 63);
        break;
    }
}

static struct tael_transfer next_transfer(struct workload *workload) {
    const uint64_t kind = below(workload, 100);
    const struct tael_transfer *stored = any_transfer(workload);
    const uint32_t burnt_count = tael_model_counts(workload->model).burnt_ids;
    struct tael_transfer transfer;
    if (kind < 6 && stored != NULL) {
        transfer = *stored;
    } else if (kind < 14 && workload->recent_count > 0) {
        const uint32_t count = workload->recent_count < WORKLOAD_RECENT ? workload->recent_count : WORKLOAD_RECENT;
        transfer = workload->recent[below(workload, count)];
    } else if (kind < 40) {
        transfer = post_or_void(workload);
    } else {
        transfer = new_transfer(workload);
    }
    if (kind < 14 && chance(workload, 60)) change_transfer(workload, &transfer);
    if (kind >= 14 && burnt_count > 0 && chance(workload, 2)) {
        transfer.id = tael_model_burnt_id(workload->model, (uint32_t)below(workload, burnt_count));
    }
    transfer.flags &= (uint16_t) ~(TAEL_TRANSFER_FLAG_linked | TAEL_TRANSFER_FLAG_imported);
    transfer.timestamp = 0;
    return transfer;
}

/* --- requests --- */

/* Where imported timestamps may begin: right behind the youngest of the kind, or in the midst of everything. */
static uint64_t import_start(struct workload *workload, bool accounts) {
    const struct tael_model_counts counts = tael_model_counts(workload->model);
    const uint64_t account =
        counts.accounts == 0 ? 0 : tael_model_account(workload->model, counts.accounts - 1)->timestamp;
    const uint64_t transfer =
        counts.transfers == 0 ? 0 : tael_model_transfer(workload->model, counts.transfers - 1)->timestamp;
    if (chance(workload, 10)) return below(workload, workload->timestamp + 1);
    if (chance(workload, 25)) return accounts ? account : transfer;
    return account > transfer ? account : transfer;
}

static uint64_t imported_timestamp(struct workload *workload, uint64_t batch_timestamp) {
    if (chance(workload, 2)) return 0;
    if (chance(workload, 2)) return TAEL_TIMESTAMP_MAX + below(workload, 3);
    if (chance(workload, 2)) return batch_timestamp - 1 + below(workload, 3);
    /* Right behind the youngest transfer: too early for an account that is younger still. */
    const uint32_t count = tael_model_counts(workload->model).transfers;
    if (count > 0 && chance(workload, 4)) return tael_model_transfer(workload->model, count - 1)->timestamp + 1;
    const struct tael_account *account = any_account(workload);
    if (account != NULL && chance(workload, 3)) return account->timestamp;
    const struct tael_transfer *transfer = any_transfer(workload);
    if (transfer != NULL && chance(workload, 3)) return transfer->timestamp;
    workload->import_cursor += 1 + below(workload, 5);
    return workload->import_cursor;
}

/* Most ledgers never see amounts of more than 48 bits, which workers can't apply together. Some that are left bring balances to where it is
 * those that they can't. */
static void amount_cut(struct workload *workload, struct tael_transfer *transfer) {
    const bool is_all =
        (transfer->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) && transfer->amount == TAEL_U128_MAX;
    const bool asks =
        (transfer->flags & (TAEL_TRANSFER_FLAG_balancing_debit | TAEL_TRANSFER_FLAG_balancing_credit)) != 0;
    if (is_all || transfer->amount >> 40 == 0 || (asks && chance(workload, 30))) return;
    if (!chance(workload, workload->profile.wide_percent)) {
        transfer->amount = below(workload, 1000);
    } else if (chance(workload, 30)) {
        transfer->amount = (1ull << 62) + below(workload, 1000);
    }
}

static void remember(struct workload *workload, const struct tael_transfer *event, bool accounts) {
    if (accounts) {
        memcpy(&workload->recent_accounts[workload->recent_account_count++ % WORKLOAD_RECENT], event, sizeof *event);
    } else {
        workload->recent[workload->recent_count++ % WORKLOAD_RECENT] = *event;
    }
}

/* One event of a batch. Accounts and transfers have flags and timestamp in the same places. */
static struct tael_transfer next_event(struct workload *workload, bool accounts, bool imported,
                                       uint64_t batch_timestamp) {
    struct tael_transfer event;
    if (accounts) {
        struct tael_account account = next_account(workload);
        if (chance(workload, workload->profile.broken_percent)) change_account(workload, &account);
        memcpy(&event, &account, sizeof event);
    } else {
        event = next_transfer(workload);
        if (chance(workload, workload->profile.broken_percent)) change_transfer(workload, &event);
        if (workload->profile.wide_percent < 100) amount_cut(workload, &event);
    }
    const uint16_t imported_flag =
        accounts ? (uint16_t)TAEL_ACCOUNT_FLAG_imported : (uint16_t)TAEL_TRANSFER_FLAG_imported;
    if (imported != chance(workload, 2)) {
        event.flags |= imported_flag;
        event.timestamp = imported_timestamp(workload, batch_timestamp);
        if (!accounts && !chance(workload, 10)) event.timeout = 0;
    }
    if (chance(workload, workload->profile.linked_percent)) event.flags |= TAEL_TRANSFER_FLAG_linked;
    remember(workload, &event, accounts);
    return event;
}

static void build_create(struct workload *workload, struct tael_request *request, const uint16_t *counts) {
    const bool accounts = tael_operation_creates_accounts(request->operation);
    uint8_t *payload = (uint8_t *)(request + 1);
    uint32_t done = 0;
    for (uint32_t batch = 0; batch < request->batch_count; batch++) {
        const bool imported = chance(workload, workload->profile.imported_percent);
        const uint64_t batch_timestamp = request->timestamp - request->event_count + done + counts[batch];
        if (workload->import_cursor == 0 || chance(workload, 50)) {
            workload->import_cursor = import_start(workload, accounts);
        }
        for (uint32_t i = 0; i < counts[batch]; i++) {
            struct tael_transfer event = next_event(workload, accounts, imported, batch_timestamp);
            /* Chains that stay open are rare, so that the last event mostly closes its own. */
            if (i + 1 == counts[batch] && !chance(workload, 5)) event.flags &= (uint16_t)~TAEL_TRANSFER_FLAG_linked;
            memcpy(payload + (size_t)done * TAEL_RECORD_SIZE, &event, sizeof event);
            done++;
        }
    }
    TAEL_ASSERT(done == request->event_count);
    uint8_t *end = payload + (size_t)done * TAEL_RECORD_SIZE;
    if (request->batch_count > 1) memcpy(end, counts, (size_t)request->batch_count * 2);
    const size_t padded = tael_request_size_in_block(request->size) - sizeof *request;
    memset(payload + request->size, 0, padded - request->size);
}

/* How many events in how many sub-batches. */
static uint32_t draw_counts(struct workload *workload, uint16_t *counts, uint32_t *batch_count, uint32_t room) {
    uint32_t most = workload->profile.events_max;
    if (chance(workload, 1)) most = 2000;
    if (most > room) most = room;
    *batch_count = chance(workload, 70) ? 1 : (uint32_t)test_random_between(RANDOM, 1, 6);
    uint32_t total = 0;
    for (uint32_t i = 0; i < *batch_count; i++) {
        const uint32_t left = most - total;
        counts[i] = chance(workload, 15) || left == 0 ? 0 : (uint16_t)test_random_between(RANDOM, 1, left);
        total += counts[i];
    }
    return total;
}

static uint8_t draw_operation(struct workload *workload, uint64_t base) {
    const struct tael_model_usage usage = tael_model_usage(workload->model);
    if (usage.expiry_next <= base && chance(workload, 50)) return TAEL_OPERATION_pulse;
    if (chance(workload, 1)) return TAEL_OPERATION_pulse;
    if (workload->client_count == 0) return TAEL_OPERATION_register;
    if (workload->client_count < WORKLOAD_CLIENTS && chance(workload, 3)) return TAEL_OPERATION_register;
    if (chance(workload, 2)) return TAEL_OPERATION_evict;
    const bool sparse = chance(workload, 10);
    const bool wanting = usage.accounts < workload->profile.accounts_wanted;
    if (chance(workload, wanting ? 50 : 4)) {
        return sparse ? TAEL_OPERATION_create_accounts_sparse : TAEL_OPERATION_create_accounts;
    }
    return sparse ? TAEL_OPERATION_create_transfers_sparse : TAEL_OPERATION_create_transfers;
}

/* Who sends it. */
static void sign(struct workload *workload, struct tael_request *request) {
    if (request->operation == TAEL_OPERATION_pulse) return;
    if (request->operation == TAEL_OPERATION_register) {
        struct workload_client *client = &workload->clients[workload->client_count++];
        *client = (struct workload_client){.id = test_random_u128(RANDOM) | 1, .session = request->op};
        request->client = client->id;
        request->checksum = test_random_u128(RANDOM);
        request->capabilities = (uint32_t)below(workload, 2);
        client->slots = (uint16_t)(tael_u128_high(client->id) % (WORKLOAD_SLOTS_MAX + 1));
        request->slots = client->slots;
        request->token = client->slots == 0 ? 0 : tael_u128_low(client->id);
        return;
    }
    struct workload_client *client = &workload->clients[below(workload, workload->client_count)];
    request->client = client->id;
    if (request->operation == TAEL_OPERATION_evict) {
        *client = workload->clients[--workload->client_count];
        return;
    }
    client->request += 1 + (chance(workload, 10) ? (uint32_t)below(workload, 5) : 0);
    request->session = client->session;
    request->request = client->request;
    request->checksum = test_random_u128(RANDOM);
    if (client->slots > 0) request->slot = (uint16_t)(tael_u128_low(request->checksum) % client->slots);
}

bool workload_request(struct workload *workload, struct tael_request *request) {
    if (chance(workload, 60)) workload->clock += below(workload, workload->profile.clock_step_max);
    /* Close to the moment at which the next one expires, which is where posts and pulses may go wrong. */
    const uint64_t expiry_next = tael_model_usage(workload->model).expiry_next;
    if (expiry_next - workload->clock < 100 * TAEL_NS_PER_S && chance(workload, 15)) {
        workload->clock = expiry_next - below(workload, 8);
    }
    const uint64_t after = workload->timestamp + 1;
    const uint64_t base = after > workload->clock ? after : workload->clock;
    const struct tael_model_usage usage = tael_model_usage(workload->model);
    const uint64_t accounts_room = workload->profile.accounts_max - usage.accounts;
    const uint64_t transfers_room = workload->profile.transfers_max - usage.transfers;
    memset(request, 0, sizeof *request);
    request->operation = draw_operation(workload, base);
    if (tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE) {
        const bool accounts = tael_operation_creates_accounts(request->operation);
        const uint64_t room = accounts ? accounts_room : transfers_room;
        if (!accounts && room == 0) return false;
        uint16_t counts[8];
        request->event_count =
            draw_counts(workload, counts, &request->batch_count, room < 8000 ? (uint32_t)room : 8000);
        request->size = tael_request_payload_size(request->event_count, request->batch_count);
        request->timestamp = base + request->event_count;
        build_create(workload, request, counts);
    } else {
        const bool pulse = request->operation == TAEL_OPERATION_pulse;
        request->timestamp = base + (pulse ? TAEL_EXPIRIES_MAX : 0);
    }
    request->op = ++workload->op;
    sign(workload, request);
    workload->timestamp = request->timestamp;
    return true;
}

/* --- reads --- */

/* A timestamp near something that is there. */
static uint64_t near_timestamp(struct workload *workload) {
    if (chance(workload, 50)) return 0;
    const struct tael_transfer *transfer = any_transfer(workload);
    const struct tael_account *account = any_account(workload);
    if (chance(workload, 3)) return TAEL_TIMESTAMP_MAX + below(workload, 2);
    if (transfer != NULL && chance(workload, 70)) return transfer->timestamp - 1 + below(workload, 3);
    return account == NULL ? 1 : account->timestamp - 1 + below(workload, 3);
}

static uint32_t limit(struct workload *workload, uint32_t batches_max) {
    if (chance(workload, 3)) return 0;
    if (chance(workload, 50)) return (uint32_t)test_random_between(RANDOM, 1, 20);
    if (batches_max > 1) return 500;
    return chance(workload, 50) ? UINT32_MAX : TAEL_EVENTS_MAX;
}

static void account_filter(struct workload *workload, struct tael_account_filter *filter, uint32_t batches_max) {
    const struct tael_account *account = any_account(workload);
    *filter = (struct tael_account_filter){
        .account_id = account == NULL || chance(workload, 5) ? some_id(workload) : account->id,
        .user_data_128 = chance(workload, 80) ? 0 : below(workload, 3),
        .user_data_64 = chance(workload, 80) ? 0 : below(workload, 3),
        .user_data_32 = chance(workload, 80) ? 0 : (uint32_t)below(workload, 3),
        .code = chance(workload, 80) ? 0 : (uint16_t)below(workload, 4),
        .timestamp_min = near_timestamp(workload),
        .timestamp_max = near_timestamp(workload),
        .limit = limit(workload, batches_max),
        .flags = (uint32_t)(chance(workload, 97) ? below(workload, 8) : test_random_u64(RANDOM)),
    };
    if (chance(workload, 60)) filter->flags |= 3;
    if (chance(workload, 2)) filter->reserved[below(workload, sizeof filter->reserved)] = 1;
}

static void query_filter(struct workload *workload, struct tael_query_filter *filter, uint32_t batches_max) {
    *filter = (struct tael_query_filter){
        .user_data_128 = chance(workload, 70) ? 0 : below(workload, 3),
        .user_data_64 = chance(workload, 70) ? 0 : below(workload, 3),
        .user_data_32 = chance(workload, 70) ? 0 : (uint32_t)below(workload, 3),
        .ledger = chance(workload, 70) ? 0 : (uint32_t)below(workload, 4),
        .code = chance(workload, 70) ? 0 : (uint16_t)below(workload, 4),
        .timestamp_min = near_timestamp(workload),
        .timestamp_max = near_timestamp(workload),
        .limit = limit(workload, batches_max),
        .flags = (uint32_t)(chance(workload, 97) ? below(workload, 2) : test_random_u64(RANDOM)),
    };
    if (chance(workload, 2)) filter->reserved[below(workload, sizeof filter->reserved)] = 1;
}

static void change_events_filter(struct workload *workload, struct tael_change_events_filter *filter) {
    *filter = (struct tael_change_events_filter){
        .timestamp_min = near_timestamp(workload),
        .timestamp_max = near_timestamp(workload),
        .limit = limit(workload, 1),
    };
    if (chance(workload, 2)) filter->reserved[below(workload, sizeof filter->reserved)] = 1;
}

static void lookup_id(struct workload *workload, tael_u128 *id, bool accounts) {
    const struct tael_account *account = any_account(workload);
    const struct tael_transfer *transfer = any_transfer(workload);
    const uint32_t burnt_count = tael_model_counts(workload->model).burnt_ids;
    *id = some_id(workload);
    if (accounts && account != NULL && chance(workload, 90)) *id = account->id;
    if (!accounts && transfer != NULL && chance(workload, 90)) *id = transfer->id;
    if (burnt_count > 0 && chance(workload, 3)) {
        *id = tael_model_burnt_id(workload->model, (uint32_t)below(workload, burnt_count));
    }
}

static void read_element(struct workload *workload, uint8_t operation, void *element, uint32_t batches_max) {
    switch (operation) {
    case TAEL_OPERATION_lookup_accounts:
    case TAEL_OPERATION_lookup_transfers:
        lookup_id(workload, element, operation == TAEL_OPERATION_lookup_accounts);
        return;
    case TAEL_OPERATION_get_account_transfers:
    case TAEL_OPERATION_get_account_balances:
        account_filter(workload, element, batches_max);
        return;
    case TAEL_OPERATION_query_accounts:
    case TAEL_OPERATION_query_transfers:
        query_filter(workload, element, batches_max);
        return;
    case TAEL_OPERATION_get_change_events:
        change_events_filter(workload, element);
        return;
    default: {
        struct tael_trial_balance_filter *filter = element;
        TAEL_ASSERT(operation == TAEL_OPERATION_trial_balance);
        *filter = (struct tael_trial_balance_filter){
            .ledger_min = (uint32_t)below(workload, 3),
            .ledger_max = (uint32_t)below(workload, 4),
            .limit = (uint32_t)below(workload, 3),
        };
        if (chance(workload, 2)) filter->reserved[below(workload, sizeof filter->reserved)] = 1;
        return;
    }
    }
}

uint32_t workload_read(struct workload *workload, uint8_t *operation, void *body, uint32_t batches_max) {
    static const uint8_t operations[] = {
        TAEL_OPERATION_lookup_accounts,       TAEL_OPERATION_lookup_transfers,  TAEL_OPERATION_get_account_transfers,
        TAEL_OPERATION_get_account_balances,  TAEL_OPERATION_query_accounts,    TAEL_OPERATION_query_transfers,
        TAEL_OPERATION_get_account_transfers, TAEL_OPERATION_get_change_events, TAEL_OPERATION_trial_balance,
    };
    *operation = operations[below(workload, sizeof operations)];
    const struct tael_operation_info info = tael_operation_info(*operation);
    if (!info.multi_batch) {
        read_element(workload, *operation, body, 1);
        return info.event_size;
    }
    uint16_t counts[8];
    const uint32_t batch_count = (uint32_t)test_random_between(RANDOM, 1, batches_max);
    uint32_t total = 0;
    for (uint32_t i = 0; i < batch_count; i++) {
        counts[i] = info.filters ? 1 : (uint16_t)below(workload, 20);
        for (uint32_t j = 0; j < counts[i]; j++) {
            read_element(workload, *operation, (uint8_t *)body + (size_t)total * info.event_size, batch_count);
            total++;
        }
    }
    return tael_multi_batch_encode(body, total * info.event_size, counts, batch_count, info.event_size);
}

/* The id of one that is there, where any is. */
static tael_u128 lookup_id_there(struct workload *workload, bool accounts) {
    const struct tael_account *account = accounts ? any_account(workload) : NULL;
    const struct tael_transfer *transfer = accounts ? NULL : any_transfer(workload);
    if (account != NULL) return account->id;
    return transfer != NULL ? transfer->id : some_id(workload);
}

/* Cuts `ids` ids into sub-batches, as many as the reply has room for. Returns how many. */
static uint32_t lookup_cut(struct workload *workload, uint32_t ids, uint16_t counts[WORKLOAD_LOOKUP_BATCHES]) {
    const uint32_t room = (TAEL_BODY_SIZE_MAX - ids * TAEL_RECORD_SIZE) / 2 - 1;
    const uint32_t batches_max = room < WORKLOAD_LOOKUP_BATCHES ? room : WORKLOAD_LOOKUP_BATCHES;
    const uint32_t batches = chance(workload, 40) ? 1 : (uint32_t)test_random_between(RANDOM, 1, batches_max);
    uint32_t left = ids;
    for (uint32_t i = 0; i + 1 < batches; i++) {
        const uint32_t share = 2 * left / (batches - i);
        counts[i] = chance(workload, 20) ? 0 : (uint16_t)below(workload, share + 1);
        left -= counts[i];
    }
    counts[batches - 1] = (uint16_t)left;
    return batches;
}

uint32_t workload_lookup(struct workload *workload, uint8_t *operation, void *body, uint32_t ids_max) {
    const bool accounts = chance(workload, 50);
    const uint32_t ids = chance(workload, 10) ? ids_max : (uint32_t)below(workload, ids_max + 1);
    *operation = accounts ? TAEL_OPERATION_lookup_accounts : TAEL_OPERATION_lookup_transfers;
    uint32_t missing_percent = 0;
    for (uint32_t i = 0; i < ids; i++) {
        tael_u128 id;
        if (below(workload, 100) == 0) missing_percent = 50 * (uint32_t)below(workload, 3);
        if (i > 0 && chance(workload, 5)) {
            memcpy(&id, (const tael_u128 *)body + below(workload, i), sizeof id);
        } else {
            id = lookup_id_there(workload, accounts);
            if (chance(workload, missing_percent)) lookup_id(workload, &id, !accounts);
        }
        memcpy((tael_u128 *)body + i, &id, sizeof id);
    }
    uint16_t counts[WORKLOAD_LOOKUP_BATCHES];
    const uint32_t batches = lookup_cut(workload, ids, counts);
    return tael_multi_batch_encode(body, ids * (uint32_t)sizeof(tael_u128), counts, batches, sizeof(tael_u128));
}
