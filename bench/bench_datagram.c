/* What a request of one part costs the datagram server, with its reply: from the packet's bytes to a message, and from a reply to bytes.
 *
 * Bursts of 32 requests of one transfer each come from peers in random order; a sequencer that does nothing answers each with 16
 * bytes. Checksums are checked and made; the carrier is memory. */
#include <string.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/operation.h>

#include "bench/harness.h"
#include "bench/memory.h"
#include "io/datagram.h"
#include "io/datagram_server.h"
#include "tests/support/random.h"

enum {
    LEDGER = 7,
    BURST = TAEL_DATAGRAM_BURST_MAX,
    REQUEST_SIZE = TAEL_DATAGRAM_HEADER_SIZE + TAEL_RECORD_SIZE,
    REPLY_CAPACITY = 4096,
    ORDER = 1 << 16, /* whose request comes when */
};

struct stage {
    struct tael_arena arena;
    struct tael_link link;
    struct tael_datagram_server *server;
    struct test_random random;
    uint64_t now_ns;
    uint32_t peers;
    uint8_t *requests; /* one of each peer */
    uint32_t *order;
    uint32_t next;
    uint8_t *transmit; /* where answers are made, one after the other */
    uint32_t transmit_next;
    uint32_t sent;
    struct tael_reply *replies;
};

static uint8_t *transmit_begin(void *context, void **buffer) {
    struct stage *stage = context;
    stage->transmit_next = (stage->transmit_next + 1) % (2 * BURST);
    *buffer = NULL;
    return stage->transmit + (size_t)stage->transmit_next * TAEL_DATAGRAM_SIZE_ETHERNET;
}

static void transmit_end(void *context, void *buffer, uint32_t size, const struct tael_endpoint *to) {
    struct stage *stage = context;
    (void)buffer;
    (void)size;
    (void)to;
    stage->sent++;
}

static void give_back(void *context, void *buffer) {
    (void)context;
    (void)buffer;
}

static uint64_t draw(void *context) { return test_random_u64(&((struct stage *)context)->random); }

static struct tael_endpoint endpoint_of(uint32_t peer) {
    return (struct tael_endpoint){.address = 0x0a000000u + peer / 8, .port = (uint16_t)(5000 + peer % 8)};
}

static void peer_open(struct stage *stage, const struct tael_cookie_key *key, uint32_t peer) {
    const struct tael_endpoint endpoint = endpoint_of(peer);
    const struct tael_datagram header = {.ledger = LEDGER,
                                         .client = peer + 1,
                                         .body_size = sizeof(struct tael_datagram_hello),
                                         .kind = TAEL_DATAGRAM_HELLO,
                                         .part_units = 1};
    struct tael_datagram_hello hello = {.datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET, .window = 64};
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MIN];
    tael_cookie_make(hello.cookie, key, &endpoint, stage->now_ns);
    memcpy(bytes + TAEL_DATAGRAM_HEADER_SIZE, &hello, sizeof hello);
    const uint32_t size = tael_datagram_seal(bytes, &header, sizeof hello);
    (void)tael_datagram_server_receive(stage->server, bytes, size, &endpoint, NULL, stage->now_ns);
}

static void request_make(struct stage *stage, uint32_t peer) {
    uint8_t *bytes = stage->requests + (size_t)peer * REQUEST_SIZE;
    const struct tael_datagram header = {.token = peer + 1,
                                         .ledger = LEDGER,
                                         .client = peer + 1,
                                         .request = 1,
                                         .body_size = TAEL_RECORD_SIZE,
                                         .flags = TAEL_DATAGRAM_ONE_BATCH,
                                         .kind = TAEL_DATAGRAM_REQUEST,
                                         .operation = TAEL_OPERATION_create_transfers,
                                         .part_units = 11};
    test_random_bytes(&stage->random, bytes + TAEL_DATAGRAM_HEADER_SIZE, TAEL_RECORD_SIZE);
    TAEL_ASSERT(tael_datagram_seal(bytes, &header, TAEL_RECORD_SIZE) == REQUEST_SIZE);
}

