/* The sequencer and datagrams: sessions with tokens and slots, requests and polls row by row, notices, bodies in parts, sessions
 * that end with all their slots. Method: that of test_sequencer.c, which has what both ways have in common. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/datagram.h>
#include <tael/status.h>

#include "bench.h"

static const struct bench_options options_default = {
    .sessions_max = 8,
    .accounts_max = 100000,
    .transfers_max = 100000,
    .blocks_max = 4,
    .replies_small = 16,
    .replies_large = 4,
    .reads_max = 8,
};

static struct bench bench;
static _Alignas(16) uint8_t body[TAEL_BODY_SIZE_MAX];

/* A reply, copied out of its buffer; `reply` without it. */
struct seen {
    struct tael_reply reply;
    struct tael_frame frame;
    uint8_t body[4096];
    uint32_t body_size;
};
static struct seen seen;

static int open_default(void **state) {
    (void)state;
    bench_open(&bench, &options_default);
    return 0;
}

static int close_bench(void **state) {
    (void)state;
    bench_close(&bench);
    return 0;
}

static const struct tael_sequencer_counters *counters(void) { return tael_sequencer_counters(bench.sequencer); }

static void take(void) {
    struct tael_reply *reply = bench_reply(&bench);
    assert_non_null(reply);
    memset(&seen, 0, sizeof seen); /* so that two of them compare whole */
    seen.reply = *reply;
    seen.reply.frame = NULL;
    seen.reply.pool = 0;
    seen.reply.capacity = 0;
    seen.frame = *reply->frame;
    seen.body_size = reply->frame->size - TAEL_FRAME_HEADER_SIZE;
    memcpy(seen.body, reply->frame + 1, seen.body_size < sizeof seen.body ? seen.body_size : sizeof seen.body);
    bench_sent(&bench, reply);
}

static void expect_silence(void) { assert_null(bench_reply(&bench)); }

/* A client's session by datagram; its slots number their requests each for itself. */
struct client {
    tael_u128 id;
    uint64_t token;
    tael_u128 checksum; /* of the last request sent */
    uint32_t requests[TAEL_SLOTS_MAX];
};

static void expect_names(const struct client *client, uint64_t token, uint16_t slot, uint32_t request) {
    assert_int_equal(seen.reply.token, token);
    assert_int_equal(seen.reply.slot, slot);
    assert_int_equal(seen.reply.request, request);
    assert_int_equal(seen.reply.connection, BENCH_CONNECTION + tael_u128_low(client->id));
}

static void expect_reply(const struct client *client, uint16_t slot) {
    take();
    assert_int_equal(seen.reply.notice, 0);
    assert_int_equal(seen.frame.command, TAEL_COMMAND_REPLY);
    expect_names(client, client->token, slot, client->requests[slot]);
}

static void expect_notice(uint16_t code, uint16_t wait_ms) {
    take();
    assert_int_equal(seen.reply.notice, code);
    assert_int_equal(seen.reply.wait_ms, wait_ms);
    assert_int_equal(seen.body_size, 0);
}

static tael_u128 send_register(tael_u128 id, uint64_t token, uint16_t slots, tael_u128 checksum) {
    const struct tael_datagram_register wish = {.slots = slots};
    return bench_send(&bench, &(struct bench_request){.client = id,
                                                      .operation = TAEL_OPERATION_register,
                                                      .checksum = checksum,
                                                      .token = token,
                                                      .body = &wish,
                                                      .body_size = sizeof wish});
}

static struct client client_open(uint64_t id, uint16_t slots) {
    struct client client = {.id = id, .token = 100 * id};
    client.checksum = send_register(id, client.token, slots, 0);
    bench_run(&bench);
    take();
    assert_int_equal(seen.reply.notice, 0);
    expect_names(&client, 0, 0, 0);
    return client;
}

/* A session by frames, with no request yet. Returns its number. */
static uint64_t frames_open(uint64_t id) {
    bench_send(&bench, &(struct bench_request){.client = id, .operation = TAEL_OPERATION_register});
    bench_run(&bench);
    take();
    return seen.frame.reply.commit;
}

