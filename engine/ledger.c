#include "engine/ledger.h"

#include <string.h>

#include <tael/limits.h>
#include <tael/status.h>

#include "engine/account_rules.h"
#include "engine/ledger_state.h"
#include "engine/relay.h"
#include "engine/transfer_rules.h"

/* ---- memory ---- */

struct budget_line {
    const char *name;
    size_t size_bytes;
};

/* The index is cut up only where workers share it: in a relay of two it is one worker's. */
static uint32_t partitions(const struct tael_ledger_options *options) {
    return options->workers <= 2 ? 1 : options->workers;
}

/* Parts whose name ends in "(reserve)" are address space that is untouched until needed. */
static uint32_t budget(const struct tael_ledger_options *options, struct budget_line lines[9]) {
    const uint64_t accounts = options->accounts_max;
    const uint64_t transfers = options->transfers_max;
    const struct budget_line all[] = {
        {"accounts", tael_account_table_size_bytes(accounts)},
        {"transfers", tael_journal_size_bytes(transfers)},
        {"transfer index", tael_id_index_size_bytes(transfers, partitions(options))},
        {"history", tael_history_size_bytes(transfers)},
        {"lists by account", tael_account_lists_size_bytes(accounts, transfers)},
        {"trial balance", tael_audit_size_bytes()},
        {"wide balances (reserve)",
         tael_account_table_wide_size_bytes(accounts) + tael_history_reserve_size_bytes(transfers)},
        {"burnt ids (reserve)", tael_journal_burnt_size_bytes(transfers)},
        {"expiries (reserve)", tael_expiry_queue_size_bytes(transfers)},
    };
    static_assert(sizeof all / sizeof all[0] == 9, "the array of the caller");
    memcpy(lines, all, sizeof all);
    return 9;
}

bool tael_ledger_budget(const struct tael_ledger_options *options, uint32_t index, const char **name,
                        size_t *size_bytes) {
    struct budget_line lines[9];
    const uint32_t count = budget(options, lines);
    if (index >= count) return false;
    *name = lines[index].name;
    *size_bytes = lines[index].size_bytes;
    return true;
}

size_t tael_ledger_size_bytes(const struct tael_ledger_options *options) {
    struct budget_line lines[9];
    const uint32_t count = budget(options, lines);
    size_t total = tael_arena_share(sizeof(struct tael_ledger));
    for (uint32_t i = 0; i < count; i++) total += lines[i].size_bytes;
    return total;
}

struct tael_ledger *tael_ledger_init(struct tael_arena *arena, const struct tael_ledger_options *options) {
    TAEL_ASSERT(options->accounts_max <= TAEL_ACCOUNTS_MAX);
    TAEL_ASSERT(options->transfers_max <= TAEL_TRANSFERS_MAX);
    struct tael_ledger *ledger = tael_arena_take(arena, sizeof *ledger);
    const struct tael_hash hash = tael_hash_make(options->hash_key, options->hash_bits);
    tael_account_table_init(&ledger->accounts, arena, options->accounts_max, hash);
    tael_journal_init(&ledger->journal, arena, options->transfers_max);
    tael_id_index_init(&ledger->index, arena, options->transfers_max, partitions(options));
    tael_history_init(&ledger->history, arena, options->transfers_max);
    tael_account_lists_init(&ledger->lists, arena, options->accounts_max, options->transfers_max);
    tael_audit_init(&ledger->audit, arena);
    tael_expiry_queue_init(&ledger->expiries, arena, options->transfers_max);
    return ledger;
}

/* ---- batches and chains ---- */

enum batch_kind { BATCH_ACCOUNTS, BATCH_TRANSFERS };

/* Accounts and transfers alike, as far as the loop is concerned. */
union event {
    struct tael_account account;
    struct tael_transfer transfer;
};
static_assert(sizeof(union event) == TAEL_RECORD_SIZE, "events stand back to back");