static void stage_open(struct stage *stage, uint32_t peers) {
    struct tael_datagram_server_options options = tael_datagram_server_options_default();
    *stage = (struct stage){.peers = peers, .random = {1}, .now_ns = 1000 * TAEL_NS_PER_S};
    options.ledger = LEDGER;
    options.replies_held_max[0] = 64;
    options.random = draw;
    options.random_context = stage;
    options.carrier = (struct tael_carrier){.context = stage,
                                            .transmit_begin = transmit_begin,
                                            .transmit_end = transmit_end,
                                            .transmit_cancel = give_back,
                                            .release = give_back};
    const uint32_t messages = tael_power_of_two(options.messages_max);
    const size_t order_size = ORDER * sizeof(uint32_t);
    stage->arena = tael_bench_map(tael_datagram_server_size_bytes(&options) + 4 * tael_ring_size_bytes(messages) +
                                  tael_arena_share((size_t)peers * REQUEST_SIZE) + tael_arena_share(order_size) +
                                  tael_arena_share(2 * BURST * TAEL_DATAGRAM_SIZE_ETHERNET) +
                                  tael_arena_share(BURST * sizeof(struct tael_reply)) +
                                  tael_arena_share_aligned(BURST * REPLY_CAPACITY));
    tael_ring_init(&stage->link.requests, &stage->arena, messages);
    tael_ring_init(&stage->link.released, &stage->arena, messages);
    tael_ring_init(&stage->link.replies, &stage->arena, messages);
    tael_ring_init(&stage->link.sent, &stage->arena, messages);
    stage->server = tael_datagram_server_init(&stage->arena, &options, &stage->link);
    stage->requests = tael_arena_take(&stage->arena, (size_t)peers * REQUEST_SIZE);
    stage->order = tael_arena_take(&stage->arena, order_size);
    stage->transmit = tael_arena_take(&stage->arena, 2 * BURST * TAEL_DATAGRAM_SIZE_ETHERNET);
    stage->replies = tael_arena_take(&stage->arena, BURST * sizeof(struct tael_reply));
    uint8_t *frames = tael_arena_take_aligned(&stage->arena, BURST * REPLY_CAPACITY);
    for (uint32_t i = 0; i < BURST; i++) {
        stage->replies[i] = (struct tael_reply){.frame = (struct tael_frame *)(void *)(frames + i * REPLY_CAPACITY),
                                                .capacity = REPLY_CAPACITY};
    }
    for (uint32_t peer = 0; peer < peers; peer++) {
        peer_open(stage, &options.cookie_key, peer);
        request_make(stage, peer);
    }
    for (uint32_t i = 0; i < ORDER; i++) stage->order[i] = (uint32_t)test_random_below(&stage->random, peers);
    TAEL_ASSERT(tael_datagram_server_peers(stage->server) == peers);
    stage->sent = 0;
}

/* A sequencer that does nothing. */
static void answer_all(struct stage *stage) {
    struct tael_message *message;
    for (uint32_t i = 0; (message = tael_ring_pop(&stage->link.requests)) != NULL; i++) {
        struct tael_reply *reply = &stage->replies[i];
        reply->frame->size = TAEL_FRAME_HEADER_SIZE + 16;
        reply->frame->reply.op = i;
        reply->frame->reply.timestamp = i;
        reply->frame->reply.operation = message->operation;
        reply->connection = message->connection;
        reply->token = message->token;
        reply->request = message->request;
        reply->slot = message->slot;
        (void)tael_ring_push(&stage->link.replies, reply);
        (void)tael_ring_push(&stage->link.released, message);
    }
    while (tael_ring_pop(&stage->link.sent) != NULL) continue;
}

static void receive(struct stage *stage, bool is_burst) {
    struct tael_datagram_received received[BURST];
    for (uint32_t i = 0; i < BURST; i++) {
        const uint32_t peer = stage->order[stage->next++ % ORDER];
        received[i] = (struct tael_datagram_received){
            .payload = stage->requests + (size_t)peer * REQUEST_SIZE, .size = REQUEST_SIZE, .from = endpoint_of(peer)};
        __builtin_prefetch(received[i].payload); /* a card has written it into the cache */
        __builtin_prefetch(received[i].payload + 64);
        __builtin_prefetch(received[i].payload + 128);
    }
    if (is_burst) {
        (void)tael_datagram_server_receive_burst(stage->server, received, BURST, stage->now_ns);
        return;
    }
    for (uint32_t i = 0; i < BURST; i++) {
        (void)tael_datagram_server_receive(stage->server, received[i].payload, received[i].size, &received[i].from,
                                           NULL, stage->now_ns);
    }
}

static void run_one_part(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct stage stage;
    uint64_t requests = 0;
    stage_open(&stage, (uint32_t)self->size);
    while (tael_bench_next(run)) {
        stage.now_ns += 20000;
        receive(&stage, self->variant == 1);
        answer_all(&stage);
        (void)tael_datagram_server_poll(stage.server, stage.now_ns);
        requests += BURST;
    }
    TAEL_ASSERT(stage.sent == (uint32_t)requests);
    tael_bench_items(run, requests);
    tael_bench_unmap(&stage.arena);
}

const struct tael_bench_case tael_bench_datagram_cases[] = {
    {.name = "datagram/one_part/32", .run = run_one_part, .size = 32, .variant = 1},
    {.name = "datagram/one_part/1024", .run = run_one_part, .size = 1024, .variant = 1},
    {.name = "datagram/one_part/16384", .run = run_one_part, .size = 16384, .variant = 1},
    {.name = "datagram/one_part_singly/16384", .run = run_one_part, .size = 16384},
    {0},
};
