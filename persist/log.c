#include "persist/log.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/request.h>

#include "persist/block_check.h"
#include "persist/format.h"
#include "persist/prepare.h"

#define SLOTS (2 * TAEL_LOG_IN_FLIGHT_MAX) /* twice: one planted fault exceeds the window */
/* What a write costs whatever its size, some 30 us of a processor, counts until a block has so many bytes (docs/benchmarks.md). With two
 * small ones in flight one can be written while the next one's requests arrive: 64 sessions that send one transfer at a time get
 * half as much again through as with eight, at half the p99; four sessions lose nothing, with one in flight they lose a fifth. */
#define SMALL_BLOCK_SIZE (64u << 10)
#define SMALL_IN_FLIGHT 2
#define SEGMENTS_OPEN_MAX (SLOTS + 2) /* the current one, and those whose blocks are still in flight */

/* A segment that has been begun. */
struct segment {
    struct tael_disk_request request; /* writes the header */
    struct tael_log *log;
    struct tael_segment_header *header; /* its sector */
    tael_file file; /* TAEL_FILE_NONE: this place is free */
    uint64_t number;
    uint32_t in_flight_max; /* K */
    uint32_t writes; /* in flight, the header's included */
    bool header_durable;
};

/* A block in flight. */
struct slot {
    struct tael_disk_request request;
    struct tael_log *log;
    struct segment *segment;
    uint64_t sequence;
    uint64_t op_last;
    uint64_t submitted_ns;
    bool busy;
    bool written;
    bool empty;
};

/* A segment that is prepared and not yet begun. */
struct ready {
    tael_file file;
    uint64_t number;
};

struct tael_log {
    _Alignas(TAEL_CACHE_LINE) struct tael_watermark durable_op;
    struct tael_disk *disk;
    struct tael_log_options options; /* defaults filled in */
    uint64_t segment_size;
    int error; /* the first; sticks */

    /* What every block's header repeats. */
    tael_u128 log_id;
    tael_u128 cluster;
    uint64_t term;
    uint64_t incarnation;

    /* The last block that was submitted. */
    uint64_t sequence;
    tael_u128 checksum;
    uint64_t op_last;
    uint64_t timestamp_last;
    bool confirmed; /* it is empty and confirms all before it */
    uint64_t announced; /* the last block that was announced */
    struct slot slots[SLOTS]; /* block q at q % SLOTS */

    uint32_t window; /* K that counts now */
    uint64_t window_until; /* narrow until this block is announced and the segment begun after it is durable */

    struct segment segments[SEGMENTS_OPEN_MAX];
    struct segment *current; /* NULL before the first */
    uint64_t offset; /* of the next block in it */

    struct ready ready[TAEL_LOG_SEGMENTS_AHEAD_MAX]; /* in order of number */
    uint32_t ready_count;
    uint64_t ready_last; /* number of the last segment that is begun or in `ready` */
    uint64_t segment_last; /* number of the last segment that exists */
    struct tael_preparer preparer;

    enum tael_log_space space;
    uint64_t space_retry_at_ns;
    uint64_t now_ns;
    uint64_t active_ns; /* when a block was last submitted or announced */

    struct tael_block block_empty;
    struct tael_log_counters counters;
};

/* --- start --- */

static struct tael_log_options options_complete(const struct tael_log_options *options) {
    struct tael_log_options complete = *options;
    if (complete.in_flight_max == 0) complete.in_flight_max = TAEL_LOG_IN_FLIGHT_DEFAULT;
    if (complete.block_size_max == 0) complete.block_size_max = TAEL_BLOCK_SIZE_MAX;
    if (complete.segments_ahead == 0) complete.segments_ahead = TAEL_LOG_SEGMENTS_AHEAD_DEFAULT;
    if (complete.idle_ns == 0) complete.idle_ns = TAEL_LOG_IDLE_NS_DEFAULT;
    if (complete.space_retry_ns == 0) complete.space_retry_ns = TAEL_LOG_SPACE_RETRY_NS_DEFAULT;
    TAEL_ASSERT(complete.in_flight_max <= TAEL_LOG_IN_FLIGHT_MAX);
    TAEL_ASSERT(complete.segments_ahead <= TAEL_LOG_SEGMENTS_AHEAD_MAX);
    TAEL_ASSERT(complete.block_size_max <= TAEL_BLOCK_SIZE_MAX);
    TAEL_ASSERT(complete.block_size_max % TAEL_SECTOR_SIZE == 0);
    return complete;
}

