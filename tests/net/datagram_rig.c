#include "tests/net/datagram_rig.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>

#include "io/datagram_messages.h"

/* --- memory --- */

static void *allocate(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    TAEL_ASSERT(memory != NULL);
    return memory;
}

/* --- the carrier --- */

static uint8_t *transmit_begin(void *context, void **buffer) {
    struct rig *rig = context;
    if (rig->has_no_transmit_buffer) return NULL;
    uint8_t *payload = allocate(rig->options.datagram_max);
    *buffer = payload;
    rig->transmitting++;
    return payload;
}

static void transmit_end(void *context, void *buffer, uint32_t size, const struct tael_endpoint *to) {
    struct rig *rig = context;
    struct rig_sent *sent = allocate(sizeof *sent);
    rig->transmitting--;
    TAEL_ASSERT(size <= rig->options.datagram_max);
    *sent = (struct rig_sent){.to = *to, .size = size, .bytes = allocate(size)};
    memcpy(sent->bytes, buffer, size);
    free(buffer);
    TAEL_ASSERT(tael_datagram_check(sent->bytes, size, TAEL_DATAGRAM_FROM_SERVER, RIG_LEDGER, &sent->view) ==
                TAEL_DATAGRAM_VERDICT_ok);
    if (rig->sent_first == NULL) {
        rig->sent_first = sent;
    } else {
        rig->sent_last->next = sent;
    }
    rig->sent_last = sent;
    rig->sent_count++;
    rig->bytes_out += size;
}

static void transmit_cancel(void *context, void *buffer) {
    struct rig *rig = context;
    rig->transmitting--;
    free(buffer);
}

static void release(void *context, void *buffer) {
    struct rig *rig = context;
    TAEL_ASSERT(rig->kept > 0);
    rig->kept--;
    free(buffer);
}

static uint64_t draw(void *context) {
    struct rig *rig = context;
    rig->random++;
    return XXH3_64bits(&rig->random, sizeof rig->random);
}

struct rig_sent *rig_take(struct rig *rig) {
    struct rig_sent *sent = rig->sent_first;
    if (sent == NULL) return NULL;
    rig->sent_first = sent->next;
    rig->sent_count--;
    return sent;
}

void rig_done(struct rig_sent *sent) {
    free(sent->bytes);
    free(sent);
}

uint32_t rig_discard(struct rig *rig) {
    const uint32_t count = rig->sent_count;
    struct rig_sent *sent;
    while ((sent = rig_take(rig)) != NULL) rig_done(sent);
    return count;
}

/* --- start and end --- */

struct tael_datagram_server_options rig_options(void) {
    struct tael_datagram_server_options options = tael_datagram_server_options_default();
    options.ledger = RIG_LEDGER;
    options.window = 64;
    options.peers_max = 64;
    options.peers_per_address_max = 64;
    options.parts_max = 4096;
    options.messages_max = 64;
    options.messages_per_peer_max = 32;
    options.small_bodies = 8;
    options.large_bodies = 4;
    options.replies_held_max[RIG_POOL_SMALL] = 32;
    options.replies_held_max[RIG_POOL_LARGE] = 12;
    memset(&options.cookie_key, 7, sizeof options.cookie_key);
    return options;
}

static void link_init(struct rig *rig, uint32_t requests_capacity) {
    const uint32_t messages = tael_power_of_two(rig->options.messages_max);
    const uint32_t replies = tael_power_of_two(RIG_SMALL_REPLIES + RIG_LARGE_REPLIES);
    tael_ring_init(&rig->link.requests, &rig->arena, requests_capacity);
    tael_ring_init(&rig->link.released, &rig->arena, messages);
    tael_ring_init(&rig->link.replies, &rig->arena, replies);
    tael_ring_init(&rig->link.sent, &rig->arena, replies);
}

static void replies_init(struct rig *rig) {
    rig->replies = allocate((RIG_SMALL_REPLIES + RIG_LARGE_REPLIES) * sizeof *rig->replies);
    for (uint32_t i = 0; i < RIG_SMALL_REPLIES + RIG_LARGE_REPLIES; i++) {
        const uint32_t pool = i < RIG_SMALL_REPLIES ? RIG_POOL_SMALL : RIG_POOL_LARGE;
        const uint32_t capacity = pool == RIG_POOL_SMALL ? RIG_SMALL_CAPACITY : TAEL_MESSAGE_SIZE_MAX;
        rig->replies[i] = (struct tael_reply){.frame = aligned_alloc(64, capacity), .capacity = capacity, .pool = pool};
        TAEL_ASSERT(rig->replies[i].frame != NULL);
        rig->free[pool][rig->free_count[pool]++] = &rig->replies[i];
    }
}

void rig_start(struct rig *rig, const struct tael_datagram_server_options *options) {
    rig_start_with(rig, options, tael_power_of_two(options->messages_max));
}

