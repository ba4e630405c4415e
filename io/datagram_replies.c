/* Invariants, of a kept reply:
 *  1. It stands in one chain, in `idle` and in its pool's `age`; in `sending` exactly while it may send a part; in its peer's list
 *     as long as that peer is there.
 *  2. have ⊆ the first next_part parts; again ⊆ those without have. */
#include "io/datagram_replies.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/completion.h>
#include <tael/operation.h>

#include "io/part_set.h"

enum {
    REORDERING = 8, /* parts that may well overtake another one */
    SENT_AT_ONCE = 16, /* parts of one reply before the next one's are sent */
    TURN_EXPIRED_MAX = 64,
    CROWD_MAX = 64, /* kept replies that are looked at when one has to go */
    ASKED = 256, /* a power of two */
};

struct held {
    struct tael_reply *reply;
    const uint8_t *body;
    tael_connection connection;
    struct tael_datagram header;
    uint32_t part_count;
    uint32_t window;
    uint32_t next_part; /* the first that was never sent */
    uint32_t had; /* how many the client has */
    uint32_t overtaking; /* once the client has a part from this one on, what was sent again before is lost again */
    struct tael_part_set have;
    struct tael_part_set again; /* to be sent again */
    struct tael_part_set resent; /* since `overtaking` was set */
    uint64_t begun_ns;
    uint64_t progress_ns;
    uint64_t sent_ns;
    struct held *next; /* in its chain, or free */
    struct tael_list idle; /* by progress_ns */
    struct tael_list age; /* by begun_ns, of its pool */
    struct tael_list sending;
    struct tael_list of_peer;
};

/* What a client said that it has of a reply that is not kept: the sequencer is asked for it, and it begins where the client
 * stands. */
struct asked {
    tael_connection connection;
    uint64_t token;
    uint32_t request;
    uint8_t slot;
    struct tael_datagram_have have;
};

struct tael_datagram_replies {
    struct tael_datagram_replies_options options;
    struct tael_datagram_peers *peers;
    const struct tael_datagram_sender *sender;
    struct tael_ring *sent;
    struct held *free;
    struct held **chains;
    uint32_t mask;
    struct asked *asked; /* one for each hash; a later one takes an earlier one's place */
    uint32_t count;
    uint32_t pool_count[TAEL_DATAGRAM_REPLY_POOLS_MAX];
    struct tael_list age[TAEL_DATAGRAM_REPLY_POOLS_MAX];
    struct tael_list idle;
    struct tael_list sending;
};

/* --- memory --- */

static uint32_t held_max(const struct tael_datagram_replies_options *options) {
    uint32_t sum = 0;
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) sum += options->held_max[pool];
    return sum;
}

size_t tael_datagram_replies_size_bytes(const struct tael_datagram_replies_options *options) {
    const uint32_t count = held_max(options);
    return tael_arena_share(sizeof(struct tael_datagram_replies)) + tael_arena_share(count * sizeof(struct held)) +
           tael_arena_share(tael_power_of_two(count) * sizeof(struct held *)) +
           tael_arena_share(ASKED * sizeof(struct asked));
}

struct tael_datagram_replies *tael_datagram_replies_init(struct tael_arena *arena,
                                                         const struct tael_datagram_replies_options *options,
                                                         struct tael_datagram_peers *peers,
                                                         const struct tael_datagram_sender *sender,
                                                         struct tael_ring *sent) {
    const uint32_t count = held_max(options);
    struct tael_datagram_replies *replies = tael_arena_take(arena, sizeof *replies);
    struct held *all = tael_arena_take(arena, count * sizeof *all);
    *replies = (struct tael_datagram_replies){
        .options = *options,
        .peers = peers,
        .sender = sender,
        .sent = sent,
        .free = count > 0 ? all : NULL,
        .chains = tael_arena_take(arena, tael_power_of_two(count) * sizeof(struct held *)),
        .mask = tael_power_of_two(count) - 1,
        .asked = tael_arena_take(arena, ASKED * sizeof(struct asked)),
    };
    for (uint32_t i = 0; i < count; i++) {
        all[i].next = i + 1 < count ? &all[i + 1] : NULL;
        tael_list_init(&all[i].idle);
        tael_list_init(&all[i].age);
        tael_list_init(&all[i].sending);
        tael_list_init(&all[i].of_peer);
    }
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) tael_list_init(&replies->age[pool]);
    tael_list_init(&replies->idle);
    tael_list_init(&replies->sending);
    return replies;
}