size_t tael_log_size_bytes(const struct tael_log_options *options) {
    (void)options;
    return tael_arena_share(sizeof(struct tael_log)) + tael_arena_share_aligned(TAEL_PREPARE_SLICE_SIZE) +
           tael_arena_share_aligned(SEGMENTS_OPEN_MAX * sizeof(struct tael_segment_header)) +
           tael_arena_share_aligned(TAEL_SECTOR_SIZE);
}

static void take_memory(struct tael_log *log, struct tael_arena *arena, void **zeros) {
    *zeros = tael_arena_take_aligned(arena, TAEL_PREPARE_SLICE_SIZE);
    struct tael_segment_header *headers =
        tael_arena_take_aligned(arena, SEGMENTS_OPEN_MAX * sizeof(struct tael_segment_header));
    for (uint32_t i = 0; i < SEGMENTS_OPEN_MAX; i++) {
        log->segments[i] = (struct segment){.log = log, .header = &headers[i], .file = TAEL_FILE_NONE};
    }
    log->block_empty = (struct tael_block){
        .data = tael_arena_take_aligned(arena, TAEL_SECTOR_SIZE),
        .size = TAEL_BLOCK_HEADER_SIZE,
    };
}

static int segment_open(struct tael_disk *disk, uint64_t number, tael_file *file, struct tael_report *report) {
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, number, false);
    const int error = tael_disk_open(disk, name, TAEL_DISK_WRITE, file);
    if (error != 0) tael_report_set(report, "%s cannot be opened: %s", name, strerror(-error));
    return error;
}

static int open_current(struct tael_log *log, const struct tael_log_position *position, struct tael_report *report) {
    if (position->segment == 0) return 0;
    TAEL_ASSERT(position->offset % TAEL_SECTOR_SIZE == 0);
    TAEL_ASSERT(position->offset <= log->segment_size);
    struct segment *segment = &log->segments[0];
    const int error = segment_open(log->disk, position->segment, &segment->file, report);
    if (error != 0) return error;
    segment->number = position->segment;
    segment->in_flight_max = position->in_flight_max;
    segment->header_durable = true;
    log->current = segment;
    log->offset = position->offset;
    return 0;
}

/* Opens segments that exist already, as many as there is a place for. */
static int open_ready(struct tael_log *log, struct tael_report *report) {
    while (log->ready_last < log->segment_last && log->ready_count < TAEL_LOG_SEGMENTS_AHEAD_MAX) {
        struct ready *ready = &log->ready[log->ready_count];
        const int error = segment_open(log->disk, log->ready_last + 1, &ready->file, report);
        if (error != 0) return error;
        ready->number = ++log->ready_last;
        log->ready_count++;
    }
    return 0;
}

static void close_files(struct tael_log *log) {
    for (uint32_t i = 0; i < SEGMENTS_OPEN_MAX; i++) {
        if (log->segments[i].file == TAEL_FILE_NONE) continue;
        tael_disk_close(log->disk, log->segments[i].file);
        log->segments[i].file = TAEL_FILE_NONE;
    }
    for (uint32_t i = 0; i < log->ready_count; i++) tael_disk_close(log->disk, log->ready[i].file);
    log->ready_count = 0;
}

/* Removes what a preparation left behind that never ended. */
static int visit_leftover(void *context, const char *name) {
    uint64_t number;
    bool preparing;
    if (!tael_segment_name_parse(name, &number, &preparing)) return 0;
    if (!preparing) return 0;
    *(uint64_t *)context = number;
    return 1;
}

static int remove_leftovers(struct tael_disk *disk, struct tael_report *report) {
    int result;
    uint64_t number = 0;
    while ((result = tael_disk_list(disk, TAEL_LOG_DIRECTORY, visit_leftover, &number)) == 1) {
        char name[TAEL_DISK_NAME_MAX];
        tael_segment_name(name, number, true);
        result = tael_disk_remove(disk, name);
        if (result != 0) break;
    }
    if (result != 0) tael_report_set(report, "leftovers in `log` cannot be removed: %s", strerror(-result));
    return result;
}

