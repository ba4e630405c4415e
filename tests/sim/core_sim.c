#include "tests/sim/core_sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/datagram.h>
#include <tael/flag.h>
#include <tael/multi_batch.h>
#include <tael/status.h>

#include "tests/sim/core_life.h"
#include "tests/support/random.h"

#define SEGMENT_SIZE (1u << 20)
#define CAPACITY (1ull << 40)
#define FRAME_CLIENTS 6
#define PARTIES 2
#define SLOTS 3 /* that a party wishes for at most */
#define CLIENTS (FRAME_CLIENTS + PARTIES * SLOTS)
#define SESSIONS_MIN 7 /* in half of the lives fewer than clients and slots, so that some are evicted */
#define SESSIONS_MAX 14
#define PARTS_MAX 6
#define LATE_MAX 8
#define ACCOUNTS 40
#define EVENTS_MAX 90
#define FRAME_MAX (TAEL_FRAME_HEADER_SIZE + (EVENTS_MAX + 1) * TAEL_RECORD_SIZE)
#define MESSAGES 64
#define REPLIES 16
#define REPLIES_SMALL 8
#define REPLIES_LARGE 4
#define CLUSTER 3
#define TIME_BASE_NS (1000ull * TAEL_NS_PER_S)
#define ROUNDS_MAX 200000

/* A frame on its way to the server. */
struct message {
    struct tael_message message; /* first: what the rings carry */
    _Alignas(64) uint8_t frame[FRAME_MAX];
    struct tael_part parts[PARTS_MAX];
    bool lent;
};

/* A reply that a client saw. */
struct seen {
    uint8_t *bytes; /* frame and body */
    uint32_t size;
};

/* A session by datagram, whose slots are clients of their own. */
struct party {
    tael_u128 id;
    uint64_t token; /* 0: registering, or not begun */
    uint16_t slots;
};

/* A client by frames, or a slot of a party. */
struct client {
    struct party *party; /* NULL: by frames */
    uint16_t slot;
    bool is_one_batch; /* by datagram: the request is sent without its trailer */
    tael_u128 id;
    uint64_t session; /* 0: registering, or not begun */
    uint32_t request;
    tael_u128 parent;
    bool in_flight;
    bool creates; /* the request in flight, or the last one, is a create of new transfers */
    _Alignas(64) uint8_t frame[FRAME_MAX]; /* the last request */
    struct seen last; /* the reply to it, where it is kept by the server */
};

/* A datagram that comes late. */
struct late {
    struct client *client; /* NULL: none */
    uint64_t token;
    bool is_one_batch;
    _Alignas(64) uint8_t frame[FRAME_MAX];
};

struct run {
    const struct core_sim_options *options;
    struct core_sim_result *result;
    struct test_random random;
    struct core_life life;
    struct message *messages;
    struct client clients[CLIENTS];
    struct party parties[PARTIES];
    struct late late[LATE_MAX];
    uint64_t now_ns;
    uint64_t op_shown; /* the highest op in any reply */
    bool disk_is_small;
    uint64_t id_last; /* of clients, transfers and checksums */
};

__attribute__((format(printf, 2, 3))) static bool fail(struct run *run, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (run->result->failure[0] == '\0') {
        (void)vsnprintf(run->result->failure, sizeof run->result->failure, format, arguments);
    }
    va_end(arguments);
    return false;
}

static bool failed(const struct run *run) { return run->result->failure[0] != '\0'; }
static bool chance(struct run *run, uint64_t once_in) { return test_random_once_in(&run->random, once_in); }
static uint64_t below(struct run *run, uint64_t bound) { return test_random_below(&run->random, bound); }

/* --- the server's life --- */