static uint32_t events_make(uint32_t count) {
    struct tael_transfer *events = calloc(count + 1, sizeof *events);
    for (uint32_t i = 0; i < count; i++) events[i].id = i + 1;
    const uint16_t counts[1] = {(uint16_t)count};
    const uint32_t size = bench_body(body, events, counts, 1);
    free(events);
    return size;
}

static void send_create(struct client *client, uint16_t slot, uint32_t events) {
    client->requests[slot]++;
    client->checksum = bench_send(&bench, &(struct bench_request){.client = client->id,
                                                                  .request = client->requests[slot],
                                                                  .operation = TAEL_OPERATION_create_transfers,
                                                                  .token = client->token,
                                                                  .slot = slot,
                                                                  .body = body,
                                                                  .body_size = events_make(events)});
}

static void create(struct client *client, uint16_t slot, uint32_t events) {
    send_create(client, slot, events);
    bench_run(&bench);
    expect_reply(client, slot);
}

static void send_read(struct client *client, uint16_t slot, uint32_t steps) {
    const struct fake_read read = {.steps = steps, .reply_size = 100};
    client->requests[slot]++;
    client->checksum = bench_send(&bench, &(struct bench_request){.client = client->id,
                                                                  .request = client->requests[slot],
                                                                  .operation = TAEL_OPERATION_lookup_accounts,
                                                                  .token = client->token,
                                                                  .slot = slot,
                                                                  .body = &read,
                                                                  .body_size = sizeof read});
}

static void send_poll(const struct client *client, uint16_t slot, uint32_t request) {
    bench_send(&bench, &(struct bench_request){.client = client->id,
                                               .request = request,
                                               .operation = TAEL_OPERATION_create_transfers,
                                               .token = client->token,
                                               .slot = slot,
                                               .kind = TAEL_MESSAGE_POLL});
}

/* Asks what became of a request that was sent. */
static void expect_poll(const struct client *client, uint16_t slot, uint32_t request, uint16_t code) {
    send_poll(client, slot, request);
    bench_run(&bench);
    expect_notice(code, 0);
    expect_names(client, client->token, slot, request);
}

/* --- register --- */

static void test_register_grants_slots_and_tells_the_token(void **state) {
    (void)state;
    struct client client = client_open(5, 3);
    struct tael_datagram_registered registered;
    assert_int_equal(seen.body_size, sizeof registered);
    memcpy(&registered, seen.body, sizeof registered);
    assert_int_equal(registered.token, client.token);
    assert_int_equal(registered.slots, 3);
    for (size_t i = 0; i < sizeof registered.reserved; i++) assert_int_equal(registered.reserved[i], 0);
    assert_int_equal(seen.frame.reply.op, 1);
    assert_int_equal(seen.frame.reply.operation, TAEL_OPERATION_register);
    assert_int_equal(seen.frame.reply.timestamp, bench.input.wall_ns);
    assert_int_equal(tael_sessions_usage(bench.sessions).sessions, 3);
    for (uint16_t slot = 0; slot < 3; slot++) create(&client, slot, 1);
}

static void test_register_grants_no_more_slots_than_the_table_has(void **state) {
    (void)state;
    (void)client_open(5, UINT16_MAX);
    struct tael_datagram_registered registered;
    memcpy(&registered, seen.body, sizeof registered);
    assert_int_equal(registered.slots, options_default.sessions_max);
    close_bench(NULL);
    struct bench_options options = options_default;
    options.sessions_max = 100;
    bench_open(&bench, &options);
    (void)client_open(5, 65);
    memcpy(&registered, seen.body, sizeof registered);
    assert_int_equal(registered.slots, TAEL_SLOTS_MAX);
}

static void test_register_checks_its_body(void **state) {
    (void)state;
    send_register(5, 500, 0, 0);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BODY, 0);
    struct tael_datagram_register wish = {.slots = 1};
    wish.reserved[29] = 1;
    struct bench_request request = {
        .client = 5, .operation = TAEL_OPERATION_register, .token = 500, .body = &wish, .body_size = sizeof wish};
    bench_send(&bench, &request);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BODY, 0);
    request.body_size = 16;
    bench_send(&bench, &request);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BODY_SIZE, 0);
    request.body_size = 0;
    bench_send(&bench, &request);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BODY_SIZE, 0);
    assert_int_equal(counters()->logged, 0);
}

