#include "persist/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "persist/format.h"

#define PROGRESS_BYTES (16u << 20) /* between two calls */

struct recovery {
    const struct tael_recovery_options *options;
    struct tael_reader *reader;
    struct tael_recovery_result *result;
    struct tael_report *report;
    uint64_t sequence_bad; /* s */
    uint64_t sequence_first; /* of the segment that is scanned; 0 where its header does not hold */
    uint64_t incarnation_min; /* below it is no evidence */
    uint64_t progress_next;
};

/* --- replay --- */

static void progress(struct recovery *recovery) {
    const struct tael_reader_state *state = tael_reader_state(recovery->reader);
    if (recovery->options->progress == NULL || state->bytes < recovery->progress_next) return;
    recovery->progress_next = state->bytes + PROGRESS_BYTES;
    const uint64_t total = (state->segment_last - state->segment_first + 1) * state->segment_size;
    recovery->options->progress(recovery->options->context, state->bytes, total, state->op_last);
}

static int replay(struct recovery *recovery) {
    const struct tael_recovery_options *options = recovery->options;
    const struct tael_log_block *block;
    struct tael_place place;
    int result;
    while ((result = tael_reader_next(recovery->reader, &block, &place)) == 1) {
        TAEL_ASSERT(place.segment != 0);
        if (options->block != NULL) result = options->block(options->context, block, &place);
        if (result < 0) return result;
        progress(recovery);
    }
    return result;
}

/* --- the scan for evidence --- */

/* True where a header with this sequence, `durable` and incarnation shows that s was announced. */
static bool is_evidence(const struct recovery *recovery, uint64_t sequence, uint64_t durable, uint64_t incarnation) {
    const uint64_t in_flight_max = tael_reader_state(recovery->reader)->in_flight_max;
    if (sequence < recovery->sequence_first) return false;
    if (incarnation < recovery->incarnation_min) return false;
    return sequence >= recovery->sequence_bad + in_flight_max || durable >= recovery->sequence_bad;
}

/* Names the bad block and its place: where the blocks end, or, where the next segment's header is damaged, that. */
static int refuse(struct recovery *recovery, const char *evidence, uint64_t sequence, struct tael_place place) {
    const struct tael_reader_state *state = tael_reader_state(recovery->reader);
    struct tael_place bad = state->next;
    const char *reason = state->stop_reason;
    if (reason == NULL && state->next_segment_problem != NULL && place.segment > bad.segment) {
        bad = (struct tael_place){.segment = bad.segment == 0 ? state->segment_first : bad.segment + 1};
        reason = state->next_segment_problem;
    }
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, bad.segment, false);
    tael_report_set(
        recovery->report,
        "the log is damaged: block %" PRIu64 " (segment %016" PRIx64 ", offset %" PRIu64
        ") does not hold: %s. It was acknowledged, as %s %" PRIu64 " (segment %016" PRIx64 ", offset %" PRIu64
        ") shows, so it must not be cut off. Nothing was changed. Restore `%s` from a backup or a copy of "
        "the directory made after op %" PRIu64 ", then start again; see docs/operations.md",
        recovery->sequence_bad, bad.segment, bad.offset, reason != NULL ? reason : "zeros stand in its place", evidence,
        sequence, place.segment, place.offset, name, state->op_last);
    return -EBADMSG;
}

static int scan_header(struct recovery *recovery, const struct tael_log_block *header, struct tael_place place) {
    if (!tael_log_block_is_header(header, recovery->options->superblock->log_id)) return 0;
    if (header->cluster != recovery->options->superblock->cluster) return 0;
    if (is_evidence(recovery, header->sequence, header->durable, header->incarnation)) {
        return refuse(recovery, "block", header->sequence, place);
    }
    recovery->result->cut_blocks++;
    if (header->sequence > recovery->result->cut_sequence_last) recovery->result->cut_sequence_last = header->sequence;
    return 0;
}

/* A segment's header is as good as the header of its first block, before which it is written. */
static int scan_segment_header(struct recovery *recovery, const struct tael_segment_header *header,
                               struct tael_place place, uint64_t size) {
    recovery->sequence_first = 0;
    if (tael_segment_header_check(header, recovery->options->superblock, place.segment, size) != NULL) return 0;
    recovery->sequence_first = header->sequence_first;
    if (!is_evidence(recovery, header->sequence_first, 0, header->incarnation)) return 0;
    return refuse(recovery, "the segment that begins with block", header->sequence_first, place);
}