void rig_start_with(struct rig *rig, const struct tael_datagram_server_options *options, uint32_t requests_capacity) {
    *rig = (struct rig){.options = *options, .now_ns = 100 * RIG_S};
    rig->options.random = draw;
    rig->options.random_context = rig;
    rig->options.carrier = (struct tael_carrier){.context = rig,
                                                 .transmit_begin = transmit_begin,
                                                 .transmit_end = transmit_end,
                                                 .transmit_cancel = transmit_cancel,
                                                 .release = release};
    rig->arena.size = tael_datagram_server_size_bytes(&rig->options) + tael_ring_size_bytes(requests_capacity) +
                      tael_ring_size_bytes(tael_power_of_two(rig->options.messages_max)) +
                      2 * tael_ring_size_bytes(tael_power_of_two(RIG_SMALL_REPLIES + RIG_LARGE_REPLIES));
    /* As from fresh pages: zeroed when it is touched. */
    rig->arena.base = calloc(1, rig->arena.size + TAEL_CACHE_LINE);
    TAEL_ASSERT(rig->arena.base != NULL);
    rig->arena.used = (TAEL_CACHE_LINE - (uintptr_t)rig->arena.base % TAEL_CACHE_LINE) % TAEL_CACHE_LINE;
    rig->arena.size += rig->arena.used;
    link_init(rig, requests_capacity);
    replies_init(rig);
    rig->server = tael_datagram_server_init(&rig->arena, &rig->options, &rig->link);
    TAEL_ASSERT(rig->arena.used == rig->arena.size); /* the budget is exact */
    tael_arena_freeze(&rig->arena);
}

void rig_stop(struct rig *rig) {
    (void)rig_release_all(rig);
    (void)tael_datagram_server_poll(rig->server, rig->now_ns);
    tael_datagram_server_close(rig->server);
    (void)tael_datagram_server_poll(rig->server, rig->now_ns);
    TAEL_ASSERT(tael_datagram_server_closed(rig->server));
    (void)rig_discard(rig);
    TAEL_ASSERT(rig->kept == 0);
    TAEL_ASSERT(rig->transmitting == 0);
    TAEL_ASSERT(rig_replies_out(rig) == 0);
    for (uint32_t i = 0; i < RIG_SMALL_REPLIES + RIG_LARGE_REPLIES; i++) free(rig->replies[i].frame);
    free(rig->replies);
    free(rig->arena.base);
}

/* --- the clients --- */