static void test_register_repeated_gets_the_first_token_until_slot_0_has_gone_on(void **state) {
    (void)state;
    struct client client = client_open(5, 2);
    static struct seen first;
    first = seen;
    const tael_u128 checksum = client.checksum;
    create(&client, 1, 1); /* in another slot */
    send_register(5, 777, 2, checksum);
    bench_run(&bench);
    take();
    assert_memory_equal(&first, &seen, sizeof seen);
    send_register(5, 777, 2, 0);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_OTHER, 0);
    expect_names(&client, 0, 0, 0);
    create(&client, 0, 1);
    send_register(5, 777, 2, checksum);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_TOO_OLD, 0);
    assert_int_equal(counters()->dropped_register, 2);
    assert_int_equal(counters()->logged, 3);
}

static void test_register_in_progress_is_answered_once_where_it_last_came_from(void **state) {
    (void)state;
    bench.durable_held = true;
    const tael_u128 checksum = send_register(5, 500, 2, 0);
    bench_run(&bench);
    const struct tael_datagram_register wish = {.slots = 2};
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .operation = TAEL_OPERATION_register,
                                               .checksum = checksum,
                                               .token = 501,
                                               .connection = 4444,
                                               .body = &wish,
                                               .body_size = sizeof wish});
    bench_run(&bench);
    expect_silence();
    bench.durable_held = false;
    bench_run(&bench);
    take();
    assert_int_equal(seen.reply.connection, 4444);
    struct tael_datagram_registered registered;
    memcpy(&registered, seen.body, sizeof registered);
    assert_int_equal(registered.token, 500);
    expect_silence();
}

static void test_poll_for_a_register_tells_no_token(void **state) {
    (void)state;
    struct client client = client_open(5, 2);
    bench_send(&bench, &(struct bench_request){
                           .client = 5, .operation = TAEL_OPERATION_register, .token = 999, .kind = TAEL_MESSAGE_POLL});
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_UNSEEN, 0);
    expect_names(&client, 0, 0, 0);
}

static void test_sessions_by_frames_and_by_datagram_do_not_know_each_other(void **state) {
    (void)state;
    const uint64_t session = frames_open(3);
    struct client client = client_open(5, 2);
    /* By frame into the session by datagram. */
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .session = 2,
                                               .request = 1,
                                               .operation = TAEL_OPERATION_create_transfers,
                                               .body = body,
                                               .body_size = events_make(1)});
    bench_run(&bench);
    take();
    assert_int_equal(seen.frame.command, TAEL_COMMAND_EVICTION);
    assert_int_equal(seen.frame.eviction.reason, TAEL_EVICTION_NO_SESSION);
    /* By datagram into the one by frames, whatever the token. */
    struct client stranger = {.id = 3, .token = session};
    send_create(&stranger, 0, 1);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_NO_SESSION, 0);
    /* And neither registers the other's client. */
    bench_send(&bench, &(struct bench_request){.client = 5, .operation = TAEL_OPERATION_register});
    bench_run(&bench);
    expect_silence();
    send_register(3, 300, 1, 0);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_OTHER, 0);
    assert_int_equal(counters()->logged, 2);
    create(&client, 1, 1);
}

/* --- rules --- */

enum says { SAYS_NOTICE, SAYS_REPLY, SAYS_KEPT };

struct rule_row {
    const char *what;
    uint8_t kind;
    int64_t token_off; /* from the session's own */
    uint16_t slot; /* the session has 4; the last logged request of slot 1 is number 5, the others have none */
    uint32_t request;
    bool checksum_same;
    uint8_t operation;
    enum says says;
    uint16_t notice;
};

#define CREATE TAEL_OPERATION_create_transfers
#define REQUEST TAEL_MESSAGE_REQUEST
#define POLL TAEL_MESSAGE_POLL

