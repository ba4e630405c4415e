#include "bench/fixture.h"

#include <string.h>

#include <tael/operation.h>

#include "bench/harness.h"
#include "bench/memory.h"
#include "bench/workload.h"

static struct tael_bench_ledger the_fixture;

static void populate(struct tael_ledger *ledger) {
    const struct tael_account_table *accounts = &ledger->accounts;
    const uint64_t transfers = TAEL_BENCH_TRANSFERS_TOUCHED;
    tael_bench_populate(accounts->lines, (accounts->count_max + 1) * sizeof *accounts->lines);
    tael_bench_populate(accounts->index.buckets, accounts->index.bucket_count * sizeof *accounts->index.buckets);
    tael_bench_populate(accounts->cold, (accounts->count_max + 1) * sizeof *accounts->cold);
    tael_bench_populate(ledger->index.buckets, ledger->index.bucket_count * sizeof *ledger->index.buckets);
    tael_bench_populate(ledger->journal.bodies, transfers * sizeof *ledger->journal.bodies);
    tael_bench_populate(ledger->journal.traces, transfers * sizeof *ledger->journal.traces);
    tael_bench_populate(ledger->history.transfers, transfers * sizeof *ledger->history.transfers);
    tael_bench_populate(ledger->journal.burnt, transfers * sizeof *ledger->journal.burnt);
}

static void accounts_make(struct tael_bench_ledger *fixture) {
    struct tael_account *events = (struct tael_account *)(void *)fixture->events;
    for (uint64_t made = 0; made < fixture->accounts;) {
        uint32_t count = 0;
        for (; count < TAEL_EVENTS_MAX && made < fixture->accounts; count++) {
            events[count] =
                (struct tael_account){.id = ++made, .ledger = 1, .code = 1, .flags = fixture->account_flags};
        }
        uint64_t op = fixture->ledger->op;
        uint64_t timestamp = fixture->ledger->timestamp;
        tael_bench_request_begin(fixture->request, TAEL_OPERATION_create_accounts, count, &op, &timestamp);
        (void)tael_bench_ledger_apply(fixture);
    }
}

/* Two workers run in a relay, so their ledger's index is in one piece. One that was cut for four, and is empty, does for steps of two. */
static void index_join_halves(struct tael_id_index *index) {
    TAEL_ASSERT(index->count == 0);
    TAEL_ASSERT(index->partition_count == 4);
    index->partition_count /= 2;
    index->partition_buckets *= 2;
}

static void make(struct tael_bench_ledger *fixture, uint64_t accounts, uint16_t account_flags, uint32_t workers) {
    if (fixture->arena.base != NULL) tael_bench_unmap(&fixture->arena);
    const struct tael_ledger_options options = {.accounts_max = accounts,
                                                .transfers_max = TAEL_BENCH_TRANSFERS_MAX,
                                                .hash_key = 0x5bd1e995,
                                                .workers = workers == 2 ? 4 : workers};
    const size_t request_size = tael_request_size_in_block(TAEL_EVENTS_MAX * TAEL_RECORD_SIZE);
    const size_t exceptions_size = TAEL_EVENTS_MAX * sizeof *fixture->exceptions;
    *fixture = (struct tael_bench_ledger){.accounts = accounts, .account_flags = account_flags, .workers = workers};
    fixture->arena = tael_bench_map(tael_ledger_size_bytes(&options) + tael_arena_share_aligned(request_size) +
                                    tael_arena_share_aligned(exceptions_size));
    fixture->ledger = tael_ledger_init(&fixture->arena, &options);
    if (workers == 2) index_join_halves(&fixture->ledger->index);
    fixture->request = tael_arena_take_aligned(&fixture->arena, request_size);
    fixture->events = (struct tael_transfer *)(void *)(fixture->request + 1);
    fixture->exceptions = tael_arena_take_aligned(&fixture->arena, exceptions_size);
    fixture->ledger->timestamp = TAEL_NS_PER_S;
    populate(fixture->ledger);
    accounts_make(fixture);
}