struct tael_endpoint rig_endpoint(uint32_t number) {
    return (struct tael_endpoint){.address = 0x0a000000u + number / 16,
                                  .port = (uint16_t)(1000 + number % 16),
                                  .mac = {2, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

bool rig_receive(struct rig *rig, const struct tael_endpoint *from, const void *bytes, uint32_t size) {
    uint8_t *buffer = allocate(size);
    memcpy(buffer, bytes, size);
    rig->bytes_in += size;
    const bool kept = tael_datagram_server_receive(rig->server, buffer, size, from, buffer, rig->now_ns);
    if (!kept) {
        free(buffer);
        return false;
    }
    rig->kept++;
    return true;
}

bool rig_send(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header, const void *part,
              uint32_t part_size) {
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX + TAEL_DATAGRAM_SIZE_MIN];
    TAEL_ASSERT(part_size <= TAEL_DATAGRAM_SIZE_MAX - TAEL_DATAGRAM_HEADER_SIZE);
    if (part_size > 0) memcpy(bytes + TAEL_DATAGRAM_HEADER_SIZE, part, part_size);
    const uint32_t size = tael_datagram_seal(bytes, header, part_size);
    return rig_receive(rig, from, bytes, size);
}

bool rig_send_part(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const uint8_t *body, uint32_t part) {
    struct tael_datagram sealed = *header;
    sealed.part = (uint16_t)part;
    const uint32_t size = tael_datagram_part_size(header->body_size, header->part_units, part);
    return rig_send(rig, from, &sealed, body + (size_t)part * header->part_units * TAEL_PART_UNIT, size);
}

void rig_send_body(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const uint8_t *body) {
    const uint32_t parts = tael_datagram_parts(header->body_size, header->part_units);
    for (uint32_t part = 0; part < parts; part++) (void)rig_send_part(rig, from, header, body, part);
}

void rig_hello(struct rig *rig, const struct tael_endpoint *from, const uint8_t cookie[16], uint16_t datagram_max,
               uint16_t window) {
    const struct tael_datagram header = {.ledger = RIG_LEDGER,
                                         .client = from->address,
                                         .body_size = sizeof(struct tael_datagram_hello),
                                         .kind = TAEL_DATAGRAM_HELLO,
                                         .part_units = 1};
    struct tael_datagram_hello hello = {.datagram_max = datagram_max, .window = window};
    memcpy(hello.cookie, cookie, sizeof hello.cookie);
    (void)rig_send(rig, from, &header, &hello, sizeof hello);
}

void rig_open(struct rig *rig, const struct tael_endpoint *from, uint16_t datagram_max, uint16_t window) {
    static const uint8_t none[16];
    TAEL_ASSERT(rig->sent_count == 0);
    rig_hello(rig, from, none, datagram_max, window);
    struct rig_sent *sent = rig_take(rig);
    TAEL_ASSERT(sent != NULL && sent->view.header.kind == TAEL_DATAGRAM_COOKIE);
    uint8_t cookie[16];
    memcpy(cookie, sent->view.part, sizeof cookie);
    rig_done(sent);
    rig_hello(rig, from, cookie, datagram_max, window);
    sent = rig_take(rig);
    TAEL_ASSERT(sent != NULL && sent->view.header.kind == TAEL_DATAGRAM_WELCOME);
    rig_done(sent);
}

/* The names of a request, for what is said about it. */
static struct tael_datagram header_about(const struct tael_datagram *about, uint8_t kind, uint32_t body_size) {
    return (struct tael_datagram){.token = about->token,
                                  .ledger = about->ledger,
                                  .client = about->client,
                                  .request = about->request,
                                  .body_size = body_size,
                                  .slot = about->slot,
                                  .kind = kind,
                                  .operation = about->operation,
                                  .part_units = 2};
}

void rig_have(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *about, uint16_t window,
              uint16_t parts, const uint8_t bits[TAEL_PARTS_MAX / 8]) {
    struct tael_datagram_have have = {.window = window, .parts = parts};
    memcpy(have.bits, bits, sizeof have.bits);
    const struct tael_datagram header = header_about(about, TAEL_DATAGRAM_HAVE_REPLY, sizeof have);
    (void)rig_send(rig, from, &header, &have, sizeof have);
}

void rig_poll_request(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *about) {
    const struct tael_datagram header = header_about(about, TAEL_DATAGRAM_POLL, 0);
    (void)rig_send(rig, from, &header, NULL, 0);
}

uint32_t rig_turn(struct rig *rig, uint64_t later_ns) {
    rig->now_ns += later_ns;
    return tael_datagram_server_poll(rig->server, rig->now_ns);
}

/* --- the sequencer --- */

struct tael_message *rig_message(struct rig *rig) {
    struct tael_message *message = tael_ring_pop(&rig->link.requests);
    if (message != NULL) return message;
    (void)rig_turn(rig, 0);
    return tael_ring_pop(&rig->link.requests);
}

void rig_release(struct rig *rig, struct tael_message *message) {
    TAEL_ASSERT(tael_ring_push(&rig->link.released, message));
}

uint32_t rig_release_all(struct rig *rig) {
    uint32_t count = 0;
    struct tael_message *message;
    while ((message = tael_ring_pop(&rig->link.requests)) != NULL) {
        rig_release(rig, message);
        count++;
    }
    return count;
}

uint32_t rig_replies_out(struct rig *rig) {
    struct tael_reply *reply;
    while ((reply = tael_ring_pop(&rig->link.sent)) != NULL) {
        rig->free[reply->pool][rig->free_count[reply->pool]++] = reply;
    }
    return RIG_SMALL_REPLIES + RIG_LARGE_REPLIES - rig->free_count[0] - rig->free_count[1];
}

uint8_t rig_byte(uint64_t op, uint32_t index) { return (uint8_t)(op * 31 + index + index / 251); }

static struct tael_reply *reply_take(struct rig *rig, const struct tael_message *message, uint32_t body_size) {
    const uint32_t pool = body_size + TAEL_FRAME_HEADER_SIZE <= RIG_SMALL_CAPACITY ? RIG_POOL_SMALL : RIG_POOL_LARGE;
    (void)rig_replies_out(rig);
    if (rig->free_count[pool] == 0) return NULL;
    struct tael_reply *reply = rig->free[pool][--rig->free_count[pool]];
    memset(reply->frame, 0xAA, TAEL_FRAME_HEADER_SIZE);
    reply->frame->size = TAEL_FRAME_HEADER_SIZE + body_size;
    reply->connection = message->connection;
    reply->token = message->operation == TAEL_OPERATION_register ? 0 : message->token;
    reply->request = message->request;
    reply->slot = message->slot;
    reply->notice = 0;
    return reply;
}

bool rig_reply(struct rig *rig, const struct tael_message *message, uint32_t body_size, uint64_t op) {
    struct tael_reply *reply = reply_take(rig, message, body_size);
    if (reply == NULL) return false;
    reply->frame->reply.op = op;
    reply->frame->reply.timestamp = op * 10;
    reply->frame->reply.operation = message->operation;
    uint8_t *body = (uint8_t *)(reply->frame + 1);
    for (uint32_t i = 0; i < body_size; i++) body[i] = rig_byte(op, i);
    if (message->operation == TAEL_OPERATION_register) memcpy(body, &message->token, sizeof message->token);
    TAEL_ASSERT(tael_ring_push(&rig->link.replies, reply));
    return true;
}

bool rig_notice(struct rig *rig, const struct tael_message *message, uint16_t code, uint16_t wait_ms) {
    struct tael_reply *reply = reply_take(rig, message, 0);
    if (reply == NULL) return false;
    reply->notice = code;
    reply->frame->reply.operation = message->operation;
    reply->wait_ms = wait_ms;
    TAEL_ASSERT(tael_ring_push(&rig->link.replies, reply));
    return true;
}

const struct tael_datagram_counters *rig_counters(const struct rig *rig) {
    return tael_datagram_server_counters(rig->server);
}
