#include "engine/sessions.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/datagram.h>
#include <tael/frame.h>
#include <tael/status.h>

#include "engine/hash.h"

#define CHUNK_NONE UINT32_MAX

static_assert(TAEL_REPLY_CHUNK_SIZE % sizeof(struct tael_exception) == 0, "no exception straddles two chunks");

struct tael_sessions {
    struct tael_sessions_options options;
    struct tael_hash hash;
    uint32_t count;
    uint32_t free_first; /* unused entries, linked by `newer` */
    uint32_t oldest;
    uint32_t newest;
    uint32_t chunk_free_first; /* unused chunks, linked by chunk_next */
    uint32_t chunks_used;
    uint32_t chunks_reserved;
    uint64_t places; /* of the table; a power of two, at least twice sessions_max */
    uint32_t *table; /* entry + 1 by hash of client and slot, linear probing; 0 is empty */
    struct tael_session *entries;
    uint32_t *chunk_next;
    uint8_t *chunks;
    uint16_t *counts; /* scratch: a reply's sub-batch counts */
    uint8_t *body; /* scratch: a reply's body, for the digest */
};

uint32_t tael_sessions_reply_chunks(uint32_t sessions_max) {
    return 8 * sessions_max + 64 * tael_sessions_chunks_needed(TAEL_EVENTS_MAX, 1);
}

static uint32_t table_places(uint32_t sessions_max) { return tael_power_of_two(2 * sessions_max); }

size_t tael_sessions_size_bytes(const struct tael_sessions_options *options) {
    return tael_arena_share(sizeof(struct tael_sessions)) +
           tael_arena_share(table_places(options->sessions_max) * sizeof(uint32_t)) +
           tael_arena_share(options->sessions_max * sizeof(struct tael_session)) +
           tael_arena_share(options->reply_chunks * sizeof(uint32_t)) +
           tael_arena_share((size_t)options->reply_chunks * TAEL_REPLY_CHUNK_SIZE) +
           tael_arena_share(TAEL_BATCHES_MAX * sizeof(uint16_t)) + tael_arena_share(TAEL_REPLY_BODY_KEPT_MAX);
}

struct tael_sessions *tael_sessions_init(struct tael_arena *arena, const struct tael_sessions_options *options) {
    TAEL_ASSERT(options->sessions_max >= TAEL_SESSIONS_MIN);
    TAEL_ASSERT(options->sessions_max <= TAEL_SESSIONS_MAX);
    TAEL_ASSERT(options->reply_chunks >= TAEL_REPLY_CHUNKS_MAX);
    struct tael_sessions *sessions = tael_arena_take(arena, sizeof *sessions);
    *sessions = (struct tael_sessions){
        .options = *options,
        .hash = tael_hash_make(options->hash_key, 0),
        .oldest = TAEL_SESSION_NONE,
        .newest = TAEL_SESSION_NONE,
        .places = table_places(options->sessions_max),
    };
    sessions->table = tael_arena_take(arena, sessions->places * sizeof(uint32_t));
    sessions->entries = tael_arena_take(arena, options->sessions_max * sizeof(struct tael_session));
    sessions->chunk_next = tael_arena_take(arena, options->reply_chunks * sizeof(uint32_t));
    sessions->chunks = tael_arena_take(arena, (size_t)options->reply_chunks * TAEL_REPLY_CHUNK_SIZE);
    sessions->counts = tael_arena_take(arena, TAEL_BATCHES_MAX * sizeof(uint16_t));
    sessions->body = tael_arena_take(arena, TAEL_REPLY_BODY_KEPT_MAX);
    for (uint32_t i = 0; i < options->sessions_max; i++) {
        sessions->entries[i].newer = i + 1 < options->sessions_max ? i + 1 : TAEL_SESSION_NONE;
    }
    for (uint32_t i = 0; i < options->reply_chunks; i++) {
        sessions->chunk_next[i] = i + 1 < options->reply_chunks ? i + 1 : CHUNK_NONE;
    }
    return sessions;
}

/* --- the table --- */

