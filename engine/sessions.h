/* Sessions and kept replies: for each slot of each client's session its last logged request, and what it was answered.
 *
 * A session by datagram has a token and one to TAEL_SLOTS_MAX slots, one by frames has slot 0 alone and no token. An entry of the
 * table is a slot. What belongs to the session as a whole, its place in the order of age above all, is slot 0's, which is therefore
 * the session's root.
 *
 * A function of the log only: the same requests in the same order give the same table, live and on replay, whatever the
 * order of its entries in memory. Pure: no clock, no I/O, no allocation after init.
 * Owned by the sequencer's thread; by recovery before there is one.
 *
 * Invariants:
 *   1. Every logged request moves the table forward once, at sequencing, in the order of the log
 *      (tael_sessions_sequence). What was kept for the session's earlier request is given back then: a client that sends a
 *      new request in a slot has seen the answer to the last one in it.
 *   2. A create reserves the chunks of its worst-case reply at sequencing; the caller has checked that there are as many
 *      (tael_sessions_chunks_needed). After it was applied its outcome is kept (tael_sessions_keep) and what it does not
 *      need is given back. So keeping never fails.
 *   3. used + reserved + free chunks = the pool.
 *   4. On replay each request is kept before the next one is sequenced, so replay never needs more than the original run.
 *
 * A kept reply is compact: the request's own facts, its exceptions and its sub-batches' counts. One function makes the
 * body of the first reply and of every later one from it, so they are the same bytes. */
#ifndef TAEL_ENGINE_SESSIONS_H
#define TAEL_ENGINE_SESSIONS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/limits.h>
#include <tael/multi_batch.h>
#include <tael/record.h>
#include <tael/request.h>

#define TAEL_REPLY_CHUNK_SIZE 256
#define TAEL_SESSION_NONE UINT32_MAX

/* Chunks that the largest kept reply takes: all of its events failed, each sub-batch has a count. */
#define TAEL_REPLY_CHUNKS_MAX                                                                                          \
    ((TAEL_EVENTS_MAX * sizeof(struct tael_exception) + TAEL_BATCHES_MAX * sizeof(uint16_t) + TAEL_REPLY_CHUNK_SIZE -  \
      1) /                                                                                                             \
     TAEL_REPLY_CHUNK_SIZE)

/* Bytes of the largest reply body that is kept: dense results and a trailer. */
#define TAEL_REPLY_BODY_KEPT_MAX                                                                                       \
    (TAEL_EVENTS_MAX * sizeof(struct tael_create_result) + 2 * (TAEL_BATCHES_MAX + 1) +                                \
     sizeof(struct tael_create_result))
static_assert(TAEL_REPLY_BODY_KEPT_MAX <= TAEL_BODY_SIZE_MAX, "a kept reply fits one message");

struct tael_session {
    tael_u128 client;
    tael_u128 checksum; /* of the last logged request in the slot; of all slots the register was the first one */
    uint64_t session; /* the op of its register: the session's number */
    uint64_t token; /* of the session by datagram; 0 by frames */
    uint64_t op; /* of the last logged request in the slot; never 0 */
    uint64_t op_last; /* root: of the last one in any slot */
    uint64_t timestamp; /* of the last logged request */
    uint32_t request; /* its number; 0 is the register */
    uint32_t capabilities; /* enum tael_capability, from the register */
    uint32_t event_count;
    uint32_t batch_count;
    uint32_t exception_count; /* of the kept reply */
    uint32_t chunk_first; /* of the kept reply */
    uint32_t chunk_count; /* kept, or reserved while the request is not applied */
    uint32_t root; /* the session's slot 0 */
    uint32_t slot_next; /* entry of the session's next slot; TAEL_SESSION_NONE of the last one */
    uint32_t older; /* root: neighbours in the order of op_last */
    uint32_t newer;
    uint16_t slot;
    uint16_t slots; /* of the session by datagram; 0 by frames */
    uint8_t operation;
    bool answered; /* the outcome of the last logged request is known and kept */
};

