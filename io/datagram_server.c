/* What a datagram means, and the turn. */
#include "io/datagram_server.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/operation.h>

#include "io/datagram.h"
#include "io/datagram_messages.h"
#include "io/datagram_reassembly.h"
#include "io/datagram_replies.h"
#include "io/datagram_sender.h"

enum {
    TURN_REPLIES_MAX = 1024,
    TURN_PARTS_MAX = 256, /* parts of replies sent in one turn */
    TURN_WAITING_MAX = 64, /* whole requests that are tried again in one turn */
    GROUP = 16, /* replies whose memory is fetched together */
    BUSY_WAIT_MS = 20,
};

struct tael_datagram_server {
    struct tael_datagram_server_options options;
    struct tael_datagram_counters counters;
    struct tael_datagram_sender sender;
    struct tael_link *link;
    struct tael_datagram_peers *peers;
    struct tael_datagram_reassembly *reassembly;
    struct tael_datagram_messages *messages;
    struct tael_datagram_replies *replies;
    uint64_t now_ns;
    bool draining;
    bool closing;
};

/* --- options and memory --- */

struct tael_datagram_server_options tael_datagram_server_options_default(void) {
    return (struct tael_datagram_server_options){
        .datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET,
        .window = 256,
        .slots_max = TAEL_SLOTS_MAX,
        .peers_max = 16384,
        .peers_per_address_max = 4096,
        .parts_max = 16384,
        .messages_max = 4096,
        .messages_per_peer_max = 512,
        .small_bodies = 1024,
        .large_bodies = 32,
    };
}

/* Seeds are drawn at init; sizes don't depend on them. */
static struct tael_datagram_reassembly_options reassembly_options(const struct tael_datagram_server_options *options) {
    return (struct tael_datagram_reassembly_options){.parts_max = options->parts_max, .window = options->window};
}

static struct tael_datagram_messages_options messages_options(const struct tael_datagram_server_options *options) {
    return (struct tael_datagram_messages_options){.messages_max = options->messages_max,
                                                   .per_peer_max = options->messages_per_peer_max,
                                                   .small_bodies = options->small_bodies,
                                                   .large_bodies = options->large_bodies,
                                                   .random = options->random,
                                                   .random_context = options->random_context};
}

static struct tael_datagram_replies_options replies_options(const struct tael_datagram_server_options *options) {
    struct tael_datagram_replies_options replies = {0};
    memcpy(replies.held_max, options->replies_held_max, sizeof replies.held_max);
    return replies;
}

size_t tael_datagram_server_size_bytes(const struct tael_datagram_server_options *options) {
    const struct tael_datagram_reassembly_options reassembly = reassembly_options(options);
    const struct tael_datagram_messages_options messages = messages_options(options);
    const struct tael_datagram_replies_options replies = replies_options(options);
    return tael_arena_share(sizeof(struct tael_datagram_server)) + tael_datagram_peers_size_bytes(options->peers_max) +
           tael_datagram_reassembly_size_bytes(&reassembly) + tael_datagram_messages_size_bytes(&messages) +
           tael_datagram_replies_size_bytes(&replies);
}

struct tael_datagram_server *tael_datagram_server_init(struct tael_arena *arena,
                                                       const struct tael_datagram_server_options *options,
                                                       struct tael_link *link) {
    TAEL_ASSERT(options->datagram_max >= TAEL_DATAGRAM_SIZE_ETHERNET);
    TAEL_ASSERT(options->datagram_max <= TAEL_DATAGRAM_SIZE_MAX);
    struct tael_datagram_server *server = tael_arena_take(arena, sizeof *server);
    server->options = *options;
    server->link = link;
    server->sender = (struct tael_datagram_sender){.carrier = options->carrier,
                                                   .counters = &server->counters,
                                                   .ledger = options->ledger,
                                                   .flags = options->is_scratch ? TAEL_DATAGRAM_SCRATCH : 0};
    struct tael_datagram_reassembly_options reassembly = reassembly_options(options);
    const struct tael_datagram_messages_options messages = messages_options(options);
    struct tael_datagram_replies_options replies = replies_options(options);
    const uint64_t peers_seed = options->random(options->random_context);
    reassembly.seed = options->random(options->random_context);
    replies.seed = options->random(options->random_context);
    server->peers = tael_datagram_peers_init(arena, options->peers_max, options->peers_per_address_max, peers_seed);
    server->reassembly = tael_datagram_reassembly_init(arena, &reassembly, server->peers, &server->sender);
    server->messages =
        tael_datagram_messages_init(arena, &messages, server->peers, server->reassembly, &server->sender, link);
    server->replies = tael_datagram_replies_init(arena, &replies, server->peers, &server->sender, &link->sent);
    return server;
}