/* A sub-batch under way, or a part of one that ends with a whole chain. */
struct batch {
    struct tael_ledger *ledger;
    const union event *events;
    uint32_t count;
    uint32_t index_first; /* of its first event in the request */
    uint64_t timestamp_first; /* of its first event */
    bool is_part; /* the sub-batch may begin before it, and isn't imported */
    bool goes_on; /* the sub-batch goes on behind it */
    struct tael_exception *exceptions;
    uint32_t exception_count;
    uint64_t settled; /* transfers below this position are certain; the chain under way lies above */
    bool timeouts; /* some of those above may have one */
    struct tael_leg *leg; /* whose events these are: another worker has looked up their ids; NULL: nobody has */
    uint32_t leg_first; /* the first event's place in the leg */
};

/* A chain under way. */
struct chain {
    bool open;
    bool broken;
    uint32_t start; /* index of its first event in the sub-batch */
    uint32_t exceptions_before; /* how many there were when it began */
    uint64_t accounts_before; /* the ledger when it began */
    uint64_t transfers_before;
};

static inline uint16_t event_flags(const union event *event, enum batch_kind kind) {
    return kind == BATCH_ACCOUNTS ? event->account.flags : event->transfer.flags;
}

static inline bool event_imported(const union event *event, enum batch_kind kind) {
    return kind == BATCH_ACCOUNTS ? (event->account.flags & TAEL_ACCOUNT_FLAG_imported) != 0
                                  : (event->transfer.flags & TAEL_TRANSFER_FLAG_imported) != 0;
}

static inline uint64_t event_timestamp(const union event *event, enum batch_kind kind) {
    return kind == BATCH_ACCOUNTS ? event->account.timestamp : event->transfer.timestamp;
}

static_assert((int)TAEL_ACCOUNT_FLAG_linked == (int)TAEL_TRANSFER_FLAG_linked, "one test serves both");
static_assert((int)TAEL_ACCOUNT_linked_event_failed == (int)TAEL_TRANSFER_linked_event_failed, "one status");
static_assert((int)TAEL_ACCOUNT_linked_event_chain_open == (int)TAEL_TRANSFER_linked_event_chain_open, "one status");
static_assert((int)TAEL_ACCOUNT_timestamp_must_be_zero == (int)TAEL_TRANSFER_timestamp_must_be_zero, "one status");

static void except(struct batch *batch, uint32_t index, uint32_t status, uint64_t timestamp) {
    batch->exceptions[batch->exception_count++] =
        (struct tael_exception){.timestamp = timestamp, .status = status, .index = batch->index_first + index};
}

/* Checks 3 and 4 of every event: imported or not, as the batch's first, and the timestamp that goes with it. */
static uint32_t check_import(const struct batch *batch, uint32_t index, enum batch_kind kind) {
    const union event *event = &batch->events[index];
    const bool accounts = kind == BATCH_ACCOUNTS;
    const bool imported = event_imported(event, kind);
    if (imported != (!batch->is_part && event_imported(&batch->events[0], kind))) {
        if (imported) {
            return accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_not_expected
                            : (uint32_t)TAEL_TRANSFER_imported_event_not_expected;
        }
        return accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_expected
                        : (uint32_t)TAEL_TRANSFER_imported_event_expected;
    }
    const uint64_t timestamp = event_timestamp(event, kind);
    if (!imported) return timestamp == 0 ? TAEL_STATUS_CREATED : (uint32_t)TAEL_TRANSFER_timestamp_must_be_zero;
    if (timestamp < 1 || timestamp > TAEL_TIMESTAMP_MAX) {
        return accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_timestamp_out_of_range
                        : (uint32_t)TAEL_TRANSFER_imported_event_timestamp_out_of_range;
    }
    const uint64_t batch_timestamp = batch->timestamp_first + batch->count - 1;
    if (timestamp >= batch_timestamp) {
        return accounts ? (uint32_t)TAEL_ACCOUNT_imported_event_timestamp_must_not_advance
                        : (uint32_t)TAEL_TRANSFER_imported_event_timestamp_must_not_advance;
    }
    return TAEL_STATUS_CREATED;
}

