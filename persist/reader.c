#include "persist/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "persist/block_check.h"
#include "persist/data_directory.h"
#include "persist/format.h"

#define READ_SIZE_MAX (1u << 20) /* of one request to the disk */
#define READS_MAX 16 /* in flight for one window */
#define CARRY_SIZE TAEL_BLOCK_SIZE_MAX /* room before a window for the part of a block that began in the one before */
#define FILES_MAX 4 /* two windows and a header may each be in a segment of its own */

struct segment_file {
    uint64_t number; /* 0: free */
    uint64_t size;
    tael_file file;
    uint32_t users;
};

struct window_read {
    struct tael_disk_request request;
    struct window *window;
};

/* A piece of a segment. */
struct window {
    uint8_t *carry; /* CARRY_SIZE bytes, then the window's own */
    struct segment_file *file; /* NULL: the window holds nothing, the log ends here */
    uint64_t offset; /* in the segment */
    uint32_t size;
    uint32_t pending; /* reads in flight */
    int error; /* of the first read that failed */
    uint64_t error_offset;
    struct window_read reads[READS_MAX];
};

struct tael_reader {
    struct tael_disk *disk;
    const struct tael_superblock *superblock;
    struct tael_report *report;
    struct tael_reader_state state;
    bool writable;
    bool stopped;
    uint32_t window_size;
    int (*wait)(void *context, struct tael_disk *disk); /* NULL: tael_disk_wait */
    void *context;
    uint8_t *memory;
    struct tael_segment_header *header; /* scratch, one sector */

    struct segment_file files[FILES_MAX];
    struct window windows[2];
    uint32_t current; /* the window that is worked on; the other one is being read */
    struct tael_place stream; /* what is to be read next */
    const uint8_t *cursor; /* in the current window, or in its carry */
    const uint8_t *cursor_end;
};

/* --- files --- */

static int file_open(struct tael_reader *reader, struct segment_file *file, uint64_t number) {
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, number, false);
    int error = tael_disk_open(reader->disk, name, reader->writable ? TAEL_DISK_WRITE : TAEL_DISK_READ, &file->file);
    if (error == 0) {
        error = tael_disk_size(reader->disk, file->file, &file->size);
        if (error == 0 && file->size != reader->superblock->limits.segment_size) error = -EBADMSG;
        if (error != 0) tael_disk_close(reader->disk, file->file);
    }
    if (error == -EBADMSG) {
        tael_report_set(reader->report,
                        "%s has %" PRIu64 " bytes and should have %" PRIu64
                        "; nothing was changed. Restore it from a backup",
                        name, file->size, reader->superblock->limits.segment_size);
    } else if (error != 0) {
        tael_report_set(reader->report, "%s cannot be opened: %s", name, strerror(-error));
    }
    return error;
}

/* One more user of the segment's file. */
static int file_acquire(struct tael_reader *reader, uint64_t number, struct segment_file **out) {
    struct segment_file *place = NULL;
    for (uint32_t i = 0; i < FILES_MAX; i++) {
        struct segment_file *file = &reader->files[i];
        if (file->number == number) {
            file->users++;
            *out = file;
            return 0;
        }
        if (file->number == 0) place = file;
    }
    TAEL_ASSERT(place != NULL);
    const int error = file_open(reader, place, number);
    if (error != 0) return error;
    place->number = number;
    place->users = 1;
    *out = place;
    return 0;
}

static void file_release(struct tael_reader *reader, struct segment_file *file) {
    TAEL_ASSERT(file->users > 0);
    if (--file->users > 0) return;
    tael_disk_close(reader->disk, file->file);
    *file = (struct segment_file){.file = TAEL_FILE_NONE};
}

/* --- windows --- */

static uint8_t *window_data(const struct window *window) { return window->carry + CARRY_SIZE; }

