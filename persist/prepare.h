/* Preparing a segment: a file full of zeros, durable under its name before the log takes it.
 *
 * A file is made as log/N.preparing, given its space, written full of zeros in slices, synced, renamed to log/N.segment,
 * and the directory synced. So a `.segment` is always whole, and writes into it never wait for the file system: writing
 * into space that was merely reserved costs two to four times as much (unwritten extents, journal commits).
 * Running out of space shows here and nowhere else: it is an outcome, not an error. So is running out of file descriptors,
 * which clients' connections take too.
 *
 * One segment at a time; every step is asynchronous, and the number of slices in flight is the caller's to bound.
 * Owner: the log's thread. */
#ifndef TAEL_PERSIST_PREPARE_H
#define TAEL_PERSIST_PREPARE_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/limits.h>

#include "persist/disk.h"

#define TAEL_PREPARE_SLICE_SIZE (1u << 20)
#define TAEL_PREPARE_SLICES_MAX 2 /* in flight */

enum tael_preparer_state {
    TAEL_PREPARER_IDLE, /* nothing asked for */
    TAEL_PREPARER_BUSY,
    TAEL_PREPARER_READY, /* `file` is the segment, open for writing; take it with tael_preparer_take */
    TAEL_PREPARER_NO_SPACE, /* what was made is removed again; ask anew later; `error` says what was lacking */
    TAEL_PREPARER_FAILED, /* `error` says why: the disk is not to be trusted */
};

struct tael_preparer {
    struct tael_disk *disk;
    void *zeros; /* TAEL_PREPARE_SLICE_SIZE of them, sector aligned */
    uint64_t segment_size;
    enum tael_preparer_state state;
    uint32_t step; /* enum step in prepare.c */
    int error; /* the first one; cleaning up goes on in spite of it */
    uint64_t number;
    tael_file file;
    tael_file directory; /* log/, kept open */
    uint64_t filled; /* bytes for which a slice was submitted */
    uint32_t in_flight; /* requests */
    bool fault_no_directory_sync; /* tests only: see enum tael_log_fault */
    struct tael_disk_request request; /* for everything but slices */
    struct tael_slice {
        struct tael_disk_request request;
        struct tael_preparer *preparer;
        bool busy;
    } slices[TAEL_PREPARE_SLICES_MAX];
};

/* `zeros` as above. Opens the log's directory: 0 or a negative errno. */
int tael_preparer_init(struct tael_preparer *preparer, struct tael_disk *disk, void *zeros, uint64_t segment_size);

/* Begins with segment `number`. The preparer must be idle, or have told that there was no space. */
void tael_preparer_start(struct tael_preparer *preparer, uint64_t number);

/* Goes on with at most `slices` in flight. Returns how much it did. */
int tael_preparer_poll(struct tael_preparer *preparer, uint32_t slices);

/* Hands over a segment that is ready; idle again. */
tael_file tael_preparer_take(struct tael_preparer *preparer);

/* Waits for what is in flight, and closes its files. A half-prepared file stays for the next open to remove. */
void tael_preparer_close(struct tael_preparer *preparer);

#endif
