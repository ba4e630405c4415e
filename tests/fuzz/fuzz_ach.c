/* The reader of ACH files, fed with anything: cut at an odd place or not, it must give the same, and what it hands out must
 * hold what its header promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "cli/ach.h"

struct outcome {
    uint64_t entries, rejected, amount_cents, batches, problems, ids;
    bool is_sound;
    tael_u128 key;
};

static void on_entry(void *context, const struct tael_ach_batch *batch, const struct tael_ach_entry *entry) {
    struct outcome *outcome = context;
    outcome->entries++;
    TAEL_ASSERT(entry->ordinal > 0);
    TAEL_ASSERT(entry->account_size <= TAEL_ACH_ACCOUNT_SIZE_MAX);
    TAEL_ASSERT(entry->code < 100);
    TAEL_ASSERT(entry->amount_cents < 10000000000ull);
    TAEL_ASSERT((entry->disposition == TAEL_ACH_REJECTED) == (entry->reason != TAEL_ACH_REASON_none));
    if (entry->disposition == TAEL_ACH_POST) TAEL_ASSERT(entry->amount_cents > 0 && entry->account_size > 0);
    if (entry->disposition == TAEL_ACH_REJECTED) outcome->rejected++;
    outcome->amount_cents += entry->amount_cents;
    const tael_u128 receiver = tael_ach_receiver_id(entry, 840), settlement = tael_ach_settlement_id(batch, 840);
    TAEL_ASSERT(receiver != 0 && receiver != TAEL_U128_MAX);
    TAEL_ASSERT(receiver != settlement);
    outcome->ids += tael_u128_low(receiver) + tael_u128_low(settlement);
}

static void on_batch_end(void *context, const struct tael_ach_batch *batch, bool is_matched,
                         const struct tael_ach_totals *totals) {
    struct outcome *outcome = context;
    (void)batch;
    outcome->batches += is_matched ? 1 : 1000000;
    outcome->amount_cents += totals->debits_cents;
}

static void on_problem(void *context, enum tael_ach_level level, uint64_t line, const char *text) {
    struct outcome *outcome = context;
    (void)level;
    TAEL_ASSERT(line > 0);
    TAEL_ASSERT(strlen(text) > 0);
    outcome->problems++;
}

static struct outcome read_cut(const uint8_t *bytes, size_t size, size_t cut) {
    struct outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    const struct tael_ach_events events = {
        .context = &outcome, .entry = on_entry, .batch_end = on_batch_end, .problem = on_problem};
    struct tael_ach *ach = tael_ach_new(&events);
    if (ach == NULL) abort();
    tael_ach_feed(ach, bytes, cut);
    tael_ach_feed(ach, bytes + cut, size - cut);
    outcome.is_sound = tael_ach_finish(ach);
    outcome.key = tael_ach_key(ach);
    const struct tael_ach_totals totals = tael_ach_totals(ach);
    TAEL_ASSERT(totals.entries == outcome.entries);
    if (outcome.is_sound) TAEL_ASSERT(size >= 2 * TAEL_ACH_RECORD_SIZE);
    tael_ach_free(ach);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const struct outcome whole = read_cut(bytes, size, size);
    const struct outcome cut = read_cut(bytes, size, size == 0 ? 0 : (size_t)bytes[size / 2] * 7 % (size + 1));
    TAEL_ASSERT(memcmp(&whole, &cut, sizeof whole) == 0);
    return 0;
}