static struct tael_core_options core_options(struct run *run) {
    return (struct tael_core_options){
        .log =
            {
                .in_flight_max = 1 + (uint32_t)below(run, 6),
                .block_size_max = SEGMENT_SIZE / 2,
                .segments_ahead = 1 + (uint32_t)below(run, 2),
                .faults = run->options->log_faults,
            },
        .replies_small = REPLIES_SMALL,
        .replies_large = REPLIES_LARGE,
        .reads_max = 4,
        .queries_max = 2,
    };
}

static int format(struct run *run) {
    const struct tael_format_options options = {
        .cluster = CLUSTER,
        .log_id = tael_u128_make(run->options->seed, 17),
        .hash_key = run->options->seed,
        .format_time_ns = TIME_BASE_NS,
        .limits = {.accounts_max = 64,
                   .transfers_max = 400000,
                   .sessions_max = chance(run, 2) ? SESSIONS_MIN : SESSIONS_MAX,
                   .segment_size = SEGMENT_SIZE},
        .segments = 1,
    };
    return core_life_format(&run->life, &options);
}

static bool start(struct run *run) {
    const struct core_life_process process = {
        .core = core_options(run), .messages = MESSAGES, .replies = REPLIES, .op_min = run->op_shown};
    if (!core_life_start(&run->life, &process)) return fail(run, "%s", run->life.why);
    for (uint32_t i = 0; i < MESSAGES; i++) run->messages[i].lent = false;
    tael_arena_freeze(&run->life.arena);
    run->result->starts++;
    run->result->cuts += run->life.core.recovery.cut;
    if (run->options->verbose) {
        char text[512];
        printf("  incarnation %" PRIu64 ", op %" PRIu64 ": %s\n", run->life.superblock.incarnation,
               run->life.core.state.replay.op, tael_recovery_describe(&run->life.core.recovery, text, sizeof text));
    }
    return true;
}

/* Everything in memory and on the wire is gone. */
static void crash(struct run *run) {
    const enum disk_sim_crash kind = chance(run, 2) ? DISK_SIM_CRASH_POWER : DISK_SIM_CRASH_PROCESS;
    run->result->starts_after_power_cut += kind == DISK_SIM_CRASH_POWER;
    run->result->pulses += tael_sequencer_counters(run->life.core.sequencer)->pulses;
    run->result->refused += tael_sequencer_counters(run->life.core.sequencer)->dropped_room_log;
    core_life_crash(&run->life, kind);
}

/* --- clients --- */

static void seen_clear(struct seen *seen) {
    free(seen->bytes);
    *seen = (struct seen){0};
}

static void frame_begin(struct run *run, struct client *client, uint8_t operation, uint32_t body_size) {
    struct tael_frame *frame = (struct tael_frame *)(void *)client->frame;
    *frame = (struct tael_frame){
        .checksum = tael_u128_make(0xabcdef, ++run->id_last),
        .cluster = CLUSTER,
        .size = TAEL_FRAME_HEADER_SIZE + body_size,
        .release = 0x1108,
        .command = TAEL_COMMAND_REQUEST,
        .request =
            {
                .parent = client->parent,
                .client = client->id,
                .session = client->session,
                .request = client->request,
                .operation = operation,
            },
    };
    client->in_flight = true;
    client->creates = false;
    client->is_one_batch = false;
    seen_clear(&client->last);
}

static uint8_t *frame_body(struct client *client) { return client->frame + TAEL_FRAME_HEADER_SIZE; }

static bool is_open(const struct client *client) {
    if (client->party == NULL) return client->session != 0;
    return client->party->token != 0 && client->slot < client->party->slots;
}

static void client_register(struct run *run, struct client *client) {
    struct party *party = client->party;
    seen_clear(&client->last);
    *client = (struct client){.party = party, .id = tael_u128_make(1, ++run->id_last)};
    if (party == NULL) {
        memset(frame_body(client), 0, 256);
        frame_begin(run, client, TAEL_OPERATION_register, 256);
        return;
    }
    *party = (struct party){.id = client->id};
    const struct tael_datagram_register wish = {.slots = (uint16_t)(1 + below(run, SLOTS))};
    memcpy(frame_body(client), &wish, sizeof wish);
    frame_begin(run, client, TAEL_OPERATION_register, sizeof wish);
}