static int scan_piece(struct recovery *recovery, const uint8_t *data, uint32_t size, struct tael_place place) {
    const uint64_t segment_size = tael_reader_state(recovery->reader)->segment_size;
    for (uint32_t done = 0; done < size; done += TAEL_SECTOR_SIZE) {
        const void *sector = data + done;
        const struct tael_place at = {.segment = place.segment, .offset = place.offset + done};
        if (tael_bytes_are_zero(sector, TAEL_SECTOR_SIZE)) continue;
        recovery->result->cut_bytes += TAEL_SECTOR_SIZE;
        const int error = at.offset == 0 ? scan_segment_header(recovery, sector, at, segment_size)
                                         : scan_header(recovery, sector, at);
        if (error != 0) return error;
    }
    return 0;
}

/* The first sequence of the segment in which the scan begins, which is in the middle of it. */
static int scan_begin(struct recovery *recovery, struct tael_place place) {
    recovery->sequence_first = 0;
    if (place.segment == 0) return 0;
    struct tael_segment_header header;
    const char *problem = NULL;
    const int error = tael_reader_segment_header(recovery->reader, place.segment, &header, &problem);
    if (error != 0) return error;
    recovery->sequence_first = header.sequence_first;
    return 0;
}

static int scan(struct recovery *recovery, struct tael_place place) {
    int result = scan_begin(recovery, place);
    if (result != 0) return result;
    result = tael_reader_seek(recovery->reader, place);
    const uint8_t *data;
    uint32_t size;
    struct tael_place at;
    while (result == 0 && (result = tael_reader_raw(recovery->reader, &data, &size, &at)) == 1) {
        result = scan_piece(recovery, data, size, at);
    }
    return result;
}

/* --- the cut --- */

static int write_failed(struct recovery *recovery, uint64_t segment, int error) {
    tael_report_set(recovery->report, "segment %016" PRIx64 " cannot be written: %s", segment, strerror(-error));
    return error;
}

static int segment_file_open(struct recovery *recovery, uint64_t segment, tael_file *file) {
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, segment, false);
    const int error = tael_disk_open(recovery->options->disk, name, TAEL_DISK_WRITE, file);
    return error == 0 ? 0 : write_failed(recovery, segment, error);
}

/* Overwrites the sectors of a piece that are not zero, run by run, from zeros that are as long as the piece. */
static int overwrite_piece(struct tael_disk *disk, tael_file file, const uint8_t *data, uint32_t size, uint64_t offset,
                           const uint8_t *zeros) {
    uint32_t start = 0;
    for (uint32_t done = 0; done <= size; done += TAEL_SECTOR_SIZE) {
        if (done < size && !tael_bytes_are_zero(data + done, TAEL_SECTOR_SIZE)) continue;
        if (done > start) {
            const int error = tael_disk_write(disk, file, zeros, done - start, offset + start);
            if (error != 0) return error;
        }
        start = done + TAEL_SECTOR_SIZE;
    }
    return 0;
}

/* Reads one segment anew from `offset` on, a slice at a time, and overwrites what is not zero. */
static int overwrite_segment(struct recovery *recovery, tael_file file, uint64_t offset, uint8_t *slice,
                             uint32_t slice_size) {
    struct tael_disk *disk = recovery->options->disk;
    const uint64_t segment_size = tael_reader_state(recovery->reader)->segment_size;
    while (offset < segment_size) {
        const uint64_t left = segment_size - offset;
        const uint32_t size = left < slice_size ? (uint32_t)left : slice_size;
        int error = tael_disk_read(disk, file, slice, size, offset);
        if (error == 0) error = overwrite_piece(disk, file, slice, size, offset, slice + slice_size);
        if (error != 0) return error;
        offset += size;
    }
    return tael_disk_sync(disk, file);
}

/* From the last segment backwards: a crash in between leaves an end that is cut the same way again. */
static int overwrite(struct recovery *recovery, struct tael_place place) {
    const struct tael_reader_state *state = tael_reader_state(recovery->reader);
    const uint32_t slice_size = 1u << 20;
    uint8_t *slice = aligned_alloc(TAEL_SECTOR_SIZE, 2 * (size_t)slice_size);
    if (slice == NULL) return -ENOMEM;
    memset(slice + slice_size, 0, slice_size);
    const uint64_t first = place.segment == 0 ? state->segment_first : place.segment;
    int error = 0;
    for (uint64_t segment = state->segment_last; error == 0 && segment >= first; segment--) {
        tael_file file;
        error = segment_file_open(recovery, segment, &file);
        if (error != 0) break;
        error = overwrite_segment(recovery, file, segment == place.segment ? place.offset : 0, slice, slice_size);
        tael_disk_close(recovery->options->disk, file);
        if (error != 0) (void)write_failed(recovery, segment, error);
    }
    free(slice);
    return error;
}

/* What was read may not be durable yet: a process that was killed may have written it, and given segments their names,
 * without having synced. Blocks that were not announced lie in the last segments, at most as many as there are blocks in
 * flight. */