/* One slot of a session in the digest (docs/digest.md, kind 7). */
struct tael_session_digest_record {
    tael_u128 client;
    tael_u128 checksum; /* of the last logged request */
    tael_u128 context; /* of its reply */
    uint64_t session;
    uint64_t op; /* of the last logged request */
    uint32_t request;
    uint32_t capabilities;
    uint8_t operation;
    uint8_t slot;
    uint16_t slots;
    uint8_t reserved_a[4]; /* zero */
    uint64_t token;
    uint8_t reserved_b[24]; /* zero */
    tael_u128 reply_body_digest; /* XXH3_128 with seed 0 of the reply's body */
};
static_assert(sizeof(struct tael_session_digest_record) == 128, "docs/digest.md");
static_assert(offsetof(struct tael_session_digest_record, session) == 48, "docs/digest.md");
static_assert(offsetof(struct tael_session_digest_record, request) == 64, "docs/digest.md");
static_assert(offsetof(struct tael_session_digest_record, operation) == 72, "docs/digest.md");
static_assert(offsetof(struct tael_session_digest_record, token) == 80, "docs/digest.md");
static_assert(offsetof(struct tael_session_digest_record, reply_body_digest) == 112, "docs/digest.md");
#define TAEL_SESSION_DIGEST_KIND 7

struct tael_sessions;

struct tael_sessions_options {
    uint32_t sessions_max; /* entries */
    uint32_t reply_chunks; /* the pool; at least TAEL_REPLY_CHUNKS_MAX */
    tael_u128 hash_key; /* random, made at format: client ids are chosen by clients */
};

/* The pool that goes with a limit of sessions. A function of the limit alone, which only rises, so that a log can always
 * be replayed: eight chunks a session, and 64 largest requests of one sub-batch in flight. */
uint32_t tael_sessions_reply_chunks(uint32_t sessions_max);

size_t tael_sessions_size_bytes(const struct tael_sessions_options *options);
struct tael_sessions *tael_sessions_init(struct tael_arena *arena, const struct tael_sessions_options *options);

/* The entry of a slot of a client's session, as a stable number below sessions_max; TAEL_SESSION_NONE where there is none. */
uint32_t tael_sessions_find(const struct tael_sessions *sessions, tael_u128 client, uint16_t slot);
const struct tael_session *tael_sessions_at(const struct tael_sessions *sessions, uint32_t index);

/* The context of the reply to a logged request: unique, since ops are. */
static inline tael_u128 tael_session_context(uint64_t op, uint64_t timestamp) { return tael_u128_make(timestamp, op); }

/* Chunks to reserve for the worst-case reply of a create. */
uint32_t tael_sessions_chunks_needed(uint32_t event_count, uint32_t batch_count);

/* Entries that a register needs: one for each slot. */
static inline uint32_t tael_sessions_entries_needed(uint16_t slots) { return slots == 0 ? 1 : slots; }

/* Moves the table forward by a logged request. register: opens the session, which must be new and have room for all its slots.
 * evict: ends the session, which must exist. Creates: the slot must exist, with the session's number, and the chunks must be
 * there, counting those that it gives back. Pulses change nothing. Returns the slot's entry, TAEL_SESSION_NONE if there is none
 * now. */
uint32_t tael_sessions_sequence(struct tael_sessions *sessions, const struct tael_request *request);

/* Keeps the outcome of a register or create that was applied, and gives back what it does not need. Returns the slot's
 * entry, or TAEL_SESSION_NONE where the session has ended or the slot gone on to a later request: nobody waits for that reply. */
uint32_t tael_sessions_keep(struct tael_sessions *sessions, const struct tael_request *request,
                            const struct tael_exception *exceptions, uint32_t exception_count);

/* Bytes of the largest reply body that the outcome of a slot's last request can have. */
uint32_t tael_sessions_reply_size_max(const struct tael_session *session);

/* Writes the body of the reply to the slot's last logged request, which must be answered. `body` has room for
 * tael_sessions_reply_size_max. Returns its size. */
uint32_t tael_sessions_reply_encode(struct tael_sessions *sessions, uint32_t index, void *body);

/* The root of the session whose last logged op is oldest, and from there the next; TAEL_SESSION_NONE at the end. */
uint32_t tael_sessions_oldest(const struct tael_sessions *sessions);
uint32_t tael_sessions_newer(const struct tael_sessions *sessions, uint32_t root);

/* Chunks that a session's slots hold together, kept or reserved. */
uint32_t tael_sessions_chunks_held(const struct tael_sessions *sessions, uint32_t root);

struct tael_sessions_usage {
    uint32_t sessions; /* entries: slots of sessions */
    uint32_t sessions_max;
    uint32_t chunks_used; /* by kept replies */
    uint32_t chunks_reserved; /* by requests that are not applied yet */
    uint32_t chunks_free;
    uint32_t chunks_max;
};
struct tael_sessions_usage tael_sessions_usage(const struct tael_sessions *sessions);

/* The sum (mod 2^128) over all slots of their record's digest. All of them must be answered. Takes time proportional
 * to the sessions and their replies: for tools and tests. */
tael_u128 tael_sessions_digest(struct tael_sessions *sessions);

#endif