static void client_create_accounts(struct run *run, struct client *client) {
    struct tael_account *accounts = (struct tael_account *)(void *)frame_body(client);
    const uint16_t counts[1] = {(uint16_t)(1 + below(run, 8))};
    memset(accounts, 0, counts[0] * sizeof *accounts);
    for (uint32_t i = 0; i < counts[0]; i++) {
        accounts[i].id = 1 + below(run, ACCOUNTS);
        accounts[i].ledger = 1;
        accounts[i].code = 1;
    }
    const uint32_t size =
        tael_multi_batch_encode(accounts, counts[0] * (uint32_t)sizeof *accounts, counts, 1, TAEL_RECORD_SIZE);
    client->request++;
    frame_begin(run, client, TAEL_OPERATION_create_accounts, size);
}

/* New transfers, in up to three sub-batches; some pending with a timeout, so that pulses come. */
static void client_create_transfers(struct run *run, struct client *client) {
    struct tael_transfer *transfers = (struct tael_transfer *)(void *)frame_body(client);
    uint16_t counts[3];
    const uint32_t batch_count = 1 + (uint32_t)below(run, 3);
    uint32_t event_count = 0;
    for (uint32_t i = 0; i < batch_count; i++) event_count += counts[i] = (uint16_t)below(run, 30);
    memset(transfers, 0, event_count * sizeof *transfers);
    for (uint32_t i = 0; i < event_count; i++) {
        transfers[i] = (struct tael_transfer){
            .id = tael_u128_make(2, ++run->id_last),
            .debit_account_id = 1 + below(run, ACCOUNTS / 2),
            .credit_account_id = 1 + ACCOUNTS / 2 + below(run, ACCOUNTS / 2),
            .amount = below(run, 100),
            .ledger = 1,
            .code = 1,
        };
        if (!chance(run, 4)) continue;
        transfers[i].flags = TAEL_TRANSFER_FLAG_pending;
        transfers[i].timeout = (uint32_t)below(run, 3);
    }
    const uint32_t size = tael_multi_batch_encode(transfers, event_count * (uint32_t)sizeof *transfers, counts,
                                                  batch_count, TAEL_RECORD_SIZE);
    client->request++;
    frame_begin(run, client, chance(run, 3) ? TAEL_OPERATION_create_transfers_sparse : TAEL_OPERATION_create_transfers,
                size);
    client->creates = true;
    client->is_one_batch = client->party != NULL && batch_count == 1 && chance(run, 2);
}

static void client_read(struct run *run, struct client *client) {
    const uint16_t counts[1] = {1};
    client->request++;
    if (chance(run, 2)) {
        const tael_u128 id = 1 + below(run, ACCOUNTS);
        memcpy(frame_body(client), &id, sizeof id);
        const uint32_t size = tael_multi_batch_encode(frame_body(client), sizeof id, counts, 1, sizeof id);
        frame_begin(run, client, TAEL_OPERATION_lookup_accounts, size);
        return;
    }
    const struct tael_query_filter filter = {.ledger = 1, .limit = chance(run, 2) ? 10 : TAEL_EVENTS_MAX};
    memcpy(frame_body(client), &filter, sizeof filter);
    const uint32_t size = tael_multi_batch_encode(frame_body(client), sizeof filter, counts, 1, sizeof filter);
    frame_begin(run, client, TAEL_OPERATION_query_transfers, size);
}

static void take_released(struct run *run) {
    struct tael_message *message;
    while ((message = tael_ring_pop(&run->life.link.released)) != NULL)
        ((struct message *)(void *)message)->lent = false;
}

static struct message *message_take(struct run *run) {
    take_released(run);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        if (!run->messages[i].lent) return &run->messages[i];
    }
    return NULL;
}