static const struct rule_row rule_rows[] = {
    {"the next number is executed, whatever its parent", REQUEST, 0, 1, 6, false, CREATE, SAYS_REPLY, 0},
    {"numbers may skip", REQUEST, 0, 1, 9, false, CREATE, SAYS_REPLY, 0},
    {"each slot has numbers of its own", REQUEST, 0, 2, 1, false, CREATE, SAYS_REPLY, 0},
    {"a slot beyond the last", REQUEST, 0, 4, 1, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
    {"a slot that no session has", REQUEST, 0, UINT16_MAX, 1, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
    {"a wrong token", REQUEST, 1, 1, 6, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
    {"a wrong token though the rest is right", REQUEST, 1, 1, 5, true, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
    {"a lower number", REQUEST, 0, 1, 4, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_TOO_OLD},
    {"number 0 is the register's", REQUEST, 0, 1, 0, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_TOO_OLD},
    {"number 0 where nothing came since", REQUEST, 0, 2, 0, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_OTHER},
    {"the same request gets its reply again", REQUEST, 0, 1, 5, true, CREATE, SAYS_KEPT, 0},
    {"the same number, another request", REQUEST, 0, 1, 5, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_OTHER},
    {"no such operation", REQUEST, 0, 1, 6, false, 1, SAYS_NOTICE, TAEL_NOTICE_OPERATION},
    {"a pulse is the sequencer's own", REQUEST, 0, 1, 6, false, TAEL_OPERATION_pulse, SAYS_NOTICE,
     TAEL_NOTICE_OPERATION},
    {"a poll for the last one gets its reply", POLL, 0, 1, 5, false, CREATE, SAYS_KEPT, 0},
    {"a poll for an earlier one", POLL, 0, 1, 4, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_TOO_OLD},
    {"a poll for one that never came", POLL, 0, 1, 6, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_UNSEEN},
    {"a poll in a slot without requests", POLL, 0, 3, 1, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_UNSEEN},
    {"a poll with a wrong token", POLL, -1, 1, 5, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
    {"a poll in a slot beyond the last", POLL, 0, 4, 1, false, CREATE, SAYS_NOTICE, TAEL_NOTICE_NO_SESSION},
};

static void check_rule(const struct rule_row *row) {
    close_bench(NULL);
    bench_open(&bench, &options_default);
    struct client client = client_open(5, 4);
    for (uint32_t i = 1; i <= 5; i++) create(&client, 1, i);
    static struct seen last;
    last = seen;
    const uint64_t logged = counters()->logged;
    const uint32_t body_size = row->kind == POLL ? 0 : events_make(1);
    const uint64_t token = client.token + (uint64_t)row->token_off;
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .request = row->request,
                                               .operation = row->operation,
                                               .checksum = row->checksum_same ? client.checksum : 0,
                                               .token = token,
                                               .slot = row->slot,
                                               .kind = row->kind,
                                               .body = body,
                                               .body_size = body_size});
    bench_run(&bench);
    if (row->says == SAYS_NOTICE) {
        expect_notice(row->notice, 0);
        assert_int_equal(seen.frame.reply.operation, row->operation);
    } else {
        take();
        assert_int_equal(seen.reply.notice, 0);
    }
    expect_names(&client, token, row->slot, row->request);
    if (row->says == SAYS_KEPT) assert_memory_equal(&last, &seen, sizeof seen);
    assert_int_equal(counters()->logged, logged + (row->says == SAYS_REPLY ? 1 : 0));
    assert_int_equal(counters()->notices_sent, row->says == SAYS_NOTICE ? 1 : 0);
    expect_silence();
    assert_int_equal(bench_lent(&bench), 0);
}

static void test_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rule_rows / sizeof rule_rows[0]; i++) {
        print_message("  %s\n", rule_rows[i].what);
        check_rule(&rule_rows[i]);
    }
}

static void test_client_without_a_session_is_told_so(void **state) {
    (void)state;
    struct client stranger = {.id = 9, .token = 1};
    send_create(&stranger, 0, 1);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_NO_SESSION, 0);
    expect_poll(&stranger, 0, 1, TAEL_NOTICE_NO_SESSION);
}

/* --- in progress --- */