static void read_done(struct tael_disk_request *request, int32_t result) {
    struct window *window = TAEL_CONTAINER_OF(request, struct window_read, request)->window;
    TAEL_ASSERT(window->pending > 0);
    window->pending--;
    if (result >= 0 && (uint32_t)result == request->size) return;
    if (window->error != 0 && request->offset > window->error_offset) return;
    window->error = result < 0 ? result : -EIO;
    window->error_offset = request->offset;
}

static void window_read(struct tael_reader *reader, struct window *window) {
    uint32_t count = 0;
    for (uint32_t done = 0; done < window->size; count++) {
        TAEL_ASSERT(count < READS_MAX);
        const uint32_t left = window->size - done;
        struct window_read *read = &window->reads[count];
        read->window = window;
        read->request = (struct tael_disk_request){
            .done = read_done,
            .verb = TAEL_DISK_VERB_READ,
            .file = window->file->file,
            .size = left < READ_SIZE_MAX ? left : READ_SIZE_MAX,
            .offset = window->offset + done,
            .buffer = window_data(window) + done,
        };
        done += read->request.size;
        window->pending++;
        tael_disk_submit(reader->disk, &read->request);
    }
}

static int window_wait(struct tael_reader *reader, struct window *window) {
    while (window->pending > 0) {
        const int error =
            reader->wait == NULL ? tael_disk_wait(reader->disk) : reader->wait(reader->context, reader->disk);
        if (error == 0) continue;
        tael_report_set(reader->report, "the disk cannot be waited for: %s", strerror(-error));
        return error;
    }
    if (window->error == 0) return 0;
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, window->file->number, false);
    tael_report_set(
        reader->report,
        "%s cannot be read at offset %" PRIu64
        ": %s. Nothing was changed. A block that cannot be read may have been acknowledged, so the log is not "
        "cut there; copy the file to a sound disk, or restore it from a backup",
        name, window->error_offset, strerror(-window->error));
    return window->error;
}

/* Begins to read what comes next into the window. */
static int window_fetch(struct tael_reader *reader, struct window *window) {
    TAEL_ASSERT(window->pending == 0);
    if (window->file != NULL) file_release(reader, window->file);
    window->file = NULL;
    window->size = 0;
    window->error = 0;
    if (reader->stream.segment == 0 || reader->stream.segment > reader->state.segment_last) return 0;
    const int error = file_acquire(reader, reader->stream.segment, &window->file);
    if (error != 0) return error;
    const uint64_t left = window->file->size - reader->stream.offset;
    window->offset = reader->stream.offset;
    window->size = left < reader->window_size ? (uint32_t)left : reader->window_size;
    reader->stream.offset += window->size;
    if (reader->stream.offset == window->file->size) {
        reader->stream = (struct tael_place){.segment = reader->stream.segment + 1};
    }
    window_read(reader, window);
    return 0;
}

static struct window *window_current(struct tael_reader *reader) { return &reader->windows[reader->current]; }

/* Goes on to the window that was read ahead, and begins to read the one after. What is left of the current one, if it is
 * the beginning of a block, is carried along. */
static int window_advance(struct tael_reader *reader, bool carry) {
    struct window *old = window_current(reader);
    struct window *new = &reader->windows[1 - reader->current];
    const size_t left = carry ? (size_t)(reader->cursor_end - reader->cursor) : 0;
    TAEL_ASSERT(left <= CARRY_SIZE);
    if (left > 0) memcpy(window_data(new) - left, reader->cursor, left);
    int error = window_fetch(reader, old);
    if (error != 0) return error;
    reader->current = 1 - reader->current;
    error = window_wait(reader, new);
    if (error != 0) return error;
    reader->cursor = window_data(new) - left;
    reader->cursor_end = window_data(new) + new->size;
    return 0;
}

/* Nothing in flight any more, whatever it came to. */
static int windows_settle(struct tael_reader *reader) {
    for (uint32_t i = 0; i < 2; i++) {
        while (reader->windows[i].pending > 0) {
            const int error = tael_disk_wait(reader->disk);
            if (error == 0) continue;
            tael_report_set(reader->report, "the disk cannot be waited for: %s", strerror(-error));
            return error;
        }
    }
    return 0;
}

