/* The rule for holes, as a table: each row is a log made by hand on a simulated disk, and what recovery must make of it.
 *
 * A row's blocks stand behind each other as the writer would have put them; one that is `GONE` was never written, one that is
 * damaged was written first. All belong to one chain, but a block that a row takes from an older incarnation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "persist/block_check.h"
#include "persist/data_directory.h"
#include "persist/format.h"
#include "persist/recovery.h"
#include "tests/persist/block_maker.h"
#include "tests/sim/disk_sim.h"

#define SEGMENT_SIZE (256u << 10)
#define BLOCK_SIZE (16u << 10) /* at most; each takes exactly this much of its segment here */
#define K 4

enum state { GOOD = 0, GONE, BAD_BODY, BAD_HEADER, OTHER_LOG };

struct row_block {
    uint32_t sequence; /* 0 ends the list */
    uint32_t durable;
    uint32_t incarnation;
    enum state state;
    uint32_t segment; /* 0: the same as the one before; otherwise a new one begins with this block */
};

struct row {
    const char *name;
    struct row_block blocks[12];
    int result;
    uint32_t last; /* of the blocks that are left */
    bool cut;
    const char *text; /* in the refusal */
    uint32_t segment_first; /* not 0: what the last segment's header says its first block is */
    uint32_t header_bad; /* this segment's header is damaged */
};

static const struct row rows[] = {
    {.name = "an empty log is whole"},
    {.name = "a whole log is whole", .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GOOD, 0}, {3, 2, 1, GOOD, 0}}, .last = 3},
    {.name = "a last block whose body is torn is cut",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 0, 1, GOOD, 0}, {3, 0, 1, BAD_BODY, 0}},
     .last = 2,
     .cut = true},
    {.name = "a last block whose header is torn is cut",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 0, 1, GOOD, 0}, {3, 0, 1, BAD_HEADER, 0}},
     .last = 2,
     .cut = true},
    {.name = "a hole below the window, confirmed by none, is a tail",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 1, 1, GOOD, 0}, {4, 1, 1, GOOD, 0}, {5, 1, 1, GOOD, 0}},
     .last = 1,
     .cut = true},
    {.name = "a hole at the very first block is a tail",
     .blocks = {{1, 0, 1, GONE, 0}, {2, 0, 1, GOOD, 0}, {3, 0, 1, GOOD, 0}, {4, 0, 1, GOOD, 0}},
     .cut = true},
    {.name = "a block K after the hole shows that it was announced",
     .blocks = {{1, 0, 1, GOOD, 0},
                {2, 1, 1, GONE, 0},
                {3, 1, 1, GOOD, 0},
                {4, 1, 1, GOOD, 0},
                {5, 1, 1, GOOD, 0},
                {6, 1, 1, GOOD, 0}},
     .result = -EBADMSG,
     .text = "block 2 (segment 0000000000000001, offset 20480)"},
    {.name = "one that says the hole was durable shows it too",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 2, 1, GOOD, 0}},
     .result = -EBADMSG,
     .text = "as block 3 (segment 0000000000000001, offset 36864) shows"},
    {.name = "a damaged body is refused where it was confirmed",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, BAD_BODY, 0}, {3, 2, 1, GOOD, 0}},
     .result = -EBADMSG,
     .text = "its body's checksum differs"},
    {.name = "the header alone is evidence, though its body is torn",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 2, 1, BAD_BODY, 0}},
     .result = -EBADMSG,
     .text = "as block 3"},
    {.name = "a header that does not hold is no evidence",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 2, 1, BAD_HEADER, 0}},
     .last = 1,
     .cut = true},
    {.name = "a header of another log is no evidence",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 2, 1, OTHER_LOG, 0}},
     .last = 1,
     .cut = true},
    {.name = "a block of an incarnation before that of the last good block is no evidence",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 2, GOOD, 0}, {3, 2, 2, GONE, 0}, {4, 3, 1, GOOD, 0}, {7, 3, 1, GOOD, 0}},
     .last = 2,
     .cut = true},
    {.name = "one of the same incarnation is, though it is not the present one",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 2, GOOD, 0}, {3, 2, 2, GONE, 0}, {4, 3, 2, GOOD, 0}},
     .result = -EBADMSG,
     .text = "block 3"},
    {.name = "one of a later incarnation is",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GOOD, 0}, {3, 2, 2, GONE, 0}, {4, 3, 2, GOOD, 0}},
     .result = -EBADMSG,
     .text = "block 3"},
    {.name = "evidence is found in the segments that follow",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 1, 1, GOOD, 0}, {4, 2, 1, GOOD, 2}},
     .result = -EBADMSG,
     .text = "segment 0000000000000002, offset 4096) shows"},
    {.name = "blocks in flight over the end of a segment are a tail",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {3, 1, 1, GOOD, 2}, {4, 1, 1, GOOD, 0}},
     .last = 1,
     .cut = true},
    {.name = "the header of a segment that begins K after the hole shows that it was announced",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {6, 1, 1, GONE, 2}},
     .result = -EBADMSG,
     .text = "the segment that begins with block 6"},
    {.name = "a block below its segment's first one is of an earlier use, and no evidence",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GONE, 0}, {4, 3, 1, GOOD, 2}},
     .segment_first = 5,
     .last = 1,
     .cut = true},
    {.name = "a segment's header that is damaged is refused where its blocks are confirmed",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GOOD, 0}, {3, 2, 1, GOOD, 2}, {4, 3, 1, GOOD, 0}},
     .header_bad = 2,
     .result = -EBADMSG,
     .text = "block 3 (segment 0000000000000002, offset 0) does not hold: its header's checksum differs"},
    {.name = "one that never became durable loses the blocks behind it, which were not announced",
     .blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GOOD, 0}, {3, 1, 1, GOOD, 2}, {4, 1, 1, GOOD, 0}},
     .header_bad = 2,
     .last = 2,
     .cut = true},
};