static void lists_empty(struct tael_ledger *ledger) {
    for (uint64_t i = 1; ledger->lists.covered > 0 && i <= ledger->accounts.count; i++) {
        struct tael_account_cold *cold = &ledger->accounts.cold[i];
        cold->list_first = cold->list_last = cold->list_count = 0;
    }
    memset(ledger->lists.chunks, 0, (ledger->lists.chunk_count + 1) * sizeof *ledger->lists.chunks);
    ledger->lists.chunk_count = 0;
    ledger->lists.covered = 0;
}

static void empty(struct tael_bench_ledger *fixture) {
    struct tael_ledger *ledger = fixture->ledger;
    lists_empty(ledger);
    memset(ledger->index.buckets, 0, ledger->index.bucket_count * sizeof *ledger->index.buckets);
    ledger->index.count = 0;
    ledger->journal.count = 0;
    ledger->journal.timestamp_last = 0;
    ledger->journal.burnt_count = 0;
    ledger->history.expiry_count = 0;
    ledger->expiries.count = 0;
}

struct tael_bench_ledger *tael_bench_ledger_get_for(uint64_t accounts, uint16_t account_flags, uint32_t workers) {
    struct tael_bench_ledger *fixture = &the_fixture;
    const bool fits = fixture->ledger != NULL && fixture->accounts == accounts &&
                      fixture->account_flags == account_flags && fixture->workers == workers;
    if (!fits) make(fixture, accounts, account_flags, workers);
    empty(fixture);
    return fixture;
}

struct tael_bench_ledger *tael_bench_ledger_get(uint64_t accounts, uint16_t account_flags) {
    return tael_bench_ledger_get_for(accounts, account_flags, 1);
}

void tael_bench_ledger_fill_index(struct tael_bench_ledger *fixture, uint32_t percent) {
    enum { GROUP = 32 };
    struct tael_ledger *ledger = fixture->ledger;
    struct tael_id_index *index = &ledger->index;
    const uint64_t slots = index->bucket_count * TAEL_INDEX_SLOTS_PER_BUCKET;
    struct test_random random = {.state = percent};
    /* All of them stand for one burnt id, which nobody asks for. */
    const uint64_t value =
        TAEL_INDEX_BURNT | (ledger->journal.burnt_count == 0 ? tael_journal_burn(&ledger->journal, 1ull << 63) : 0);
    while (index->count + GROUP <= slots * percent / 100) {
        uint64_t hashes[GROUP];
        for (int i = 0; i < GROUP; i++) {
            hashes[i] = test_random_u64(&random);
            __builtin_prefetch(index->buckets[tael_id_index_home(index, hashes[i])], 1);
        }
        for (int i = 0; i < GROUP; i++) {
            struct tael_index_probe probe = tael_index_probe_begin(index, hashes[i]);
            uint64_t found;
            while (tael_index_probe_next(index, &probe, &found)) {
            }
            tael_id_index_insert(index, &probe, value);
        }
    }
}

void tael_bench_ledger_request(struct tael_bench_ledger *fixture, uint32_t count) {
    uint64_t op = fixture->ledger->op;
    uint64_t timestamp = fixture->ledger->timestamp;
    tael_bench_request_begin(fixture->request, TAEL_OPERATION_create_transfers, count, &op, &timestamp);
}

uint64_t tael_bench_ledger_apply(struct tael_bench_ledger *fixture) {
    const uint64_t start = tael_bench_clock_ns();
    const uint32_t exceptions = tael_ledger_apply(fixture->ledger, fixture->request, fixture->exceptions);
    const uint64_t ns = tael_bench_clock_ns() - start;
    TAEL_ASSERT(exceptions == 0);
    TAEL_ASSERT(fixture->ledger->journal.count <= TAEL_BENCH_TRANSFERS_TOUCHED);
    return ns;
}
