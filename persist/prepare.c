#include "persist/prepare.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>

#include "persist/format.h"

/* In order; the last two are taken only when space ran out. */
enum step {
    STEP_CREATE,
    STEP_RESERVE,
    STEP_FILL,
    STEP_SYNC,
    STEP_RENAME,
    STEP_SYNC_DIRECTORY,
    STEP_READY,
    STEP_REMOVE,
    STEP_REMOVED,
};

/* A lack that others may end, of space or of file descriptors: worth another try later. */
static bool is_lack(int error) {
    return error == -ENOSPC || error == -EDQUOT || error == -EFBIG || error == -EMFILE || error == -ENFILE;
}

static struct tael_preparer *preparer_of(struct tael_disk_request *request) {
    return TAEL_CONTAINER_OF(request, struct tael_preparer, request);
}

static void note_error(struct tael_preparer *preparer, int error) {
    if (preparer->error == 0) preparer->error = error;
}

static void step_done(struct tael_disk_request *request, int32_t result) {
    struct tael_preparer *preparer = preparer_of(request);
    TAEL_ASSERT(preparer->in_flight == 1);
    preparer->in_flight = 0;
    if (request->verb == TAEL_DISK_VERB_CREATE && result == 0) preparer->file = request->file;
    if (result < 0) note_error(preparer, result);
    preparer->step++;
}

static void slice_done(struct tael_disk_request *request, int32_t result) {
    struct tael_slice *slice = TAEL_CONTAINER_OF(request, struct tael_slice, request);
    struct tael_preparer *preparer = slice->preparer;
    TAEL_ASSERT(slice->busy);
    TAEL_ASSERT(preparer->in_flight > 0);
    slice->busy = false;
    preparer->in_flight--;
    if (result < 0) note_error(preparer, result);
    if (result >= 0 && (uint32_t)result != request->size) note_error(preparer, -ENOSPC); /* a short write */
}

int tael_preparer_init(struct tael_preparer *preparer, struct tael_disk *disk, void *zeros, uint64_t segment_size) {
    *preparer = (struct tael_preparer){
        .disk = disk,
        .zeros = zeros,
        .segment_size = segment_size,
        .file = TAEL_FILE_NONE,
        .directory = TAEL_FILE_NONE,
    };
    TAEL_ASSERT(segment_size % TAEL_SECTOR_SIZE == 0);
    return tael_disk_open(disk, TAEL_LOG_DIRECTORY, TAEL_DISK_DIRECTORY, &preparer->directory);
}

void tael_preparer_start(struct tael_preparer *preparer, uint64_t number) {
    TAEL_ASSERT(preparer->state == TAEL_PREPARER_IDLE || preparer->state == TAEL_PREPARER_NO_SPACE);
    TAEL_ASSERT(preparer->file == TAEL_FILE_NONE);
    preparer->state = TAEL_PREPARER_BUSY;
    preparer->step = STEP_CREATE;
    preparer->error = 0;
    preparer->number = number;
    preparer->filled = 0;
}

static void submit_step(struct tael_preparer *preparer, enum tael_disk_verb verb, tael_file file) {
    struct tael_disk_request *request = &preparer->request;
    *request =
        (struct tael_disk_request){.done = step_done, .verb = verb, .file = file, .size_file = preparer->segment_size};
    tael_segment_name(request->name, preparer->number, true);
    tael_segment_name(request->name_new, preparer->number, false);
    preparer->in_flight = 1;
    tael_disk_submit(preparer->disk, request);
}

static void submit_slice(struct tael_preparer *preparer, struct tael_slice *slice) {
    const uint64_t left = preparer->segment_size - preparer->filled;
    slice->preparer = preparer;
    slice->busy = true;
    slice->request = (struct tael_disk_request){
        .done = slice_done,
        .verb = TAEL_DISK_VERB_WRITE,
        .file = preparer->file,
        .size = left < TAEL_PREPARE_SLICE_SIZE ? (uint32_t)left : TAEL_PREPARE_SLICE_SIZE,
        .offset = preparer->filled,
        .buffer = preparer->zeros,
    };
    preparer->filled += slice->request.size;
    preparer->in_flight++;
    tael_disk_submit(preparer->disk, &slice->request);
}

