#include "tests/crash/check.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <tael/client.h>
#include <tael/limits.h>

static struct tael_transfer found_transfers[TAEL_EVENTS_MAX];

/* One read; returns the number of results, which stand in found_transfers. */
static uint32_t read_transfers(struct tael_client *client, uint8_t operation, const void *events, uint32_t count) {
    struct tael_client_reply reply;
    if (tael_client_call(client, operation, events, count, found_transfers, TAEL_EVENTS_MAX, 0, &reply) != 0) {
        fail_msg("%s", reply.why);
    }
    return reply.count;
}

static void check_stored(const struct load_entry *entry, const struct tael_transfer *stored) {
    assert_int_equal(stored->timestamp, entry->result.timestamp);
    assert_int_equal(stored->user_data_64, entry->sent.user_data_64);
    assert_int_equal(stored->flags, entry->sent.flags);
    assert_true(stored->pending_id == entry->sent.pending_id);
    const uint16_t computed = TAEL_TRANSFER_FLAG_balancing_debit | TAEL_TRANSFER_FLAG_post_pending_transfer |
                              TAEL_TRANSFER_FLAG_void_pending_transfer;
    if ((entry->sent.flags & computed) == 0) assert_true(stored->amount == entry->sent.amount);
}

/* `stored` are the results of a lookup of `count` entries: those that exist, in order. */
static uint64_t check_lookup(const struct load_entry *entries, uint64_t count, const struct tael_transfer *stored,
                             uint32_t stored_count) {
    uint32_t seen = 0;
    for (uint64_t i = 0; i < count; i++) {
        const bool created = entries[i].result.status == TAEL_STATUS_CREATED;
        const bool found = seen < stored_count && stored[seen].id == entries[i].sent.id;
        if (created != found) {
            fail_msg("transfer %" PRIu64 " of session %" PRIu64 " was acknowledged with status %" PRIu32 " and is %s",
                     tael_u128_low(entries[i].sent.id), tael_u128_high(entries[i].sent.id), entries[i].result.status,
                     found ? "there" : "missing");
        }
        if (found) check_stored(&entries[i], &stored[seen++]);
    }
    assert_int_equal(seen, stored_count);
    return seen;
}

uint64_t check_acknowledged(struct tael_client *client, const struct load_session *session, uint64_t first,
                            uint64_t end) {
    uint64_t created = 0;
    while (first < end) {
        const uint64_t count = end - first < TAEL_EVENTS_MAX ? end - first : TAEL_EVENTS_MAX;
        static tael_u128 ids[TAEL_EVENTS_MAX];
        for (uint64_t i = 0; i < count; i++) ids[i] = session->entries[first + i].sent.id;
        const uint32_t found = read_transfers(client, TAEL_OPERATION_lookup_transfers, ids, (uint32_t)count);
        created += check_lookup(session->entries + first, count, found_transfers, found);
        first += count;
    }
    return created;
}

uint64_t check_once(struct tael_client *client, const struct load_session *session) {
    uint64_t count = 0;
    uint64_t number = 0;
    uint64_t timestamp = 0;
    for (;;) {
        const struct tael_query_filter filter = {
            .user_data_64 = session->number + 1, .timestamp_min = timestamp + 1, .limit = TAEL_EVENTS_MAX};
        const uint32_t found = read_transfers(client, TAEL_OPERATION_query_transfers, &filter, 1);
        const struct tael_transfer *transfers = found_transfers;
        for (uint32_t i = 0; i < found; i++) {
            /* A session sends its ids in rising order, one request after the other: none comes back. */
            assert_true(transfers[i].timestamp > timestamp);
            assert_int_equal(tael_u128_high(transfers[i].id), session->number + 1);
            assert_true(tael_u128_low(transfers[i].id) > number);
            timestamp = transfers[i].timestamp;
            number = tael_u128_low(transfers[i].id);
        }
        count += found;
        if (found < TAEL_EVENTS_MAX) return count;
    }
}