static void clock_set(struct tael_datagram_server *server, uint64_t now_ns) {
    TAEL_ASSERT(now_ns >= server->now_ns);
    server->now_ns = now_ns;
}

/* --- who is not known --- */

static void cookie_send(struct tael_datagram_server *server, const struct tael_datagram *about,
                        const struct tael_endpoint *from) {
    struct tael_datagram_cookie cookie = {{0}, {0}};
    tael_cookie_make(cookie.cookie, &server->options.cookie_key, from, server->now_ns);
    server->counters.cookies++;
    (void)tael_datagram_answer(&server->sender, from, about, TAEL_DATAGRAM_COOKIE, &cookie, sizeof cookie);
}

/* Two servers that take each other for clients must not go on notifying each other for ever. */
static void refuse(struct tael_datagram_server *server, const struct tael_datagram *header,
                   enum tael_datagram_verdict verdict, const struct tael_endpoint *from) {
    server->counters.rejected[verdict]++;
    if (verdict != TAEL_DATAGRAM_VERDICT_ledger && verdict != TAEL_DATAGRAM_VERDICT_version) return;
    if (header->kind == 0 || header->kind > TAEL_DATAGRAM_HAVE_REPLY) {
        server->counters.notices_unanswered++;
        return;
    }
    (void)tael_datagram_notify(&server->sender, from, header,
                               verdict == TAEL_DATAGRAM_VERDICT_ledger ? TAEL_NOTICE_LEDGER : TAEL_NOTICE_VERSION, 0);
}

/* --- what clients say --- */

static void welcome_send(struct tael_datagram_server *server, const struct tael_datagram *about,
                         const struct tael_endpoint *from) {
    const struct tael_datagram_welcome welcome = {.datagram_max = server->options.datagram_max,
                                                  .window = server->options.window,
                                                  .slots_max = server->options.slots_max};
    (void)tael_datagram_answer(&server->sender, from, about, TAEL_DATAGRAM_WELCOME, &welcome, sizeof welcome);
}

static void hello(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                  const struct tael_datagram_view *view, const struct tael_endpoint *from) {
    struct tael_datagram_hello hello;
    memcpy(&hello, view->part, sizeof hello);
    if (!tael_cookie_check(hello.cookie, &server->options.cookie_key, from, server->now_ns)) {
        if (!tael_bytes_are_zero(hello.cookie, sizeof hello.cookie)) server->counters.hellos_wrong++;
        cookie_send(server, &view->header, from);
        return;
    }
    if (hello.datagram_max < TAEL_DATAGRAM_SIZE_ETHERNET) {
        server->counters.hellos_small++;
        return;
    }
    if (server->draining) {
        server->counters.draining++;
        return;
    }
    bool evicted = false;
    if (peer == NULL) peer = tael_datagram_peers_enter(server->peers, from, server->now_ns, &evicted);
    if (evicted) server->counters.peers_evicted++;
    tael_datagram_peers_heard(server->peers, peer, from, server->now_ns);
    peer->datagram_max =
        hello.datagram_max < server->options.datagram_max ? hello.datagram_max : server->options.datagram_max;
    peer->window = hello.window;
    server->counters.hellos++;
    welcome_send(server, &view->header, from);
}

/* Why a request was not handed on, for its client. */
static void request_refuse(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                           const struct tael_datagram *header, enum tael_datagram_loan loan) {
    if (loan == TAEL_LOAN_SIZE) {
        server->counters.sizes_wrong++;
        (void)tael_datagram_notify(&server->sender, &peer->endpoint, header, TAEL_NOTICE_BODY_SIZE, 0);
        return;
    }
    server->counters.busy_queue++;
    (void)tael_datagram_notify(&server->sender, &peer->endpoint, header, TAEL_NOTICE_BUSY_QUEUE, BUSY_WAIT_MS);
}

