#include "engine/digest.h"

#include <immintrin.h>

#include <xxhash.h>

#include "engine/ledger_state.h"

enum digest_kind {
    DIGEST_ACCOUNT = 1,
    DIGEST_TRANSFER = 2,
    DIGEST_PENDING = 3,
    DIGEST_BURNT = 4,
    DIGEST_HISTORY = 5,
    DIGEST_LAST = 6,
};

static tael_u128 element(enum digest_kind kind, const void *record, size_t size) {
    return tael_hash_u128(XXH3_128bits_withSeed(record, size, (XXH64_hash_t)kind));
}

/* Positions or numbers. */
struct range {
    uint64_t first;
    uint64_t end;
};

/* --- what does not change any more --- */

/* Transfers that are added up at a time. */
enum { PIECE = 128 };

/* Change events show both accounts, which are anywhere: waiting for their lines, with a million of them, took four fifths of the time. In
 * groups, so that the misses of several overlap. */
enum { GROUP = 16 };

static void accounts_fetch(const struct tael_ledger *ledger, uint64_t first, uint64_t end) {
    const struct tael_account_table *accounts = &ledger->accounts;
    for (uint64_t position = first; position < end && position < first + GROUP; position++) {
        const struct tael_transfer_trace *trace = &ledger->journal.traces[position];
        __builtin_prefetch(&accounts->lines[trace->debit_number]);
        __builtin_prefetch(&accounts->cold[trace->debit_number]);
        __builtin_prefetch(&accounts->lines[trace->credit_number]);
        __builtin_prefetch(&accounts->cold[trace->credit_number]);
    }
}

static tael_u128 digest_event(const struct tael_ledger *ledger, uint64_t position,
                              const struct tael_expiry_entry *expiry) {
    struct tael_change_event event;
    tael_ledger_change_event(ledger, position, expiry, &event);
    return element(DIGEST_HISTORY, &event, sizeof event);
}

static tael_u128 digest_transfer(const struct tael_ledger *ledger, uint64_t position) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    const bool is_pending = ledger->journal.traces[position].pending_status != TAEL_PENDING_NONE;
    TAEL_ASSERT(is_pending ==
                ((body->flags & TAEL_TRANSFER_FLAG_pending) != 0)); /* digest_pendings goes by the trace */
    return element(DIGEST_TRANSFER, body, sizeof *body);
}

static tael_u128 digest_transfers(const struct tael_ledger *ledger, struct range positions) {
    tael_u128 digest = 0;
    accounts_fetch(ledger, positions.first, positions.end);
    for (uint64_t position = positions.first; position < positions.end; position++) {
        if ((position - positions.first) % GROUP == 0) accounts_fetch(ledger, position + GROUP, positions.end);
        digest += digest_transfer(ledger, position) + digest_event(ledger, position, NULL);
    }
    return digest;
}

bool tael_digest_advance(struct tael_digest *digest, const struct tael_ledger *ledger, uint32_t worker) {
    const uint64_t count = ledger->journal.count;
    /* Relaxed, here and below: only who takes which. */
    uint64_t first = atomic_load_explicit(&digest->next, memory_order_relaxed);
    uint64_t end;
    do {
        TAEL_ASSERT(first <= count);
        if (first == count) return false;
        end = first + PIECE < count ? first + PIECE : count;
    } while (
        !atomic_compare_exchange_weak_explicit(&digest->next, &first, end, memory_order_relaxed, memory_order_relaxed));
    digest->shares[worker].sum += digest_transfers(ledger, (struct range){first, end});
    return true;
}

/* --- what does --- */

static tael_u128 digest_accounts(const struct tael_ledger *ledger, struct range numbers) {
    tael_u128 digest = 0;
    for (uint64_t number = numbers.first; number < numbers.end; number++) {
        struct tael_account record;
        tael_account_table_record(&ledger->accounts, &ledger->accounts.lines[number], &record);
        digest += element(DIGEST_ACCOUNT, &record, sizeof record);
    }
    return digest;
}

static tael_u128 digest_pending(const struct tael_ledger *ledger, uint64_t position, uint64_t status) {
    const struct tael_transfer *body = tael_journal_body(&ledger->journal, position);
    const struct {
        tael_u128 id;
        uint64_t status;
        uint64_t expires_at;
    } pending = {body->id, status, tael_transfer_expires_at(body)};
    static_assert(sizeof pending == 32, "docs/digest.md");
    return element(DIGEST_PENDING, &pending, sizeof pending);
}

static tael_u128 digest_pendings(const struct tael_ledger *ledger, struct range positions) {
    tael_u128 digest = 0;
    for (uint64_t position = positions.first; position < positions.end; position++) {
        const uint8_t status = ledger->journal.traces[position].pending_status;
        if (status != TAEL_PENDING_NONE) digest += digest_pending(ledger, position, status);
    }
    return digest;
}

static tael_u128 digest_expiries(const struct tael_ledger *ledger) {
    tael_u128 digest = 0;
    for (uint64_t i = 0; i < ledger->history.expiry_count; i++) {
        const struct tael_expiry_entry *expiry = &ledger->history.expiries[i];
        digest += digest_event(ledger, expiry->position, expiry);
    }
    return digest;
}

static tael_u128 digest_burnt(const struct tael_ledger *ledger) {
    tael_u128 digest = 0;
    for (uint64_t i = 0; i < ledger->journal.burnt_count; i++) {
        digest += element(DIGEST_BURNT, &ledger->journal.burnt[i], sizeof ledger->journal.burnt[i]);
    }
    return digest;
}

/* --- all of it --- */

struct run {
    struct tael_digest *digest;
    const struct tael_ledger *ledger;
    uint32_t workers;
};

static struct range share_of(uint64_t first, uint64_t count, uint32_t worker, uint32_t workers) {
    return (struct range){.first = first + count * worker / workers, .end = first + count * (worker + 1) / workers};
}

static void pass_end(void *argument, uint32_t worker) {
    const struct run *run = argument;
    const struct tael_ledger *ledger = run->ledger;
    run->digest->shares[worker].sum +=
        digest_accounts(ledger, share_of(1, ledger->accounts.count, worker, run->workers)) +
        digest_pendings(ledger, share_of(0, ledger->journal.count, worker, run->workers));
    while (tael_digest_advance(run->digest, ledger, worker)) continue;
}

tael_u128 tael_digest_end(struct tael_digest *digest, const struct tael_ledger *ledger, const struct tael_team *team) {
    struct run run = {.digest = digest, .ledger = ledger, .workers = team->workers};
    const uint64_t last[2] = {ledger->op, ledger->timestamp};
    TAEL_ASSERT(team->workers >= 1);
    TAEL_ASSERT(team->workers <= TAEL_WORKERS_MAX);
    _mm_sfence(); /* the leader may have written transfers past the caches */
    team->run(team->context, pass_end, &run);
    tael_u128 sum = digest_expiries(ledger) + digest_burnt(ledger) + element(DIGEST_LAST, last, sizeof last);
    for (uint32_t worker = 0; worker < TAEL_WORKERS_MAX; worker++) sum += digest->shares[worker].sum;
    return sum;
}

static void run_alone(void *context, void (*pass)(void *argument, uint32_t worker), void *argument) {
    (void)context;
    pass(argument, 0);
}

tael_u128 tael_ledger_digest(const struct tael_ledger *ledger) {
    struct tael_digest digest = {0};
    return tael_digest_end(&digest, ledger, &(struct tael_team){.workers = 1, .run = run_alone});
}

bool tael_ledger_balanced(struct tael_ledger *ledger) { return tael_audit_balanced(&ledger->audit, &ledger->accounts); }