int tael_reader_seek(struct tael_reader *reader, struct tael_place place) {
    TAEL_ASSERT(place.offset % TAEL_SECTOR_SIZE == 0);
    TAEL_ASSERT(place.offset <= reader->superblock->limits.segment_size);
    reader->stopped = true;
    const int error = windows_settle(reader);
    if (error != 0) return error;
    reader->stream = place;
    if (place.offset == reader->superblock->limits.segment_size) {
        reader->stream = (struct tael_place){.segment = place.segment + 1};
    }
    if (place.segment == 0) reader->stream = (struct tael_place){.segment = reader->state.segment_first};
    /* The current window counts as used up: the first raw piece is the other one. */
    struct window *current = window_current(reader);
    if (current->file != NULL) file_release(reader, current->file);
    current->file = NULL;
    current->size = 0;
    current->error = 0;
    return window_fetch(reader, &reader->windows[1 - reader->current]);
}

int tael_reader_raw(struct tael_reader *reader, const uint8_t **data, uint32_t *size, struct tael_place *place) {
    TAEL_ASSERT(reader->stopped);
    const int error = window_advance(reader, false);
    if (error != 0) return error;
    const struct window *window = window_current(reader);
    if (window->file == NULL) return 0;
    *data = window_data(window);
    *size = window->size;
    *place = (struct tael_place){.segment = window->file->number, .offset = window->offset};
    return 1;
}

/* --- segments --- */

int tael_reader_segment_header(struct tael_reader *reader, uint64_t number, struct tael_segment_header *header,
                               const char **problem) {
    struct segment_file *file;
    int error = file_acquire(reader, number, &file);
    if (error != 0) return error;
    error = tael_disk_read(reader->disk, file->file, reader->header, sizeof *reader->header, 0);
    const uint64_t size = file->size;
    file_release(reader, file);
    if (error != 0) {
        char name[TAEL_DISK_NAME_MAX];
        tael_segment_name(name, number, false);
        tael_report_set(reader->report, "%s cannot be read at offset 0: %s. Nothing was changed", name,
                        strerror(-error));
        return error;
    }
    *problem = tael_segment_header_check(reader->header, reader->superblock, number, size);
    *header = *reader->header;
    return *problem == NULL ? 0 : -EBADMSG;
}

/* 1 where the log goes on in the segment after the current one, 0 where it does not. */
static int segment_continues(struct tael_reader *reader, struct tael_segment_header *header) {
    const struct tael_reader_state *state = &reader->state;
    reader->state.next_segment_problem = NULL;
    const uint64_t number = state->next.segment == 0 ? state->segment_first : state->next.segment + 1;
    if (number == 0 || number > state->segment_last) return 0;
    const char *problem = NULL;
    const int error = tael_reader_segment_header(reader, number, header, &problem);
    reader->state.next_segment_problem = problem;
    if (error == -EBADMSG && problem != NULL) return 0;
    if (error != 0) return error;
    if (header->sequence_first != state->sequence_last + 1) return 0;
    return header->incarnation >= state->incarnation_last;
}

/* Moves to the first block of the segment after the current one. */
static int segment_enter(struct tael_reader *reader, const struct tael_segment_header *header) {
    if (header->op_first != reader->state.op_last + 1) {
        tael_report_set(reader->report,
                        "segment %016" PRIx64 " begins with op %" PRIu64 ", but the ops before it end with %" PRIu64
                        "; nothing was changed",
                        header->number, header->op_first, reader->state.op_last);
        return -EBADMSG;
    }
    while (window_current(reader)->file == NULL || window_current(reader)->file->number < header->number) {
        const int error = window_advance(reader, false);
        if (error != 0) return error;
        TAEL_ASSERT(window_current(reader)->file != NULL);
    }
    TAEL_ASSERT(window_current(reader)->file->number == header->number);
    TAEL_ASSERT(window_current(reader)->offset == 0);
    reader->cursor = window_data(window_current(reader)) + sizeof(struct tael_segment_header);
    reader->state.next = (struct tael_place){.segment = header->number, .offset = sizeof(struct tael_segment_header)};
    reader->state.in_flight_max = header->in_flight_max;
    return 0;
}

