/* The sequencer, from message to reply, with net and log played by the bench: the session rules row by row, admission,
 * replies byte for byte, bounds. Method: what is sent, what comes back, what stands in the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/log_format.h>
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
static uint8_t body[TAEL_BODY_SIZE_MAX];

/* A reply, copied out of its buffer. */
struct seen {
    struct tael_frame frame;
    uint8_t body[TAEL_BODY_SIZE_MAX];
    uint32_t body_size;
    tael_connection connection;
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

static void open_with(struct bench_options options) {
    bench_close(&bench);
    bench_open(&bench, &options);
}

static const struct tael_sequencer_counters *counters(void) { return tael_sequencer_counters(bench.sequencer); }

/* The next frame into `seen`; its buffer goes back. */
static void expect_frame(enum tael_frame_command command) {
    struct tael_reply *reply = bench_reply(&bench);
    assert_non_null(reply);
    memset(seen.body, 0, seen.body_size); /* so that two of them compare whole */
    seen.frame = *reply->frame;
    seen.body_size = reply->frame->size - TAEL_FRAME_HEADER_SIZE;
    seen.connection = reply->connection;
    memcpy(seen.body, reply->frame + 1, seen.body_size);
    bench_sent(&bench, reply);
    assert_int_equal(seen.frame.command, command);
}

static void expect_silence(void) { assert_null(bench_reply(&bench)); }

static void expect_eviction(enum tael_eviction_reason reason, tael_u128 client) {
    expect_frame(TAEL_COMMAND_EVICTION);
    assert_int_equal(seen.frame.eviction.reason, reason);
    assert_true(seen.frame.eviction.client == client);
    assert_int_equal(seen.body_size, 0);
    assert_int_equal(seen.frame.release, BENCH_RELEASE);
}

/* A client as a client sees itself. */
struct client {
    tael_u128 id;
    uint64_t session;
    uint32_t request;
    tael_u128 parent;
    tael_u128 checksum; /* of the last request sent */
};

static void client_note(struct client *client) {
    client->parent = seen.frame.reply.context;
    assert_true(seen.frame.reply.client == client->id);
    assert_true(seen.frame.reply.request_checksum == client->checksum);
    assert_int_equal(seen.frame.reply.request, client->request);
}

static void send_register(struct client *client, uint32_t capabilities) {
    memset(body, 0, 256);
    memcpy(body + TAEL_CAPABILITIES_OFFSET, &capabilities, sizeof capabilities);
    client->checksum = bench_send(
        &bench, &(struct bench_request){
                    .client = client->id, .operation = TAEL_OPERATION_register, .body = body, .body_size = 256});
}

static struct client client_open_with(uint64_t id, uint32_t capabilities) {
    struct client client = {.id = id};
    send_register(&client, capabilities);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(&client);
    client.session = seen.frame.reply.commit;
    return client;
}

static struct client client_open(uint64_t id) { return client_open_with(id, 0); }

static void send_body(struct client *client, uint8_t operation, const void *bytes, uint32_t size) {
    client->request++;
    client->checksum = bench_send(&bench, &(struct bench_request){.client = client->id,
                                                                  .session = client->session,
                                                                  .request = client->request,
                                                                  .operation = operation,
                                                                  .parent = client->parent,
                                                                  .body = bytes,
                                                                  .body_size = size});
}

/* The same request once more. */
static void send_again(const struct client *client, uint8_t operation, tael_connection connection, uint32_t release) {
    bench_send(&bench, &(struct bench_request){.client = client->id,
                                               .session = client->session,
                                               .request = client->request,
                                               .operation = operation,
                                               .parent = client->parent,
                                               .checksum = client->checksum,
                                               .connection = connection,
                                               .release = release});
}

static void send_events(struct client *client, uint8_t operation, uint32_t count) {
    struct tael_transfer *events = calloc(count + 1, sizeof *events);
    for (uint32_t i = 0; i < count; i++) events[i].id = i + 1;
    const uint16_t counts[1] = {(uint16_t)count};
    send_body(client, operation, body, bench_body(body, events, counts, 1));
    free(events);
}

static void client_create(struct client *client, uint32_t count) {
    send_events(client, TAEL_OPERATION_create_transfers, count);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(client);
}

static void send_read(struct client *client, uint32_t steps, uint32_t reply_size, uint32_t refusal) {
    const struct fake_read read = {.steps = steps, .reply_size = reply_size, .refusal = refusal};
    send_body(client, TAEL_OPERATION_lookup_accounts, &read, sizeof read);
}

/* --- register --- */

static void test_register_opens_a_session_whose_number_is_its_op(void **state) {
    (void)state;
    const struct client client = client_open(5);
    const struct tael_frame_reply *reply = &seen.frame.reply;
    assert_int_equal(client.session, 1);
    assert_int_equal(reply->op, 1);
    assert_int_equal(reply->commit, 1);
    assert_int_equal(reply->operation, TAEL_OPERATION_register);
    assert_int_equal(reply->timestamp, bench.input.wall_ns);
    assert_true(reply->context == tael_u128_make(bench.input.wall_ns, 1));
    assert_int_equal(seen.body_size, 64);
    struct tael_register_result result;
    memcpy(&result, seen.body, sizeof result);
    assert_int_equal(result.batch_size_limit, TAEL_BODY_SIZE_MAX);
    assert_int_equal(seen.connection, BENCH_CONNECTION + 5);
    assert_int_equal(seen.frame.release, BENCH_RELEASE);
    assert_true(seen.frame.cluster == BENCH_CLUSTER);
    assert_int_equal(seen.frame.size, TAEL_FRAME_HEADER_SIZE + 64);
    const struct tael_frame zero = {0};
    assert_memory_equal(&seen.frame.epoch, &zero.epoch, 8); /* epoch, view */
    assert_int_equal(seen.frame.protocol, 0);
    assert_int_equal(seen.frame.replica, 0);
    assert_memory_equal(reply->reserved, zero.reply.reserved, sizeof reply->reserved);
}

static void test_register_without_a_body_opens_a_session_too(void **state) {
    (void)state;
    bench_send(&bench, &(struct bench_request){.client = 5, .operation = TAEL_OPERATION_register});
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
}

static void test_register_repeated_gets_the_same_reply_until_the_first_request(void **state) {
    (void)state;
    struct client client = client_open(5);
    static struct seen first;
    first = seen;
    const struct bench_request again = {.client = 5, .operation = TAEL_OPERATION_register, .checksum = client.checksum};
    bench_send(&bench, &again);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_memory_equal(&first, &seen, sizeof seen);
    client_create(&client, 1);
    bench_send(&bench, &again);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->dropped_register, 1);
    assert_int_equal(counters()->logged, 2);
}

