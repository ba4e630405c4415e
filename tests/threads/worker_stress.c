/* The sequencer on one thread, the worker on another: what they share is the rings, the board and a block's outcomes.
 * Clients create, read and repeat; each reply must be the one that its request asks for. ThreadSanitizer watches.
 *
 * Usage: worker_stress ROUNDS */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sequencer/bench.h"

#define CLIENTS 6
#define TURNS_MAX 10000000

static struct bench bench;
static atomic_bool stopping;

static void *work(void *argument) {
    (void)argument;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) { /* relaxed: only ends the loop */
        if (tael_worker_poll(bench.worker) == 0) sched_yield();
    }
    return NULL;
}

struct client {
    uint64_t session;
    uint32_t request;
    tael_u128 parent;
    tael_u128 checksum;
    uint32_t failures; /* that the request in flight asks for */
    bool in_flight;
};
static struct client clients[CLIENTS];

static void send_register(uint32_t index) {
    struct client *client = &clients[index];
    client->in_flight = true;
    client->checksum =
        bench_send(&bench, &(struct bench_request){.client = index + 1, .operation = TAEL_OPERATION_register});
}

/* Events of which the first `failures` fail, answered sparsely: so the reply tells how many there were. */
static void send_create(uint32_t index) {
    struct client *client = &clients[index];
    struct tael_transfer events[20] = {0};
    static uint8_t body[21 * TAEL_RECORD_SIZE];
    const uint16_t counts[1] = {20};
    client->failures = (client->request * 7 + index) % 20;
    for (uint32_t i = 0; i < 20; i++) {
        events[i] = (struct tael_transfer){.id = i + 1, .user_data_32 = i < client->failures ? 46 : 0};
    }
    client->request++;
    client->in_flight = true;
    client->checksum = bench_send(&bench, &(struct bench_request){.client = index + 1,
                                                                  .session = client->session,
                                                                  .request = client->request,
                                                                  .operation = TAEL_OPERATION_create_transfers_sparse,
                                                                  .parent = client->parent,
                                                                  .body = body,
                                                                  .body_size = bench_body(body, events, counts, 1)});
}

static void send_read(uint32_t index) {
    struct client *client = &clients[index];
    const struct fake_read read = {.steps = 1 + client->request % 4, .reply_size = 64 * (1 + client->request % 100)};
    client->failures = read.reply_size;
    client->request++;
    client->in_flight = true;
    client->checksum = bench_send(&bench, &(struct bench_request){.client = index + 1,
                                                                  .session = client->session,
                                                                  .request = client->request,
                                                                  .operation = TAEL_OPERATION_lookup_accounts,
                                                                  .parent = client->parent,
                                                                  .body = &read,
                                                                  .body_size = sizeof read});
}

static void check(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "worker_stress: %s\n", what);
    abort();
}

static void take_reply(struct tael_reply *reply) {
    const struct tael_frame *frame = reply->frame;
    struct client *client = &clients[reply->connection - BENCH_CONNECTION - 1];
    const uint32_t body_size = frame->size - TAEL_FRAME_HEADER_SIZE;
    check(frame->command == TAEL_COMMAND_REPLY, "a reply is expected");
    check(frame->reply.request_checksum == client->checksum, "the reply to another request");
    client->parent = frame->reply.context;
    client->in_flight = false;
    if (frame->reply.operation == TAEL_OPERATION_register) client->session = frame->reply.commit;
    if (frame->reply.operation == TAEL_OPERATION_create_transfers_sparse) {
        check(body_size == client->failures * 8 + 8, "a reply with another request's failures");
    }
    if (frame->reply.operation == TAEL_OPERATION_lookup_accounts) {
        check(body_size == client->failures, "a read's reply of another size");
        check(*(const uint8_t *)(frame + 1) == (uint8_t)frame->reply.op, "a read's reply as of another op");
    }
    bench_sent(&bench, reply);
}

static void log_turn(void) {
    struct tael_block *block;
    while ((block = tael_ring_pop(tael_sequencer_blocks(bench.sequencer))) != NULL) {
        block->sequence = ++bench.written_sequence; /* as the log does, while the worker is at it */
        bench.input.durable = block->last_op;
    }
}

int main(int argc, char **argv) {
    const uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    const struct bench_options options = {
        .sessions_max = CLIENTS,
        .accounts_max = 100,
        .transfers_max = UINT32_MAX,
        .blocks_max = 3,
        .replies_small = 4,
        .replies_large = 2,
        .reads_max = 3,
    };
    bench_open(&bench, &options);
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) != 0) return 1;
    uint64_t answered = 0;
    for (uint64_t turn = 0; answered < rounds * CLIENTS; turn++) {
        check(turn < TURNS_MAX, "somebody is never answered");
        for (uint32_t i = 0; i < CLIENTS; i++) {
            if (clients[i].in_flight) continue;
            if (clients[i].session == 0) {
                send_register(i);
            } else if ((clients[i].request + i) % 3 == 0) {
                send_read(i);
            } else {
                send_create(i);
            }
        }
        if (tael_sequencer_poll(bench.sequencer, &bench.input) == 0) sched_yield();
        log_turn();
        struct tael_reply *reply;
        while ((reply = bench_reply(&bench)) != NULL) {
            take_reply(reply);
            answered++;
        }
    }
    atomic_store_explicit(&stopping, true, memory_order_relaxed);
    (void)pthread_join(thread, NULL);
    printf("%llu requests answered\n", (unsigned long long)answered);
    bench_close(&bench);
    return 0;
}