static void chain_begin(struct chain *chain, const struct batch *batch, uint32_t index) {
    *chain = (struct chain){
        .open = true,
        .start = index,
        .exceptions_before = batch->exception_count,
        .accounts_before = batch->ledger->accounts.count,
        .transfers_before = batch->ledger->journal.count,
    };
}

/* The timestamp that the result of an event in a chain has so far: its own, or the imported one. */
static uint64_t chain_timestamp(const struct batch *batch, uint32_t index, enum batch_kind kind) {
    const union event *event = &batch->events[index];
    return event_imported(event, kind) ? event_timestamp(event, kind) : batch->timestamp_first + index;
}

/* Takes the chain's events so far back, youngest first, and marks them as failed with it. */
static void chain_break(struct chain *chain, struct batch *batch, uint32_t index, enum batch_kind kind) {
    struct tael_ledger *ledger = batch->ledger;
    chain->broken = true;
    for (uint32_t i = index; batch->leg != NULL && i > chain->start; i--) {
        tael_transfer_take_back_in_leg(batch->leg, batch->leg_first + i - 1);
    }
    while (ledger->journal.count > chain->transfers_before) tael_transfer_take_back(ledger);
    while (ledger->accounts.count > chain->accounts_before) tael_account_take_back(ledger);
    /* All of them were created, the exceptions among them only told of imported timestamps. */
    batch->exception_count = chain->exceptions_before;
    for (uint32_t i = chain->start; i < index; i++) {
        except(batch, i, TAEL_TRANSFER_linked_event_failed, chain_timestamp(batch, i, kind));
    }
}

/* The transfers that no chain can take back any more. Bodies are read back only where there is a timeout: they were written past
 * the caches. */
static void settle(struct batch *batch) {
    if (TAEL_LIKELY(!batch->timeouts)) {
        batch->settled = batch->ledger->journal.count;
        return;
    }
    batch->timeouts = false;
    while (batch->settled < batch->ledger->journal.count) tael_transfer_settle(batch->ledger, batch->settled++);
}

static uint32_t event_create(struct batch *batch, uint32_t index, const struct tael_transfer_ahead *ahead,
                             uint64_t *timestamp, enum batch_kind kind) {
    const uint32_t status = check_import(batch, index, kind);
    if (status != TAEL_STATUS_CREATED) return status;
    if (kind == BATCH_ACCOUNTS) return tael_account_create(batch->ledger, &batch->events[index].account, timestamp);
    if (batch->leg != NULL)
        return tael_transfer_create_in_leg(batch->leg, batch->leg_first + index, &batch->events[index].transfer, ahead,
                                           timestamp);
    return tael_transfer_create(batch->ledger, &batch->events[index].transfer, ahead, timestamp);
}

static void event_failed(struct batch *batch, struct chain *chain, uint32_t index, uint32_t status, uint64_t timestamp,
                         enum batch_kind kind) {
    if (chain->open && !chain->broken) chain_break(chain, batch, index, kind);
    except(batch, index, status, timestamp);
    const bool burns = kind == BATCH_TRANSFERS && tael_transfer_status_is_transient(status);
    if (batch->leg != NULL) {
        tael_transfer_fail_in_leg(batch->leg, batch->leg_first + index, burns);
    } else if (burns) {
        tael_transfer_burn(batch->ledger, batch->events[index].transfer.id);
    }
}