static void test_register_of_a_known_client_with_another_checksum_is_dropped(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_register(&client, 0);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->dropped_register, 1);
}

static void test_register_checks_its_body(void **state) {
    (void)state;
    memset(body, 0, 512);
    bench_send(&bench, &(struct bench_request){
                           .client = 5, .operation = TAEL_OPERATION_register, .body = body, .body_size = 128});
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 5);
    body[9] = 1;
    bench_send(&bench, &(struct bench_request){
                           .client = 5, .operation = TAEL_OPERATION_register, .body = body, .body_size = 256});
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY, 5);
    assert_int_equal(counters()->logged, 0);
}

static void test_register_with_a_request_number_is_dropped(void **state) {
    (void)state;
    bench_send(&bench, &(struct bench_request){.client = 5, .request = 1, .operation = TAEL_OPERATION_register});
    bench_send(&bench, &(struct bench_request){.client = 0, .operation = TAEL_OPERATION_register});
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->dropped_malformed, 2);
}

/* --- the session rules --- */

struct rule_row {
    const char *what;
    int64_t session_off; /* from the client's own */
    uint32_t request; /* the last logged one is 5 */
    bool checksum_same;
    bool parent_wrong;
    uint8_t operation;
    enum { SAYS_NOTHING, SAYS_REPLY, SAYS_KEPT, SAYS_EVICTION } says;
    uint32_t reason;
};

static const struct rule_row rule_rows[] = {
    {"an older session is evicted", -1, 6, false, false, TAEL_OPERATION_create_transfers, SAYS_EVICTION, 7},
    {"a newer session is dropped", 1, 6, false, false, TAEL_OPERATION_create_transfers, SAYS_NOTHING, 0},
    {"a lower number is dropped", 0, 4, false, false, TAEL_OPERATION_create_transfers, SAYS_NOTHING, 0},
    {"number 0 is a register's only", 0, 0, false, false, TAEL_OPERATION_create_transfers, SAYS_NOTHING, 0},
    {"the same request gets its reply again", 0, 5, true, false, TAEL_OPERATION_create_transfers, SAYS_KEPT, 0},
    {"the same again, whatever its parent", 0, 5, true, true, TAEL_OPERATION_create_transfers, SAYS_KEPT, 0},
    {"the same number, another request", 0, 5, false, false, TAEL_OPERATION_create_transfers, SAYS_NOTHING, 0},
    {"the next number is executed", 0, 6, false, false, TAEL_OPERATION_create_transfers, SAYS_REPLY, 0},
    {"the next number must follow the reply", 0, 6, false, true, TAEL_OPERATION_create_transfers, SAYS_NOTHING, 0},
    {"numbers may skip", 0, 9, false, false, TAEL_OPERATION_create_transfers, SAYS_REPLY, 0},
    {"behind a skip the parent is not known", 0, 9, false, true, TAEL_OPERATION_create_transfers, SAYS_REPLY, 0},
    {"no such operation", 0, 6, false, false, 1, SAYS_EVICTION, 4},
    {"an operation not offered", 0, 6, false, false, 129, SAYS_EVICTION, 4},
    {"a pulse is the sequencer's own", 0, 6, false, false, TAEL_OPERATION_pulse, SAYS_EVICTION, 4},
    {"an eviction is the sequencer's own", 0, 6, false, false, TAEL_OPERATION_evict, SAYS_EVICTION, 4},
    {"the session is checked before the operation", -1, 6, false, false, 1, SAYS_EVICTION, 7},
};

static void check_rule(const struct rule_row *row) {
    open_with(options_default);
    (void)client_open(3); /* so that session numbers below the client's exist */
    struct client client = client_open(5);
    for (uint32_t i = 1; i <= 5; i++) client_create(&client, i);
    const uint64_t logged = counters()->logged;
    static struct seen last;
    last = seen;
    const uint16_t counts[1] = {1};
    const struct tael_transfer event = {.id = 77};
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .session = client.session + (uint64_t)row->session_off,
                                               .request = row->request,
                                               .operation = row->operation,
                                               .parent = client.parent + (row->parent_wrong ? 1 : 0),
                                               .checksum = row->checksum_same ? client.checksum : 0,
                                               .body = body,
                                               .body_size = bench_body(body, &event, counts, 1)});
    bench_run(&bench);
    if (row->says == SAYS_NOTHING) expect_silence();
    if (row->says == SAYS_EVICTION) expect_eviction(row->reason, 5);
    if (row->says == SAYS_REPLY || row->says == SAYS_KEPT) expect_frame(TAEL_COMMAND_REPLY);
    if (row->says == SAYS_KEPT) assert_memory_equal(&last, &seen, sizeof seen);
    if (row->says == SAYS_REPLY) assert_int_equal(seen.frame.reply.request, row->request);
    assert_int_equal(counters()->logged, logged + (row->says == SAYS_REPLY ? 1 : 0));
    expect_silence();
    assert_int_equal(bench_lent(&bench), 0);
}

static void test_session_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rule_rows / sizeof rule_rows[0]; i++) {
        print_message("  %s\n", rule_rows[i].what);
        check_rule(&rule_rows[i]);
    }
}

static void test_request_without_a_session_is_evicted(void **state) {
    (void)state;
    struct client stranger = {.id = 9, .session = 1};
    send_events(&stranger, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_NO_SESSION, 9);
    assert_int_equal(counters()->logged, 0);
}

static void test_eviction_for_a_bad_request_leaves_the_session_as_it_is(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_body(&client, 1, NULL, 0);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_OPERATION, 5);
    client.request = 0;
    client_create(&client, 3);
}

/* --- bodies --- */

