/* The ledger's digest, recomputed from the whole state. docs/digest.md defines it; tael_ledger_digest (engine/ledger.h) is the same at one go by
 * one worker.
 *
 * A transfer and what it changed stay as they are once its request has been applied. They are nearly all of the digest, and can be
 * added up while the ledger goes on: by any number of workers at the same time, piece by piece, whenever no block is being applied. What does
 * change is added at the end. Pure. */
#ifndef TAEL_ENGINE_DIGEST_H
#define TAEL_ENGINE_DIGEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/limits.h>

#include "engine/ledger.h"
#include "engine/parallel.h"

/* All zeros in the beginning. */
struct tael_digest {
    _Alignas(TAEL_CACHE_LINE) _Atomic uint64_t next; /* transfers below this position are added, or about to be */
    struct {
        _Alignas(TAEL_CACHE_LINE) tael_u128 sum;
    } shares[TAEL_WORKERS_MAX]; /* each written by its worker */
};

/* Adds the next few transfers to the worker's share; some 20 us. False: there are none left. */
bool tael_digest_advance(struct tael_digest *digest, const struct tael_ledger *ledger, uint32_t worker);

/* Adds all that is left, with the team, and returns the ledger's digest. Called by the leader; nobody may change the ledger meanwhile, or
 * add to this digest any more. */
tael_u128 tael_digest_end(struct tael_digest *digest, const struct tael_ledger *ledger, const struct tael_team *team);

#endif