struct rig {
    struct disk_sim *sim;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_recovery_result result;
    struct test_random random;
    struct block_maker maker;
    uint8_t *block;
    uint64_t segment;
    uint64_t offset;
    tael_u128 checksum;
    uint64_t recovered;
    bool waits; /* in the place of the disk */
    uint64_t wait_count;
    int wait_error;
};

static struct rig rig;

static int set_up(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.sim = disk_sim_new(1, 1ull << 40);
    rig.random.state = 5;
    rig.maker.random = &rig.random;
    rig.block = aligned_alloc(TAEL_SECTOR_SIZE, BLOCK_SIZE + TAEL_SECTOR_SIZE);
    const struct tael_format_options options = {
        .cluster = 3, .log_id = 17, .hash_key = 1, .limits = {.segment_size = SEGMENT_SIZE}, .segments = 3};
    if (tael_data_directory_format(disk_sim_disk(rig.sim), &options, &rig.superblock, &rig.report) != 0) return -1;
    rig.superblock.incarnation = 9;
    rig.segment = 1;
    rig.offset = TAEL_SECTOR_SIZE;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    disk_sim_free(rig.sim);
    free(rig.block);
    return 0;
}

static void segment_put(uint32_t number, uint64_t sequence_first, uint64_t op_first, uint64_t incarnation) {
    static struct tael_segment_header header;
    header = (struct tael_segment_header){
        .in_flight_max = K,
        .log_id = rig.superblock.log_id,
        .cluster = rig.superblock.cluster,
        .number = number,
        .sequence_first = sequence_first,
        .op_first = op_first,
        .incarnation = incarnation,
        .size = SEGMENT_SIZE,
    };
    tael_segment_header_seal(&header);
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, number, false);
    disk_sim_poke(rig.sim, name, &header, sizeof header, 0);
    rig.segment = number;
    rig.offset = TAEL_SECTOR_SIZE;
}