static int flush(struct recovery *recovery, struct tael_place place) {
    int error = tael_disk_directory_sync(recovery->options->disk, TAEL_LOG_DIRECTORY);
    if (error != 0) {
        tael_report_set(recovery->report, "the directory `log` cannot be synced: %s", strerror(-error));
        return error;
    }
    if (place.segment == 0) return 0;
    uint64_t segment = place.segment > TAEL_LOG_IN_FLIGHT_MAX ? place.segment - TAEL_LOG_IN_FLIGHT_MAX : 1;
    if (segment < tael_reader_state(recovery->reader)->segment_first) {
        segment = tael_reader_state(recovery->reader)->segment_first;
    }
    for (; segment <= place.segment; segment++) {
        tael_file file;
        error = segment_file_open(recovery, segment, &file);
        if (error != 0) return error;
        error = tael_disk_sync(recovery->options->disk, file);
        tael_disk_close(recovery->options->disk, file);
        if (error != 0) return write_failed(recovery, segment, error);
    }
    return 0;
}

/* --- all of it --- */

static void result_begin(struct recovery *recovery) {
    const struct tael_reader_state *state = tael_reader_state(recovery->reader);
    *recovery->result = (struct tael_recovery_result){
        .position =
            {
                .segment = state->next.segment,
                .offset = state->next.offset,
                .in_flight_max = state->in_flight_max,
                .segment_last = state->segment_last,
                .sequence_last = state->sequence_last,
                .checksum_last = state->checksum_last,
                .op_last = state->op_last,
                .timestamp_last = state->timestamp_last,
                .confirmed = state->confirmed,
            },
        .blocks = state->blocks,
        .requests = state->requests,
        .bytes = state->bytes,
        .incarnation_last = state->incarnation_last,
        .cut_sequence = state->sequence_last + 1,
        .cut_place = state->next,
    };
    recovery->sequence_bad = state->sequence_last + 1;
    recovery->incarnation_min = state->incarnation_last;
    if ((recovery->options->faults & TAEL_RECOVERY_FAULT_OLD_IS_NO_EVIDENCE) != 0) {
        recovery->incarnation_min = recovery->options->superblock->incarnation;
    }
}

static int check_first_segment(struct recovery *recovery) {
    const struct tael_reader_state *state = tael_reader_state(recovery->reader);
    if (state->segment_first == 1) return 0;
    tael_report_set(recovery->report,
                    state->segment_first == 0
                        ? "the directory `log` holds no segment; nothing was changed. Restore it from a backup"
                        : "the log's first segments are missing; nothing was changed. Restore them from a backup");
    return -EBADMSG;
}

static int run(struct recovery *recovery) {
    int error = check_first_segment(recovery);
    if (error == 0) error = replay(recovery);
    if (error != 0) return error;
    result_begin(recovery);
    struct tael_recovery_result *result = recovery->result;
    const struct tael_place end = result->cut_place;
    error = scan(recovery, end);
    if (error != 0) return error;
    result->cut = result->cut_bytes > 0;
    result->cut_reason = tael_reader_state(recovery->reader)->stop_reason;
    if (recovery->options->read_only) return 0;
    if (result->cut) error = overwrite(recovery, end);
    return error == 0 ? flush(recovery, end) : error;
}

int tael_recovery_run(const struct tael_recovery_options *options, struct tael_recovery_result *result,
                      struct tael_report *report) {
    const struct tael_reader_options reader_options = {
        .disk = options->disk,
        .superblock = options->superblock,
        .writable = !options->read_only,
        .window_size = options->window_size,
        .wait = options->wait,
        .context = options->context,
    };
    struct tael_recovery_result found = {0};
    struct recovery recovery = {.options = options, .result = &found, .report = report};
    int error = tael_reader_open(&reader_options, &recovery.reader, report);
    if (error != 0) return error;
    error = run(&recovery);
    tael_reader_close(recovery.reader);
    if (error == 0) *result = found;
    return error;
}

const char *tael_recovery_describe(const struct tael_recovery_result *result, char *text, size_t size) {
    int used = snprintf(text, size, "replayed %" PRIu64 " ops in %" PRIu64 " blocks (%.1f MB)", result->requests,
                        result->blocks, (double)result->bytes / 1e6);
    TAEL_ASSERT(used > 0);
    if ((size_t)used >= size) return text;
    if (!result->cut) {
        (void)snprintf(text + used, size - (size_t)used, ", nothing cut");
        return text;
    }
    (void)snprintf(text + used, size - (size_t)used,
                   ", cut at block %" PRIu64 " (segment %016" PRIx64 ", offset %" PRIu64 ": %s): %" PRIu64
                   " unacknowledged blocks, %" PRIu64 " bytes dropped",
                   result->cut_sequence, result->cut_place.segment, result->cut_place.offset,
                   result->cut_reason != NULL ? result->cut_reason : "zeros, and remains behind them",
                   result->cut_blocks, result->cut_bytes);
    return text;
}
