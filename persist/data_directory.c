#include "persist/data_directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "persist/format.h"
#include "persist/prepare.h"

#define SUPERBLOCK_NAME "superblock"
#define SUPERBLOCK_NAME_NEW "superblock.new"
#define LOCK_NAME "lock"

/* --- the superblock --- */

static int superblock_write_copies(struct tael_disk *disk, tael_file file, const struct tael_superblock *superblock) {
    _Alignas(TAEL_SECTOR_SIZE) struct tael_superblock copy = *superblock;
    for (uint32_t i = 0; i < TAEL_SUPERBLOCK_COPIES; i++) {
        int error = tael_disk_write(disk, file, &copy, sizeof copy, (uint64_t)i * sizeof copy);
        if (error != 0) return error;
        if (i % 2 == 1) error = tael_disk_sync(disk, file);
        if (error != 0) return error;
    }
    return 0;
}

/* Writes the next version. */
static int superblock_write(struct tael_disk *disk, struct tael_superblock *superblock) {
    TAEL_ASSERT(tael_superblock_check(superblock) == NULL);
    tael_file file;
    int error = tael_disk_open(disk, SUPERBLOCK_NAME, TAEL_DISK_WRITE, &file);
    if (error != 0) return error;
    superblock->version++;
    tael_superblock_seal(superblock);
    error = superblock_write_copies(disk, file, superblock);
    tael_disk_close(disk, file);
    return error;
}

/* The newest valid copy in the file. -EBADMSG where none holds. */
static int superblock_read_copies(struct tael_disk *disk, tael_file file, struct tael_superblock *superblock,
                                  uint32_t *copies_valid, const char **problem) {
    _Alignas(TAEL_SECTOR_SIZE) struct tael_superblock copy;
    *copies_valid = 0;
    uint64_t version = 0;
    for (uint32_t i = 0; i < TAEL_SUPERBLOCK_COPIES; i++) {
        const int error = tael_disk_read(disk, file, &copy, sizeof copy, (uint64_t)i * sizeof copy);
        const char *wrong = error != 0 ? strerror(-error) : tael_superblock_check(&copy);
        if (wrong != NULL) {
            *problem = wrong;
            continue;
        }
        if (*copies_valid == 0 || copy.version > version) *superblock = copy;
        version = superblock->version;
        ++*copies_valid;
    }
    return *copies_valid > 0 ? 0 : -EBADMSG;
}

int tael_superblock_read(struct tael_disk *disk, struct tael_superblock *superblock, uint32_t *copies_valid,
                         struct tael_report *report) {
    tael_file file;
    int error = tael_disk_open(disk, SUPERBLOCK_NAME, TAEL_DISK_READ, &file);
    if (error == -ENOENT) {
        tael_report_set(report, "there is no ledger here; `tael format` makes one");
        return error;
    }
    if (error != 0) {
        tael_report_set(report, "the superblock cannot be opened: %s", strerror(-error));
        return error;
    }
    uint32_t valid;
    const char *problem = "";
    struct tael_superblock newest;
    error = superblock_read_copies(disk, file, &newest, &valid, &problem);
    tael_disk_close(disk, file);
    if (error != 0) {
        tael_report_set(report,
                        "no copy of the superblock is whole (of the last one: %s); restore the file `%s` from a backup",
                        problem, SUPERBLOCK_NAME);
        return error;
    }
    *superblock = newest;
    if (copies_valid != NULL) *copies_valid = valid;
    return 0;
}

bool tael_superblock_skips(const struct tael_superblock *superblock, uint64_t op) {
    for (uint32_t i = 0; i < TAEL_SKIPPED_OPS_MAX; i++) {
        if (superblock->skipped_ops[i] == op && op != 0) return true;
    }
    return false;
}

static void print_u128(FILE *out, const char *name, tael_u128 value) {
    fprintf(out, "%-16s 0x%016" PRIx64 "%016" PRIx64 "\n", name, tael_u128_high(value), tael_u128_low(value));
}

static void print_u64(FILE *out, const char *name, uint64_t value) { fprintf(out, "%-16s %" PRIu64 "\n", name, value); }

void tael_superblock_print(FILE *out, const struct tael_superblock *superblock) {
    print_u64(out, "format version", superblock->format_version);
    print_u64(out, "version", superblock->version);
    print_u64(out, "incarnation", superblock->incarnation);
    print_u64(out, "term", superblock->term);
    print_u128(out, "cluster", superblock->cluster);
    print_u64(out, "formatted at ns", superblock->format_time);
    print_u64(out, "accounts max", superblock->limits.accounts_max);
    print_u64(out, "transfers max", superblock->limits.transfers_max);
    print_u64(out, "sessions max", superblock->limits.sessions_max);
    print_u64(out, "segment size", superblock->limits.segment_size);
    print_u64(out, "scratch", superblock->scratch);
    for (uint32_t i = 0; i < TAEL_SKIPPED_OPS_MAX; i++) {
        if (superblock->skipped_ops[i] != 0) print_u64(out, "skipped op", superblock->skipped_ops[i]);
    }
}

