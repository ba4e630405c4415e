/* Lookups: records by their ids, found by the caller alone or by all workers.
 *
 * All ids of a request stand one behind the other, whatever sub-batches they are cut into, and so do the records found, in the
 * ids' order. Together, each worker has a range of the ids and writes what it finds as if all ids before its range were found;
 * then the leader moves the ranges' records together, where some were not. So the result is the same, byte for byte, for any
 * number of workers.
 *
 * Safe without a lock: only the leader writes the ledger outside of passes, and during this one nobody does; each worker
 * writes the records and findings of its own range only.
 *
 * A lookup shows one op, so no block may be applied in its midst: it takes one pass, and passes of fewer ids would not make the
 * worker's turn any shorter. That pass is of TAEL_EVENTS_MAX ids at the most: some 0.4 ms by one worker, 0.21 by two, and no
 * more than a slice (TAEL_READ_SLICE) from four on. Lookups don't share a pass: one below TAEL_LOOKUP_IDS_MIN gains too little. */
#ifndef TAEL_ENGINE_LOOKUP_H
#define TAEL_ENGINE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#include "engine/ledger.h"
#include "engine/parallel.h"

/* From here on it takes no longer even where the others have gone to sleep and nothing else wants their processors: by two
 * workers then 50 ns an id, as by one, and 27 where they are awake. Of 512 ids it takes 64 and 30, of 256 105 and 36.
 * (`./dev bench --filter lookup/`) */
#define TAEL_LOOKUP_IDS_MIN 1024

struct tael_lookup {
    const struct tael_ledger *ledger;
    bool accounts; /* or transfers */
    const uint8_t *ids; /* as on the wire */
    uint32_t count; /* at most TAEL_EVENTS_MAX */
    void *records; /* struct tael_account or struct tael_transfer; room for `count` */
    uint8_t *found; /* by id: 1 where there is a record, 0 where there is none */
};

/* Workers that find together. */
struct tael_lookups;

struct tael_lookups_options {
    struct tael_team team;
    uint32_t ids_min; /* TAEL_LOOKUP_IDS_MIN; tests take 1 */
};

/* Of lookups by all workers. */
struct tael_lookups_counters {
    uint64_t lookups;
    uint64_t ids;
};

size_t tael_lookups_size_bytes(uint32_t workers);
struct tael_lookups *tael_lookups_init(struct tael_arena *arena, const struct tael_lookups_options *options);

/* Finds all ids: together where `lookups` is not NULL and there are enough, otherwise alone. By the leader, between passes.
 * Returns how many records there are; beyond them the room may have been written to. */
uint32_t tael_lookups_run(struct tael_lookups *lookups, const struct tael_lookup *lookup);

struct tael_lookups_counters tael_lookups_counters(const struct tael_lookups *lookups);

#endif
