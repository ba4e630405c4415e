#include "bench/memory_disk.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>

#include "bench/harness.h"
#include "persist/format.h"

static struct tael_bench_disk *self_of(struct tael_disk *disk) {
    return TAEL_CONTAINER_OF(disk, struct tael_bench_disk, disk);
}

static int list(struct tael_disk *disk, const char *name, tael_disk_visit *visit, void *context) {
    (void)disk;
    char path[TAEL_DISK_NAME_MAX];
    TAEL_ASSERT(strcmp(name, TAEL_LOG_DIRECTORY) == 0);
    tael_segment_name(path, 1, false);
    return visit(context, path + strlen(TAEL_LOG_DIRECTORY "/"));
}

static int open_file(struct tael_disk *disk, const char *name, uint32_t flags, tael_file *file) {
    (void)disk;
    (void)name;
    TAEL_ASSERT(flags == TAEL_DISK_READ);
    *file = 0;
    return 0;
}

static void close_file(struct tael_disk *disk, tael_file file) {
    (void)disk;
    (void)file;
}

static int size_of(struct tael_disk *disk, tael_file file, uint64_t *size_bytes) {
    (void)file;
    *size_bytes = self_of(disk)->size;
    return 0;
}

static int copy(struct tael_disk *disk, tael_file file, void *buffer, uint32_t size, uint64_t offset) {
    struct tael_bench_disk *self = self_of(disk);
    (void)file;
    TAEL_ASSERT(offset + size <= self->size);
    const uint64_t start = tael_bench_wall_ns();
    memcpy(buffer, self->segment + offset, size);
    const uint64_t end = tael_bench_wall_ns();
    self->copied_ns += end - start;
    if (self->copied != NULL) self->copied(self->context);
    self->copied_ns += tael_bench_wall_ns() - end;
    return 0;
}

static void submit(struct tael_disk *disk, struct tael_disk_request *request) {
    struct tael_bench_disk *self = self_of(disk);
    TAEL_ASSERT(request->verb == TAEL_DISK_VERB_READ);
    TAEL_ASSERT(self->done_count < TAEL_BENCH_READS_MAX);
    (void)copy(disk, request->file, request->buffer, request->size, request->offset);
    self->done[self->done_count++] = request;
}

static int wait_some(struct tael_disk *disk) {
    struct tael_bench_disk *self = self_of(disk);
    const uint32_t count = self->done_count;
    TAEL_ASSERT(count > 0);
    self->done_count = 0;
    for (uint32_t i = 0; i < count; i++) self->done[i]->done(self->done[i], (int32_t)self->done[i]->size);
    return 0;
}

/* The rest is for who writes. */
static const struct tael_disk_operations operations = {
    .list = list,
    .open = open_file,
    .close = close_file,
    .size = size_of,
    .read = copy,
    .submit = submit,
    .wait = wait_some,
};

void tael_bench_disk_open(struct tael_bench_disk *disk, const void *segment, uint64_t size) {
    *disk = (struct tael_bench_disk){.disk = {.operations = &operations}, .segment = segment, .size = size};
}