static void test_create_in_progress_is_polled_and_moves_its_reply(void **state) {
    (void)state;
    struct client client = client_open(5, 2);
    bench.durable_held = true;
    send_create(&client, 1, 2);
    bench_run(&bench);
    expect_poll(&client, 1, 1, TAEL_NOTICE_EXECUTING);
    expect_poll(&client, 0, 1, TAEL_NOTICE_UNSEEN);
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .request = 1,
                                               .operation = CREATE,
                                               .checksum = client.checksum,
                                               .token = client.token,
                                               .slot = 1,
                                               .connection = 4444});
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->dropped_in_progress, 2);
    bench.durable_held = false;
    bench_run(&bench);
    take();
    assert_int_equal(seen.reply.connection, 4444);
    assert_int_equal(seen.reply.notice, 0);
    expect_silence();
}

static void test_slots_are_answered_each_by_itself(void **state) {
    (void)state;
    struct client client = client_open(5, 4);
    bench.durable_held = true;
    for (uint16_t slot = 0; slot < 4; slot++) send_create(&client, slot, slot + 1u);
    bench_run(&bench);
    bench.durable_held = false;
    bench_run(&bench);
    for (uint16_t slot = 0; slot < 4; slot++) {
        expect_reply(&client, slot);
        assert_int_equal(seen.body_size, (slot + 1u) * sizeof(struct tael_create_result) + 16);
    }
    for (uint16_t slot = 4; slot-- > 0;) { /* each slot's reply is kept though others went on */
        send_poll(&client, slot, 1);
        bench_run(&bench);
        expect_reply(&client, slot);
        assert_int_equal(seen.frame.reply.op, slot + 2u);
    }
}

static void test_reads_are_one_a_slot(void **state) {
    (void)state;
    struct client client = client_open(5, 2);
    bench.worker_stalled = true;
    for (uint16_t slot = 0; slot < 2; slot++) send_read(&client, slot, 1);
    bench_run(&bench);
    assert_int_equal(counters()->reads, 2);
    expect_poll(&client, 1, 1, TAEL_NOTICE_EXECUTING);
    expect_poll(&client, 1, 2, TAEL_NOTICE_UNSEEN);
    send_read(&client, 1, 1); /* its client has given up the first one */
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BUSY_QUEUE, TAEL_BUSY_WAIT_MS);
    client.requests[1] = 1;
    bench.worker_stalled = false;
    bench_run(&bench);
    for (uint16_t slot = 0; slot < 2; slot++) {
        expect_reply(&client, slot);
        assert_int_equal(seen.frame.reply.op, 1);
        assert_int_equal(seen.frame.reply.operation, TAEL_OPERATION_lookup_accounts);
        assert_int_equal(seen.body_size, 100);
    }
    expect_poll(&client, 1, 1, TAEL_NOTICE_UNSEEN); /* it is over and left no trace */
    create(&client, 1, 1);
}

static void test_read_in_flight_settles_what_comes_below_and_beside_it(void **state) {
    (void)state;
    struct client client = client_open(5, 1);
    bench.worker_stalled = true;
    client.requests[0] = 6;
    send_read(&client, 0, 1);
    bench_run(&bench);
    const tael_u128 checksum = client.checksum;
    expect_poll(&client, 0, 6, TAEL_NOTICE_TOO_OLD);
    client.requests[0] = 5;
    send_create(&client, 0, 1);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_TOO_OLD, 0);
    send_create(&client, 0, 1);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_OTHER, 0);
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .request = 7,
                                               .operation = TAEL_OPERATION_lookup_accounts,
                                               .checksum = checksum,
                                               .token = client.token,
                                               .connection = 4444});
    bench.worker_stalled = false;
    bench_run(&bench);
    take();
    assert_int_equal(seen.reply.connection, 4444);
    assert_int_equal(seen.reply.request, 7);
    expect_silence();
}

/* --- no room --- */