/* --- blocks --- */

static const char *check_sequel(const struct tael_reader_state *state, const struct tael_log_block *header) {
    if (header->sequence != state->sequence_last + 1) return "another block stands in its place";
    if (header->checksum_previous != state->checksum_last) return "it does not follow the block before it";
    if (header->incarnation < state->incarnation_last) return "it was written before the block before it";
    return NULL;
}

static uint64_t segment_left(const struct tael_reader *reader) {
    return reader->superblock->limits.segment_size - reader->state.next.offset;
}

/* Looks at the block under the cursor, whose header is wholly in the window: 1 good, 0 not, 2 where it spans still more
 * windows and has to be looked at again, or a negative errno. */
static int block_look(struct tael_reader *reader, const struct tael_log_block **block) {
    const struct tael_log_block *header = (const struct tael_log_block *)(const void *)reader->cursor;
    if (!tael_log_block_is_header(header, reader->superblock->log_id)) {
        const bool nothing = tael_bytes_are_zero(header, TAEL_SECTOR_SIZE);
        if (!nothing) reader->state.stop_reason = "no header of a block holds there";
        return 0;
    }
    const char *problem = tael_log_block_check_header(header, reader->superblock, segment_left(reader));
    if (problem == NULL) problem = check_sequel(&reader->state, header);
    if (problem != NULL) {
        reader->state.stop_reason = problem;
        return 0;
    }
    const uint32_t size = tael_sector_round_up(header->size);
    if (size > (size_t)(reader->cursor_end - reader->cursor)) {
        /* From here on the old window, with `header` in it, is read over. */
        const int error = window_advance(reader, true);
        if (error != 0) return error;
        if (size > (size_t)(reader->cursor_end - reader->cursor)) return 2;
        header = (const struct tael_log_block *)(const void *)reader->cursor;
    }
    if (!tael_log_block_body_holds(header)) {
        reader->state.stop_reason = "its body's checksum differs";
        return 0;
    }
    *block = header;
    return 1;
}

static int block_refuse(struct tael_reader *reader, const struct tael_log_block *block,
                        const struct tael_block_problem *problem) {
    tael_report_set(reader->report,
                    "block %" PRIu64 " (segment %016" PRIx64 ", offset %" PRIu64
                    ") is whole but makes no sense: %s (op %" PRIu64
                    "). Nothing was changed. No disk does that: it was written by a faulty or a different program",
                    block->sequence, reader->state.next.segment, reader->state.next.offset, problem->text, problem->op);
    return -EBADMSG;
}

static int block_accept(struct tael_reader *reader, const struct tael_log_block *block, struct tael_place *place) {
    struct tael_reader_state *state = &reader->state;
    struct tael_block_problem problem;
    const struct tael_block_context context = {.op_last = state->op_last, .timestamp_last = state->timestamp_last};
    if (!tael_block_check(block, &context, &problem)) return block_refuse(reader, block, &problem);
    if (block->incarnation > reader->superblock->incarnation) {
        problem = (struct tael_block_problem){.text = "its incarnation is above the superblock's"};
        return block_refuse(reader, block, &problem);
    }
    const uint32_t size = tael_sector_round_up(block->size);
    *place = state->next;
    state->sequence_last = block->sequence;
    state->checksum_last = block->checksum;
    state->incarnation_last = block->incarnation;
    state->op_last = block->op_last;
    state->timestamp_last = block->timestamp_last;
    state->confirmed = block->request_count == 0 && block->durable + 1 == block->sequence;
    state->blocks++;
    state->requests += block->request_count;
    state->bytes += size;
    state->next.offset += size;
    reader->cursor += size;
    return 1;
}