/* Cuts a body that lies in one piece into parts. */
static void message_cut(struct run *run, struct message *message) {
    struct tael_message *cut = &message->message;
    uint32_t done = 0;
    cut->parts = message->parts;
    cut->part_count = 1 + (uint32_t)below(run, PARTS_MAX);
    for (uint32_t i = 0; i < cut->part_count; i++) {
        const uint32_t left = cut->body_size - done;
        const uint32_t size = i + 1 < cut->part_count ? (uint32_t)below(run, left + 1) : left;
        message->parts[i] = (struct tael_part){.data = cut->whole.data + done, .size = size};
        done += size;
    }
}

/* As net describes a request that came by datagram: a register with a token that it draws anew each time. */
static void message_of_datagram(struct run *run, struct message *message, const struct client *client, uint64_t token,
                                bool is_one_batch) {
    struct tael_message *described = &message->message;
    described->session = 0;
    described->parent = 0;
    described->release = 0;
    described->slot = client->slot;
    described->token =
        described->operation == TAEL_OPERATION_register ? 1 + (test_random_u64(&run->random) >> 1) : token;
    if (tael_operation_info(described->operation).kind != TAEL_OPERATION_CREATE) return;
    described->is_one_batch = is_one_batch;
    if (is_one_batch) described->body_size -= TAEL_RECORD_SIZE;
    message_cut(run, message);
}

static void message_push(struct run *run, struct message *message) {
    message->lent = tael_ring_push(&run->life.link.requests, &message->message);
}

static void message_send(struct run *run, const struct client *client, const uint8_t *frame, uint64_t token,
                         bool is_one_batch) {
    struct message *message = message_take(run);
    if (message == NULL) return;
    memcpy(message->frame, frame, FRAME_MAX);
    tael_message_of_frame(&message->message, (const struct tael_frame *)(void *)message->frame,
                          1 + (uint64_t)(client - run->clients));
    if (client->party != NULL) message_of_datagram(run, message, client, token, is_one_batch);
    message_push(run, message);
}

/* Datagrams overtake each other: one of the client's may be kept back, and one that was is sent, whoever's it is. */
static void datagrams_reorder(struct run *run, struct client *client) {
    struct late *late = &run->late[below(run, LATE_MAX)];
    if (late->client != NULL) message_send(run, late->client, late->frame, late->token, late->is_one_batch);
    *late = (struct late){.client = client, .token = client->party->token, .is_one_batch = client->is_one_batch};
    memcpy(late->frame, client->frame, FRAME_MAX);
}

/* Asks what became of a slot's last request. */
static void client_poll(struct run *run, const struct client *client) {
    struct message *message = message_take(run);
    if (message == NULL || !is_open(client)) return;
    message->message = (struct tael_message){
        .client = client->id,
        .token = client->party->token,
        .connection = 1 + (uint64_t)(client - run->clients),
        .request = client->request,
        .slot = client->slot,
        .operation = TAEL_OPERATION_create_transfers,
        .kind = TAEL_MESSAGE_POLL,
    };
    message_push(run, message);
    run->result->polls++;
}

/* Sends a client's last request, once more or for the first time; it may be lost. */
static void client_send(struct run *run, struct client *client, bool reliable) {
    if (!reliable && chance(run, 8)) return;
    if (client->party == NULL) {
        message_send(run, client, client->frame, 0, false);
        return;
    }
    if (!reliable && chance(run, 4)) {
        client_poll(run, client);
    } else {
        message_send(run, client, client->frame, client->party->token, client->is_one_batch);
    }
    if (!reliable && chance(run, 4)) datagrams_reorder(run, client);
}

static void client_next(struct run *run, struct client *client) {
    if (!is_open(client)) {
        client_register(run, client);
        return;
    }
    client->id = client->party != NULL ? client->party->id : client->id;
    switch (below(run, 8)) {
    case 0:
        client_create_accounts(run, client);
        return;
    case 1:
    case 2:
        client_read(run, client);
        return;
    default:
        client_create_transfers(run, client);
        return;
    }
}