int tael_log_init(struct tael_arena *arena, const struct tael_log_options *options, struct tael_disk *disk,
                  const struct tael_superblock *superblock, const struct tael_log_position *position,
                  struct tael_log **out, struct tael_report *report) {
    struct tael_log *log = tael_arena_take(arena, sizeof *log);
    void *zeros;
    take_memory(log, arena, &zeros);
    log->disk = disk;
    log->options = options_complete(options);
    log->segment_size = superblock->limits.segment_size;
    if (log->segment_size < TAEL_SECTOR_SIZE + log->options.block_size_max) {
        tael_report_set(report, "segments of %" PRIu64 " bytes are too small for one block", log->segment_size);
        return -EINVAL;
    }
    log->log_id = superblock->log_id;
    log->cluster = superblock->cluster;
    log->term = superblock->term;
    log->incarnation = superblock->incarnation;
    log->sequence = log->announced = position->sequence_last;
    log->checksum = position->checksum_last;
    log->op_last = position->op_last;
    log->timestamp_last = position->timestamp_last;
    log->confirmed = position->confirmed;
    log->window = log->options.in_flight_max;
    log->segment_last = position->segment_last;
    log->ready_last = position->segment;
    tael_watermark_publish(&log->durable_op, log->op_last);

    int error = remove_leftovers(disk, report);
    if (error == 0) error = open_current(log, position, report);
    if (error == 0) error = open_ready(log, report);
    if (error == 0) error = tael_preparer_init(&log->preparer, disk, zeros, log->segment_size);
    if (error != 0) {
        close_files(log);
        return error;
    }
    log->preparer.fault_no_directory_sync = (log->options.faults & TAEL_LOG_FAULT_NO_DIRECTORY_SYNC) != 0;
    if (log->current != NULL && log->current->in_flight_max < log->window) log->window = log->current->in_flight_max;
    log->window_until = UINT64_MAX; /* narrow while the old segment goes on */
    *out = log;
    return 0;
}

/* --- failure --- */

static void fail(struct tael_log *log, int error) {
    TAEL_ASSERT(error < 0);
    if (log->error == 0) log->error = error;
}

/* What a write of `request` came to; a short one is as bad as a failed one. */
static bool write_succeeded(struct tael_log *log, const struct tael_disk_request *request, int32_t result) {
    if (result >= 0 && (uint32_t)result == request->size) return true;
    fail(log, result < 0 ? result : -EIO);
    return false;
}

/* --- segments --- */

static void header_done(struct tael_disk_request *request, int32_t result) {
    struct segment *segment = TAEL_CONTAINER_OF(request, struct segment, request);
    TAEL_ASSERT(segment->writes > 0);
    TAEL_ASSERT(!segment->header_durable);
    segment->writes--;
    segment->header_durable = write_succeeded(segment->log, request, result);
}

static struct segment *segment_place(struct tael_log *log) {
    for (uint32_t i = 0; i < SEGMENTS_OPEN_MAX; i++) {
        if (log->segments[i].file == TAEL_FILE_NONE) return &log->segments[i];
    }
    TAEL_ASSERT(false);
    return NULL;
}

static void header_write(struct tael_log *log, struct segment *segment) {
    *segment->header = (struct tael_segment_header){
        .in_flight_max = segment->in_flight_max,
        .log_id = log->log_id,
        .cluster = log->cluster,
        .number = segment->number,
        .sequence_first = log->sequence + 1,
        .op_first = log->op_last + 1,
        .incarnation = log->incarnation,
        .size = log->segment_size,
    };
    tael_segment_header_seal(segment->header);
    segment->request = (struct tael_disk_request){
        .done = header_done,
        .verb = TAEL_DISK_VERB_WRITE,
        .file = segment->file,
        .durable = true,
        .size = sizeof *segment->header,
        .buffer = segment->header,
    };
    segment->writes++;
    tael_disk_submit(log->disk, &segment->request);
}

