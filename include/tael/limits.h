/* Every fixed bound of Tael, and the relations between them. Limits that an administrator chooses have their range and
 * default here too; their values stand in the superblock. */
#ifndef TAEL_LIMITS_H
#define TAEL_LIMITS_H

#include <assert.h>

#define TAEL_CACHE_LINE 64
#define TAEL_SECTOR_SIZE 4096 /* unit of everything on disk */

/* --- messages (client protocol) --- */
#define TAEL_FRAME_HEADER_SIZE 256
#define TAEL_MESSAGE_SIZE_MAX (1u << 20)
#define TAEL_BODY_SIZE_MAX (TAEL_MESSAGE_SIZE_MAX - TAEL_FRAME_HEADER_SIZE)

#define TAEL_RECORD_SIZE 128 /* account, transfer, filter, balance */
#define TAEL_EVENTS_MAX 8189 /* of 128 B in one multi-batch request, and results of a query */
#define TAEL_CHANGE_EVENTS_MAX 2730
#define TAEL_BATCHES_MAX 65534 /* sub-batches in one request */
#define TAEL_EXPIRIES_MAX 8190 /* transfers that one pulse expires; also the timestamps that it reserves */

static_assert(TAEL_EVENTS_MAX * TAEL_RECORD_SIZE + TAEL_RECORD_SIZE <= TAEL_BODY_SIZE_MAX,
              "a full request and its trailer fit one message");
static_assert(TAEL_CHANGE_EVENTS_MAX * 384 <= TAEL_BODY_SIZE_MAX, "the largest change-events reply fits one message");

/* --- blocks: one group commit and one batch of the engine --- */
#define TAEL_BLOCK_SIZE_TARGET (256u << 10) /* closed when it is this full */
#define TAEL_BLOCK_SIZE_MAX (TAEL_MESSAGE_SIZE_MAX + TAEL_SECTOR_SIZE) /* one largest request always fits */
#define TAEL_BLOCK_HEADER_SIZE 256
#define TAEL_REQUEST_HEADER_SIZE 128
#define TAEL_REQUESTS_PER_BLOCK_MAX ((TAEL_BLOCK_SIZE_MAX - TAEL_BLOCK_HEADER_SIZE) / TAEL_REQUEST_HEADER_SIZE)

static_assert(TAEL_BLOCK_SIZE_MAX % TAEL_SECTOR_SIZE == 0, "a block is written with O_DIRECT");
static_assert(TAEL_BLOCK_HEADER_SIZE + TAEL_REQUEST_HEADER_SIZE + TAEL_BODY_SIZE_MAX + TAEL_RECORD_SIZE <=
                  TAEL_BLOCK_SIZE_MAX,
              "one largest request, padded to a record, fits one block");

/* --- the log --- */
#define TAEL_LOG_IN_FLIGHT_MAX 16 /* upper bound of K, the blocks written but not announced */
#define TAEL_LOG_IN_FLIGHT_DEFAULT 8
#define TAEL_SEGMENT_SIZE_MIN (4u << 20)
#define TAEL_SEGMENT_SIZE_DEFAULT (64u << 20)
#define TAEL_SEGMENT_SIZE_MAX (1u << 30)

static_assert(TAEL_SEGMENT_SIZE_MIN >= 2 * TAEL_BLOCK_SIZE_MAX, "a segment holds its header and at least one block");

/* --- the ledger --- */
#define TAEL_ACCOUNTS_MIN 16
#define TAEL_ACCOUNTS_DEFAULT 500000
#define TAEL_ACCOUNTS_MAX (1u << 31) /* account numbers are 32 bits with room for a mark */
#define TAEL_TRANSFERS_MIN 16
#define TAEL_TRANSFERS_DEFAULT 4000000
#define TAEL_TRANSFERS_MAX ((1ull << 32) - 2) /* positions are 32 bits while the journal is in memory */
#define TAEL_SESSIONS_MIN 1
#define TAEL_SESSIONS_DEFAULT 4096
#define TAEL_SESSIONS_MAX 65536
#define TAEL_LEDGERS_PER_REPLY_MAX 4094 /* rows of a trial balance, after its head row */

/* --- time --- */
#define TAEL_NS_PER_S 1000000000ull
#define TAEL_TIMESTAMP_MAX ((1ull << 63) - 1)

#endif