static uint64_t place_of(const struct tael_sessions *sessions, tael_u128 client, uint16_t slot) {
    return tael_hash_id(&sessions->hash, client ^ tael_u128_make(slot, 0)) & (sessions->places - 1);
}

static bool is_of(const struct tael_session *session, tael_u128 client, uint16_t slot) {
    return session->client == client && session->slot == slot;
}

/* The place that holds the slot, or the empty one where it belongs. The table is at most half full, so it ends. */
static uint64_t place_find(const struct tael_sessions *sessions, tael_u128 client, uint16_t slot) {
    uint64_t place = place_of(sessions, client, slot);
    while (sessions->table[place] != 0 && !is_of(&sessions->entries[sessions->table[place] - 1], client, slot)) {
        place = (place + 1) & (sessions->places - 1);
    }
    return place;
}

uint32_t tael_sessions_find(const struct tael_sessions *sessions, tael_u128 client, uint16_t slot) {
    /* An empty place holds 0, one less than the first number: TAEL_SESSION_NONE. */
    return sessions->table[place_find(sessions, client, slot)] - 1;
}

const struct tael_session *tael_sessions_at(const struct tael_sessions *sessions, uint32_t index) {
    TAEL_ASSERT(index < sessions->options.sessions_max);
    TAEL_ASSERT(sessions->entries[index].op != 0);
    return &sessions->entries[index];
}

/* Empties a place and moves the entries behind it up, so that every probe still finds its own without tombstones. */
static void place_clear(struct tael_sessions *sessions, uint64_t hole) {
    const uint64_t mask = sessions->places - 1;
    for (uint64_t place = (hole + 1) & mask; sessions->table[place] != 0; place = (place + 1) & mask) {
        const struct tael_session *moved = &sessions->entries[sessions->table[place] - 1];
        const uint64_t home = place_of(sessions, moved->client, moved->slot);
        const bool home_is_behind_hole = ((place - home) & mask) < ((place - hole) & mask);
        if (home_is_behind_hole) continue;
        sessions->table[hole] = sessions->table[place];
        hole = place;
    }
    sessions->table[hole] = 0;
}

/* --- the order of the last logged op, of roots --- */

static void order_remove(struct tael_sessions *sessions, const struct tael_session *root) {
    if (root->older == TAEL_SESSION_NONE) {
        sessions->oldest = root->newer;
    } else {
        sessions->entries[root->older].newer = root->newer;
    }
    if (root->newer == TAEL_SESSION_NONE) {
        sessions->newest = root->older;
    } else {
        sessions->entries[root->newer].older = root->older;
    }
}

static void order_append(struct tael_sessions *sessions, struct tael_session *root, uint64_t op) {
    const uint32_t index = (uint32_t)(root - sessions->entries);
    TAEL_ASSERT(root->root == index);
    root->op_last = op;
    root->older = sessions->newest;
    root->newer = TAEL_SESSION_NONE;
    if (sessions->newest == TAEL_SESSION_NONE) {
        sessions->oldest = index;
    } else {
        TAEL_ASSERT(sessions->entries[sessions->newest].op_last < op);
        sessions->entries[sessions->newest].newer = index;
    }
    sessions->newest = index;
}

uint32_t tael_sessions_oldest(const struct tael_sessions *sessions) { return sessions->oldest; }

uint32_t tael_sessions_newer(const struct tael_sessions *sessions, uint32_t root) {
    TAEL_ASSERT(tael_sessions_at(sessions, root)->root == root);
    return sessions->entries[root].newer;
}

/* --- chunks --- */

static uint32_t chunks_for(uint32_t exception_count, uint32_t batch_count) {
    const size_t size =
        exception_count * sizeof(struct tael_exception) + (batch_count > 1 ? batch_count * sizeof(uint16_t) : 0);
    return (uint32_t)((size + TAEL_REPLY_CHUNK_SIZE - 1) / TAEL_REPLY_CHUNK_SIZE);
}