/* The block in memory, sealed. */
static struct tael_log_block *block_make(const struct row_block *row) {
    struct tael_block block = {.data = rig.block};
    memset(rig.block, 0, BLOCK_SIZE + TAEL_SECTOR_SIZE);
    block_maker_fill(&rig.maker, &block, BLOCK_SIZE - 512);
    struct tael_log_block *header = (struct tael_log_block *)(void *)rig.block;
    *header = (struct tael_log_block){
        .checksum_previous = rig.checksum,
        .log_id = row->state == OTHER_LOG ? 18 : rig.superblock.log_id,
        .cluster = rig.superblock.cluster,
        .size = block.size,
        .term = 1,
        .incarnation = row->incarnation,
        .sequence = row->sequence,
        .durable = row->durable,
        .op_first = block.first_op,
        .op_last = block.last_op,
        .request_count = block.request_count,
        .timestamp_last = rig.maker.timestamp_last,
    };
    tael_log_block_seal(header);
    rig.checksum = header->checksum;
    return header;
}

static void block_put(const struct row_block *row) {
    const struct tael_log_block *header = block_make(row);
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, rig.segment, false);
    if (row->state != GONE) disk_sim_poke(rig.sim, name, rig.block, tael_sector_round_up(header->size), rig.offset);
    if (row->state == BAD_BODY) disk_sim_flip_bit(rig.sim, name, rig.offset + header->size - 1, 3);
    if (row->state == BAD_HEADER) disk_sim_flip_bit(rig.sim, name, rig.offset + 130, 3);
    rig.offset += BLOCK_SIZE;
}

static void log_put(const struct row *row) {
    segment_put(1, 1, 1, 1);
    for (const struct row_block *block = row->blocks; block->sequence != 0; block++) {
        if (block->segment != 0) {
            segment_put(block->segment, row->segment_first != 0 ? row->segment_first : block->sequence,
                        rig.maker.op_last + 1, block->incarnation);
        }
        block_put(block);
    }
    if (row->header_bad == 0) return;
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, row->header_bad, false);
    disk_sim_flip_bit(rig.sim, name, 100, 0);
}

static int visit_block(void *context, const struct tael_log_block *block, const struct tael_place *place) {
    (void)context;
    (void)place;
    assert_true(block->sequence == ++rig.recovered);
    return 0;
}

static int wait_counted(void *context, struct tael_disk *disk) {
    (void)context;
    assert_true(disk == disk_sim_disk(rig.sim));
    rig.wait_count++;
    return rig.wait_error != 0 ? rig.wait_error : tael_disk_wait(disk);
}

static int recover(bool read_only) {
    const struct tael_recovery_options options = {
        .disk = disk_sim_disk(rig.sim),
        .superblock = &rig.superblock,
        .block = visit_block,
        .read_only = read_only,
        .window_size = 64u << 10,
        .wait = rig.waits ? wait_counted : NULL,
    };
    rig.recovered = rig.wait_count = 0;
    return tael_recovery_run(&options, &rig.result, &rig.report);
}

static void expect_refusal(const struct row *row, uint64_t before) {
    assert_true(disk_sim_checksum(rig.sim) == before);
    if (strstr(rig.report.text, row->text) == NULL) {
        fail_msg("%s: expected \"%s\" in \"%s\"", row->name, row->text, rig.report.text);
    }
}

/* Cut once, nothing is left to be cut. */
static void expect_recovery(const struct row *row) {
    if (rig.recovered != row->last || rig.result.cut != row->cut) {
        char text[512];
        fail_msg("%s: %s", row->name, tael_recovery_describe(&rig.result, text, sizeof text));
    }
    assert_true(rig.result.position.sequence_last == row->last);
    assert_int_equal(recover(false), 0);
    assert_true(rig.recovered == row->last);
    assert_false(rig.result.cut);
}

static void test_the_rule_for_holes(void **state) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        assert_int_equal(set_up(state), 0);
        log_put(row);
        const uint64_t before = disk_sim_checksum(rig.sim);
        const int looked = recover(true);
        assert_true(disk_sim_checksum(rig.sim) == before);
        const int result = recover(false);
        if (result != row->result || looked != result) fail_msg("%s: %d %s", row->name, result, rig.report.text);
        if (result != 0)
            expect_refusal(row, before);
        else
            expect_recovery(row);
        assert_int_equal(tear_down(state), 0);
    }
}

static const struct row whole = {.blocks = {{1, 0, 1, GOOD, 0}, {2, 1, 1, GOOD, 0}, {3, 2, 1, GOOD, 0}}};