/* Goes on in the next segment, whose header goes out just before its first block. */
static void segment_begin(struct tael_log *log) {
    TAEL_ASSERT(log->ready_count > 0);
    const struct ready ready = log->ready[0];
    memmove(&log->ready[0], &log->ready[1], --log->ready_count * sizeof ready);
    TAEL_ASSERT(log->current == NULL || ready.number == log->current->number + 1);

    if (log->current != NULL) log->counters.bytes_wasted += log->segment_size - log->offset;
    if (log->window_until == UINT64_MAX) log->window_until = log->sequence;
    struct segment *segment = segment_place(log);
    *segment = (struct segment){
        .log = log,
        .header = segment->header,
        .file = ready.file,
        .number = ready.number,
        .in_flight_max = log->options.in_flight_max,
    };
    log->current = segment;
    log->offset = sizeof(struct tael_segment_header);
    log->counters.segments_begun++;
    header_write(log, segment);
}

/* Closes segments that the log has left, once nothing is in flight to them. */
static int segments_retire(struct tael_log *log) {
    int work = 0;
    for (uint32_t i = 0; i < SEGMENTS_OPEN_MAX; i++) {
        struct segment *segment = &log->segments[i];
        if (segment->file == TAEL_FILE_NONE || segment == log->current || segment->writes > 0) continue;
        tael_disk_close(log->disk, segment->file);
        segment->file = TAEL_FILE_NONE;
        work++;
    }
    return work;
}

/* --- blocks --- */

static uint32_t window_of(const struct tael_log *log) {
    return (log->options.faults & TAEL_LOG_FAULT_WINDOW) != 0 ? 2 * log->window : log->window;
}

bool tael_log_can_submit(const struct tael_log *log) {
    if (log->error != 0) return false;
    if (log->sequence + 1 > log->announced + window_of(log)) return false;
    return !log->slots[(log->sequence + 1) % SLOTS].busy;
}

uint32_t tael_log_size_min(const struct tael_log *log) {
    if (!tael_log_can_submit(log)) return UINT32_MAX;
    return log->sequence - log->announced < SMALL_IN_FLIGHT ? 0 : SMALL_BLOCK_SIZE;
}

static bool fits_current(const struct tael_log *log, uint32_t size_padded) {
    if (log->current == NULL) return false;
    return log->offset + size_padded <= log->segment_size;
}

static uint64_t timestamp_of_last_request(const struct tael_log *log, const struct tael_block *block) {
    const struct tael_request *request = tael_block_first_request(block);
    uint64_t timestamp = log->timestamp_last;
    for (uint32_t i = 0; i < block->request_count; i++) {
        TAEL_ASSERT(request->op == block->first_op + i);
        timestamp = request->timestamp;
        request = tael_request_next(request);
    }
    TAEL_ASSERT((const uint8_t *)request == block->data + block->size);
    return timestamp;
}

/* Fills in the header; only then are the bytes as they go to the disk. */
static void block_seal(struct tael_log *log, struct tael_block *block) {
    const uint32_t size_padded = tael_sector_round_up(block->size);
    memset(block->data + block->size, 0, size_padded - block->size);
    struct tael_log_block *header = (struct tael_log_block *)(void *)block->data;
    *header = (struct tael_log_block){
        .checksum_previous = log->checksum,
        .log_id = log->log_id,
        .cluster = log->cluster,
        .size = block->size,
        .term = log->term,
        .incarnation = log->incarnation,
        .sequence = log->sequence + 1,
        .durable = log->announced,
        .op_first = block->first_op,
        .op_last = block->last_op,
        .request_count = block->request_count,
        .timestamp_last = timestamp_of_last_request(log, block),
    };
    tael_log_block_seal(header);
    if (TAEL_CHECK_COSTLY) {
        struct tael_block_problem problem;
        const struct tael_block_context context = {.op_last = log->op_last, .timestamp_last = log->timestamp_last};
        TAEL_ASSERT(tael_block_check(header, &context, &problem));
    }
}

static void block_done(struct tael_disk_request *request, int32_t result) {
    struct slot *slot = TAEL_CONTAINER_OF(request, struct slot, request);
    TAEL_ASSERT(slot->busy);
    TAEL_ASSERT(!slot->written);
    TAEL_ASSERT(slot->segment->writes > 0);
    slot->segment->writes--;
    slot->written = write_succeeded(slot->log, request, result);
}

