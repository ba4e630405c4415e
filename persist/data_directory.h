/* The data directory: who has it, and its superblock.
 *
 *   DIR/lock         held by the process that has the ledger open, for as long as it does
 *   DIR/superblock   four copies; the valid one with the highest `version` counts
 *   DIR/log/         segments
 *
 * A superblock is written two copies at a time, each pair synced before the next: a crash leaves a valid pair, old or new.
 * The superblock's file gets its name last of all in a format, so a directory with one is a whole ledger.
 * For start-up and tools: everything here is synchronous, and may allocate. */
#ifndef TAEL_PERSIST_DATA_DIRECTORY_H
#define TAEL_PERSIST_DATA_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <tael/log_format.h>

#include "persist/disk.h"
#include "persist/report.h"

struct tael_format_options {
    tael_u128 cluster;
    tael_u128 log_id; /* random, not 0 */
    tael_u128 hash_key; /* random */
    uint64_t format_time_ns; /* since 1970 */
    struct tael_superblock_limits limits;
    bool scratch; /* for measuring: it will acknowledge before it is durable */
    uint32_t segments; /* prepared now; the first blocks need not wait for them. At least 1 */
};

/* Makes a ledger in the disk's directory, which must be empty (but for lost+found), and locks it. -EEXIST where a ledger
 * is there already, -ENOTEMPTY where something else is; then nothing was changed. `superblock` is what was written. */
int tael_data_directory_format(struct tael_disk *disk, const struct tael_format_options *options,
                               struct tael_superblock *superblock, struct tael_report *report);

struct tael_data_directory_options {
    bool read_only; /* for tools: neither raises the incarnation nor writes anything but the lock */
    /* Limits to raise; 0 leaves one as it is, and so does a value below the present one. segment_size is ignored. */
    struct tael_superblock_limits limits;
    uint64_t skip_op; /* to add to the ops that replay leaves out; 0 none */
    /* Not with read_only; may be NULL. Looks at the superblock as it is about to be written. Anything but 0 leaves the disk as it
     * was and is returned; say why in the report. What was raised never falls again, so what cannot be served must not
     * be raised. */
    int (*accept)(void *context, const struct tael_superblock *superblock, struct tael_report *report);
    void *context;
};

/* Locks the directory, reads the superblock, raises its incarnation and limits and writes it durably.
 * -EBUSY where another process has it (the report names it), -ENOENT where there is no ledger, -EBADMSG where no copy of the
 * superblock holds, -ENOSPC where there are too many skipped ops. `superblock` is untouched on failure. */
int tael_data_directory_open(struct tael_disk *disk, const struct tael_data_directory_options *options,
                             struct tael_superblock *superblock, struct tael_report *report);

/* The newest valid copy, without locking anything; `copies_valid` (may be NULL) tells how many hold. */
int tael_superblock_read(struct tael_disk *disk, struct tael_superblock *superblock, uint32_t *copies_valid,
                         struct tael_report *report);

/* True where replay leaves `op` out. */
bool tael_superblock_skips(const struct tael_superblock *superblock, uint64_t op);

/* One line a field, for `tael inspect`. The log's id and the hash key are secrets: they are not shown. */
void tael_superblock_print(FILE *out, const struct tael_superblock *superblock);

/* For each segment in the log's directory, in order of number. `header` is NULL where the segment was never begun or its
 * header does not hold; `problem` says which. Anything but 0 from `visit` stops and is returned. */
struct tael_segment_info {
    uint64_t number;
    uint64_t size; /* of its file */
    const struct tael_segment_header *header;
    const char *problem;
};
typedef int tael_segment_visit(void *context, const struct tael_segment_info *segment);
int tael_segments_visit(struct tael_disk *disk, const struct tael_superblock *superblock, tael_segment_visit *visit,
                        void *context, struct tael_report *report);

/* Numbers of the first and last segment, 0 and 0 where there is none. -EBADMSG where one in between is missing. */
int tael_segments_range(struct tael_disk *disk, uint64_t *first, uint64_t *last, struct tael_report *report);

#endif