uint32_t tael_sessions_chunks_needed(uint32_t event_count, uint32_t batch_count) {
    TAEL_ASSERT(event_count <= TAEL_EVENTS_MAX);
    TAEL_ASSERT(batch_count <= TAEL_BATCHES_MAX);
    return chunks_for(event_count, batch_count);
}

struct tael_sessions_usage tael_sessions_usage(const struct tael_sessions *sessions) {
    const uint32_t chunks_taken = sessions->chunks_used + sessions->chunks_reserved;
    TAEL_ASSERT(chunks_taken <= sessions->options.reply_chunks);
    return (struct tael_sessions_usage){
        .sessions = sessions->count,
        .sessions_max = sessions->options.sessions_max,
        .chunks_used = sessions->chunks_used,
        .chunks_reserved = sessions->chunks_reserved,
        .chunks_free = sessions->options.reply_chunks - chunks_taken,
        .chunks_max = sessions->options.reply_chunks,
    };
}

uint32_t tael_sessions_chunks_held(const struct tael_sessions *sessions, uint32_t root) {
    uint32_t count = 0;
    for (uint32_t i = root; i != TAEL_SESSION_NONE; i = sessions->entries[i].slot_next) {
        count += tael_sessions_at(sessions, i)->chunk_count;
    }
    return count;
}

/* Gives back all that a slot holds, kept or reserved. */
static void chunks_release(struct tael_sessions *sessions, struct tael_session *session) {
    if (!session->answered) {
        TAEL_ASSERT(sessions->chunks_reserved >= session->chunk_count);
        sessions->chunks_reserved -= session->chunk_count;
        session->chunk_count = 0;
    }
    while (session->chunk_count > 0) {
        const uint32_t chunk = session->chunk_first;
        session->chunk_first = sessions->chunk_next[chunk];
        session->chunk_count--;
        sessions->chunk_next[chunk] = sessions->chunk_free_first;
        sessions->chunk_free_first = chunk;
        TAEL_ASSERT(sessions->chunks_used > 0);
        sessions->chunks_used--;
    }
    session->chunk_first = CHUNK_NONE;
}

/* A position in a kept reply's chunks: its exceptions, then its sub-batches' counts. */
struct cursor {
    uint32_t chunk;
    uint32_t offset; /* in the chunk */
};

static struct cursor cursor_begin(const struct tael_session *session) {
    return (struct cursor){.chunk = session->chunk_first};
}

/* The next `size` bytes, which never straddle two chunks. */
static uint8_t *cursor_next(const struct tael_sessions *sessions, struct cursor *cursor, uint32_t size) {
    if (cursor->offset == TAEL_REPLY_CHUNK_SIZE) {
        cursor->chunk = sessions->chunk_next[cursor->chunk];
        cursor->offset = 0;
    }
    TAEL_ASSERT(cursor->chunk < sessions->options.reply_chunks);
    TAEL_ASSERT(cursor->offset + size <= TAEL_REPLY_CHUNK_SIZE);
    uint8_t *next = sessions->chunks + (size_t)cursor->chunk * TAEL_REPLY_CHUNK_SIZE + cursor->offset;
    cursor->offset += size;
    return next;
}

/* Takes `count` chunks for the slot, which holds none. */
static void chunks_take(struct tael_sessions *sessions, struct tael_session *session, uint32_t count) {
    TAEL_ASSERT(session->chunk_count == 0);
    TAEL_ASSERT(sessions->chunks_used + sessions->chunks_reserved + count <= sessions->options.reply_chunks);
    sessions->chunks_used += count;
    session->chunk_count = count;
    session->chunk_first = count == 0 ? CHUNK_NONE : sessions->chunk_free_first;
    uint32_t last = CHUNK_NONE;
    for (uint32_t i = 0; i < count; i++) {
        last = sessions->chunk_free_first;
        sessions->chunk_free_first = sessions->chunk_next[last];
    }
    if (last != CHUNK_NONE) sessions->chunk_next[last] = CHUNK_NONE;
}

/* --- moving forward --- */