static void test_create_bodies_are_checked_whole(void **state) {
    (void)state;
    struct client client = client_open(5);
    static struct tael_transfer events[TAEL_EVENTS_MAX];
    memset(body, 0, sizeof body);
    send_body(&client, TAEL_OPERATION_create_transfers, body, 100);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 5);
    send_body(&client, TAEL_OPERATION_create_transfers, body, 0);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 5);
    send_body(&client, TAEL_OPERATION_create_transfers, body, 256); /* trailer all zero */
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY, 5);
    const uint16_t counts[1] = {TAEL_EVENTS_MAX};
    const uint32_t size = bench_body(body, events, counts, 1);
    assert_true(size <= TAEL_BODY_SIZE_MAX);
    const uint32_t too_many = (TAEL_EVENTS_MAX + 1) * TAEL_RECORD_SIZE;
    assert_true(too_many + TAEL_RECORD_SIZE > TAEL_BODY_SIZE_MAX); /* so more events never come in one message */
    client.request = 0;
    send_body(&client, TAEL_OPERATION_create_transfers, body, size);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.body_size, (TAEL_EVENTS_MAX + 1) * 16);
}

static void test_create_without_events_gets_a_reply_without_results(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_events(&client, TAEL_OPERATION_create_accounts, 0);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    uint8_t expected[16];
    memset(expected, 0xff, sizeof expected);
    memcpy(expected + 12, (uint16_t[2]){0, 1}, 4);
    assert_int_equal(seen.body_size, 16);
    assert_memory_equal(seen.body, expected, 16);
}

/* Five events in batches of 2, 0 and 3; event 1 fails, event 2 succeeds with an imported timestamp, event 4 fails. */
static uint32_t three_batches(void) {
    struct tael_transfer events[5] = {{.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}, {.id = 5}};
    events[1].user_data_32 = 46;
    events[1].user_data_64 = 777;
    events[2].user_data_32 = TAEL_STATUS_CREATED;
    events[2].user_data_64 = 555;
    events[4].user_data_32 = 54;
    events[4].user_data_64 = 888;
    const uint16_t counts[3] = {2, 0, 3};
    return bench_body(body, events, counts, 3);
}

static void test_dense_reply_has_a_result_for_each_event(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_body(&client, TAEL_OPERATION_create_transfers, body, three_batches());
    bench.input.wall_ns = 5000000;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.frame.reply.timestamp, 5000005);
    const struct tael_create_result results[5] = {
        {5000001, TAEL_STATUS_CREATED, 0}, {777, 46, 0}, {555, TAEL_STATUS_CREATED, 0},
        {5000004, TAEL_STATUS_CREATED, 0}, {888, 54, 0},
    };
    uint8_t trailer[16];
    memset(trailer, 0xff, sizeof trailer);
    memcpy(trailer + 8, (uint16_t[4]){3, 0, 2, 3}, 8);
    assert_int_equal(seen.body_size, sizeof results + sizeof trailer);
    assert_memory_equal(seen.body, results, sizeof results);
    assert_memory_equal(seen.body + sizeof results, trailer, sizeof trailer);
}

static void test_sparse_reply_has_failures_only_by_index_in_their_batch(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_body(&client, TAEL_OPERATION_create_transfers_sparse, body, three_batches());
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    const struct tael_create_result_sparse results[2] = {{1, 46}, {2, 54}};
    const uint16_t trailer[4] = {1, 0, 1, 3};
    assert_int_equal(seen.body_size, sizeof results + sizeof trailer);
    assert_memory_equal(seen.body, results, sizeof results);
    assert_memory_equal(seen.body + sizeof results, trailer, sizeof trailer);
}

/* --- retransmission --- */

static void test_repeated_request_in_progress_is_dropped_and_moves_its_reply(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.durable_held = true;
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    send_again(&client, TAEL_OPERATION_create_transfers, 4444, 0x2222);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->dropped_in_progress, 1);
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.connection, 4444);
    assert_int_equal(seen.frame.release, 0x2222);
    expect_silence();
}

static void test_kept_reply_goes_to_the_connection_that_asked_with_its_release(void **state) {
    (void)state;
    struct client client = client_open(5);
    client_create(&client, 2);
    static struct seen first;
    first = seen;
    send_again(&client, TAEL_OPERATION_create_transfers, 4444, 0x2222);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.connection, 4444);
    assert_int_equal(seen.frame.release, 0x2222);
    assert_int_equal(seen.body_size, first.body_size);
    assert_memory_equal(seen.body, first.body, seen.body_size);
    assert_memory_equal(&seen.frame.reply, &first.frame.reply, sizeof seen.frame.reply);
    assert_int_equal(counters()->replies_kept, 1);
}

static void test_request_that_its_client_overtook_is_applied_and_not_answered(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.durable_held = true;
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    client.request++; /* a skip, so that no parent is known */
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.frame.reply.request, 3);
    expect_silence();
    assert_int_equal(fake_ledger.usage.transfers, 2);
}

/* --- order, timestamps, durability --- */

static void test_timestamps_rise_though_the_clock_stands_still_or_steps_back(void **state) {
    (void)state;
    struct client client = client_open(5);
    uint64_t last = seen.frame.reply.timestamp;
    for (uint32_t i = 0; i < 4; i++) {
        if (i == 2) bench.input.wall_ns -= 1000;
        client_create(&client, 3);
        assert_int_equal(seen.frame.reply.timestamp, last + 1 + 3);
        last = seen.frame.reply.timestamp;
    }
    bench.input.wall_ns = last + 500;
    client_create(&client, 3);
    assert_int_equal(seen.frame.reply.timestamp, last + 500 + 3);
}

static void test_reply_waits_until_durable_and_applied(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.worker_stalled = true;
    bench.durable_held = true;
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    bench.worker_stalled = false;
    bench_run(&bench);
    expect_silence();
    bench.worker_stalled = true;
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(&client);
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    bench.worker_stalled = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
}

static void test_requests_that_wait_for_the_log_share_a_block(void **state) {
    (void)state;
    struct client clients[6];
    for (uint32_t i = 0; i < 6; i++) clients[i] = client_open(i + 1);
    const uint64_t blocks = counters()->blocks;
    bench.log_stalled = true;
    bench.input.log_size_min = UINT32_MAX;
    for (uint32_t i = 0; i < 6; i++) send_events(&clients[i], TAEL_OPERATION_create_transfers, 10);
    bench_run(&bench);
    assert_int_equal(counters()->blocks, blocks);
    bench.log_stalled = false;
    bench.input.log_size_min = 0;
    bench_run(&bench);
    assert_int_equal(counters()->blocks, blocks + 1);
    for (uint32_t i = 0; i < 6; i++) {
        expect_frame(TAEL_COMMAND_REPLY);
        assert_true(seen.frame.reply.client == clients[i].id);
    }
}