/* --- finding --- */

static uint32_t hash_of(const struct tael_datagram_replies *replies, tael_connection connection,
                        const struct tael_datagram *header) {
    const uint64_t key[3] = {connection, header->token, header->slot};
    return (uint32_t)XXH3_64bits_withSeed(key, sizeof key, replies->options.seed);
}

static struct held **chain_of(struct tael_datagram_replies *replies, tael_connection connection,
                              const struct tael_datagram *header) {
    return &replies->chains[hash_of(replies, connection, header) & replies->mask];
}

/* What is kept for this session's slot at this peer; NULL: nothing. */
static struct held *slot_find(struct tael_datagram_replies *replies, const struct tael_datagram_peer *peer,
                              const struct tael_datagram *header) {
    if (tael_bytes_are_zero(peer->held, sizeof peer->held)) return NULL;
    const tael_connection connection = tael_datagram_peers_handle(replies->peers, peer);
    for (struct held *held = *chain_of(replies, connection, header); held != NULL; held = held->next) {
        if (held->connection == connection && held->header.token == header->token &&
            held->header.slot == header->slot) {
            return held;
        }
    }
    return NULL;
}

/* --- beginning and end --- */

static void give_up(struct tael_datagram_replies *replies, struct held *held) {
    const uint32_t pool = held->reply->pool;
    struct tael_datagram_peer *peer = tael_datagram_peers_get(replies->peers, held->connection);
    struct held **link = chain_of(replies, held->connection, &held->header);
    while (*link != held) link = &(*link)->next;
    *link = held->next;
    tael_list_remove(&held->idle);
    tael_list_remove(&held->age);
    tael_list_remove(&held->sending);
    tael_list_remove(&held->of_peer);
    if (peer != NULL) {
        TAEL_ASSERT(peer->held[pool] > 0);
        peer->held[pool]--;
    }
    TAEL_ASSERT(replies->pool_count[pool] > 0);
    replies->pool_count[pool]--;
    replies->count--;
    TAEL_ASSERT(tael_ring_push(replies->sent, held->reply));
    held->reply = NULL;
    held->next = replies->free;
    replies->free = held;
}

static struct held *oldest_of(const struct tael_list *list, size_t offset) {
    struct tael_list *link = tael_list_first(list);
    return link == NULL ? NULL : (struct held *)(void *)((char *)link - offset);
}

static uint32_t held_by(struct tael_datagram_replies *replies, const struct held *held) {
    const struct tael_datagram_peer *peer = tael_datagram_peers_get(replies->peers, held->connection);
    return peer == NULL ? UINT32_MAX : peer->held[held->reply->pool];
}

/* Among the oldest of a pool that is all held, the first of whose peer holds most. */
static struct held *most_held(struct tael_datagram_replies *replies, uint32_t pool) {
    struct held *most = NULL;
    uint32_t looked_at = 0;
    struct tael_list *link = replies->age[pool].next;
    for (; link != &replies->age[pool] && looked_at < CROWD_MAX; link = link->next, looked_at++) {
        struct held *held = TAEL_CONTAINER_OF(link, struct held, age);
        if (most == NULL || held_by(replies, held) > held_by(replies, most)) most = held;
    }
    return most;
}

/* Sees to it that one more of this pool may be kept for this peer. False: all that are kept have a better claim. */
static bool make_room(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer, uint32_t pool,
                      uint64_t now_ns) {
    const uint32_t all = replies->options.held_max[pool];
    const uint32_t share = all < 4 ? 1 : all / 4;
    struct held *leaving = NULL;
    bool has_less = false;
    if (peer->held[pool] >= share) {
        leaving = oldest_of(&peer->replies[pool], offsetof(struct held, of_peer));
    } else if (replies->pool_count[pool] >= all) {
        leaving = most_held(replies, pool);
        has_less = peer->held[pool] < held_by(replies, leaving) - 1;
        if (!has_less) leaving = oldest_of(&replies->age[pool], offsetof(struct held, age));
    } else {
        return true;
    }
    replies->sender->counters->replies_crowded++;
    if (!has_less && now_ns - leaving->begun_ns < TAEL_REPLY_SLICE_NS) return false;
    give_up(replies, leaving);
    return true;
}