/* One event, in the order of checks that all events share. */
__attribute__((always_inline)) static inline void event_apply(struct batch *batch, struct chain *chain, uint32_t index,
                                                              const struct tael_transfer_ahead *ahead,
                                                              enum batch_kind kind) {
    const bool linked = (event_flags(&batch->events[index], kind) & TAEL_TRANSFER_FLAG_linked) != 0;
    uint64_t timestamp = batch->timestamp_first + index;
    uint32_t status;
    tael_panic_context.event_index = batch->index_first + index;
    if (linked && !chain->open) chain_begin(chain, batch, index);
    if (linked && index == batch->count - 1 && !batch->goes_on) {
        status = TAEL_TRANSFER_linked_event_chain_open;
    } else if (chain->broken) {
        status = TAEL_TRANSFER_linked_event_failed;
    } else {
        status = event_create(batch, index, ahead, &timestamp, kind);
    }

    if (TAEL_UNLIKELY(status != TAEL_STATUS_CREATED)) {
        event_failed(batch, chain, index, status, timestamp, kind);
    } else if (TAEL_UNLIKELY(timestamp != batch->timestamp_first + index)) {
        except(batch, index, status, timestamp);
    }
    if (chain->open && (!linked || status == TAEL_TRANSFER_linked_event_chain_open)) *chain = (struct chain){0};
    if (kind == BATCH_TRANSFERS) {
        batch->timeouts |= batch->events[index].transfer.timeout != 0;
        if (!chain->open) settle(batch);
    }
}

/* Events are looked at three groups before their turn, then two, then one, each time for what the lines fetched before lead to. A
 * group at a time, in loops that do little else: so the misses of several events overlap, those of the TLB too, which
 * hold up a prefetch (0.8 of the time of one event at a time, eight ahead).
 * Groups of four: the pages in flight then just fit the first level of the TLB (0.71 to 0.85 of the time of groups of eight;
 * of three as good; of 2, 5 and 6 slower), and each line is fetched no earlier than need be (0.89 of the time). */
enum { GROUP = 4, AHEAD = 4 * GROUP };

static void look_at_ids(const struct batch *batch, struct tael_transfer_ahead ahead[AHEAD], uint32_t first) {
    const struct tael_ledger *ledger = batch->ledger;
    const uint32_t end = batch->count < first + GROUP ? batch->count : first + GROUP;
    if (batch->leg != NULL) {
        for (uint32_t i = first; i < end; i++) {
            tael_transfer_hash_in_leg(batch->leg, batch->leg_first + i, &batch->events[i].transfer, &ahead[i % AHEAD]);
        }
        return;
    }
    for (uint32_t i = first; i < end; i++) {
        tael_transfer_hash(ledger, &batch->events[i].transfer, &ahead[i % AHEAD]);
    }
    for (uint32_t i = first; i < end; i++) {
        tael_transfer_fetch_buckets(ledger, &batch->events[i].transfer, &ahead[i % AHEAD]);
    }
}

static void look_at_transfers(const struct batch *batch, const struct tael_transfer_ahead ahead[AHEAD],
                              uint32_t first) {
    for (uint32_t i = first; i < batch->count && i < first + GROUP; i++) {
        if (batch->leg != NULL) {
            tael_transfer_fetch_transfers_in_leg(batch->leg, batch->leg_first + i, &batch->events[i].transfer);
        } else {
            tael_transfer_fetch_transfers(batch->ledger, &batch->events[i].transfer, &ahead[i % AHEAD]);
        }
    }
}

static void look_at_accounts(const struct batch *batch, struct tael_transfer_ahead ahead[AHEAD], uint32_t first) {
    for (uint32_t i = first; i < batch->count && i < first + GROUP; i++) {
        if (batch->leg != NULL) {
            tael_transfer_fetch_accounts_in_leg(batch->leg, batch->leg_first + i, &batch->events[i].transfer,
                                                &ahead[i % AHEAD]);
        } else {
            tael_transfer_fetch_accounts(batch->ledger, &batch->events[i].transfer, &ahead[i % AHEAD]);
        }
    }
}

static void apply_transfers(struct batch *batch) {
    struct tael_transfer_ahead ahead[AHEAD];
    struct chain chain = {0};
    for (uint32_t first = 0; first < 3 * GROUP; first += GROUP) look_at_ids(batch, ahead, first);
    for (uint32_t first = 0; first < 2 * GROUP; first += GROUP) look_at_transfers(batch, ahead, first);
    look_at_accounts(batch, ahead, 0);
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i % GROUP == 0) {
            look_at_ids(batch, ahead, i + 3 * GROUP);
            look_at_transfers(batch, ahead, i + 2 * GROUP);
            look_at_accounts(batch, ahead, i + GROUP);
        }
        event_apply(batch, &chain, i, &ahead[i % AHEAD], BATCH_TRANSFERS);
    }
    TAEL_ASSERT(!chain.open);
    TAEL_ASSERT(batch->settled == batch->ledger->journal.count);
}