static void block_write(struct tael_log *log, const struct tael_block *block) {
    struct slot *slot = &log->slots[block->sequence % SLOTS];
    TAEL_ASSERT(!slot->busy);
    *slot = (struct slot){
        .request =
            {
                .done = block_done,
                .verb = TAEL_DISK_VERB_WRITE,
                .file = log->current->file,
                .durable = (log->options.faults & TAEL_LOG_FAULT_NO_SYNC) == 0,
                .size = tael_sector_round_up(block->size),
                .offset = log->offset,
                .buffer = block->data,
            },
        .log = log,
        .segment = log->current,
        .sequence = block->sequence,
        .op_last = block->last_op,
        .submitted_ns = log->now_ns,
        .busy = true,
        .empty = block->request_count == 0,
    };
    log->current->writes++;
    log->offset += slot->request.size;
    tael_disk_submit(log->disk, &slot->request);
}

void tael_log_submit(struct tael_log *log, struct tael_block *block) {
    TAEL_ASSERT(tael_log_can_submit(log));
    TAEL_ASSERT(block->size >= TAEL_BLOCK_HEADER_SIZE);
    TAEL_ASSERT(block->size <= log->options.block_size_max);
    TAEL_ASSERT(block->first_op == log->op_last + 1);
    TAEL_ASSERT(block->last_op == log->op_last + block->request_count);
    TAEL_ASSERT((uintptr_t)block->data % TAEL_SECTOR_SIZE == 0);
    if (!fits_current(log, tael_sector_round_up(block->size))) segment_begin(log);

    block_seal(log, block);
    const struct tael_log_block *header = (const struct tael_log_block *)(const void *)block->data;
    log->sequence = block->sequence = header->sequence;
    log->checksum = header->checksum;
    log->op_last = header->op_last;
    log->timestamp_last = header->timestamp_last;
    log->confirmed = block->request_count == 0 && header->durable + 1 == header->sequence;
    log->active_ns = log->now_ns;
    block_write(log, block);
}

/* --- announcing --- */

static bool slot_durable(const struct tael_log *log, const struct slot *slot) {
    if (!slot->busy || !slot->written) return false;
    return slot->segment->header_durable || (log->options.faults & TAEL_LOG_FAULT_HEADER_LATE) != 0;
}

static void slot_announce(struct tael_log *log, struct slot *slot) {
    TAEL_ASSERT(slot->busy);
    log->announced = slot->sequence;
    log->counters.blocks++;
    log->counters.blocks_empty += slot->empty;
    log->counters.bytes += slot->request.size;
    log->counters.commit_ns += log->now_ns - slot->submitted_ns;
    log->active_ns = log->now_ns;
    slot->busy = false;
    tael_watermark_publish(&log->durable_op, slot->op_last);
}

/* The planted fault: whatever is durable is announced, whatever is still missing before it. */
static int announce_out_of_order(struct tael_log *log) {
    int work = 0;
    for (uint64_t sequence = log->announced + 1; sequence <= log->sequence; sequence++) {
        struct slot *slot = &log->slots[sequence % SLOTS];
        if (slot->sequence != sequence || !slot_durable(log, slot)) continue;
        slot_announce(log, slot);
        work++;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &log->slots[i];
        if (slot->busy && slot->written && slot->sequence <= log->announced) slot->busy = false;
    }
    return work;
}

static int announce(struct tael_log *log) {
    if ((log->options.faults & TAEL_LOG_FAULT_OUT_OF_ORDER) != 0) return announce_out_of_order(log);
    int work = 0;
    while (log->announced < log->sequence) {
        struct slot *slot = &log->slots[(log->announced + 1) % SLOTS];
        TAEL_ASSERT(slot->sequence == log->announced + 1);
        if (!slot_durable(log, slot)) break;
        slot_announce(log, slot);
        work++;
    }
    return work;
}

/* Takes up the new segments' K once no block of the old one is in doubt any more (invariant 1). */
static void window_widen(struct tael_log *log) {
    if (log->window == log->options.in_flight_max || log->current == NULL) return;
    if (log->window_until == UINT64_MAX || log->announced < log->window_until) return;
    if (log->current->in_flight_max != log->options.in_flight_max || !log->current->header_durable) return;
    log->window = log->options.in_flight_max;
}

/* --- space and preparation --- */

static void notice(const struct tael_log *log, const char *text) {
    if (log->options.notice != NULL) log->options.notice(log->options.context, text);
}