/* Opens a slot; its last request is the register. Returns its entry. */
static uint32_t slot_open(struct tael_sessions *sessions, const struct tael_request *request, uint16_t slot) {
    const uint64_t place = place_find(sessions, request->client, slot);
    TAEL_ASSERT(sessions->table[place] == 0);
    TAEL_ASSERT(sessions->count < sessions->options.sessions_max);
    const uint32_t index = sessions->free_first;
    struct tael_session *session = &sessions->entries[index];
    sessions->free_first = session->newer;
    sessions->count++;
    sessions->table[place] = index + 1;
    *session = (struct tael_session){
        .client = request->client,
        .session = request->op,
        .token = request->token,
        .capabilities = request->capabilities,
        .chunk_first = CHUNK_NONE,
        .slot_next = TAEL_SESSION_NONE,
        .slot = slot,
        .slots = request->slots,
    };
    return index;
}

static void slot_close(struct tael_sessions *sessions, uint32_t index) {
    struct tael_session *session = &sessions->entries[index];
    const uint64_t place = place_find(sessions, session->client, session->slot);
    TAEL_ASSERT(sessions->table[place] == index + 1);
    chunks_release(sessions, session);
    place_clear(sessions, place);
    sessions->count--;
    *session = (struct tael_session){.newer = sessions->free_first};
    sessions->free_first = index;
}

static void slot_advance(struct tael_session *session, const struct tael_request *request) {
    TAEL_ASSERT(request->op > session->op);
    session->checksum = request->checksum;
    session->op = request->op;
    session->timestamp = request->timestamp;
    session->request = request->request;
    session->event_count = request->event_count;
    session->batch_count = request->batch_count;
    session->exception_count = 0;
    session->operation = request->operation;
    session->answered = false;
}

/* Opens a session with all its slots, linked in their order. Nothing has to be learnt of what a register comes to, so all slots but
 * the first one, which is answered, are as after the answer. Returns the root. */
static struct tael_session *session_open(struct tael_sessions *sessions, const struct tael_request *request) {
    TAEL_ASSERT((request->token != 0) == (request->slots != 0));
    TAEL_ASSERT(request->slots <= TAEL_SLOTS_MAX);
    const uint32_t root = slot_open(sessions, request, 0);
    sessions->entries[root].root = root;
    uint32_t last = root;
    for (uint16_t slot = 1; slot < request->slots; slot++) {
        const uint32_t index = slot_open(sessions, request, slot);
        struct tael_session *session = &sessions->entries[index];
        slot_advance(session, request);
        session->answered = true;
        session->root = root;
        sessions->entries[last].slot_next = index;
        last = index;
    }
    return &sessions->entries[root];
}

static void session_close(struct tael_sessions *sessions, tael_u128 client) {
    const uint32_t root = tael_sessions_find(sessions, client, 0);
    TAEL_ASSERT(root != TAEL_SESSION_NONE);
    order_remove(sessions, &sessions->entries[root]);
    for (uint32_t i = root; i != TAEL_SESSION_NONE;) {
        const uint32_t next = sessions->entries[i].slot_next;
        slot_close(sessions, i);
        i = next;
    }
}

/* The slot of a create, which gives back what was kept for its last request. */
static struct tael_session *slot_of_create(struct tael_sessions *sessions, const struct tael_request *request) {
    const uint32_t index = tael_sessions_find(sessions, request->client, request->slot);
    TAEL_ASSERT(index != TAEL_SESSION_NONE);
    struct tael_session *session = &sessions->entries[index];
    TAEL_ASSERT(session->session == request->session);
    TAEL_ASSERT(session->request < request->request);
    chunks_release(sessions, session);
    order_remove(sessions, &sessions->entries[session->root]);
    return session;
}