static struct held *begin(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                          struct tael_reply *reply, const struct tael_datagram *header, uint64_t now_ns) {
    struct held *held = replies->free;
    TAEL_ASSERT(held != NULL);
    replies->free = held->next;
    held->reply = reply;
    held->body = (const uint8_t *)(reply->frame + 1);
    held->connection = tael_datagram_peers_handle(replies->peers, peer);
    held->header = *header;
    held->part_count = tael_datagram_parts(header->body_size, header->part_units);
    held->window = peer->window;
    held->next_part = 0;
    held->had = 0;
    held->overtaking = 0;
    tael_part_set_clear(&held->have);
    tael_part_set_clear(&held->again);
    tael_part_set_clear(&held->resent);
    held->begun_ns = now_ns;
    held->progress_ns = now_ns;
    held->sent_ns = now_ns;
    struct held **chain = chain_of(replies, held->connection, header);
    held->next = *chain;
    *chain = held;
    tael_list_append(&replies->idle, &held->idle);
    tael_list_append(&replies->age[reply->pool], &held->age);
    tael_list_append(&peer->replies[reply->pool], &held->of_peer);
    peer->held[reply->pool]++;
    replies->pool_count[reply->pool]++;
    replies->count++;
    return held;
}

/* --- what is to be sent --- */

static bool any(const struct tael_part_set *set) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) words |= set->words[i];
    return words != 0;
}

static bool may_send_new(const struct held *held) {
    return held->next_part < held->part_count && held->next_part - held->had < held->window;
}

static void sending_update(struct tael_datagram_replies *replies, struct held *held) {
    if (!may_send_new(held) && !any(&held->again)) {
        tael_list_remove(&held->sending);
    } else if (tael_list_empty(&held->sending)) {
        tael_list_append(&replies->sending, &held->sending);
    }
}

/* The sent ones below `end` that the client does not have. */
static struct tael_part_set missing(const struct held *held, uint32_t end) {
    struct tael_part_set set;
    tael_part_set_fill(&set, end);
    tael_part_set_subtract(&set, &held->have);
    return set;
}

/* One behind the last part that the client has. */
static uint32_t had_end(const struct held *held) {
    for (uint32_t i = TAEL_PART_SET_WORDS; i-- > 0;) {
        const uint64_t word = held->have.words[i];
        if (word != 0) return i * 64 + 64 - (uint32_t)__builtin_clzll(word);
    }
    return 0;
}

/* All that is missing is lost, of which as much as the client's window has is sent. */
static void repeat_missing(struct held *held) {
    const struct tael_part_set lost = missing(held, held->next_part);
    tael_part_set_clear(&held->again);
    uint32_t count = 0;
    for (uint32_t part = 0; part < held->next_part && count < held->window; part++) {
        if (!tael_part_set_has(&lost, part)) continue;
        tael_part_set_add(&held->again, part);
        count++;
    }
    held->resent = held->again;
    held->overtaking = held->next_part;
}

/* The client waits in vain, unless something was sent just now. */
static void repeat_all(struct held *held, uint64_t now_ns) {
    if (now_ns - held->sent_ns >= TAEL_REPLY_QUIET_NS) repeat_missing(held);
}

/* The client got more: what later ones have overtaken is lost. */
static void repeat_overtaken(struct held *held) {
    const uint32_t end = had_end(held);
    if (end > held->overtaking) {
        tael_part_set_clear(&held->resent);
        held->overtaking = held->next_part;
    }
    if (end <= REORDERING) return;
    struct tael_part_set lost = missing(held, end - REORDERING);
    tael_part_set_subtract(&lost, &held->resent);
    tael_part_set_unite(&held->again, &lost);
    tael_part_set_unite(&held->resent, &lost);
}

/* Takes over what the client says that it has; whether that is more. */
static bool take_have(struct held *held, const struct tael_datagram_have *have) {
    struct tael_part_set said;
    memcpy(&said, have->bits, sizeof said);
    tael_part_set_limit(&said, held->next_part); /* nobody has what was not sent */
    struct tael_part_set more = said;
    tael_part_set_subtract(&more, &held->have);
    held->have = said;
    held->had = tael_part_set_count(&said);
    held->window = have->window;
    tael_part_set_subtract(&held->again, &said);
    return any(&more);
}

