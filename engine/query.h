/* Reads: lookups, account histories, queries, change events, the trial balance.
 *
 * A read is begun at the ledger's current op, advanced in bounded slices between which requests may be applied, and shows
 * the ledger as of one op: the one reported in `op`. Lookups end in the first slice, by all workers where there are many ids
 * (engine/lookup.h). It leaves no trace.
 * Owned by the ledger's worker thread. The body was checked whole before (tael_query_body_check). */
#ifndef TAEL_ENGINE_QUERY_H
#define TAEL_ENGINE_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/frame.h>
#include <tael/multi_batch.h>

#include "engine/ledger.h"
#include "engine/lookup.h"

/* Checks a read's body: size, trailer, counts, and that the largest result fits one reply (limits are capped first).
 * Returns 0 and the reply body's largest size, or the eviction reason (5 or 6). */
enum tael_eviction_reason tael_query_body_check(uint8_t operation, const void *body, uint32_t body_size,
                                                uint32_t *reply_size_max);

struct tael_query;
size_t tael_query_size_bytes(void);
/* `lookups` outlives it; NULL: the caller finds all ids alone. */
struct tael_query *tael_query_init(struct tael_arena *arena, struct tael_lookups *lookups);

/* Begins a read. `body` must stay unchanged until it is done; `reply` has room for the reply_size_max of the check. */
void tael_query_begin(struct tael_query *query, struct tael_ledger *ledger, uint8_t operation, const void *body,
                      uint32_t body_size, void *reply);

/* Advances it by about `budget` records read. True when it is done. */
bool tael_query_step(struct tael_query *query, uint32_t budget);

/* Of a read that is done: bytes of reply body, and the op and timestamp as of which it reads. */
uint32_t tael_query_reply_size(const struct tael_query *query);
uint64_t tael_query_op(const struct tael_query *query);
uint64_t tael_query_timestamp(const struct tael_query *query);

#endif