static void apply_accounts(struct batch *batch) {
    struct chain chain = {0};
    for (uint32_t i = 0; i < batch->count; i++) event_apply(batch, &chain, i, NULL, BATCH_ACCOUNTS);
    TAEL_ASSERT(!chain.open);
}

static uint32_t part_apply(struct tael_ledger *ledger, const struct tael_ledger_part *part, struct tael_leg *leg,
                           uint32_t leg_first, struct tael_exception *exceptions) {
    TAEL_ASSERT(ledger->index.count + part->count <= ledger->index.count_max);
    struct batch batch = {
        .ledger = ledger,
        .events = (const union event *)(const void *)part->events,
        .count = part->count,
        .index_first = part->index_first,
        .timestamp_first = part->timestamp_first,
        .is_part = true,
        .goes_on = !part->ends_batch,
        .exceptions = exceptions,
        .settled = ledger->journal.count,
        .leg = leg,
        .leg_first = leg_first,
    };
    tael_panic_context.op = part->request->op;
    tael_panic_context.state = part->request;
    apply_transfers(&batch);
    return batch.exception_count;
}

uint32_t tael_ledger_apply_part(struct tael_ledger *ledger, const struct tael_ledger_part *part,
                                struct tael_exception *exceptions) {
    return part_apply(ledger, part, NULL, 0, exceptions);
}

/* Fetches what the other worker wrote, which is in its processor's cache. */
static void leg_fetch(const struct tael_leg *leg, uint32_t first, uint32_t count) {
    const uint32_t a_line = TAEL_CACHE_LINE / sizeof(uint32_t);
    for (uint32_t i = 0; i < count; i += TAEL_CACHE_LINE) __builtin_prefetch(&leg->own[first + i]);
    for (uint32_t i = 0; i < count; i += a_line) __builtin_prefetch(&leg->debit[first + i]);
}

uint32_t tael_leg_apply(struct tael_leg *leg, const struct tael_leg_part *part, struct tael_exception *exceptions) {
    leg_fetch(leg, part->first, part->part.count);
    memset(leg->heir + part->first, 0, part->part.count * sizeof *leg->heir);
    memset(leg->outcome + part->first, TAEL_LEG_FAILED, part->part.count);
    return part_apply(leg->ledger, &part->part, leg, part->first, exceptions);
}

static uint32_t apply_create(struct tael_ledger *ledger, const struct tael_request *request,
                             struct tael_exception *exceptions) {
    const bool accounts = tael_operation_creates_accounts(request->operation);
    TAEL_ASSERT(!accounts || ledger->accounts.count + request->event_count <= ledger->accounts.count_max);
    TAEL_ASSERT(accounts || ledger->index.count + request->event_count <= ledger->index.count_max);
    struct batch batch = {
        .ledger = ledger,
        .events = tael_request_payload(request),
        .timestamp_first = request->timestamp - request->event_count + 1,
        .exceptions = exceptions,
        .settled = ledger->journal.count,
    };
    for (uint32_t i = 0; i < request->batch_count; i++) {
        batch.count = tael_request_batch_events(request, i);
        TAEL_ASSERT(batch.index_first + batch.count <= request->event_count);
        if (accounts) {
            apply_accounts(&batch);
        } else {
            apply_transfers(&batch);
        }
        batch.events += batch.count;
        batch.index_first += batch.count;
        batch.timestamp_first += batch.count;
    }
    TAEL_ASSERT(batch.index_first == request->event_count);
    TAEL_ASSERT(batch.exception_count <= request->event_count);
    return batch.exception_count;
}

/* ---- the interface ---- */