/* --- replies that are asked for again --- */

static void asked_note(struct tael_datagram_replies *replies, const struct tael_datagram_peer *peer,
                       const struct tael_datagram *header, const struct tael_datagram_have *have) {
    const tael_connection connection = tael_datagram_peers_handle(replies->peers, peer);
    replies->asked[hash_of(replies, connection, header) & (ASKED - 1)] = (struct asked){.connection = connection,
                                                                                        .token = header->token,
                                                                                        .request = header->request,
                                                                                        .slot = header->slot,
                                                                                        .have = *have};
}

/* Begins where its client stands, if that is known. Not so for a read: its parts are those of another run. */
static void asked_apply(struct tael_datagram_replies *replies, struct held *held) {
    const struct tael_datagram *header = &held->header;
    struct asked *asked = &replies->asked[hash_of(replies, held->connection, header) & (ASKED - 1)];
    if (asked->connection != held->connection || asked->token != header->token || asked->slot != header->slot) return;
    asked->connection = TAEL_CONNECTION_NONE;
    if (asked->request != header->request || asked->have.parts != held->part_count) return;
    if (tael_operation_info(header->operation).kind == TAEL_OPERATION_READ) return;
    memcpy(&held->have, asked->have.bits, sizeof held->have);
    tael_part_set_limit(&held->have, held->part_count);
    held->next_part = had_end(held);
    held->window = asked->have.window;
    held->had = tael_part_set_count(&held->have);
    repeat_missing(held);
}

/* --- what others call --- */

void tael_datagram_replies_hold(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                struct tael_reply *reply, const struct tael_datagram *header, uint64_t now_ns) {
    struct tael_datagram_counters *counters = replies->sender->counters;
    TAEL_ASSERT(reply->pool < TAEL_DATAGRAM_REPLY_POOLS_MAX);
    TAEL_ASSERT(replies->options.held_max[reply->pool] > 0);
    struct held *held = slot_find(replies, peer, header);
    if (held != NULL && memcmp(&held->header, header, sizeof *header) == 0) {
        counters->replies_again++;
        TAEL_ASSERT(tael_ring_push(replies->sent, reply));
        repeat_all(held, now_ns);
        sending_update(replies, held);
        return;
    }
    if (held != NULL && held->header.request > header->request) {
        counters->replies_overtaken++;
        TAEL_ASSERT(tael_ring_push(replies->sent, reply));
        return;
    }
    if (held != NULL) {
        counters->replies_overtaken++;
        give_up(replies, held);
    }
    if (!make_room(replies, peer, reply->pool, now_ns)) {
        TAEL_ASSERT(tael_ring_push(replies->sent, reply));
        return;
    }
    counters->replies++;
    held = begin(replies, peer, reply, header, now_ns);
    asked_apply(replies, held);
    sending_update(replies, held);
}

bool tael_datagram_replies_heard(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                 const struct tael_datagram *header, const struct tael_datagram_have *have,
                                 uint64_t now_ns) {
    struct held *held = slot_find(replies, peer, header);
    if (held == NULL || held->header.request != header->request) {
        if (have != NULL) asked_note(replies, peer, header, have);
        return false;
    }
    /* What is said of another number of parts is said of an earlier run of a read. */
    const bool says = have != NULL && have->parts == held->part_count;
    if (says && take_have(held, have)) {
        held->progress_ns = now_ns;
        tael_list_append(&replies->idle, &held->idle);
        if (held->had == held->part_count) {
            replies->sender->counters->replies_done++;
            give_up(replies, held);
            return true;
        }
        repeat_overtaken(held);
    } else {
        repeat_all(held, now_ns);
    }
    sending_update(replies, held);
    return true;
}

void tael_datagram_replies_newer(struct tael_datagram_replies *replies, struct tael_datagram_peer *peer,
                                 const struct tael_datagram *header) {
    struct held *held = slot_find(replies, peer, header);
    if (held == NULL || held->header.request >= header->request) return;
    replies->sender->counters->replies_overtaken++;
    give_up(replies, held);
}

/* --- sending --- */

/* The next part to send; there is one. */
static uint32_t part_next(struct held *held) {
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) {
        if (held->again.words[i] != 0) return i * 64 + (uint32_t)__builtin_ctzll(held->again.words[i]);
    }
    return held->next_part;
}