/* 1 and a good block under the cursor, 0 where there is none in this segment. */
static int block_find(struct tael_reader *reader, const struct tael_log_block **block) {
    if (reader->state.next.segment == 0) return 0;
    if (segment_left(reader) == 0) return 0;
    if (reader->cursor == reader->cursor_end) {
        const int error = window_advance(reader, false);
        if (error != 0) return error;
    }
    int result;
    while ((result = block_look(reader, block)) == 2) continue;
    return result;
}

/* The next good block, here or at the beginning of the next segment. */
static int block_find_anywhere(struct tael_reader *reader, const struct tael_log_block **block) {
    struct tael_segment_header header;
    int result = block_find(reader, block);
    if (result != 0) return result;
    result = segment_continues(reader, &header);
    if (result != 1) return result;
    result = segment_enter(reader, &header);
    return result == 0 ? block_find(reader, block) : result;
}

int tael_reader_next(struct tael_reader *reader, const struct tael_log_block **block, struct tael_place *place) {
    if (reader->stopped) return 0;
    reader->state.stop_reason = NULL;
    int result = block_find_anywhere(reader, block);
    if (result == 1) result = block_accept(reader, *block, place);
    if (result != 1) reader->stopped = true;
    return result;
}

const struct tael_reader_state *tael_reader_state(const struct tael_reader *reader) { return &reader->state; }

/* --- start and end --- */

static void *memory_take(size_t size) {
    void *memory = aligned_alloc(TAEL_SECTOR_SIZE, size);
    TAEL_ASSERT(memory != NULL); /* start-up: without memory there is no ledger either */
    return memory;
}

int tael_reader_open(const struct tael_reader_options *options, struct tael_reader **out, struct tael_report *report) {
    uint64_t first, last;
    int error = tael_segments_range(options->disk, &first, &last, report);
    if (error != 0) return error;
    struct tael_reader *reader = calloc(1, sizeof *reader);
    TAEL_ASSERT(reader != NULL);
    reader->disk = options->disk;
    reader->superblock = options->superblock;
    reader->report = report;
    reader->writable = options->writable;
    reader->wait = options->wait;
    reader->context = options->context;
    reader->window_size = options->window_size != 0 ? options->window_size : TAEL_READER_WINDOW_SIZE_DEFAULT;
    TAEL_ASSERT(reader->window_size % TAEL_SECTOR_SIZE == 0);
    TAEL_ASSERT(reader->window_size <= READS_MAX * READ_SIZE_MAX);
    reader->state = (struct tael_reader_state){
        .segment_first = first,
        .segment_last = last,
        .in_flight_max = TAEL_LOG_IN_FLIGHT_MAX,
        .confirmed = true,
        .segment_size = options->superblock->limits.segment_size,
    };
    reader->stream = (struct tael_place){.segment = first};
    const size_t size = CARRY_SIZE + (size_t)reader->window_size;
    reader->memory = memory_take(2 * size + sizeof *reader->header);
    reader->windows[0].carry = reader->memory;
    reader->windows[1].carry = reader->memory + size;
    reader->header = (struct tael_segment_header *)(void *)(reader->memory + 2 * size);
    error = window_fetch(reader, &reader->windows[1]);
    if (error != 0) {
        tael_reader_close(reader);
        return error;
    }
    *out = reader;
    return 0;
}

void tael_reader_close(struct tael_reader *reader) {
    /* Reads that cannot be waited for may still arrive: their memory is given up. The process is about to end anyway. */
    if (windows_settle(reader) != 0) return;
    for (uint32_t i = 0; i < 2; i++) {
        if (reader->windows[i].file != NULL) file_release(reader, reader->windows[i].file);
    }
    free(reader->memory);
    free(reader);
}