static void test_no_room_is_a_notice_with_its_reason(void **state) {
    (void)state;
    static const struct {
        uint64_t accounts_max;
        uint64_t transfers_max;
        uint64_t log_capacity;
        uint8_t operation;
        uint16_t notice;
    } rows[] = {
        {4, 100, UINT64_MAX / 2, TAEL_OPERATION_create_accounts, TAEL_NOTICE_BUSY_ACCOUNTS},
        {100, 4, UINT64_MAX / 2, TAEL_OPERATION_create_transfers, TAEL_NOTICE_BUSY_TRANSFERS},
        {100, 100, 4096 + TAEL_SEQUENCER_LOG_RESERVE, TAEL_OPERATION_create_transfers, TAEL_NOTICE_BUSY_DISK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        close_bench(NULL);
        struct bench_options options = options_default;
        options.accounts_max = rows[i].accounts_max;
        options.transfers_max = rows[i].transfers_max;
        bench_open(&bench, &options);
        bench.input.log_grows = false;
        struct client client = client_open(5, 2);
        bench.input.log_capacity = rows[i].log_capacity;
        bench_send(&bench, &(struct bench_request){.client = 5,
                                                   .request = 1,
                                                   .operation = rows[i].operation,
                                                   .token = client.token,
                                                   .slot = 1,
                                                   .body = body,
                                                   .body_size = events_make(5)});
        bench_run(&bench);
        expect_notice(rows[i].notice, TAEL_BUSY_WAIT_MS);
        expect_names(&client, client.token, 1, 1);
        expect_poll(&client, 1, 1, TAEL_NOTICE_UNSEEN);
    }
}

/* --- bodies --- */

static void test_bad_bodies_are_told_and_change_nothing(void **state) {
    (void)state;
    struct client client = client_open(5, 1);
    memset(body, 0, 512);
    struct bench_request request = {
        .client = 5, .request = 1, .operation = CREATE, .token = client.token, .body = body, .body_size = 256};
    bench_send(&bench, &request);
    request.body_size = 100;
    bench_send(&bench, &request);
    request.is_one_batch = true;
    bench_send(&bench, &request);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_BODY, 0);
    expect_notice(TAEL_NOTICE_BODY_SIZE, 0);
    expect_notice(TAEL_NOTICE_BODY_SIZE, 0);
    assert_int_equal(counters()->logged, 1);
    create(&client, 0, 1); /* under the same number */
}

/* The request that the last block ends with. */
static const struct tael_request *last_logged(uint32_t events) {
    const uint32_t size = tael_request_size_in_block(tael_request_payload_size(events, 1));
    const uint32_t in_log =
        (TAEL_BLOCK_HEADER_SIZE + size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE;
    return (const void *)(bench.written + bench.written_size - in_log + TAEL_BLOCK_HEADER_SIZE);
}

static void test_one_batch_in_parts_is_logged_as_one_in_one_piece(void **state) {
    (void)state;
    struct client client = client_open(5, 3);
    create(&client, 0, 20);
    static uint8_t whole[20 * TAEL_RECORD_SIZE];
    memcpy(whole, last_logged(20) + 1, sizeof whole);
    const struct tael_part parts[] = {{body, 1408}, {body + 1408, 128}, {body + 1536, sizeof whole - 1536}};
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .request = 1,
                                               .operation = CREATE,
                                               .token = client.token,
                                               .slot = 2,
                                               .is_one_batch = true,
                                               .parts = parts,
                                               .part_count = 3});
    bench_run(&bench);
    client.requests[2] = 1;
    expect_reply(&client, 2);
    const struct tael_request *logged = last_logged(20);
    assert_int_equal(logged->slot, 2);
    assert_int_equal(logged->session, 1);
    assert_int_equal(logged->event_count, 20);
    assert_int_equal(logged->batch_count, 1);
    assert_memory_equal(logged + 1, whole, sizeof whole);
}

/* --- evictions --- */

static void expect_ended(const struct client *client, uint16_t slots) {
    for (uint16_t slot = 0; slot < slots; slot++) {
        expect_poll(client, slot, client->requests[slot], TAEL_NOTICE_NO_SESSION);
    }
}

static void test_session_ends_with_all_its_slots(void **state) {
    (void)state;
    struct client one = client_open(1, 4);
    struct client two = client_open(2, 4);
    create(&two, 0, 1);
    create(&one, 3, 1); /* whichever slot it is, the session is younger now */
    struct client three = client_open(3, 2);
    assert_int_equal(counters()->sessions_evicted, 1);
    assert_int_equal(tael_sessions_usage(bench.sessions).sessions, 6);
    expect_ended(&two, 4);
    create(&one, 0, 1);
    create(&three, 1, 1);
    (void)frames_open(4);
    (void)frames_open(5);
    assert_int_equal(counters()->sessions_evicted, 1);
    (void)frames_open(6);
    assert_int_equal(counters()->sessions_evicted, 2);
    expect_ended(&one, 4);
}

