/* Recovery: reads the log, hands every good block to be applied again, and decides what the end of it means.
 *
 * The rule for holes (architecture, "Durability"; docs/log-format.md tells it at length). Let s be the first block that
 * is not good, and K that of the segment in which it lies. If a later header that holds has sequence >= s + K or
 * durable >= s, then s was announced, so something acknowledged may be damaged: recovery refuses, and changes nothing.
 * No evidence is a header whose sequence lies below the first of its segment (the segment was used before), or whose incarnation
 * is lower than that of the last good block before s (what an earlier cut left). A read error is never a tail.
 * Otherwise it is the tail of a crash: recovery cuts there, overwrites what follows with zeros and flushes. */
#ifndef TAEL_PERSIST_RECOVERY_H
#define TAEL_PERSIST_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persist/disk.h"
#include "persist/log.h"
#include "persist/reader.h"
#include "persist/report.h"

/* Tests only; 0 in production. */
enum tael_recovery_fault {
    TAEL_RECOVERY_FAULT_OLD_IS_NO_EVIDENCE = 1u
                                             << 0, /* blocks of incarnations before the present one are no evidence */
};

struct tael_recovery_options {
    struct tael_disk *disk;
    const struct tael_superblock *superblock;
    /* Each good block in order, with its requests behind its header; only valid during the call. Anything but 0 ends the recovery
     * and is returned; say why in the report. May be NULL. */
    int (*block)(void *context, const struct tael_log_block *block, const struct tael_place *place);
    /* Now and then: bytes read of at most `bytes_total`. May be NULL. */
    void (*progress)(void *context, uint64_t bytes, uint64_t bytes_total, uint64_t op);
    void *context;
    bool read_only; /* for tools: tells what would be cut, and cuts nothing */
    uint32_t window_size; /* of the reader; 0 for the default */
    int (*wait)(void *context,
                struct tael_disk *disk); /* as struct tael_reader_options has it; never during a call of `block` */
    uint32_t faults; /* enum tael_recovery_fault; tests only */
};

struct tael_recovery_result {
    struct tael_log_position position; /* for tael_log_init */
    uint64_t blocks;
    uint64_t requests; /* ops replayed */
    uint64_t bytes;
    uint64_t incarnation_last; /* of the last block */
    /* What was cut, or would be. */
    bool cut;
    uint64_t cut_sequence; /* s */
    struct tael_place cut_place;
    const char *cut_reason;
    uint64_t cut_blocks; /* headers that held, from s on; the highest sequence among them next */
    uint64_t cut_sequence_last;
    uint64_t cut_bytes; /* in sectors that were not zero */
};

/* 0, or a negative errno with a report: -EBADMSG where acknowledged blocks are damaged or make no sense, -EIO where the disk could
 * not be read or written. `result` is set on success only. */
int tael_recovery_run(const struct tael_recovery_options *options, struct tael_recovery_result *result,
                      struct tael_report *report);

/* One line: what was replayed and what was cut. Returns `text`. */
const char *tael_recovery_describe(const struct tael_recovery_result *result, char *text, size_t size);

#endif