static void test_block_too_small_for_the_log_waits_until_it_has_grown(void **state) {
    (void)state;
    struct client clients[3];
    for (uint32_t i = 0; i < 3; i++) clients[i] = client_open(i + 1);
    const uint64_t blocks = counters()->blocks;
    bench.log_size_min = 64u << 10;
    bench_run(&bench);
    /* 200 events make 25 KB. */
    for (uint32_t i = 0; i < 2; i++) {
        send_events(&clients[i], TAEL_OPERATION_create_transfers, 200);
        bench_run(&bench);
        assert_int_equal(counters()->blocks, blocks);
    }
    send_events(&clients[2], TAEL_OPERATION_create_transfers, 200);
    bench_run(&bench);
    assert_int_equal(counters()->blocks, blocks + 1);
    for (uint32_t i = 0; i < 3; i++) expect_frame(TAEL_COMMAND_REPLY);
}

static void test_full_block_closes_though_the_log_is_busy_and_requests_stay_whole(void **state) {
    (void)state;
    struct client clients[4];
    for (uint32_t i = 0; i < 4; i++) clients[i] = client_open(i + 1);
    const uint64_t blocks = counters()->blocks;
    bench.log_stalled = true;
    bench.input.log_size_min = UINT32_MAX;
    /* 1500 events make 192 KB: the second passes the target, the third begins anew. */
    for (uint32_t i = 0; i < 4; i++) send_events(&clients[i], TAEL_OPERATION_create_transfers, 1500);
    bench_run(&bench);
    assert_int_equal(counters()->blocks, blocks + 2);
    bench.log_stalled = false;
    bench_run(&bench);
    for (uint32_t i = 0; i < 4; i++) expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(fake_ledger.usage.transfers, 6000);
}

static void test_messages_stay_in_the_ring_when_there_is_no_block(void **state) {
    (void)state;
    struct client clients[8];
    for (uint32_t i = 0; i < 8; i++) clients[i] = client_open(i + 1);
    bench.log_stalled = true;
    bench.input.log_size_min = UINT32_MAX;
    for (uint32_t i = 0; i < 8; i++) send_events(&clients[i], TAEL_OPERATION_create_transfers, 8189);
    bench_run(&bench);
    assert_int_equal(bench_lent(&bench), 4); /* four blocks, one such request each */
    expect_silence();
    bench.log_stalled = false;
    bench_run(&bench);
    for (uint32_t i = 0; i < 8; i++) {
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
    }
    assert_int_equal(bench_lent(&bench), 0);
}

static void test_replies_wait_for_a_buffer_and_nothing_is_lost(void **state) {
    (void)state;
    open_with((struct bench_options){.sessions_max = 8,
                                     .accounts_max = 100000,
                                     .transfers_max = 100000,
                                     .blocks_max = 4,
                                     .replies_small = 2,
                                     .replies_large = 2,
                                     .reads_max = 2});
    struct client clients[6];
    for (uint32_t i = 0; i < 6; i++) clients[i] = client_open(i + 1);
    for (uint32_t i = 0; i < 6; i++) send_events(&clients[i], TAEL_OPERATION_create_transfers, 1);
    struct tael_reply *unsent[2];
    bench_run(&bench);
    unsent[0] = bench_reply(&bench);
    unsent[1] = bench_reply(&bench);
    assert_non_null(unsent[1]);
    bench_run(&bench);
    expect_silence();
    bench_sent(&bench, unsent[0]);
    bench_sent(&bench, unsent[1]);
    for (uint32_t i = 2; i < 6; i++) {
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
        assert_true(seen.frame.reply.client == clients[i].id);
    }
    bench_run(&bench);
    assert_true(tael_sequencer_is_idle(bench.sequencer));
}

/* --- room --- */

struct room_row {
    const char *what;
    uint8_t operation;
    uint32_t events;
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint64_t log_bytes; /* left above the reserve; 0 is plenty */
    uint32_t busy; /* reason; 0: it is executed */
};

static const struct room_row room_rows[] = {
    {"accounts fit exactly", TAEL_OPERATION_create_accounts, 10, 10, 1, 0, 0},
    {"one account too many", TAEL_OPERATION_create_accounts, 11, 10, 1, 0, TAEL_BUSY_ACCOUNTS},
    {"transfers fit exactly", TAEL_OPERATION_create_transfers, 10, 1, 10, 0, 0},
    {"one transfer too many", TAEL_OPERATION_create_transfers, 11, 1, 10, 0, TAEL_BUSY_TRANSFERS},
    {"sparse transfers count as well", TAEL_OPERATION_create_transfers_sparse, 11, 1, 10, 0, TAEL_BUSY_TRANSFERS},
    {"the log has one sector", TAEL_OPERATION_create_transfers, 10, 1, 10, 4096, 0},
    {"the log is one byte short", TAEL_OPERATION_create_transfers, 10, 1, 10, 4095, TAEL_BUSY_DISK},
};

static void check_room(const struct room_row *row, uint32_t capabilities) {
    struct bench_options options = options_default;
    options.accounts_max = row->accounts_max;
    options.transfers_max = row->transfers_max;
    open_with(options);
    struct client client = client_open_with(5, capabilities);
    if (row->log_bytes != 0) {
        bench.input.log_capacity = bench.written_size + TAEL_SEQUENCER_LOG_RESERVE + row->log_bytes;
        bench.input.log_grows = false;
    }
    send_events(&client, row->operation, row->events);
    bench_run(&bench);
    if (row->busy == 0) {
        expect_frame(TAEL_COMMAND_REPLY);
        return;
    }
    assert_int_equal(counters()->logged, 1);
    assert_int_equal(
        counters()->dropped_room_accounts + counters()->dropped_room_transfers + counters()->dropped_room_log, 1);
    if (capabilities == 0) {
        expect_silence();
        return;
    }
    expect_frame(TAEL_COMMAND_BUSY);
    assert_int_equal(seen.frame.busy.reason, row->busy);
    assert_int_equal(seen.frame.busy.request, client.request);
    assert_true(seen.frame.busy.client == client.id);
    assert_true(seen.frame.busy.request_checksum == client.checksum);
    assert_true(seen.frame.busy.wait_ms > 0);
}