/* Sends one part; false: the carrier has no buffer. */
static bool part_send(struct tael_datagram_replies *replies, struct held *held, const struct tael_endpoint *to) {
    struct tael_datagram_counters *counters = replies->sender->counters;
    const uint32_t part = part_next(held);
    struct tael_datagram header = held->header;
    header.part = (uint16_t)part;
    const uint32_t size = tael_datagram_part_size(header.body_size, header.part_units, part);
    const uint8_t *from = held->body + (size_t)part * header.part_units * TAEL_PART_UNIT;
    if (!tael_datagram_send(replies->sender, to, &header, from, size)) return false;
    if (part == held->next_part) {
        held->next_part++;
        counters->reply_parts++;
    } else {
        tael_part_set_remove(&held->again, part);
        counters->reply_parts_again++;
    }
    return true;
}

/* Sends of the first reply in the queue up to so many parts; *sent counts them. False: the carrier has no buffer. */
static bool first_send(struct tael_datagram_replies *replies, struct held *held, uint32_t parts_max, uint64_t now_ns,
                       uint32_t *sent) {
    struct tael_datagram_peer *peer = tael_datagram_peers_get(replies->peers, held->connection);
    if (peer == NULL) {
        replies->sender->counters->replies_stale++;
        give_up(replies, held);
        return true;
    }
    for (uint32_t i = 0; i < parts_max && (any(&held->again) || may_send_new(held)); i++) {
        if (!part_send(replies, held, &peer->endpoint)) return false;
        held->sent_ns = now_ns;
        (*sent)++;
    }
    tael_list_remove(&held->sending); /* to the end of the queue, if there is more */
    sending_update(replies, held);
    return true;
}

uint32_t tael_datagram_replies_send(struct tael_datagram_replies *replies, uint32_t parts_max, uint64_t now_ns) {
    uint32_t sent = 0;
    struct held *held;
    while (sent < parts_max && (held = oldest_of(&replies->sending, offsetof(struct held, sending))) != NULL) {
        const uint32_t left = parts_max - sent;
        if (!first_send(replies, held, left < SENT_AT_ONCE ? left : SENT_AT_ONCE, now_ns, &sent)) break;
    }
    return sent;
}

/* --- time --- */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The one whose time is over; NULL when there is none. */
static struct held *expired(struct tael_datagram_replies *replies, uint64_t now_ns) {
    struct held *held = oldest_of(&replies->idle, offsetof(struct held, idle));
    if (held == NULL) return NULL;
    if (now_ns - held->progress_ns >= TAEL_REPLY_IDLE_NS) return held;
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) {
        held = oldest_of(&replies->age[pool], offsetof(struct held, age));
        if (held != NULL && now_ns - held->begun_ns >= TAEL_REPLY_AGE_NS) return held;
    }
    return NULL;
}

uint32_t tael_datagram_replies_expire(struct tael_datagram_replies *replies, uint64_t now_ns) {
    uint32_t count = 0;
    struct held *held;
    while (count < TURN_EXPIRED_MAX && (held = expired(replies, now_ns)) != NULL) {
        replies->sender->counters->replies_expired++;
        give_up(replies, held);
        count++;
    }
    return count;
}

uint64_t tael_datagram_replies_deadline_ns(const struct tael_datagram_replies *replies) {
    if (replies->count == 0) return UINT64_MAX;
    if (!tael_list_empty(&replies->sending)) return 0;
    const struct held *held = oldest_of(&replies->idle, offsetof(struct held, idle));
    uint64_t deadline = held->progress_ns + TAEL_REPLY_IDLE_NS;
    for (uint32_t pool = 0; pool < TAEL_DATAGRAM_REPLY_POOLS_MAX; pool++) {
        held = oldest_of(&replies->age[pool], offsetof(struct held, age));
        if (held != NULL) deadline = earlier(deadline, held->begun_ns + TAEL_REPLY_AGE_NS);
    }
    return deadline;
}

void tael_datagram_replies_close(struct tael_datagram_replies *replies) {
    struct held *held;
    while ((held = oldest_of(&replies->idle, offsetof(struct held, idle))) != NULL) give_up(replies, held);
}

uint32_t tael_datagram_replies_count(const struct tael_datagram_replies *replies) { return replies->count; }