/* Lends a whole request, or refuses it. False: it has to wait. */
static bool assembly_lend(struct tael_datagram_server *server, struct tael_datagram_assembly *assembly,
                          enum tael_datagram_loan *loan) {
    struct tael_datagram_peer *peer = tael_datagram_peers_get(server->peers, assembly->connection);
    *loan = peer == NULL ? TAEL_LOAN_NO_SHARE : tael_datagram_messages_lend_assembly(server->messages, peer, assembly);
    if (*loan == TAEL_LOAN_MADE) return true;
    if (*loan == TAEL_LOAN_NO_MESSAGE || *loan == TAEL_LOAN_NO_BODY) return false;
    if (peer != NULL) request_refuse(server, peer, &assembly->header, *loan);
    tael_datagram_reassembly_free(server->reassembly, assembly);
    return true;
}

/* Lends whole requests, the one that waits longest first; where one waits for room to copy it, those behind it may need none. */
static uint32_t waiting_lend(struct tael_datagram_server *server) {
    uint32_t done = 0;
    for (uint32_t tried = 0; tried < TURN_WAITING_MAX; tried++) {
        struct tael_datagram_assembly *assembly = tael_datagram_reassembly_waiting(server->reassembly);
        enum tael_datagram_loan loan;
        if (assembly == NULL) break;
        if (assembly_lend(server, assembly, &loan)) {
            done++;
        } else if (loan == TAEL_LOAN_NO_BODY) {
            tael_datagram_reassembly_wait(server->reassembly, assembly);
        } else {
            break;
        }
    }
    return done;
}

/* A register has no token yet, all else has one. Who comes without has lost its session. */
static bool token_is_sound(struct tael_datagram_server *server, const struct tael_datagram_peer *peer,
                           const struct tael_datagram *header) {
    const bool is_register = header->kind == TAEL_DATAGRAM_REQUEST && header->operation == TAEL_OPERATION_register;
    if ((header->token == 0) == is_register) return true;
    server->counters.tokens_missing++;
    (void)tael_datagram_notify(&server->sender, &peer->endpoint, header, TAEL_NOTICE_NO_SESSION, 0);
    return false;
}

static bool request(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                    const struct tael_datagram_view *view, void *buffer) {
    const struct tael_datagram *header = &view->header;
    if (server->draining) {
        server->counters.draining++;
        return false;
    }
    if (!token_is_sound(server, peer, header)) return false;
    tael_datagram_replies_newer(server->replies, peer, header);
    if (view->part_count > 1) {
        return tael_datagram_reassembly_take(server->reassembly, peer, view, buffer, server->now_ns);
    }
    tael_datagram_reassembly_newer(server->reassembly, peer, header);
    bool kept;
    const enum tael_datagram_loan loan = tael_datagram_messages_lend(server->messages, peer, view, buffer, &kept);
    if (TAEL_UNLIKELY(loan != TAEL_LOAN_MADE)) request_refuse(server, peer, header, loan);
    return kept;
}

/* Hands the question on. Where that cannot be, silence: any notice would say more than is known. */
static void ask(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                const struct tael_datagram *header) {
    if (server->draining) {
        server->counters.draining++;
    } else if (tael_datagram_messages_lend_poll(server->messages, peer, header) != TAEL_LOAN_MADE) {
        server->counters.polls_dropped++;
    }
}

static void poll_request(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                         const struct tael_datagram *header) {
    if (!token_is_sound(server, peer, header)) return;
    struct tael_datagram_assembly *assembly = tael_datagram_reassembly_find(server->reassembly, peer, header);
    if (assembly != NULL && assembly->state == TAEL_ASSEMBLY_PARTIAL) {
        tael_datagram_reassembly_tell(server->reassembly, peer, assembly);
    } else if (assembly != NULL) {
        (void)tael_datagram_notify(&server->sender, &peer->endpoint, header, TAEL_NOTICE_EXECUTING, 0);
    } else if (!tael_datagram_replies_heard(server->replies, peer, header, NULL, server->now_ns)) {
        ask(server, peer, header);
    }
}

static void have_reply(struct tael_datagram_server *server, struct tael_datagram_peer *peer,
                       const struct tael_datagram_view *view) {
    if (!token_is_sound(server, peer, &view->header)) return;
    struct tael_datagram_have have;
    memcpy(&have, view->part, sizeof have);
    if (tael_datagram_replies_heard(server->replies, peer, &view->header, &have, server->now_ns)) return;
    struct tael_part_set set;
    memcpy(&set, have.bits, sizeof set);
    /* Who has all of it only says so once more. */
    if (tael_part_set_count(&set) < have.parts) ask(server, peer, &view->header);
}