static void test_request_without_room_has_no_op(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof room_rows / sizeof room_rows[0]; i++) {
        print_message("  %s\n", room_rows[i].what);
        check_room(&room_rows[i], 0);
        check_room(&room_rows[i], TAEL_CAPABILITY_BUSY);
    }
}

static void test_room_counts_what_is_in_flight(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.transfers_max = 10;
    open_with(options);
    struct client one = client_open(1);
    struct client two = client_open(2);
    struct client three = client_open(3);
    bench.worker_stalled = true;
    send_events(&one, TAEL_OPERATION_create_transfers, 6);
    send_events(&two, TAEL_OPERATION_create_transfers, 5);
    send_events(&three, TAEL_OPERATION_create_transfers, 4);
    bench_run(&bench);
    assert_int_equal(counters()->dropped_room_transfers, 1);
    bench.worker_stalled = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(seen.frame.reply.client == one.id);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(seen.frame.reply.client == three.id);
    expect_silence();
}

static void test_request_goes_on_once_there_is_room(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.input.log_capacity = bench.written_size;
    bench.input.log_grows = false;
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    bench.input.log_capacity = UINT64_MAX / 2;
    client.request--;
    client_create(&client, 1);
}

static void test_request_waits_for_a_segment_that_is_being_prepared(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.input.log_capacity = bench.written_size;
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(bench_lent(&bench), 1);
    assert_int_equal(counters()->dropped_room_log, 0);
    bench.input.log_capacity = UINT64_MAX / 2;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
}

/* --- sessions' limit and the reply pool --- */

/* The last request in the log that ends a session; 0 where there is none. */
static tael_u128 evicted_last(void) {
    tael_u128 client = 0;
    for (size_t offset = 0; offset < bench.written_size;) {
        const struct tael_log_block *header = (const void *)(bench.written + offset);
        const struct tael_request *request = (const void *)(bench.written + offset + TAEL_BLOCK_HEADER_SIZE);
        for (uint32_t i = 0; i < header->request_count; i++, request = tael_request_next(request)) {
            if (request->operation == TAEL_OPERATION_evict) client = request->client;
        }
        offset += (header->size + 4095u) & ~(size_t)4095;
    }
    return client;
}

static void test_session_limit_evicts_the_one_whose_last_logged_op_is_oldest(void **state) {
    (void)state;
    struct client clients[8];
    for (uint32_t i = 0; i < 8; i++) clients[i] = client_open(i + 1);
    client_create(&clients[0], 1);
    send_read(&clients[1], 1, 100, 0); /* a read leaves no trace, so it does not make its session younger */
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(evicted_last() == 0);
    (void)client_open(9);
    assert_true(evicted_last() == 2);
    assert_int_equal(counters()->sessions_evicted, 1);
    send_events(&clients[1], TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_NO_SESSION, 2);
    client_create(&clients[0], 1);
}

static void test_session_with_a_request_in_flight_is_not_evicted(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.sessions_max = 2;
    open_with(options);
    struct client one = client_open(1);
    struct client two = client_open(2);
    bench.durable_held = true;
    send_events(&one, TAEL_OPERATION_create_transfers, 1);
    send_events(&two, TAEL_OPERATION_create_transfers, 1);
    struct client three = {.id = 3};
    send_register(&three, 0);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(bench_lent(&bench), 1); /* the register waits */
    assert_true(evicted_last() == 0);
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(seen.frame.reply.client == two.id);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(seen.frame.reply.client == three.id);
    assert_true(evicted_last() == 1);
}

static void test_session_with_a_read_in_flight_is_evicted_last(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.sessions_max = 2;
    open_with(options);
    struct client one = client_open(1);
    (void)client_open(2);
    bench.worker_stalled = true;
    send_read(&one, 1, 16, 0);
    bench_run(&bench);
    struct client three = {.id = 3};
    send_register(&three, 0);
    bench_run(&bench);
    assert_true(evicted_last() == 2);
    bench.worker_stalled = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    expect_frame(TAEL_COMMAND_REPLY);
}

/* All events fail, so that the whole worst case is kept. */
static void create_failing(struct client *client, uint32_t count) {
    struct tael_transfer *events = calloc(count, sizeof *events);
    for (uint32_t i = 0; i < count; i++) events[i] = (struct tael_transfer){.id = i + 1, .user_data_32 = 46};
    const uint16_t counts[1] = {(uint16_t)count};
    send_body(client, TAEL_OPERATION_create_transfers, body, bench_body(body, events, counts, 1));
    free(events);
}

static void test_full_reply_pool_evicts_the_oldest_that_holds_some(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.reply_chunks = TAEL_REPLY_CHUNKS_MAX; /* 1024: two largest requests of one batch, less a little */
    open_with(options);
    struct client clients[4];
    for (uint32_t i = 0; i < 4; i++) clients[i] = client_open(i + 1);
    for (uint32_t i = 1; i < 4; i++) {
        create_failing(&clients[i], 5000); /* 313 chunks each */
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
        client_note(&clients[i]);
    }
    assert_int_equal(tael_sessions_usage(bench.sessions).chunks_used, 3 * 313);
    assert_true(evicted_last() == 0);
    create_failing(&clients[0], 5000);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(evicted_last() == 2); /* not 1: it asks; it held nothing besides */
    assert_int_equal(counters()->sessions_evicted, 1);
    /* The session's own reply makes room for its next one. */
    client_note(&clients[0]);
    create_failing(&clients[0], 5000);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(counters()->sessions_evicted, 1);
}

static void test_full_reply_pool_waits_for_what_is_in_flight_before_it_evicts(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.reply_chunks = TAEL_REPLY_CHUNKS_MAX;
    open_with(options);
    struct client clients[4];
    for (uint32_t i = 0; i < 4; i++) clients[i] = client_open(i + 1);
    create_failing(&clients[3], 1000);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    bench.durable_held = true;
    for (uint32_t i = 0; i < 3; i++) send_events(&clients[i], TAEL_OPERATION_create_transfers, 7000);
    bench_run(&bench);
    assert_int_equal(bench_lent(&bench), 1);
    bench.durable_held = false;
    for (uint32_t i = 0; i < 3; i++) {
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
    }
    assert_true(evicted_last() == 0);
    assert_int_equal(tael_sessions_usage(bench.sessions).chunks_reserved, 0);
}