/* `lack` is the error behind TAEL_LOG_SPACE_NONE. */
static void space_is(struct tael_log *log, enum tael_log_space space, int lack) {
    if (log->space == space) return;
    char none[256];
    (void)snprintf(
        none, sizeof none,
        "%s: no further log segment can be made. Requests are refused once what is prepared is used up, and taken "
        "again when there is room",
        lack == -ENOSPC ? "the disk is full" : strerror(-lack));
    const char *const texts[] = {
        [TAEL_LOG_SPACE_OK] = "the log has room on the disk again",
        [TAEL_LOG_SPACE_LOW] = "the disk is nearly full: little room is left for the log; free or add space",
        [TAEL_LOG_SPACE_NONE] = none,
    };
    log->space = space;
    notice(log, texts[space]);
}

/* Room for the segment itself, and whether much is left beyond. Keeps a little for the file system's own needs, so that asking
 * does not fill the disk to the brim for everybody else. */
static enum tael_log_space space_look(struct tael_log *log) {
    uint64_t free_bytes;
    if (tael_disk_free_space(log->disk, &free_bytes) != 0) return TAEL_LOG_SPACE_OK; /* trying will tell */
    log->counters.bytes_free = free_bytes;
    if (free_bytes < log->segment_size + log->segment_size / 16) return TAEL_LOG_SPACE_NONE;
    return free_bytes < (log->options.segments_ahead + 4) * log->segment_size ? TAEL_LOG_SPACE_LOW : TAEL_LOG_SPACE_OK;
}

static void space_gone(struct tael_log *log, int lack) {
    log->counters.segments_refused++;
    log->space_retry_at_ns = log->now_ns + log->options.space_retry_ns;
    space_is(log, TAEL_LOG_SPACE_NONE, lack);
}

static int prepare_start(struct tael_log *log) {
    if (log->ready_count >= log->options.segments_ahead) return 0;
    if (log->space == TAEL_LOG_SPACE_NONE && log->now_ns < log->space_retry_at_ns) return 0;
    const enum tael_log_space space = space_look(log);
    if (space == TAEL_LOG_SPACE_NONE) {
        space_gone(log, -ENOSPC);
        return 0;
    }
    /* Back from none only when a segment was really made. */
    if (log->space != TAEL_LOG_SPACE_NONE) space_is(log, space, 0);
    tael_preparer_start(&log->preparer, log->segment_last + 1);
    return 1;
}

static void prepare_end(struct tael_log *log) {
    log->ready[log->ready_count++] =
        (struct ready){.file = tael_preparer_take(&log->preparer), .number = log->preparer.number};
    log->ready_last = log->segment_last = log->preparer.number;
    log->counters.segments_prepared++;
    const enum tael_log_space space = space_look(log);
    space_is(log, space == TAEL_LOG_SPACE_NONE ? TAEL_LOG_SPACE_LOW : space, 0);
}

/* Slices in flight: few while blocks are written and enough is ready, so that they do not wait behind zeros. */
static uint32_t prepare_slices(const struct tael_log *log) {
    const bool ahead = log->ready_count * 2 >= log->options.segments_ahead;
    const bool quiet = log->announced == log->sequence;
    return ahead && !quiet ? 1 : TAEL_PREPARE_SLICES_MAX;
}

static int prepare(struct tael_log *log) {
    switch (log->preparer.state) {
    case TAEL_PREPARER_IDLE:
        return prepare_start(log);
    case TAEL_PREPARER_BUSY:
        return tael_preparer_poll(&log->preparer, prepare_slices(log));
    case TAEL_PREPARER_READY:
        prepare_end(log);
        return 1;
    case TAEL_PREPARER_NO_SPACE:
        space_gone(log, log->preparer.error);
        log->preparer.state = TAEL_PREPARER_IDLE;
        return 1;
    case TAEL_PREPARER_FAILED:
        fail(log, log->preparer.error);
        return 0;
    }
    return 0;
}

/* Bytes in segments that are ready, or in the current one, less what the largest blocks may waste at each end but the
 * last: a block goes to the next segment only when it does not fit, so it leaves less than its own size. */