static void test_a_read_error_is_never_a_tail(void **state) {
    (void)state;
    log_put(&whole);
    static const uint64_t offsets[] = {0, TAEL_SECTOR_SIZE, TAEL_SECTOR_SIZE + 3 * BLOCK_SIZE, SEGMENT_SIZE - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        disk_sim_set_read_error(rig.sim, "log/0000000000000001.segment", offsets[i]);
        assert_int_equal(recover(false), -EIO);
        assert_non_null(strstr(rig.report.text, "log/0000000000000001.segment cannot be read at offset"));
    }
    disk_sim_set_read_error(rig.sim, NULL, 0);
    assert_int_equal(recover(false), 0);
}

static void test_others_may_wait_for_the_disk(void **state) {
    (void)state;
    log_put(&whole);
    rig.waits = true;
    assert_int_equal(recover(false), 0);
    assert_true(rig.recovered == 3);
    assert_true(rig.wait_count > 0);
    rig.wait_error = -EINTR;
    assert_int_equal(recover(false), -EINTR);
    assert_true(rig.wait_count == 1);
    assert_non_null(strstr(rig.report.text, "the disk cannot be waited for"));
}

static void test_a_missing_segment_is_refused(void **state) {
    (void)state;
    log_put(&whole);
    assert_int_equal(tael_disk_remove(disk_sim_disk(rig.sim), "log/0000000000000002.segment"), 0);
    assert_int_equal(recover(false), -EBADMSG);
    assert_non_null(strstr(rig.report.text, "missing"));
    assert_int_equal(tael_disk_remove(disk_sim_disk(rig.sim), "log/0000000000000001.segment"), 0);
    assert_int_equal(recover(false), -EBADMSG);
    assert_non_null(strstr(rig.report.text, "the log's first segments are missing"));
}

static void test_a_superblock_older_than_the_log_is_refused(void **state) {
    (void)state;
    log_put(&whole);
    rig.superblock.incarnation = 0;
    assert_int_equal(recover(false), -EBADMSG);
    assert_non_null(strstr(rig.report.text, "its incarnation is above the superblock's"));
}

/* --- the meaning of a block --- */

/* Ways to spoil a block of one create with two events in two sub-batches. */
static void spoil_op(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->op++;
}
static void spoil_size(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->size = 0xffffff00u;
}
static void spoil_payload_size(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->size--;
}
static void spoil_operation(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->operation = 77;
}
static void spoil_read(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->operation = TAEL_OPERATION_lookup_accounts;
}
static void spoil_register(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->operation = TAEL_OPERATION_register;
}
static void spoil_events(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->event_count = UINT32_MAX;
}
static void spoil_batches(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->batch_count = 0;
}
static void spoil_batch_events(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    ((uint8_t *)(request + 1))[2 * TAEL_RECORD_SIZE]++;
}
static void spoil_timestamp(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->timestamp = 101;
}
static void spoil_timestamp_range(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->timestamp = UINT64_MAX;
}
static void spoil_reserved(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->reserved_b[35] = 1;
}
static void spoil_token(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->token = 1;
}
static void spoil_slots(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->slots = 1;
}
static void spoil_slot(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->slot = 64;
}
/* A register by datagram in place of the create. */
static void make_register(struct tael_request *request, uint16_t slots) {
    request->operation = TAEL_OPERATION_register;
    request->size = 0;
    request->event_count = 0;
    request->batch_count = 0;
    request->token = 77;
    request->slots = slots;
}
static void spoil_register_slots(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    make_register(request, 65);
}
static void spoil_register_slot(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    make_register(request, 64);
    request->slot = 1;
}
static void spoil_client(struct tael_log_block *header, struct tael_request *request) {
    (void)header;
    request->client = 0;
}
static void spoil_count(struct tael_log_block *header, struct tael_request *request) {
    (void)request;
    header->request_count++;
    header->op_last++;
}
static void spoil_count_only(struct tael_log_block *header, struct tael_request *request) {
    (void)request;
    header->request_count++;
}
static void spoil_first_op(struct tael_log_block *header, struct tael_request *request) {
    (void)request;
    header->op_first++;
}
static void spoil_tail(struct tael_log_block *header, struct tael_request *request) {
    (void)request;
    header->size += TAEL_RECORD_SIZE;
}
static void spoil_last_timestamp(struct tael_log_block *header, struct tael_request *request) {
    (void)request;
    header->timestamp_last++;
}