static bool take(struct tael_datagram_server *server, const struct tael_datagram_view *view,
                 struct tael_datagram_peer *peer, const struct tael_endpoint *from, void *buffer) {
    if (view->header.kind == TAEL_DATAGRAM_HELLO) {
        hello(server, peer, view, from);
        return false;
    }
    if (peer == NULL) {
        cookie_send(server, &view->header, from);
        return false;
    }
    tael_datagram_peers_heard(server->peers, peer, from, server->now_ns);
    switch (view->header.kind) {
    case TAEL_DATAGRAM_REQUEST:
        return request(server, peer, view, buffer);
    case TAEL_DATAGRAM_POLL:
        poll_request(server, peer, &view->header);
        return false;
    case TAEL_DATAGRAM_HAVE_REPLY:
        have_reply(server, peer, view);
        return false;
    default:
        TAEL_UNREACHABLE("the check lets no other kind in");
    }
}

static bool receive_hashed(struct tael_datagram_server *server, const uint8_t *payload, uint32_t size,
                           const struct tael_endpoint *from, void *buffer, uint64_t hash) {
    struct tael_datagram_view view;
    server->counters.received++;
    const enum tael_datagram_verdict verdict =
        tael_datagram_check(payload, size, TAEL_DATAGRAM_FROM_CLIENT, server->options.ledger, &view);
    if (TAEL_UNLIKELY(verdict != TAEL_DATAGRAM_VERDICT_ok)) {
        refuse(server, &view.header, verdict, from);
        return false;
    }
    return take(server, &view, tael_datagram_peers_find(server->peers, from, hash), from, buffer);
}

bool tael_datagram_server_receive(struct tael_datagram_server *server, const uint8_t *payload, uint32_t size,
                                  const struct tael_endpoint *from, void *buffer, uint64_t now_ns) {
    clock_set(server, now_ns);
    const uint64_t hash = tael_datagram_peers_hash(server->peers, from);
    return receive_hashed(server, payload, size, from, buffer, hash);
}

uint32_t tael_datagram_server_receive_burst(struct tael_datagram_server *server,
                                            const struct tael_datagram_received *received, uint32_t count,
                                            uint64_t now_ns) {
    TAEL_ASSERT(count <= TAEL_DATAGRAM_BURST_MAX);
    clock_set(server, now_ns);
    uint64_t hashes[TAEL_DATAGRAM_BURST_MAX];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = tael_datagram_peers_hash(server->peers, &received[i].from);
        tael_datagram_peers_prefetch_chain(server->peers, hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++) tael_datagram_peers_prefetch_peer(server->peers, hashes[i]);
    for (uint32_t i = 0; i < count; i++) {
        const struct tael_datagram_received *one = &received[i];
        if (receive_hashed(server, one->payload, one->size, &one->from, one->buffer, hashes[i])) kept |= 1u << i;
    }
    return kept;
}

/* --- what the sequencer says --- */

static void reply_return(struct tael_datagram_server *server, struct tael_reply *reply) {
    TAEL_ASSERT(tael_ring_push(&server->link->sent, reply));
}

static void notice_send(struct tael_datagram_server *server, const struct tael_datagram_peer *peer,
                        const struct tael_reply *reply) {
    const struct tael_datagram about = {.token = reply->token,
                                        .request = reply->request,
                                        .slot = (uint8_t)reply->slot,
                                        .operation = reply->frame->reply.operation};
    (void)tael_datagram_notify(&server->sender, &peer->endpoint, &about, (enum tael_datagram_notice_code)reply->notice,
                               reply->wait_ms);
}

/* The header that all parts of a reply have, for this peer. */
static struct tael_datagram reply_header(const struct tael_datagram_peer *peer, const struct tael_reply *reply) {
    const struct tael_frame *frame = reply->frame;
    TAEL_ASSERT(frame->size >= TAEL_FRAME_HEADER_SIZE);
    TAEL_ASSERT(frame->size <= reply->capacity);
    struct tael_datagram header = {
        .token = reply->token,
        .request = reply->request,
        .body_size = frame->size - TAEL_FRAME_HEADER_SIZE,
        .slot = (uint8_t)reply->slot,
        .kind = TAEL_DATAGRAM_REPLY,
        .operation = frame->reply.operation,
        .part_units = tael_datagram_part_units(peer->datagram_max),
    };
    header.op = frame->reply.op;
    header.timestamp = frame->reply.timestamp;
    return header;
}