static void client_act(struct run *run) {
    struct client *client = &run->clients[below(run, CLIENTS)];
    if (client->slot > 0 && !is_open(client)) return; /* slot 0 has to register first */
    if (!client->in_flight) {
        /* Now and then the last request comes once more, though it was answered. */
        if (client->request == 0 || !is_open(client) || !chance(run, 6)) client_next(run, client);
    }
    client_send(run, client, false);
}

/* --- replies --- */

/* A transfer is new to the ledger once: a second execution would find it there. */
static void check_created_once(struct run *run, const struct client *client, const struct tael_frame *frame) {
    if (!client->creates) return;
    const struct tael_create_result *results = (const struct tael_create_result *)(const void *)(frame + 1);
    const struct tael_create_result_sparse *failures =
        (const struct tael_create_result_sparse *)(const void *)(frame + 1);
    const bool sparse = tael_operation_is_sparse(frame->reply.operation);
    struct tael_multi_batch batches;
    if (tael_multi_batch_decode(frame + 1, frame->size - TAEL_FRAME_HEADER_SIZE,
                                tael_operation_info(frame->reply.operation).result_size,
                                &batches) != TAEL_MULTI_BATCH_OK) {
        fail(run, "a reply's body is no multi-batch body");
        return;
    }
    for (uint32_t i = 0; i < batches.element_count; i++) {
        const uint32_t status = sparse ? failures[i].status : results[i].status;
        if (status == TAEL_TRANSFER_exists) fail(run, "a new transfer exists already: executed twice");
    }
}

static struct tael_datagram_registered registered_of(const struct tael_frame *frame) {
    struct tael_datagram_registered registered;
    memcpy(&registered, frame + 1, sizeof registered);
    return registered;
}

static void registered(struct run *run, struct client *client, const struct tael_frame *frame) {
    client->session = frame->reply.commit;
    if (client->party == NULL) return;
    const struct tael_datagram_registered registered = registered_of(frame);
    client->party->token = registered.token;
    client->party->slots = registered.slots;
    if (registered.token == 0 || registered.slots == 0 || registered.slots > SLOTS)
        fail(run, "a session without token or slots");
}

static void reply_first(struct run *run, struct client *client, const struct tael_frame *frame) {
    client->in_flight = false;
    client->parent = frame->reply.context;
    run->result->answered++;
    if (frame->reply.operation == TAEL_OPERATION_register) registered(run, client, frame);
    if (tael_operation_info(frame->reply.operation).kind == TAEL_OPERATION_READ) {
        run->result->reads++;
        return;
    }
    check_created_once(run, client, frame);
    client->last.bytes = malloc(frame->size);
    client->last.size = frame->size;
    memcpy(client->last.bytes, frame, frame->size);
}

static void reply_again(struct run *run, const struct client *client, const struct tael_frame *frame) {
    if (client->last.bytes == NULL) return; /* a read: it ran again */
    if (client->request == 0 && frame->reply.commit != client->session) return; /* a second session, see frame_take */
    run->result->repeated++;
    const bool same = client->last.size == frame->size && memcmp(client->last.bytes, frame, frame->size) == 0;
    if (!same) fail(run, "the reply to op %" PRIu64 " differs from the first one", frame->reply.op);
}