static const struct {
    void (*spoil)(struct tael_log_block *header, struct tael_request *request);
    const char *text;
} nonsense[] = {
    {spoil_op, "its op does not follow the one before"},
    {spoil_size, "it reaches beyond its block"},
    {spoil_payload_size, "a create's size does not match its events"},
    {spoil_operation, "its operation is unknown"},
    {spoil_read, "a read stands in the log"},
    {spoil_register, "a request without events has a payload"},
    {spoil_events, "a create has too many events"},
    {spoil_batches, "a create has no sub-batch"},
    {spoil_batch_events, "a create's sub-batches do not add up to its events"},
    {spoil_timestamp, "its timestamps do not rise"},
    {spoil_timestamp_range, "its timestamp is out of range"},
    {spoil_reserved, "a reserved field is set"},
    {spoil_token, "a token stands in a request that opens no session"},
    {spoil_slots, "a session has a token without slots, or slots without a token"},
    {spoil_slot, "a create's slot is out of range"},
    {spoil_register_slots, "a session has too many slots"},
    {spoil_register_slot, "a request that is no create names a slot"},
    {spoil_client, "a create has no client"},
    {spoil_count, "it reaches beyond its block"},
    {spoil_count_only, "its ops do not match its requests"},
    {spoil_first_op, "its first op does not follow the one before"},
    {spoil_tail, "bytes stand behind its last request"},
    {spoil_last_timestamp, "its last timestamp is not its last request's"},
};

static void test_a_block_that_makes_no_sense_is_told_by_its_first_fault(void **state) {
    (void)state;
    static _Alignas(TAEL_SECTOR_SIZE) uint8_t data[TAEL_SECTOR_SIZE];
    const struct tael_block_context context = {.op_last = 41, .timestamp_last = 100};
    struct tael_block_problem problem;
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        memset(data, 0, sizeof data);
        struct tael_log_block *header = (struct tael_log_block *)(void *)data;
        struct tael_request *request = (struct tael_request *)(void *)(data + sizeof *header);
        *request = (struct tael_request){
            .client = 5,
            .op = 42,
            .timestamp = 103,
            .size = tael_request_payload_size(2, 2),
            .event_count = 2,
            .batch_count = 2,
            .operation = TAEL_OPERATION_create_transfers,
        };
        const uint16_t counts[2] = {0, 2};
        memcpy((uint8_t *)(request + 1) + 2 * TAEL_RECORD_SIZE, counts, sizeof counts);
        *header = (struct tael_log_block){
            .size = (uint32_t)sizeof *header + tael_request_size_in_block(request->size),
            .op_first = 42,
            .op_last = 42,
            .request_count = 1,
            .timestamp_last = 103,
        };
        assert_true(tael_block_check(header, &context, &problem));
        nonsense[i].spoil(header, request);
        assert_false(tael_block_check(header, &context, &problem));
        assert_string_equal(problem.text, nonsense[i].text);
    }
}

static void test_a_whole_block_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    segment_put(1, 1, 1, 1);
    const struct row_block row = {.sequence = 1, .incarnation = 1};
    struct tael_log_block *header = block_make(&row);
    struct tael_request *request = (struct tael_request *)(void *)(header + 1);
    request->op = 7;
    tael_log_block_seal(header);
    disk_sim_poke(rig.sim, "log/0000000000000001.segment", rig.block, tael_sector_round_up(header->size),
                  TAEL_SECTOR_SIZE);
    assert_int_equal(recover(false), -EBADMSG);
    assert_non_null(
        strstr(rig.report.text, "block 1 (segment 0000000000000001, offset 4096) is whole but makes no sense"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rule_for_holes),
        cmocka_unit_test_setup_teardown(test_a_read_error_is_never_a_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_may_wait_for_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_missing_segment_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_superblock_older_than_the_log_is_refused, set_up, tear_down),
        cmocka_unit_test(test_a_block_that_makes_no_sense_is_told_by_its_first_fault),
        cmocka_unit_test_setup_teardown(test_a_whole_block_that_makes_no_sense_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