/* --- the lock --- */

static int lock(struct tael_disk *disk, struct tael_report *report) {
    uint64_t holder = 0;
    const int error = tael_disk_lock(disk, LOCK_NAME, &holder);
    if (error == -EBUSY && holder != 0) {
        tael_report_set(report, "process %" PRIu64 " has this ledger open", holder);
    } else if (error == -EBUSY) {
        tael_report_set(report, "another process has this ledger open");
    } else if (error != 0) {
        tael_report_set(report, "the directory cannot be locked: %s", strerror(-error));
    }
    return error;
}

/* --- format --- */

struct contents {
    bool ledger;
    bool other;
    char name[TAEL_DISK_NAME_MAX];
};

static int visit_contents(void *context, const char *name) {
    struct contents *contents = context;
    if (strcmp(name, "lost+found") == 0) return 0;
    if (strcmp(name, SUPERBLOCK_NAME) == 0) contents->ledger = true;
    contents->other = true;
    (void)snprintf(contents->name, sizeof contents->name, "%s", name);
    return 0;
}

static int check_empty(struct tael_disk *disk, struct tael_report *report) {
    struct contents contents = {0};
    const int error = tael_disk_list(disk, "", visit_contents, &contents);
    if (error != 0) {
        tael_report_set(report, "the directory cannot be read: %s", strerror(-error));
        return error;
    }
    if (contents.ledger) {
        tael_report_set(report, "there is a ledger here already; nothing was changed");
        return -EEXIST;
    }
    if (contents.other) {
        tael_report_set(
            report,
            "the directory is not empty (it holds `%s`); if that is left from a format that was interrupted, "
            "remove it first",
            contents.name);
        return -ENOTEMPTY;
    }
    return 0;
}

/* Runs the preparer to its end. */
static int prepare_segment(struct tael_preparer *preparer, uint64_t number) {
    tael_preparer_start(preparer, number);
    while (preparer->state == TAEL_PREPARER_BUSY) {
        if (tael_preparer_poll(preparer, TAEL_PREPARE_SLICES_MAX) > 0) continue;
        const int error = tael_disk_wait(preparer->disk);
        if (error != 0) return error;
    }
    if (preparer->state != TAEL_PREPARER_READY) return preparer->error;
    tael_disk_close(preparer->disk, tael_preparer_take(preparer));
    return 0;
}

static int prepare_segments(struct tael_disk *disk, uint64_t segment_size, uint32_t count) {
    void *zeros = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_PREPARE_SLICE_SIZE);
    if (zeros == NULL) return -ENOMEM;
    memset(zeros, 0, TAEL_PREPARE_SLICE_SIZE);
    struct tael_preparer preparer;
    int error = tael_preparer_init(&preparer, disk, zeros, segment_size);
    for (uint32_t i = 0; error == 0 && i < count; i++) error = prepare_segment(&preparer, i + 1);
    tael_preparer_close(&preparer);
    free(zeros);
    return error;
}

/* The superblock under its final name: from here on the ledger exists. */
static int superblock_make(struct tael_disk *disk, const struct tael_superblock *superblock) {
    tael_file file;
    int error = tael_disk_open(disk, SUPERBLOCK_NAME_NEW, TAEL_DISK_WRITE | TAEL_DISK_CREATE, &file);
    if (error != 0) return error;
    error = superblock_write_copies(disk, file, superblock);
    tael_disk_close(disk, file);
    if (error == 0) error = tael_disk_directory_sync(disk, "");
    if (error == 0) error = tael_disk_rename(disk, SUPERBLOCK_NAME_NEW, SUPERBLOCK_NAME);
    if (error == 0) error = tael_disk_directory_sync(disk, "");
    return error;
}

int tael_data_directory_format(struct tael_disk *disk, const struct tael_format_options *options,
                               struct tael_superblock *superblock, struct tael_report *report) {
    TAEL_ASSERT(options->log_id != 0);
    TAEL_ASSERT(options->segments > 0);
    int error = check_empty(disk, report);
    if (error != 0) return error;
    error = lock(disk, report);
    if (error != 0) return error;

    struct tael_superblock made = {
        .version = 1,
        .cluster = options->cluster,
        .log_id = options->log_id,
        .hash_key = options->hash_key,
        .term = 1,
        .format_time = options->format_time_ns,
        .limits = options->limits,
        .scratch = options->scratch ? 1 : 0,
    };
    tael_superblock_seal(&made);
    error = tael_disk_directory_make(disk, TAEL_LOG_DIRECTORY);
    if (error == 0) error = tael_disk_directory_sync(disk, "");
    if (error == 0) error = prepare_segments(disk, options->limits.segment_size, options->segments);
    if (error == 0) error = superblock_make(disk, &made);
    if (error != 0) {
        tael_report_set(report, "the ledger could not be written: %s; empty the directory before trying again",
                        strerror(-error));
        return error;
    }
    *superblock = made;
    return 0;
}

/* --- open --- */