/* --- pulses --- */

static void test_pulse_is_inserted_when_the_next_expiry_is_due(void **state) {
    (void)state;
    (void)client_open(5);
    fake_ledger.usage.expiry_next = 2000000;
    (void)client_open(6); /* publishes it */
    assert_int_equal(tael_sequencer_due_ns(bench.sequencer), 2000000);
    bench.input.wall_ns = 1999999;
    bench_run(&bench);
    assert_int_equal(fake_ledger.pulses, 0);
    bench.input.wall_ns = 2000000;
    fake_ledger.expiry_after_pulse = 2000001; /* more are due behind the first pulse's */
    const uint64_t op = tael_sequencer_op(bench.sequencer);
    bench.worker_stalled = true;
    bench_run(&bench);
    bench_run(&bench);
    assert_int_equal(tael_sequencer_op(bench.sequencer), op + 1); /* one at a time */
    assert_int_equal(tael_sequencer_timestamp(bench.sequencer), 2000000 + TAEL_EXPIRIES_MAX);
    bench.worker_stalled = false;
    (void)tael_worker_poll(bench.worker);
    fake_ledger.expiry_after_pulse = UINT64_MAX;
    bench_run(&bench);
    assert_int_equal(fake_ledger.pulses, 2);
    assert_int_equal(tael_sequencer_due_ns(bench.sequencer), UINT64_MAX);
    expect_silence();
}

static void test_pulse_waits_for_log_room(void **state) {
    (void)state;
    (void)client_open(5);
    fake_ledger.usage.expiry_next = 1;
    bench.input.log_capacity = bench.written_size + 4096 + TAEL_SEQUENCER_LOG_RESERVE;
    (void)client_open(6);
    bench.input.log_capacity = bench.written_size + TAEL_SEQUENCER_LOG_RESERVE / 2 + 4095;
    bench_run(&bench);
    assert_int_equal(counters()->pulses, 1); /* the one that went while there was room */
    fake_ledger.expiry_after_pulse = UINT64_MAX;
}

/* --- reads --- */

static void test_read_shows_and_tells_the_last_op_and_consumes_none(void **state) {
    (void)state;
    struct client client = client_open(5);
    client_create(&client, 3);
    const uint64_t timestamp = seen.frame.reply.timestamp;
    send_read(&client, 1, 100, 0);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(&client);
    assert_int_equal(seen.frame.reply.op, 2);
    assert_int_equal(seen.frame.reply.commit, 2);
    assert_int_equal(seen.frame.reply.timestamp, timestamp);
    assert_int_equal(seen.frame.reply.operation, TAEL_OPERATION_lookup_accounts);
    assert_int_equal(seen.body_size, 100);
    assert_int_equal(seen.body[0], 2);
    assert_int_equal(counters()->logged, 2);
    const tael_u128 context = client.parent;
    client_create(&client, 1); /* its parent is the read's context */
    assert_true(client.parent != context);
    assert_int_equal(bench_lent(&bench), 0);
}

static void test_read_of_a_session_that_was_not_told_yet_is_dropped(void **state) {
    (void)state;
    bench.log_stalled = true;
    bench.input.log_size_min = UINT32_MAX;
    struct client client = {.id = 5, .session = 1, .request = 1}; /* guesses what the register will be answered */
    send_register(&client, 0);
    send_read(&client, 1, 100, 0);
    bench_run(&bench);
    assert_int_equal(counters()->reads, 0);
    assert_int_equal(counters()->dropped_in_progress, 1);
    expect_silence();
}

static void test_read_is_not_released_before_what_it_shows_is_durable(void **state) {
    (void)state;
    struct client writer = client_open(5);
    struct client reader = client_open(6);
    bench.durable_held = true;
    send_events(&writer, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    send_read(&reader, 1, 100, 0);
    bench_run(&bench);
    assert_int_equal(fake_ledger.usage.op, 3); /* applied, and seen by the read */
    expect_silence();
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.frame.reply.op, 3);
}

static void test_read_repeated_in_progress_is_dropped_and_moves_its_reply(void **state) {
    (void)state;
    struct client client = client_open(5);
    bench.worker_stalled = true;
    send_read(&client, 1, 100, 0);
    send_again(&client, TAEL_OPERATION_lookup_accounts, 4444, 0x2222);
    bench_run(&bench);
    assert_int_equal(counters()->dropped_in_progress, 1);
    bench.worker_stalled = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.connection, 4444);
    assert_int_equal(seen.frame.release, 0x2222);
    expect_silence();
}

static void test_read_repeated_later_runs_again(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_read(&client, 1, 100, 0);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    const tael_u128 context = seen.frame.reply.context;
    client.request--;
    const tael_u128 checksum = client.checksum;
    const struct fake_read read = {.steps = 1, .reply_size = 100};
    bench_send(&bench, &(struct bench_request){.client = 5,
                                               .session = client.session,
                                               .request = 1,
                                               .operation = TAEL_OPERATION_lookup_accounts,
                                               .parent = client.parent,
                                               .checksum = checksum,
                                               .body = &read,
                                               .body_size = sizeof read});
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_true(seen.frame.reply.context == context);
    assert_int_equal(counters()->reads, 2);
}

static void test_read_body_is_refused_as_its_check_says(void **state) {
    (void)state;
    struct client client = client_open(5);
    send_read(&client, 1, 100, TAEL_EVICTION_INVALID_REQUEST_BODY);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY, 5);
    client.request = 0;
    send_body(&client, TAEL_OPERATION_lookup_accounts, body, 8);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 5);
}

static void test_long_reads_hold_up_neither_creates_nor_short_reads(void **state) {
    (void)state;
    struct client clients[8];
    for (uint32_t i = 0; i < 8; i++) clients[i] = client_open(i + 1);
    /* Five long reads with large replies: three get a buffer (one is left for creates), two wait. */
    for (uint32_t i = 0; i < 5; i++) send_read(&clients[i], 1000, 100000, 0);
    send_events(&clients[5], TAEL_OPERATION_create_transfers, 8000); /* its reply needs a large buffer */
    send_read(&clients[6], 1, 100, 0);
    for (uint32_t i = 0; i < 20; i++) {
        (void)tael_sequencer_poll(bench.sequencer, &bench.input);
        struct tael_block *block = tael_ring_pop(tael_sequencer_blocks(bench.sequencer));
        if (block != NULL) bench.input.durable = block->last_op;
        (void)tael_worker_poll(bench.worker);
    }
    bool created = false;
    bool read = false;
    for (uint32_t i = 0; i < 2; i++) {
        expect_frame(TAEL_COMMAND_REPLY);
        created = created || seen.frame.reply.client == clients[5].id;
        read = read || seen.frame.reply.client == clients[6].id;
    }
    assert_true(created);
    assert_true(read);
    expect_silence();
    bench.written_op = bench.input.durable;
    for (uint32_t i = 0; i < 5; i++) {
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
        assert_int_equal(seen.body_size, 100000);
    }
    assert_int_equal(bench_lent(&bench), 0);
}