static void test_session_by_datagram_takes_the_place_of_several(void **state) {
    (void)state;
    for (uint64_t id = 1; id <= 8; id++) (void)frames_open(id);
    (void)client_open(9, 3);
    assert_int_equal(counters()->sessions_evicted, 3);
    assert_int_equal(tael_sessions_usage(bench.sessions).sessions, 8);
}

static void test_request_in_flight_in_any_slot_protects_the_session(void **state) {
    (void)state;
    struct client one = client_open(1, 4);
    struct client two = client_open(2, 4);
    bench.durable_held = true;
    send_create(&one, 2, 1);
    bench_run(&bench);
    send_register(3, 300, 1, 0);
    bench_run(&bench);
    expect_silence(); /* session two has gone, and the register is logged */
    bench.durable_held = false;
    bench_run(&bench);
    expect_reply(&one, 2);
    take();
    expect_ended(&two, 4);
    create(&one, 0, 1);
}

static void test_register_waits_where_all_sessions_have_a_request_in_flight(void **state) {
    (void)state;
    struct client one = client_open(1, 8);
    bench.durable_held = true;
    send_create(&one, 5, 1);
    bench_run(&bench);
    send_register(2, 200, 1, 0);
    bench_run(&bench);
    assert_int_equal(counters()->sessions_evicted, 0);
    assert_int_equal(bench_lent(&bench), 1);
    bench.durable_held = false;
    bench_run(&bench);
    expect_reply(&one, 5);
    take();
    assert_int_equal(seen.reply.notice, 0);
    expect_ended(&one, 8);
}

static void test_read_in_flight_in_any_slot_has_others_go_first(void **state) {
    (void)state;
    struct client one = client_open(1, 4);
    struct client two = client_open(2, 4);
    bench.worker_stalled = true;
    send_read(&one, 3, 1);
    bench_run(&bench);
    send_register(3, 300, 1, 0);
    bench_run(&bench);
    bench.worker_stalled = false;
    bench_run(&bench);
    take();
    take();
    expect_ended(&two, 4);
    create(&one, 0, 1);
}

/* Creates whose events all fail, so that their reply takes chunks. */
static void create_failing(struct client *client, uint16_t slot, uint32_t count) {
    struct tael_transfer *events = calloc(count, sizeof *events);
    for (uint32_t i = 0; i < count; i++) events[i].user_data_32 = TAEL_TRANSFER_exists;
    const uint16_t counts[1] = {(uint16_t)count};
    const uint32_t size = bench_body(body, events, counts, 1);
    free(events);
    client->requests[slot]++;
    bench_send(&bench, &(struct bench_request){.client = client->id,
                                               .request = client->requests[slot],
                                               .operation = CREATE,
                                               .token = client->token,
                                               .slot = slot,
                                               .body = body,
                                               .body_size = size});
    bench_run(&bench);
}

static void test_full_reply_pool_evicts_who_holds_some_in_any_slot_then_is_busy(void **state) {
    (void)state;
    close_bench(NULL);
    struct bench_options options = options_default;
    options.reply_chunks = TAEL_REPLY_CHUNKS_MAX;
    bench_open(&bench, &options);
    struct client one = client_open(1, 2);
    struct client two = client_open(2, 2);
    create(&one, 0, 1);
    create_failing(&two, 1, 8000); /* 500 chunks; the session is younger than one, which holds none */
    expect_reply(&two, 1);
    create(&one, 1, 1);
    create_failing(&one, 0, 8189);
    expect_reply(&one, 0);
    assert_int_equal(counters()->sessions_evicted, 0);
    create_failing(&one, 1, 8000); /* now two has to go */
    expect_reply(&one, 1);
    assert_int_equal(counters()->sessions_evicted, 1);
    expect_ended(&two, 2);
    struct client three = client_open(3, 3);
    create_failing(&three, 0, 8000); /* and one */
    expect_reply(&three, 0);
    assert_int_equal(counters()->sessions_evicted, 2);
    create_failing(&three, 1, 8000);
    expect_reply(&three, 1);
    create_failing(&three, 2, 8000); /* the session's own slots hold all there is */
    expect_notice(TAEL_NOTICE_BUSY_SESSIONS, TAEL_BUSY_WAIT_MS);
    create(&three, 0, 1); /* which gives some back */
    create_failing(&three, 2, 8000);
    take();
    assert_int_equal(seen.reply.notice, 0);
}

