/* See rule_table.h. */
#include "tests/rules/rule_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/model/model.h"

static tael_u128 id_next = 1000000;

static uint64_t resolve(const struct story *story, const struct rule_table *table, uint64_t timestamp,
                        uint32_t event_count) {
    switch (timestamp) {
    case AT_BATCH:
        return story_timestamp_next(story, event_count);
    case AT_ACCOUNT_LAST:
        return table->account_last;
    case AT_TRANSFER_LAST:
        return table->transfer_last;
    case AT_GAP:
        return table->gap;
    default:
        return timestamp;
    }
}

/* Both kinds of event have id, flags and timestamp in the same places. */
static_assert(offsetof(struct tael_account, flags) == offsetof(struct tael_transfer, flags), "wire format");
static_assert(offsetof(struct tael_account, timestamp) == offsetof(struct tael_transfer, timestamp), "wire format");

/* Of the field at an offset: both kinds of event have fields of the same sizes. */
static uint32_t field_size(uint32_t offset) {
    if (offset < 96) return 16;
    if (offset == 96 || offset == 120) return 8;
    return offset == 116 ? 2 : 4;
}

static void set_fields(const struct rule_row *row, struct tael_transfer *event) {
    for (uint32_t bit = 0; bit < TAEL_RECORD_SIZE / 4; bit++) {
        if ((row->fields & (1ull << bit)) == 0) continue;
        memcpy((uint8_t *)event + (size_t)bit * 4, row->bytes + (size_t)bit * 4, field_size(bit * 4));
    }
    event->flags = (uint16_t)((event->flags & ~row->flags_clear) | row->flags_set);
}

/* Can both rows be broken by one event? */
static bool compatible(const struct rule_row *a, const struct rule_row *b) {
    if ((a->flags_set & b->flags_clear) != 0 || (a->flags_clear & b->flags_set) != 0) return false;
    if ((a->before_set & b->before_clear) != 0 || (a->before_clear & b->before_set) != 0) return false;
    const uint64_t both = a->fields & b->fields;
    for (uint32_t bit = 0; bit < TAEL_RECORD_SIZE / 4; bit++) {
        if ((both & (1ull << bit)) == 0) continue;
        const uint32_t size = field_size(bit * 4);
        if (memcmp(a->bytes + (size_t)bit * 4, b->bytes + (size_t)bit * 4, size) != 0) return false;
    }
    return true;
}

static void add_before(struct story *story, const struct rule_row *first, const struct rule_row *second) {
    const uint16_t imported = story->request->operation == TAEL_OPERATION_create_accounts
                                  ? (uint16_t)TAEL_ACCOUNT_FLAG_imported
                                  : (uint16_t)TAEL_TRANSFER_FLAG_imported;
    struct tael_transfer before = {.id = 0};
    before.flags = (uint16_t)(first->before_set | second->before_set);
    if (before.flags & imported) before.timestamp = 1;
    story_add(story, &before);
}

/* Sends the base event, changed by the rows. */
static struct tael_create_result send(struct story *story, const struct rule_table *table, const struct rule_row *first,
                                      const struct rule_row *second, struct tael_transfer *sent) {
    const uint8_t operation = table->accounts ? TAEL_OPERATION_create_accounts : TAEL_OPERATION_create_transfers;
    const bool two = first->second || second->second;
    story_begin(story, operation);
    if (two) add_before(story, first, second);
    memcpy(sent, table->base, sizeof *sent);
    if (!table->keep_id) sent->id = id_next++;
    set_fields(second, sent);
    set_fields(first, sent);
    sent->timestamp = resolve(story, table, sent->timestamp, two ? 2 : 1);
    if (!table->accounts && sent->pending_id == OWN_ID) sent->pending_id = sent->id;
    story_add(story, sent);
    story_send(story);
    return story->results[two ? 1 : 0];
}

struct tael_create_result rule_table_send(struct story *story, const struct rule_table *table,
                                          const struct rule_row *row) {
    static const struct rule_row nothing = {.status = 0};
    struct tael_transfer sent;
    return send(story, table, row != NULL ? row : &nothing, &nothing, &sent);
}

struct snapshot {
    tael_u128 digest;
    uint64_t last[2];
    uint32_t accounts_size;
    uint8_t *accounts;
};