static uint64_t room_in_segments(const struct tael_log *log) {
    const uint64_t waste_max = log->options.block_size_max - TAEL_SECTOR_SIZE;
    const uint64_t whole = log->segment_size - sizeof(struct tael_segment_header);
    const uint64_t current = log->current == NULL ? 0 : log->segment_size - log->offset;
    if (log->ready_count == 0) return current;
    const uint64_t from_current = current > waste_max ? current - waste_max : 0;
    return from_current + (log->ready_count - 1) * (whole - waste_max) + whole;
}

uint64_t tael_log_room(const struct tael_log *log) {
    const uint64_t room = room_in_segments(log);
    const uint64_t kept = TAEL_SECTOR_SIZE; /* for the block that confirms the last one */
    return room > kept && log->error == 0 ? room - kept : 0;
}

enum tael_log_space tael_log_space(const struct tael_log *log) { return log->space; }

/* --- confirming --- */

static bool needs_confirmation(const struct tael_log *log) {
    if (log->confirmed || log->announced != log->sequence) return false;
    return tael_log_can_submit(log) && room_in_segments(log) >= TAEL_SECTOR_SIZE;
}

static void confirm(struct tael_log *log) {
    TAEL_ASSERT(log->announced == log->sequence);
    log->block_empty.first_op = log->op_last + 1;
    log->block_empty.last_op = log->op_last;
    tael_log_submit(log, &log->block_empty);
    TAEL_ASSERT(log->confirmed);
}

static int confirm_when_idle(struct tael_log *log) {
    if (!needs_confirmation(log)) return 0;
    if (log->now_ns - log->active_ns < log->options.idle_ns) return 0;
    confirm(log);
    return 1;
}

uint64_t tael_log_deadline_ns(const struct tael_log *log) {
    uint64_t deadline = UINT64_MAX;
    if (log->error != 0) return deadline;
    if (needs_confirmation(log)) deadline = log->active_ns + log->options.idle_ns;
    const bool waits_for_space = log->space == TAEL_LOG_SPACE_NONE && log->preparer.state == TAEL_PREPARER_IDLE &&
                                 log->ready_count < log->options.segments_ahead;
    if (waits_for_space && log->space_retry_at_ns < deadline) deadline = log->space_retry_at_ns;
    return deadline;
}

/* --- the turn --- */

/* Opens segments that exist already before any new one is made. */
static int ready_extend(struct tael_log *log) {
    struct tael_report report;
    if (log->ready_last == log->segment_last || log->ready_count == TAEL_LOG_SEGMENTS_AHEAD_MAX) return 0;
    const int error = open_ready(log, &report);
    if (error != 0) fail(log, error);
    return 1;
}

int tael_log_poll(struct tael_log *log, uint64_t now_ns) {
    TAEL_ASSERT(now_ns >= log->now_ns);
    if (log->active_ns == 0) log->active_ns = now_ns;
    log->now_ns = now_ns;
    if (log->error != 0) return log->error;
    int work = announce(log);
    window_widen(log);
    work += segments_retire(log);
    work += ready_extend(log);
    work += prepare(log);
    if (log->error != 0) return log->error;
    return work + confirm_when_idle(log);
}

uint64_t tael_log_durable_op(const struct tael_log *log) { return tael_watermark_read(&log->durable_op); }
const struct tael_watermark *tael_log_durable_watermark(const struct tael_log *log) { return &log->durable_op; }
uint64_t tael_log_durable_sequence(const struct tael_log *log) { return log->announced; }

struct tael_log_counters tael_log_counters(const struct tael_log *log) {
    struct tael_log_counters counters = log->counters;
    counters.segments_ready = log->ready_count;
    counters.in_flight = (uint32_t)(log->sequence - log->announced);
    return counters;
}

/* --- the end --- */

static uint32_t writes_in_flight(const struct tael_log *log) {
    uint32_t writes = 0;
    for (uint32_t i = 0; i < SEGMENTS_OPEN_MAX; i++) writes += log->segments[i].writes;
    return writes;
}

static void settle(struct tael_log *log) {
    while (writes_in_flight(log) > 0) {
        const int error = tael_disk_wait(log->disk);
        if (error == 0) continue;
        fail(log, error);
        return;
    }
    if (log->error == 0) (void)announce(log);
}

int tael_log_close(struct tael_log *log) {
    settle(log);
    if (log->error == 0 && needs_confirmation(log)) {
        confirm(log);
        settle(log);
    }
    tael_preparer_close(&log->preparer);
    close_files(log);
    return log->error;
}