static void test_reads_are_bounded_and_the_rest_stays_in_the_ring(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.reads_max = 2;
    open_with(options);
    struct client clients[4];
    for (uint32_t i = 0; i < 4; i++) clients[i] = client_open(i + 1);
    bench.worker_stalled = true;
    for (uint32_t i = 0; i < 4; i++) send_read(&clients[i], 1, 100, 0);
    bench_run(&bench);
    assert_int_equal(counters()->reads, 2);
    assert_int_equal(bench_lent(&bench), 4);
    bench.worker_stalled = false;
    bench_run(&bench);
    for (uint32_t i = 0; i < 4; i++) expect_frame(TAEL_COMMAND_REPLY);
}

/* --- scratch ledgers --- */

static void test_early_acknowledgements_wait_for_no_disk(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.acknowledges_early = true;
    open_with(options);
    bench.durable_held = true;
    struct client client = client_open(5);
    client_create(&client, 3);
    send_read(&client, 1, 100, 0);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    assert_int_equal(seen.frame.reply.op, 2);
    bench.worker_stalled = true; /* but for the ledger they do wait */
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(bench.input.durable, 0);
}

/* What is answered and not durable keeps its block: with none left, requests wait. */
static void test_early_acknowledgements_free_no_block_before_it_is_durable(void **state) {
    (void)state;
    struct bench_options options = options_default;
    options.acknowledges_early = true;
    open_with(options);
    bench.durable_held = true;
    struct client client = client_open(5);
    for (uint32_t i = 1; i < options.blocks_max; i++) client_create(&client, 1);
    send_events(&client, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_silence();
    assert_int_equal(counters()->logged, options.blocks_max);
    assert_false(tael_sequencer_is_idle(bench.sequencer));
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(&client);
    for (uint32_t i = 0; i < 20; i++) client_create(&client, 1);
    bench_run(&bench);
    assert_true(tael_sequencer_is_idle(bench.sequencer));
}

/* --- replay --- */

/* A run with everything in it that the log can hold. */
static void busy_run(struct client *clients) {
    for (uint32_t i = 0; i < 9; i++) clients[i] = client_open_with(i + 1, i == 3 ? TAEL_CAPABILITY_BUSY : 0);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 1; i < 9; i++) {
            const uint8_t operation =
                (i + round) % 2 == 0 ? TAEL_OPERATION_create_transfers : TAEL_OPERATION_create_transfers_sparse;
            send_body(&clients[i], operation, body, three_batches());
            bench_run(&bench);
            expect_frame(TAEL_COMMAND_REPLY);
            client_note(&clients[i]);
        }
    }
    create_failing(&clients[4], 2000);
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    client_note(&clients[4]);
}

static void test_kept_replies_after_replay_equal_those_before(void **state) {
    (void)state;
    struct client clients[9];
    busy_run(clients);
    static struct seen before[9];
    for (uint32_t i = 1; i < 9; i++) {
        send_again(&clients[i], 0, 0, 0);
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
        before[i] = seen;
    }
    const tael_u128 digest = tael_sessions_digest(bench.sessions);
    struct bench old = bench;
    bench_open(&bench, &options_default);
    bench_replay(&old, &bench);
    assert_true(tael_sessions_digest(bench.sessions) == digest);
    for (uint32_t i = 1; i < 9; i++) {
        send_again(&clients[i], 0, 0, 0);
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
        assert_memory_equal(&before[i], &seen, sizeof seen);
    }
    client_create(&clients[7], 1); /* and the session goes on */
    send_events(&clients[0], TAEL_OPERATION_create_transfers, 1); /* evicted before the restart */
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_NO_SESSION, 1);
    bench_close(&old);
}

static void test_skipped_op_changes_nothing_and_ends_its_session(void **state) {
    (void)state;
    struct client one = client_open(1);
    struct client two = client_open(2);
    client_create(&one, 3);
    const uint64_t op = seen.frame.reply.op;
    client_create(&two, 4);
    client_create(&one, 5);
    struct bench old = bench;
    struct bench_options options = options_default;
    options.skipped_op = op;
    bench_open(&bench, &options);
    bench_replay(&old, &bench);
    assert_int_equal(fake_ledger.usage.transfers, 4 + 5);
    assert_int_equal(fake_ledger.usage.op, 5);
    client_create(&two, 1);
    send_events(&one, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    expect_eviction(TAEL_EVICTION_NO_SESSION, 1);
    bench_close(&old);
}

static void test_replay_stops_at_an_op(void **state) {
    (void)state;
    struct client clients[9];
    busy_run(clients);
    struct bench old = bench;
    bench_open(&bench, &options_default);
    for (size_t offset = 0; offset < old.written_size;) {
        const struct tael_log_block *header = (const void *)(old.written + offset);
        if (header->op_first > 7) break;
        tael_replay_block(&bench.replay, header, 7);
        offset += (header->size + 4095u) & ~(size_t)4095;
    }
    assert_int_equal(bench.replay.op, 7);
    assert_int_equal(fake_ledger.usage.op, 7);
    bench_close(&old);
}

/* --- allocation --- */

static bool allocation_forbidden;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

static void check_allowed(void) {
    if (allocation_forbidden) abort();
}

void *__wrap_malloc(size_t size) {
    check_allowed();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    check_allowed();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size) {
    check_allowed();
    return __real_realloc(pointer, size);
}

/* Sessions that come and go, creates that fail, kept replies, reads, pulses and refusals. */
static void test_nothing_is_allocated_after_the_start(void **state) {
    (void)state;
    static struct client clients[9];
    const struct fake_read read = {.steps = 3, .reply_size = 5000};
    const uint32_t body_size = three_batches();
    allocation_forbidden = true;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 9; i++) clients[i] = client_open(100 * round + i + 1);
        (void)three_batches();
        for (uint32_t i = 1; i < 9; i++) send_body(&clients[i], TAEL_OPERATION_create_transfers, body, body_size);
        bench_run(&bench);
        for (uint32_t i = 1; i < 9; i++) {
            expect_frame(TAEL_COMMAND_REPLY);
            client_note(&clients[i]);
            send_again(&clients[i], TAEL_OPERATION_create_transfers, 0, 0);
            send_body(&clients[i], TAEL_OPERATION_lookup_accounts, &read, sizeof read);
        }
        fake_ledger.usage.expiry_next = 1;
        for (uint32_t i = 0; i < 16; i++) {
            bench_run(&bench);
            expect_frame(TAEL_COMMAND_REPLY);
        }
        send_body(&clients[0], 1, NULL, 0);
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_EVICTION);
    }
    allocation_forbidden = false;
    assert_true(counters()->pulses > 0);
    assert_true(counters()->sessions_evicted > 0);
}