static struct snapshot snapshot_take(struct story *story) {
    const struct tael_query_filter all = {.limit = UINT32_MAX};
    (void)story_read(story, TAEL_OPERATION_query_accounts, &all);
    struct snapshot snapshot = {
        .digest = story->subject->digest(story->ledger),
        .last = {story->op, story->timestamp},
        .accounts_size = story->reply_size,
        .accounts = malloc(story->reply_size),
    };
    assert_non_null(snapshot.accounts);
    memcpy(snapshot.accounts, story->reply, story->reply_size);
    return snapshot;
}

/* Nothing but op, timestamp and perhaps one burnt id may have changed. */
static void assert_unchanged(struct story *story, const struct snapshot *before, const tael_u128 *burnt_id) {
    struct snapshot after = snapshot_take(story);
    assert_int_equal(after.accounts_size, before->accounts_size);
    assert_memory_equal(after.accounts, before->accounts, after.accounts_size);
    tael_u128 expected = before->digest;
    expected -= tael_model_digest_element(6, before->last, sizeof before->last);
    expected += tael_model_digest_element(6, after.last, sizeof after.last);
    if (burnt_id != NULL) expected += tael_model_digest_element(4, burnt_id, sizeof *burnt_id);
    assert_true(after.digest == expected);
    free(after.accounts);
}

static const char *name_of(const struct rule_table *table, uint32_t status) {
    const char *name = table->accounts ? tael_account_status_name(status) : tael_transfer_status_name(status);
    return name != NULL ? name : "no status at all";
}

static void expect(struct story *story, const struct rule_table *table, const struct rule_row *first,
                   const struct rule_row *second) {
    struct snapshot before = snapshot_take(story);
    struct tael_transfer sent;
    const struct tael_create_result result = send(story, table, first, second, &sent);
    if (result.status != first->status) {
        fail_msg("%s: an event that breaks %u %s%s%s (rows %d and %d) got %u %s", story->subject->name, first->status,
                 name_of(table, first->status), second->status != 0 ? " and " : "",
                 second->status != 0 ? name_of(table, second->status) : "", (int)(first - table->rows),
                 second->status != 0 ? (int)(second - table->rows) : -1, result.status, name_of(table, result.status));
    }
    const bool burnt = !table->accounts && tael_transfer_status_is_transient(first->status);
    if (!table->accounts ? first->status != TAEL_TRANSFER_exists : first->status != TAEL_ACCOUNT_exists) {
        assert_int_equal(result.timestamp, story->timestamp);
    }
    assert_unchanged(story, &before, burnt ? &sent.id : NULL);
    free(before.accounts);
}

static void assert_neighbours_tried(const struct rule_table *table, const bool *tried) {
    for (uint32_t i = 0; i + 1 < table->row_count; i++) {
        const uint32_t first = table->rows[i].status;
        const uint32_t second = table->rows[i + 1].status;
        bool done = first == second;
        for (uint32_t a = 0; a < table->row_count; a++) {
            for (uint32_t b = 0; b < table->row_count; b++) {
                const bool both = table->rows[a].status == first && table->rows[b].status == second;
                if (both && tried[a * table->row_count + b]) done = true;
            }
            if (table->rows[a].status == first && table->rows[a].also == second) done = true;
        }
        bool exclusive = false;
        for (uint32_t e = 0; e < table->exclusive_count; e++) {
            exclusive |= table->exclusive[e].first == first && table->exclusive[e].second == second;
        }
        if (done == exclusive) {
            fail_msg("neighbours %u %s and %u %s were %s together", first, name_of(table, first), second,
                     name_of(table, second), done ? "tried, though listed as exclusive," : "never tried");
        }
    }
}

void rule_table_run(struct story *story, const struct rule_table *table) {
    static const struct rule_row nothing = {.status = 0};
    bool *tried = calloc((size_t)table->row_count * table->row_count, sizeof *tried);
    assert_non_null(tried);
    for (uint32_t a = 0; a < table->row_count; a++) {
        const struct rule_row *first = &table->rows[a];
        expect(story, table, first, &nothing);
        for (uint32_t b = a + 1; b < table->row_count; b++) {
            const struct rule_row *second = &table->rows[b];
            if (second->status == first->status || !compatible(first, second)) continue;
            expect(story, table, first, second);
            tried[a * table->row_count + b] = true;
        }
    }
    assert_neighbours_tried(table, tried);
    free(tried);
    assert_true(story->subject->balanced(story->ledger));
}

void rule_table_cover(const struct rule_table *table, bool *reached) {
    for (uint32_t i = 0; i < table->row_count; i++) reached[table->rows[i].status] = true;
}
