/* The network of a simulated server, and the carrier that joins the two. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/operation.h>

#include "io/datagram.h"
#include "tests/sim/server_sim_parts.h"

#define ADDRESS_FIRST 0x0a000000u
#define PORT_FIRST 1000u
#define PORTS 4u /* of an address */
#define LATENCY_NS (20 * US)
#define JITTER_NS (100 * US)
#define NO_BUFFER UINT32_MAX

/* --- endpoints --- */

static struct tael_endpoint endpoint_make(uint32_t number) {
    return (struct tael_endpoint){
        .address = ADDRESS_FIRST + number / PORTS, .port = (uint16_t)(PORT_FIRST + number % PORTS), .mac = {2}};
}

static uint32_t endpoint_number(const struct tael_endpoint *endpoint) {
    return (endpoint->address - ADDRESS_FIRST) * PORTS + endpoint->port - PORT_FIRST;
}

uint32_t net_endpoint_new(struct run *run) {
    if (run->endpoints_count == run->endpoints_capacity) {
        run->endpoints_capacity = run->endpoints_capacity * 2 + 64;
        run->endpoints = realloc(run->endpoints, run->endpoints_capacity * sizeof *run->endpoints);
        TAEL_ASSERT(run->endpoints != NULL);
    }
    run->endpoints[run->endpoints_count] = (struct sim_endpoint){0};
    return run->endpoints_count++;
}

/* The bytes come from there, as far as the server can know. */
static void endpoint_sends(struct sim_endpoint *endpoint, const uint8_t *bytes, uint32_t size) {
    struct tael_datagram_view view;
    endpoint->bytes_in += size;
    if (tael_datagram_check(bytes, size, TAEL_DATAGRAM_FROM_CLIENT, LEDGER, &view) != TAEL_DATAGRAM_VERDICT_ok) return;
    if (view.header.kind == TAEL_DATAGRAM_REQUEST && view.header.operation == TAEL_OPERATION_register) {
        endpoint->heard_another |= view.header.client != endpoint->client;
    }
    if (view.header.kind != TAEL_DATAGRAM_HELLO) return;
    for (uint32_t i = 0; i < COOKIES_MAX && i < endpoint->cookies_count; i++) {
        if (memcmp(endpoint->cookies[i], view.part, TAEL_COOKIE_SIZE) == 0) endpoint->has_shown = true;
    }
}

/* The server sends there: something sound, and not too much. */
static void endpoint_gets(struct run *run, struct sim_endpoint *endpoint, const uint8_t *bytes, uint32_t size) {
    struct tael_datagram_view view;
    const enum tael_datagram_verdict verdict =
        tael_datagram_check(bytes, size, TAEL_DATAGRAM_FROM_SERVER, LEDGER, &view);
    if (verdict != TAEL_DATAGRAM_VERDICT_ok) {
        sim_fail(run, "the server sends what no client takes: %s", tael_datagram_verdict_text(verdict));
        return;
    }
    endpoint->bytes_out += size;
    if (view.header.kind == TAEL_DATAGRAM_COOKIE) {
        memcpy(endpoint->cookies[endpoint->cookies_count++ % COOKIES_MAX], view.part, TAEL_COOKIE_SIZE);
    } else if (!endpoint->has_shown && view.header.kind != TAEL_DATAGRAM_NOTICE) {
        sim_fail(run, "a datagram of kind %u to an address that has not shown to be its own", view.header.kind);
    }
    if (!endpoint->has_shown && endpoint->bytes_out > endpoint->bytes_in) {
        sim_fail(run, "more bytes to an address that has not shown to be its own than came from it");
    }
}

/* --- the way --- */

static void deliver(struct run *run, const void *datagram, size_t size, uint64_t endpoint, bool to_server) {
    if (run->way.count == run->way.max) return; /* a queue on the way is full */
    struct packet packet = {.arrives_ns = run->now_ns + LATENCY_NS + below(run, JITTER_NS),
                            .order = run->packets++,
                            .to_server = to_server,
                            .endpoint = (uint32_t)endpoint,
                            .size = (uint32_t)size,
                            .bytes = malloc(size + 1)};
    TAEL_ASSERT(packet.bytes != NULL);
    memcpy(packet.bytes, datagram, size);
    way_push(&run->way, packet);
}

static void deliver_to_server(void *run, const void *datagram, size_t size, uint64_t endpoint) {
    deliver(run, datagram, size, endpoint, true);
}

static void deliver_to_client(void *run, const void *datagram, size_t size, uint64_t endpoint) {
    deliver(run, datagram, size, endpoint, false);
}

void net_send(struct run *run, uint32_t endpoint, const void *bytes, uint32_t size) {
    tael_faults_pass(&run->to_server, bytes, size, endpoint, deliver_to_server, run);
}

/* --- buffers --- */

static uint32_t buffer_take(struct run *run, enum buffer_state state) {
    const uint32_t index = run->buffer_free;
    if (index == NO_BUFFER) return NO_BUFFER;
    run->buffer_free = run->buffers[index].next_free;
    run->buffers[index].state = state;
    return index;
}

/* What still looks at it sees nonsense. */
static void buffer_free(struct run *run, struct buffer *buffer) {
    memset(buffer->bytes, 0xDB, sizeof buffer->bytes);
    buffer->state = BUFFER_FREE;
    buffer->next_free = run->buffer_free;
    run->buffer_free = (uint32_t)(buffer - run->buffers);
}