static void frame_take(struct run *run, struct client *client, const struct tael_frame *frame) {
    const struct tael_frame *request = (const struct tael_frame *)(const void *)client->frame;
    if (frame->command == TAEL_COMMAND_EVICTION) {
        if (frame->eviction.client != client->id) return;
        /* A register that comes twice, the session being evicted in between, opens a second session. */
        const bool session_gone = frame->eviction.reason == TAEL_EVICTION_NO_SESSION ||
                                  frame->eviction.reason == TAEL_EVICTION_SESSION_TOO_LOW;
        if (!session_gone) fail(run, "evicted: %u", frame->eviction.reason);
        client->session = 0;
        client->in_flight = false;
        run->result->evictions++;
        return;
    }
    if (frame->command != TAEL_COMMAND_REPLY) {
        fail(run, "an unknown command: %u", frame->command);
        return;
    }
    if (frame->reply.op > run->op_shown) run->op_shown = frame->reply.op;
    if (frame->reply.client != client->id || frame->reply.request_checksum != request->checksum) return;
    if (client->in_flight) {
        reply_first(run, client, frame);
    } else {
        reply_again(run, client, frame);
    }
}

/* --- notices --- */

/* The session is gone, with all its slots. */
static void party_end(struct run *run, struct party *party) {
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = &run->clients[i];
        if (client->party != party) continue;
        client->in_flight = false;
        client->request = 0;
        seen_clear(&client->last);
    }
    party->token = 0;
    run->result->evictions++;
}

/* About a slot's request in flight only such that it is not, or not yet, executed: it is new, and the only one with its number. */
static void notice_take(struct run *run, struct client *client, const struct tael_reply *reply, uint64_t token) {
    if (reply->notice == TAEL_NOTICE_NO_SESSION) {
        if (reply->token != 0 && reply->token == client->party->token) party_end(run, client->party);
        return;
    }
    if (reply->token != token || reply->request != client->request || !client->in_flight) return;
    const bool is_busy = reply->notice >= TAEL_NOTICE_BUSY && reply->notice < TAEL_NOTICE_TOO_OLD;
    if (!is_busy && reply->notice != TAEL_NOTICE_EXECUTING && reply->notice != TAEL_NOTICE_UNSEEN) {
        fail(run, "notice %u about request %u in slot %u", reply->notice, reply->request, reply->slot);
    }
    if (is_busy && reply->wait_ms == 0) fail(run, "a busy notice without a time to wait");
    run->result->notices++;
}

static void datagram_take(struct run *run, struct client *client, const struct tael_reply *reply) {
    const struct tael_frame *request = (const struct tael_frame *)(const void *)client->frame;
    const bool registers = request->request.operation == TAEL_OPERATION_register;
    const uint64_t token = registers ? 0 : client->party->token;
    if (reply->slot != client->slot) {
        fail(run, "an answer to slot %u came to slot %u", reply->slot, client->slot);
        return;
    }
    if (reply->notice != 0) {
        notice_take(run, client, reply, token);
        return;
    }
    const bool is_mine = reply->frame->reply.request_checksum == request->checksum && reply->token == token;
    if (is_mine && reply->request != client->request) fail(run, "a reply with another number than its request's");
    if (reply->frame->reply.op > run->op_shown) run->op_shown = reply->frame->reply.op;
    if (is_mine) frame_take(run, client, reply->frame);
}

static bool net_deliver(struct run *run) {
    struct tael_reply *reply = tael_ring_pop(&run->life.link.replies);
    if (reply == NULL) return false;
    struct client *client = &run->clients[reply->connection - 1];
    if (client->party != NULL) {
        datagram_take(run, client, reply);
    } else {
        frame_take(run, client, reply->frame);
    }
    if (!tael_ring_push(&run->life.link.sent, reply)) fail(run, "the ring of sent replies is full");
    return true;
}

/* --- a full disk --- */

/* Room for two more segments or so, or ample room again. */
static void disk_act(struct run *run) {
    run->disk_is_small = !run->disk_is_small;
    disk_sim_set_capacity(run->life.disk, run->disk_is_small ? (2 + below(run, 5)) * SEGMENT_SIZE : CAPACITY);
}

/* --- turns --- */

static uint64_t wall(const struct run *run) { return TIME_BASE_NS + run->now_ns; }