static void reply_take(struct tael_datagram_server *server, struct tael_reply *reply) {
    struct tael_datagram_peer *peer = tael_datagram_peers_get(server->peers, reply->connection);
    if (peer == NULL || server->closing) {
        server->counters.replies_stale++;
        reply_return(server, reply);
        return;
    }
    if (reply->notice != 0) {
        notice_send(server, peer, reply);
        reply_return(server, reply);
        return;
    }
    struct tael_datagram header = reply_header(peer, reply);
    if (tael_datagram_parts(header.body_size, header.part_units) > 1) {
        tael_datagram_replies_hold(server->replies, peer, reply, &header, server->now_ns);
        return;
    }
    server->counters.replies++;
    (void)tael_datagram_send(&server->sender, &peer->endpoint, &header, reply->frame + 1, header.body_size);
    reply_return(server, reply);
}

static bool is_full(const struct tael_datagram_server *server) {
    const struct tael_carrier *carrier = &server->sender.carrier;
    return carrier->is_full != NULL && carrier->is_full(carrier->context);
}

/* A group at a time, so that the way to the one's memory is gone while the other is sent. Replies wait where they are while they would be lost. */
static uint32_t replies_take(struct tael_datagram_server *server) {
    struct tael_reply *group[GROUP];
    uint32_t taken = 0;
    uint32_t count = GROUP;
    while (taken < TURN_REPLIES_MAX && count == GROUP && !is_full(server)) {
        for (count = 0; count < GROUP && (group[count] = tael_ring_pop(&server->link->replies)) != NULL; count++) {
            __builtin_prefetch(group[count]);
        }
        for (uint32_t i = 0; i < count; i++) {
            tael_datagram_peers_prefetch_handle(server->peers, group[i]->connection);
            __builtin_prefetch(&group[i]->frame->size);
            __builtin_prefetch(&group[i]->frame->reply.op);
            __builtin_prefetch(group[i]->frame + 1);
        }
        for (uint32_t i = 0; i < count; i++) reply_take(server, group[i]);
        taken += count;
    }
    return taken;
}

/* --- the turn --- */

uint32_t tael_datagram_server_poll(struct tael_datagram_server *server, uint64_t now_ns) {
    clock_set(server, now_ns);
    uint32_t done = tael_datagram_messages_take_back(server->messages);
    done += waiting_lend(server);
    done += replies_take(server);
    if (!is_full(server)) done += tael_datagram_replies_send(server->replies, TURN_PARTS_MAX, now_ns);
    done += tael_datagram_reassembly_expire(server->reassembly, now_ns);
    done += tael_datagram_replies_expire(server->replies, now_ns);
    return done;
}

uint64_t tael_datagram_server_deadline_ns(const struct tael_datagram_server *server) {
    const uint64_t requests = tael_datagram_reassembly_deadline_ns(server->reassembly);
    const uint64_t replies = tael_datagram_replies_deadline_ns(server->replies);
    return requests < replies ? requests : replies;
}

void tael_datagram_server_drain(struct tael_datagram_server *server) {
    server->draining = true;
    tael_datagram_reassembly_close(server->reassembly);
}

bool tael_datagram_server_drained(const struct tael_datagram_server *server) {
    return tael_datagram_messages_lent(server->messages) == 0 && tael_datagram_replies_count(server->replies) == 0;
}

void tael_datagram_server_close(struct tael_datagram_server *server) {
    tael_datagram_server_drain(server);
    server->closing = true;
    tael_datagram_replies_close(server->replies);
}

bool tael_datagram_server_closed(const struct tael_datagram_server *server) {
    return server->closing && tael_datagram_server_drained(server);
}

const struct tael_datagram_counters *tael_datagram_server_counters(const struct tael_datagram_server *server) {
    return &server->counters;
}

uint32_t tael_datagram_server_peers(const struct tael_datagram_server *server) {
    return tael_datagram_peers_count(server->peers);
}