static void apply_pulse(struct tael_ledger *ledger, const struct tael_request *request) {
    TAEL_ASSERT(request->event_count == 0);
    TAEL_ASSERT(request->timestamp > TAEL_EXPIRIES_MAX);
    const uint64_t due = request->timestamp - TAEL_EXPIRIES_MAX;
    tael_transfers_expire(ledger, due, due + 1);
}

/* Entries of transfers that were posted or voided meanwhile go, so that the top tells when the next expiry is due. */
static void drop_resolved_expiries(struct tael_ledger *ledger) {
    const struct tael_expiry *top;
    while ((top = tael_expiry_queue_top(&ledger->expiries)) != NULL &&
           tael_journal_trace(&ledger->journal, top->position)->pending_status != TAEL_PENDING_PENDING) {
        tael_expiry_queue_pop(&ledger->expiries);
    }
}

static void request_check(const struct tael_request *request, uint64_t op_before, uint64_t timestamp_before) {
    TAEL_ASSERT(request->op == op_before + 1);
    TAEL_ASSERT(request->timestamp > timestamp_before);
    TAEL_ASSERT(request->timestamp <= TAEL_TIMESTAMP_MAX);
    /* The request's own timestamps lie above all earlier ones too. */
    TAEL_ASSERT(request->timestamp - timestamp_before > request->event_count || request->event_count == 0);
}

/* What has to happen after each request, or after several that were applied together. */
static void request_end(struct tael_ledger *ledger, const struct tael_request *request) {
    drop_resolved_expiries(ledger);
    ledger->op = request->op;
    ledger->timestamp = request->timestamp;
}

uint32_t tael_ledger_apply(struct tael_ledger *ledger, const struct tael_request *request,
                           struct tael_exception *exceptions) {
    request_check(request, ledger->op, ledger->timestamp);
    uint32_t exception_count = 0;
    if (tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE) {
        exception_count = apply_create(ledger, request, exceptions);
    } else if (request->operation == TAEL_OPERATION_pulse) {
        apply_pulse(ledger, request);
    }
    request_end(ledger, request);
    return exception_count;
}

void tael_ledger_requests_end(struct tael_ledger *ledger, const struct tael_request *first,
                              const struct tael_request *last) {
    uint64_t op = ledger->op;
    uint64_t timestamp = ledger->timestamp;
    const struct tael_request *request = first;
    for (;;) {
        request_check(request, op, timestamp);
        op = request->op;
        timestamp = request->timestamp;
        if (request == last) break;
        request = tael_request_next(request);
    }
    request_end(ledger, last);
}

void tael_ledger_look_ahead(const struct tael_ledger *ledger, const struct tael_request *request, uint32_t steps_left) {
    if (request->event_count > GROUP) return;
    if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) return;
    if (tael_operation_creates_accounts(request->operation)) return;
    const struct tael_transfer *transfers = tael_request_payload(request);
    for (uint32_t i = 0; i < request->event_count; i++) {
        struct tael_transfer_ahead ahead;
        tael_transfer_hash(ledger, &transfers[i], &ahead);
        if (steps_left == 3) tael_transfer_fetch_buckets(ledger, &transfers[i], &ahead);
        if (steps_left == 2) tael_transfer_fetch_transfers(ledger, &transfers[i], &ahead);
        if (steps_left == 1) tael_transfer_fetch_accounts(ledger, &transfers[i], &ahead);
    }
}

struct tael_ledger_usage tael_ledger_usage(const struct tael_ledger *ledger) {
    const struct tael_expiry *top = tael_expiry_queue_top(&ledger->expiries);
    return (struct tael_ledger_usage){
        .accounts = ledger->accounts.count,
        .transfers = ledger->index.count,
        .op = ledger->op,
        .timestamp = ledger->timestamp,
        .expiry_next = top == NULL ? UINT64_MAX : top->expires_at,
    };
}

uint32_t tael_ledger_index_behind(struct tael_ledger *ledger, uint32_t budget_transfers) {
    return tael_account_lists_extend(&ledger->lists, &ledger->accounts, &ledger->journal, budget_transfers);
}