/* One part of a turn, by lot: the roles are independent of each other's pace. */
static void core_act(struct run *run) {
    switch (below(run, 3)) {
    case 0:
        (void)tael_core_sequence(&run->life.core, wall(run));
        return;
    case 1:
        (void)tael_core_apply(&run->life.core);
        return;
    default:
        if (tael_core_log(&run->life.core, run->now_ns) < 0) fail(run, "the log failed on a sound disk");
        return;
    }
}

static bool step(struct run *run) {
    switch (below(run, 16)) {
    case 0:
    case 1:
    case 2:
        client_act(run);
        break;
    case 3:
    case 4:
        (void)net_deliver(run);
        break;
    case 5:
        run->now_ns += 1 + below(run, chance(run, 10) ? TAEL_NS_PER_S : 1000000);
        break;
    case 6:
    case 7:
    case 8:
        (void)disk_sim_step(run->life.disk);
        break;
    default:
        core_act(run);
        break;
    }
    if (failed(run)) return false;
    if (chance(run, 6000)) disk_act(run);
    if (!chance(run, 1500)) return true;
    crash(run);
    return start(run);
}

/* Everybody gets an answer in the end: all faults have ceased. */
static bool settle(struct run *run) {
    disk_sim_set_capacity(run->life.disk, CAPACITY);
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < CLIENTS; i++) {
            if (!run->clients[i].in_flight) continue;
            waiting++;
            if (round % 50 == 0) client_send(run, &run->clients[i], true);
        }
        uint32_t work = tael_core_sequence(&run->life.core, wall(run)) + tael_core_apply(&run->life.core);
        const int logged = tael_core_log(&run->life.core, run->now_ns);
        if (logged < 0) return fail(run, "the log failed on a sound disk");
        work += (uint32_t)logged;
        while (disk_sim_step(run->life.disk)) work++;
        while (net_deliver(run)) work++;
        if (failed(run)) return false;
        if (waiting == 0 && work == 0 && tael_core_is_idle(&run->life.core)) return true;
        if (work == 0) run->now_ns += TAEL_NS_PER_S / 10;
    }
    return fail(run, "some clients were never answered");
}

/* Ends the server as SIGTERM does, and compares what a new one makes of the log. */
static bool compare_with_replay(struct run *run) {
    struct core_life_end end;
    if (!core_life_end(&run->life, &end)) return fail(run, "%s", run->life.why);
    crash(run); /* all was synced, so a power cut is no worse than an end */
    if (!start(run)) return false;
    if (!core_life_resumes(&run->life, &end)) return fail(run, "%s", run->life.why);
    run->result->ops = end.op;
    return true;
}

static void live(struct run *run) {
    if (format(run) != 0) {
        fail(run, "format failed: %s", run->life.report.text);
        return;
    }
    if (!start(run)) return;
    for (uint64_t i = 0; i < run->options->steps; i++) {
        if (!step(run)) return;
    }
    if (settle(run)) (void)compare_with_replay(run);
}

void core_sim_run(const struct core_sim_options *options, struct core_sim_result *result) {
    *result = (struct core_sim_result){0};
    struct run *run = calloc(1, sizeof *run);
    run->options = options;
    run->result = result;
    run->random = (struct test_random){.state = options->seed};
    run->messages = aligned_alloc(64, MESSAGES * sizeof *run->messages);
    for (uint32_t i = FRAME_CLIENTS; i < CLIENTS; i++) {
        run->clients[i].party = &run->parties[(i - FRAME_CLIENTS) / SLOTS];
        run->clients[i].slot = (uint16_t)((i - FRAME_CLIENTS) % SLOTS);
    }
    run->life.disk = disk_sim_new(test_random_u64(&run->random), CAPACITY);
    live(run);
    for (uint32_t i = 0; i < CLIENTS; i++) seen_clear(&run->clients[i].last);
    disk_sim_free(run->life.disk); /* first: writes in flight are still the disk's */
    tael_memory_unmap(&run->life.arena);
    free(run->messages);
    free(run);
}