static uint8_t *transmit_begin(void *context, void **buffer) {
    struct run *run = context;
    if (!run->is_settling && chance(run, 200)) return NULL;
    const uint32_t index = buffer_take(run, BUFFER_TO_SEND);
    if (index == NO_BUFFER) return NULL;
    run->buffers_to_send++;
    *buffer = &run->buffers[index];
    return run->buffers[index].bytes;
}

/* Gives back one that was in that state. */
static void give_back(struct run *run, struct buffer *buffer, enum buffer_state state, uint32_t *count) {
    if (buffer->state != state) {
        sim_fail(run, "a packet buffer is given back that was not lent, or twice");
        return;
    }
    --*count;
    buffer_free(run, buffer);
}

static void transmit_end(void *context, void *lent, uint32_t size, const struct tael_endpoint *to) {
    struct run *run = context;
    struct buffer *buffer = lent;
    const uint32_t number = endpoint_number(to);
    if (number >= run->endpoints_count) {
        sim_fail(run, "a datagram to nobody");
        return;
    }
    endpoint_gets(run, &run->endpoints[number], buffer->bytes, size);
    tael_faults_pass(&run->to_client, buffer->bytes, size, number, deliver_to_client, run);
    give_back(run, buffer, BUFFER_TO_SEND, &run->buffers_to_send);
}

static void transmit_cancel(void *context, void *buffer) {
    struct run *run = context;
    give_back(run, buffer, BUFFER_TO_SEND, &run->buffers_to_send);
}

static void release(void *context, void *buffer) {
    struct run *run = context;
    give_back(run, buffer, BUFFER_KEPT, &run->buffers_kept);
}

struct tael_carrier net_carrier(struct run *run) {
    return (struct tael_carrier){.context = run,
                                 .transmit_begin = transmit_begin,
                                 .transmit_end = transmit_end,
                                 .transmit_cancel = transmit_cancel,
                                 .release = release};
}

void net_server_starts(struct run *run) {
    run->buffer_free = NO_BUFFER;
    run->buffers_kept = run->buffers_to_send = 0;
    for (uint32_t i = run->buffers_max; i-- > 0;) {
        run->buffers[i].state = BUFFER_FREE;
        run->buffers[i].next_free = run->buffer_free;
        run->buffer_free = i;
    }
    for (uint32_t i = 0; i < run->endpoints_count; i++) {
        const struct sim_endpoint before = run->endpoints[i];
        run->endpoints[i] = (struct sim_endpoint){.client = before.client, .heard_another = before.heard_another};
    }
}

/* --- arrival --- */

static void arrive_at_server(struct run *run, const struct packet *packet) {
    hostile_hear(run, packet->endpoint, packet->bytes, packet->size);
    if (run->server == NULL) return;
    const uint32_t index = buffer_take(run, BUFFER_KEPT);
    if (index == NO_BUFFER) return;
    struct buffer *buffer = &run->buffers[index];
    const struct tael_endpoint from = endpoint_make(packet->endpoint);
    memcpy(buffer->bytes, packet->bytes, packet->size);
    endpoint_sends(&run->endpoints[packet->endpoint], packet->bytes, packet->size);
    run->buffers_kept++;
    const bool is_kept =
        tael_datagram_server_receive(run->server, buffer->bytes, packet->size, &from, buffer, run->now_ns);
    if (is_kept && buffer->state != BUFFER_KEPT) sim_fail(run, "a packet buffer is kept and given back");
    if (!is_kept) give_back(run, buffer, BUFFER_KEPT, &run->buffers_kept);
    if (run->buffers_kept > run->parts_max + run->messages_max) sim_fail(run, "too many packet buffers are kept");
}

static void arrive(struct run *run, const struct packet *packet) {
    if (packet->to_server) {
        arrive_at_server(run, packet);
    } else if (!client_receive(run, packet->endpoint, packet->bytes, packet->size)) {
        hostile_receive(run, packet->endpoint, packet->bytes, packet->size);
    }
}

uint32_t net_arrive(struct run *run) {
    uint32_t count = 0;
    while (way_next_ns(&run->way) <= run->now_ns && !sim_failed(run)) {
        const struct packet packet = way_pop(&run->way);
        arrive(run, &packet);
        free(packet.bytes);
        count++;
    }
    return count;
}

uint64_t net_next_ns(const struct run *run) { return way_next_ns(&run->way); }

/* --- a life --- */

void net_start(struct run *run) {
    struct tael_faults_options options = {.seed = test_random_u64(&run->random)};
    if (!chance(run, 4)) options.drop = options.duplicate = options.reorder = 20, options.corrupt = 1;
    tael_faults_init(&run->to_server, &options, 0);
    tael_faults_init(&run->to_client, &options, 1);
    run->way = (struct way){.packets = malloc(WAY_MAX * sizeof(struct packet)), .max = WAY_MAX};
    run->buffers_max = run->parts_max + run->messages_max + 16;
    run->buffers = calloc(run->buffers_max, sizeof *run->buffers);
    TAEL_ASSERT(run->way.packets != NULL);
    TAEL_ASSERT(run->buffers != NULL);
}

void net_stop(struct run *run) {
    struct server_sim_result *result = run->result;
    result->datagrams += run->to_server.passed + run->to_client.passed;
    result->dropped += run->to_server.drop_count + run->to_client.drop_count;
    result->duplicated += run->to_server.duplicate_count + run->to_client.duplicate_count;
    result->reordered += run->to_server.reorder_count + run->to_client.reorder_count;
    result->corrupted += run->to_server.corrupt_count + run->to_client.corrupt_count;
    while (run->way.count > 0) free(run->way.packets[--run->way.count].bytes);
    free(run->way.packets);
    free(run->buffers);
    free(run->endpoints);
}