uint32_t tael_sessions_sequence(struct tael_sessions *sessions, const struct tael_request *request) {
    TAEL_ASSERT(request->op != 0);
    struct tael_session *session;
    switch (tael_operation_info(request->operation).kind) {
    case TAEL_OPERATION_SESSION:
        session = session_open(sessions, request);
        break;
    case TAEL_OPERATION_CREATE:
        session = slot_of_create(sessions, request);
        break;
    default:
        if (request->operation == TAEL_OPERATION_evict) session_close(sessions, request->client);
        return TAEL_SESSION_NONE;
    }
    slot_advance(session, request);
    session->chunk_count = tael_sessions_chunks_needed(request->event_count, request->batch_count);
    TAEL_ASSERT(session->chunk_count <= tael_sessions_usage(sessions).chunks_free);
    sessions->chunks_reserved += session->chunk_count;
    order_append(sessions, &sessions->entries[session->root], request->op);
    return (uint32_t)(session - sessions->entries);
}

uint32_t tael_sessions_keep(struct tael_sessions *sessions, const struct tael_request *request,
                            const struct tael_exception *exceptions, uint32_t exception_count) {
    TAEL_ASSERT(exception_count <= request->event_count);
    const uint32_t index = tael_sessions_find(sessions, request->client, request->slot);
    if (index == TAEL_SESSION_NONE) return TAEL_SESSION_NONE;
    struct tael_session *session = &sessions->entries[index];
    if (session->op != request->op) return TAEL_SESSION_NONE;
    TAEL_ASSERT(!session->answered);
    chunks_release(sessions, session);
    chunks_take(sessions, session, chunks_for(exception_count, request->batch_count));
    session->exception_count = exception_count;
    session->answered = true;
    struct cursor cursor = cursor_begin(session);
    for (uint32_t i = 0; i < exception_count; i++) {
        memcpy(cursor_next(sessions, &cursor, sizeof exceptions[i]), &exceptions[i], sizeof exceptions[i]);
    }
    for (uint32_t i = 0; request->batch_count > 1 && i < request->batch_count; i++) {
        const uint16_t count = (uint16_t)tael_request_batch_events(request, i);
        memcpy(cursor_next(sessions, &cursor, sizeof count), &count, sizeof count);
    }
    return index;
}

/* --- replies --- */

#define REGISTERED_SIZE_MAX sizeof(struct tael_register_result)
static_assert(sizeof(struct tael_datagram_registered) <= REGISTERED_SIZE_MAX, "either reply to a register");

uint32_t tael_sessions_reply_size_max(const struct tael_session *session) {
    const struct tael_operation_info info = tael_operation_info(session->operation);
    if (info.kind == TAEL_OPERATION_SESSION) return REGISTERED_SIZE_MAX;
    return session->event_count * info.result_size +
           tael_multi_batch_trailer_size(session->batch_count, info.result_size);
}

/* Reads the sub-batches' counts, which stand behind the exceptions, into the scratch array. */
static void counts_load(struct tael_sessions *sessions, const struct tael_session *session) {
    if (session->batch_count == 1) {
        sessions->counts[0] = (uint16_t)session->event_count;
        return;
    }
    struct cursor cursor = cursor_begin(session);
    for (uint32_t i = 0; i < session->exception_count; i++) {
        (void)cursor_next(sessions, &cursor, sizeof(struct tael_exception));
    }
    for (uint32_t i = 0; i < session->batch_count; i++) {
        memcpy(&sessions->counts[i], cursor_next(sessions, &cursor, sizeof(uint16_t)), sizeof(uint16_t));
    }
}

static uint32_t encode_dense(struct tael_sessions *sessions, const struct tael_session *session, void *body) {
    struct tael_create_result *results = body;
    for (uint32_t i = 0; i < session->event_count; i++) {
        results[i] = (struct tael_create_result){
            .timestamp = session->timestamp - session->event_count + i + 1,
            .status = TAEL_STATUS_CREATED,
        };
    }
    struct cursor cursor = cursor_begin(session);
    for (uint32_t i = 0; i < session->exception_count; i++) {
        struct tael_exception exception;
        memcpy(&exception, cursor_next(sessions, &cursor, sizeof exception), sizeof exception);
        TAEL_ASSERT(exception.index < session->event_count);
        results[exception.index].timestamp = exception.timestamp;
        results[exception.index].status = exception.status;
    }
    return tael_multi_batch_encode(body, session->event_count * (uint32_t)sizeof *results, sessions->counts,
                                   session->batch_count, sizeof *results);
}