/* --- replay --- */

static void test_replay_gives_the_same_sessions_and_kept_replies(void **state) {
    (void)state;
    struct client clients[3];
    (void)frames_open(9);
    for (uint64_t i = 0; i < 3; i++)
        clients[i] = client_open(i + 1, 3); /* the first ends the session by frames, the last the first */
    for (uint16_t slot = 0; slot < 3; slot++) create(&clients[1], slot, slot + 1u);
    create(&clients[2], 2, 7);
    assert_int_equal(counters()->sessions_evicted, 2);
    const tael_u128 digest = tael_sessions_digest(bench.sessions);
    struct bench old = bench;
    bench_open(&bench, &options_default);
    bench_replay(&old, &bench);
    assert_true(tael_sessions_digest(bench.sessions) == digest);
    static struct seen before;
    before = seen;
    send_poll(&clients[2], 2, 1);
    bench_run(&bench);
    take();
    assert_memory_equal(&before, &seen, sizeof seen);
    expect_ended(&clients[0], 3);
    create(&clients[1], 1, 1);
    /* The register once more, in a new life: the same token, from the log. */
    send_register(3, 12345, 3, clients[2].checksum);
    bench_run(&bench);
    expect_notice(TAEL_NOTICE_OTHER, 0);
    bench_close(&old);
}

static void test_replay_remembers_the_register_of_each_slot(void **state) {
    (void)state;
    struct client client = client_open(5, 2);
    create(&client, 1, 1);
    struct bench old = bench;
    bench_open(&bench, &options_default);
    bench_replay(&old, &bench);
    struct client again = {.id = 5, .token = client.token};
    const tael_u128 checksum = tael_sessions_at(bench.sessions, tael_sessions_find(bench.sessions, 5, 0))->checksum;
    send_register(5, 999, 2, checksum);
    bench_run(&bench);
    take();
    expect_names(&again, 0, 0, 0);
    struct tael_datagram_registered registered;
    memcpy(&registered, seen.body, sizeof registered);
    assert_int_equal(registered.token, client.token);
    bench_close(&old);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_default, close_bench)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_register_grants_slots_and_tells_the_token),
        TEST(test_register_grants_no_more_slots_than_the_table_has),
        TEST(test_register_checks_its_body),
        TEST(test_register_repeated_gets_the_first_token_until_slot_0_has_gone_on),
        TEST(test_register_in_progress_is_answered_once_where_it_last_came_from),
        TEST(test_poll_for_a_register_tells_no_token),
        TEST(test_sessions_by_frames_and_by_datagram_do_not_know_each_other),
        TEST(test_rules),
        TEST(test_client_without_a_session_is_told_so),
        TEST(test_create_in_progress_is_polled_and_moves_its_reply),
        TEST(test_slots_are_answered_each_by_itself),
        TEST(test_reads_are_one_a_slot),
        TEST(test_read_in_flight_settles_what_comes_below_and_beside_it),
        TEST(test_no_room_is_a_notice_with_its_reason),
        TEST(test_bad_bodies_are_told_and_change_nothing),
        TEST(test_one_batch_in_parts_is_logged_as_one_in_one_piece),
        TEST(test_session_ends_with_all_its_slots),
        TEST(test_session_by_datagram_takes_the_place_of_several),
        TEST(test_request_in_flight_in_any_slot_protects_the_session),
        TEST(test_register_waits_where_all_sessions_have_a_request_in_flight),
        TEST(test_read_in_flight_in_any_slot_has_others_go_first),
        TEST(test_full_reply_pool_evicts_who_holds_some_in_any_slot_then_is_busy),
        TEST(test_replay_gives_the_same_sessions_and_kept_replies),
        TEST(test_replay_remembers_the_register_of_each_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