/* --- draining --- */

static void test_drain_finishes_what_has_an_op_and_takes_no_more(void **state) {
    (void)state;
    struct client one = client_open(1);
    struct client two = client_open(2);
    bench.durable_held = true;
    send_events(&one, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    tael_sequencer_drain(bench.sequencer);
    send_events(&two, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    assert_false(tael_sequencer_is_idle(bench.sequencer));
    bench.durable_held = false;
    bench_run(&bench);
    expect_frame(TAEL_COMMAND_REPLY);
    bench_run(&bench);
    assert_true(tael_sequencer_is_idle(bench.sequencer));
    assert_int_equal(counters()->logged, 3);
}

static void test_drain_finishes_reads(void **state) {
    (void)state;
    struct client writer = client_open(1);
    struct client readers[4];
    for (uint32_t i = 0; i < 4; i++) readers[i] = client_open(2 + i);
    bench.durable_held = true;
    send_events(&writer, TAEL_OPERATION_create_transfers, 1);
    bench_run(&bench);
    /* Of large buffers reads get three: the fourth waits for one, the others for the log. */
    for (uint32_t i = 0; i < 4; i++) send_read(&readers[i], 1, 100000, 0);
    bench_run(&bench);
    tael_sequencer_drain(bench.sequencer);
    assert_false(tael_sequencer_is_idle(bench.sequencer));
    bench.durable_held = false;
    for (uint32_t i = 0; i < 5; i++) {
        bench_run(&bench);
        expect_frame(TAEL_COMMAND_REPLY);
    }
    bench_run(&bench);
    expect_silence();
    assert_true(tael_sequencer_is_idle(bench.sequencer));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_default, close_bench)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_register_opens_a_session_whose_number_is_its_op),
        TEST(test_register_without_a_body_opens_a_session_too),
        TEST(test_register_repeated_gets_the_same_reply_until_the_first_request),
        TEST(test_register_of_a_known_client_with_another_checksum_is_dropped),
        TEST(test_register_checks_its_body),
        TEST(test_register_with_a_request_number_is_dropped),
        TEST(test_session_rules),
        TEST(test_request_without_a_session_is_evicted),
        TEST(test_eviction_for_a_bad_request_leaves_the_session_as_it_is),
        TEST(test_create_bodies_are_checked_whole),
        TEST(test_create_without_events_gets_a_reply_without_results),
        TEST(test_dense_reply_has_a_result_for_each_event),
        TEST(test_sparse_reply_has_failures_only_by_index_in_their_batch),
        TEST(test_repeated_request_in_progress_is_dropped_and_moves_its_reply),
        TEST(test_kept_reply_goes_to_the_connection_that_asked_with_its_release),
        TEST(test_request_that_its_client_overtook_is_applied_and_not_answered),
        TEST(test_timestamps_rise_though_the_clock_stands_still_or_steps_back),
        TEST(test_reply_waits_until_durable_and_applied),
        TEST(test_requests_that_wait_for_the_log_share_a_block),
        TEST(test_block_too_small_for_the_log_waits_until_it_has_grown),
        TEST(test_full_block_closes_though_the_log_is_busy_and_requests_stay_whole),
        TEST(test_messages_stay_in_the_ring_when_there_is_no_block),
        TEST(test_replies_wait_for_a_buffer_and_nothing_is_lost),
        TEST(test_request_without_room_has_no_op),
        TEST(test_room_counts_what_is_in_flight),
        TEST(test_request_goes_on_once_there_is_room),
        TEST(test_request_waits_for_a_segment_that_is_being_prepared),
        TEST(test_session_limit_evicts_the_one_whose_last_logged_op_is_oldest),
        TEST(test_session_with_a_request_in_flight_is_not_evicted),
        TEST(test_session_with_a_read_in_flight_is_evicted_last),
        TEST(test_full_reply_pool_evicts_the_oldest_that_holds_some),
        TEST(test_full_reply_pool_waits_for_what_is_in_flight_before_it_evicts),
        TEST(test_pulse_is_inserted_when_the_next_expiry_is_due),
        TEST(test_pulse_waits_for_log_room),
        TEST(test_read_shows_and_tells_the_last_op_and_consumes_none),
        TEST(test_read_of_a_session_that_was_not_told_yet_is_dropped),
        TEST(test_read_is_not_released_before_what_it_shows_is_durable),
        TEST(test_read_repeated_in_progress_is_dropped_and_moves_its_reply),
        TEST(test_read_repeated_later_runs_again),
        TEST(test_read_body_is_refused_as_its_check_says),
        TEST(test_long_reads_hold_up_neither_creates_nor_short_reads),
        TEST(test_reads_are_bounded_and_the_rest_stays_in_the_ring),
        TEST(test_early_acknowledgements_wait_for_no_disk),
        TEST(test_early_acknowledgements_free_no_block_before_it_is_durable),
        TEST(test_kept_replies_after_replay_equal_those_before),
        TEST(test_skipped_op_changes_nothing_and_ends_its_session),
        TEST(test_replay_stops_at_an_op),
        TEST(test_nothing_is_allocated_after_the_start),
        TEST(test_drain_finishes_what_has_an_op_and_takes_no_more),
        TEST(test_drain_finishes_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