/* Failures only: an exception that tells an imported event's timestamp is none. The scratch counts turn, sub-batch by
 * sub-batch, from events into failures. */
static uint32_t encode_sparse(struct tael_sessions *sessions, const struct tael_session *session, void *body) {
    struct tael_create_result_sparse *results = body;
    struct cursor cursor = cursor_begin(session);
    struct tael_exception exception = {.index = UINT32_MAX};
    uint32_t exceptions_left = session->exception_count;
    bool loaded = false;
    uint32_t result_count = 0;
    uint32_t batch_first = 0;
    for (uint32_t batch = 0; batch < session->batch_count; batch++) {
        const uint32_t batch_end = batch_first + sessions->counts[batch];
        const uint32_t result_first = result_count;
        for (;;) {
            if (!loaded && exceptions_left > 0) {
                memcpy(&exception, cursor_next(sessions, &cursor, sizeof exception), sizeof exception);
                exceptions_left--;
                loaded = true;
            }
            if (!loaded || exception.index >= batch_end) break;
            loaded = false;
            if (exception.status == TAEL_STATUS_CREATED) continue;
            results[result_count++] = (struct tael_create_result_sparse){
                .index = exception.index - batch_first,
                .status = exception.status,
            };
        }
        sessions->counts[batch] = (uint16_t)(result_count - result_first);
        batch_first = batch_end;
    }
    TAEL_ASSERT(!loaded);
    return tael_multi_batch_encode(body, result_count * (uint32_t)sizeof *results, sessions->counts,
                                   session->batch_count, sizeof *results);
}

static uint32_t encode_registered(const struct tael_session *session, void *body) {
    if (session->token == 0) {
        const struct tael_register_result result = {.batch_size_limit = TAEL_BODY_SIZE_MAX};
        memcpy(body, &result, sizeof result);
        return sizeof result;
    }
    const struct tael_datagram_registered registered = {.token = session->token, .slots = session->slots};
    memcpy(body, &registered, sizeof registered);
    return sizeof registered;
}

uint32_t tael_sessions_reply_encode(struct tael_sessions *sessions, uint32_t index, void *body) {
    const struct tael_session *session = tael_sessions_at(sessions, index);
    TAEL_ASSERT(session->answered);
    if (session->operation == TAEL_OPERATION_register) return encode_registered(session, body);
    counts_load(sessions, session);
    const uint32_t size = tael_operation_is_sparse(session->operation) ? encode_sparse(sessions, session, body)
                                                                       : encode_dense(sessions, session, body);
    TAEL_ASSERT(size <= tael_sessions_reply_size_max(session));
    return size;
}

/* --- the digest --- */

static tael_u128 slot_digest(struct tael_sessions *sessions, uint32_t index) {
    const struct tael_session *session = &sessions->entries[index];
    const uint32_t body_size = tael_sessions_reply_encode(sessions, index, sessions->body);
    const struct tael_session_digest_record record = {
        .client = session->client,
        .checksum = session->checksum,
        .context = tael_session_context(session->op, session->timestamp),
        .session = session->session,
        .op = session->op,
        .request = session->request,
        .capabilities = session->capabilities,
        .operation = session->operation,
        .slot = (uint8_t)session->slot,
        .slots = session->slots,
        .token = session->token,
        .reply_body_digest = tael_hash_u128(XXH3_128bits(sessions->body, body_size)),
    };
    return tael_hash_u128(XXH3_128bits_withSeed(&record, sizeof record, TAEL_SESSION_DIGEST_KIND));
}

tael_u128 tael_sessions_digest(struct tael_sessions *sessions) {
    tael_u128 sum = 0;
    for (uint32_t root = sessions->oldest; root != TAEL_SESSION_NONE; root = sessions->entries[root].newer) {
        for (uint32_t i = root; i != TAEL_SESSION_NONE; i = sessions->entries[i].slot_next) {
            sum += slot_digest(sessions, i);
        }
    }
    return sum;
}