static int fill(struct tael_preparer *preparer, uint32_t slices) {
    int work = 0;
    for (uint32_t i = 0; i < slices && preparer->filled < preparer->segment_size; i++) {
        if (preparer->slices[i].busy) continue;
        submit_slice(preparer, &preparer->slices[i]);
        work++;
    }
    if (preparer->in_flight == 0 && preparer->filled == preparer->segment_size) {
        preparer->step = STEP_SYNC;
        work++;
    }
    return work;
}

static void close_file(struct tael_preparer *preparer) {
    if (preparer->file == TAEL_FILE_NONE) return;
    tael_disk_close(preparer->disk, preparer->file);
    preparer->file = TAEL_FILE_NONE;
}

/* Space ran out: gives back what was taken. Anything else that failed is for the log to stop on. */
static void give_up(struct tael_preparer *preparer) {
    const bool named = preparer->step >= STEP_READY; /* it may have its final name already */
    if (named || !is_lack(preparer->error)) {
        preparer->state = TAEL_PREPARER_FAILED;
        return;
    }
    const bool exists = preparer->file != TAEL_FILE_NONE;
    close_file(preparer);
    preparer->step = exists ? STEP_REMOVE : STEP_REMOVED;
}

/* With nothing in flight, or slices only. */
static int go_on(struct tael_preparer *preparer, uint32_t slices) {
    switch ((enum step)preparer->step) {
    case STEP_CREATE:
        submit_step(preparer, TAEL_DISK_VERB_CREATE, TAEL_FILE_NONE);
        return 1;
    case STEP_RESERVE:
        submit_step(preparer, TAEL_DISK_VERB_RESERVE, preparer->file);
        return 1;
    case STEP_FILL:
        return fill(preparer, slices);
    case STEP_SYNC:
        submit_step(preparer, TAEL_DISK_VERB_SYNC, preparer->file);
        return 1;
    case STEP_RENAME:
        submit_step(preparer, TAEL_DISK_VERB_RENAME, TAEL_FILE_NONE);
        return 1;
    case STEP_SYNC_DIRECTORY:
        if (preparer->fault_no_directory_sync) {
            preparer->step = STEP_READY;
            return 1;
        }
        submit_step(preparer, TAEL_DISK_VERB_SYNC, preparer->directory);
        return 1;
    case STEP_READY:
        preparer->state = TAEL_PREPARER_READY;
        return 1;
    case STEP_REMOVE:
        submit_step(preparer, TAEL_DISK_VERB_REMOVE, TAEL_FILE_NONE);
        return 1;
    case STEP_REMOVED:
        preparer->state = is_lack(preparer->error) ? TAEL_PREPARER_NO_SPACE : TAEL_PREPARER_FAILED;
        return 1;
    }
    return 0;
}

int tael_preparer_poll(struct tael_preparer *preparer, uint32_t slices) {
    TAEL_ASSERT(slices <= TAEL_PREPARE_SLICES_MAX);
    if (preparer->state != TAEL_PREPARER_BUSY) return 0;
    if (preparer->in_flight > 0 && preparer->step != STEP_FILL) return 0;
    if (preparer->error != 0 && preparer->step < STEP_REMOVE) {
        if (preparer->in_flight > 0) return 0;
        give_up(preparer);
        return 1;
    }
    return go_on(preparer, slices);
}

tael_file tael_preparer_take(struct tael_preparer *preparer) {
    TAEL_ASSERT(preparer->state == TAEL_PREPARER_READY);
    TAEL_ASSERT(preparer->file != TAEL_FILE_NONE);
    const tael_file file = preparer->file;
    preparer->file = TAEL_FILE_NONE;
    preparer->state = TAEL_PREPARER_IDLE;
    return file;
}

void tael_preparer_close(struct tael_preparer *preparer) {
    while (preparer->in_flight > 0) {
        if (tael_disk_wait(preparer->disk) != 0) break;
    }
    close_file(preparer);
    if (preparer->directory != TAEL_FILE_NONE) tael_disk_close(preparer->disk, preparer->directory);
    preparer->directory = TAEL_FILE_NONE;
}