static void raise_limit(uint64_t *limit, uint64_t asked) {
    if (asked > *limit) *limit = asked;
}

static int add_skipped_op(struct tael_superblock *superblock, uint64_t op) {
    if (op == 0 || tael_superblock_skips(superblock, op)) return 0;
    for (uint32_t i = 0; i < TAEL_SKIPPED_OPS_MAX; i++) {
        if (superblock->skipped_ops[i] != 0) continue;
        superblock->skipped_ops[i] = op;
        return 0;
    }
    return -ENOSPC;
}

static int superblock_raise(struct tael_disk *disk, const struct tael_data_directory_options *options,
                            struct tael_superblock *superblock, struct tael_report *report) {
    raise_limit(&superblock->limits.accounts_max, options->limits.accounts_max);
    raise_limit(&superblock->limits.transfers_max, options->limits.transfers_max);
    raise_limit(&superblock->limits.sessions_max, options->limits.sessions_max);
    superblock->incarnation++;
    int error = add_skipped_op(superblock, options->skip_op);
    if (error != 0) {
        tael_report_set(report, "there is room for %u skipped ops, and all are taken", TAEL_SKIPPED_OPS_MAX);
        return error;
    }
    if (options->accept != NULL) error = options->accept(options->context, superblock, report);
    if (error != 0) return error;
    tael_superblock_seal(superblock);
    error = superblock_write(disk, superblock);
    /* A format that was killed at its very end may have left names that are not durable. */
    if (error == 0) error = tael_disk_directory_sync(disk, "");
    if (error != 0) tael_report_set(report, "the superblock cannot be written: %s", strerror(-error));
    return error;
}

int tael_data_directory_open(struct tael_disk *disk, const struct tael_data_directory_options *options,
                             struct tael_superblock *superblock, struct tael_report *report) {
    struct tael_superblock read;
    /* Before locking, so that a directory without a ledger is left without a lock file. */
    int error = tael_superblock_read(disk, &read, NULL, report);
    if (error == -ENOENT) return error;
    error = lock(disk, report);
    if (error == 0) error = tael_superblock_read(disk, &read, NULL, report);
    if (error == 0 && !options->read_only) error = superblock_raise(disk, options, &read, report);
    if (error == 0) *superblock = read;
    return error;
}

/* --- segments --- */

struct range {
    uint64_t first;
    uint64_t last;
    uint64_t count;
};

static int visit_range(void *context, const char *name) {
    struct range *range = context;
    uint64_t number;
    bool preparing;
    if (!tael_segment_name_parse(name, &number, &preparing)) return 0;
    if (preparing) return 0;
    if (range->count == 0 || number < range->first) range->first = number;
    if (number > range->last) range->last = number;
    range->count++;
    return 0;
}

int tael_segments_range(struct tael_disk *disk, uint64_t *first, uint64_t *last, struct tael_report *report) {
    struct range range = {0};
    const int error = tael_disk_list(disk, TAEL_LOG_DIRECTORY, visit_range, &range);
    if (error != 0) {
        tael_report_set(report, "the log's directory cannot be read: %s", strerror(-error));
        return error;
    }
    if (range.count > 0 && range.last - range.first + 1 != range.count) {
        tael_report_set(report,
                        "of the segments %016" PRIx64 " to %016" PRIx64 ", %" PRIu64
                        " are missing from the directory `log`; nothing was changed. Restore them from a backup",
                        range.first, range.last, range.last - range.first + 1 - range.count);
        return -EBADMSG;
    }
    *first = range.first;
    *last = range.last;
    return 0;
}

static int segment_visit(struct tael_disk *disk, const struct tael_superblock *superblock, uint64_t number,
                         tael_segment_visit *visit, void *context, struct tael_report *report) {
    _Alignas(TAEL_SECTOR_SIZE) struct tael_segment_header header;
    char name[TAEL_DISK_NAME_MAX];
    tael_segment_name(name, number, false);
    struct tael_segment_info info = {.number = number};
    tael_file file;
    int error = tael_disk_open(disk, name, TAEL_DISK_READ, &file);
    if (error == 0) {
        error = tael_disk_size(disk, file, &info.size);
        if (error == 0) error = tael_disk_read(disk, file, &header, sizeof header, 0);
        tael_disk_close(disk, file);
    }
    if (error != 0) {
        tael_report_set(report, "%s cannot be read: %s", name, strerror(-error));
        return error;
    }
    info.problem = tael_segment_header_check(&header, superblock, number, info.size);
    info.header = info.problem == NULL ? &header : NULL;
    return visit(context, &info);
}

int tael_segments_visit(struct tael_disk *disk, const struct tael_superblock *superblock, tael_segment_visit *visit,
                        void *context, struct tael_report *report) {
    uint64_t first, last;
    const int error = tael_segments_range(disk, &first, &last, report);
    if (error != 0 || last == 0) return error;
    for (uint64_t number = first; number <= last; number++) {
        const int result = segment_visit(disk, superblock, number, visit, context, report);
        if (result != 0) return result;
    }
    return 0;
}
