/* The engine against the model, event by event, on random workloads.
 *
 * After every request: the same result for each event, the same reply kept for its client, the same usage, the same digest
 * of ledger and sessions. In between: reads of all kinds,
 * at once and in slices while further requests are applied, the same byte for byte; lists by account extended by random
 * steps; debits equal credits. Over a run of the default size every status must have been reached; with workers every reason for which an event
 * is listed or a step undone, and half of the events applied together.
 *
 *     property_ledger [--seed S] [--runs N] [--events N] [--workers N] [--verbose]
 *
 * Run r uses seed S + r. A failure prints the seed, the request, the event and both outcomes; `--seed` with that number and
 * `--runs 1` replays it. With TAEL_TEST_LONG set there are 25 times as many runs. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tael/flag.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "tests/property/workload.h"
#include "tests/support/engine.h"
#include "tests/support/step_counters.h"

#define RUNS_DEFAULT 300
#define RUNS_LONG 25 /* times as many where TAEL_TEST_LONG is set */
#define RUNS_OF_WORKERS 120 /* in which all is reached that is counted of steps */
#define EVENTS_DEFAULT 2000
#define STATUSES 128
#define FLIGHT_OPS_MAX 12

/* What a read that is under way may answer: the model's reply as of each op since it began. */
struct flight {
    bool flying;
    struct tael_query *query;
    uint8_t operation;
    uint8_t *body;
    uint32_t body_size;
    uint8_t *reply;
    uint32_t budget; /* of each step */
    uint32_t expected_count;
    struct {
        uint64_t op;
        uint64_t timestamp;
        uint32_t size;
        uint8_t *reply;
    } expected[FLIGHT_OPS_MAX];
};

struct property {
    uint64_t seed; /* of this run */
    uint32_t workers; /* that apply steps together; 0: events one after the other */
    struct workload workload;
    struct tael_model *model;
    struct test_engine *engine;
    struct tael_request *request;
    struct tael_create_result *of_model;
    struct tael_create_result *of_engine;
    uint8_t *reply_model;
    uint8_t *reply_engine;
    struct flight flights[TEST_ENGINE_QUERIES];
    uint64_t account_statuses[STATUSES]; /* over all runs; [0] counts the created */
    uint64_t transfer_statuses[STATUSES];
    uint64_t events;
    uint64_t requests;
    uint64_t reads;
    struct tael_parallel_counters steps;
};

static void fail(const struct property *property, const char *what) {
    fprintf(stderr, "FAILED: %s\n  seed %" PRIu64 ", op %" PRIu64 " (%s)\n  replay with --seed %" PRIu64 " --runs 1\n",
            what, property->seed, property->request->op, tael_operation_info(property->request->operation).name,
            property->seed);
    exit(1);
}

/* A failed assertion of the engine's names the seed too. The words are ready beforehand: a signal handler may only write. */
static char crash_text[128];

static void crash_prepare(uint64_t seed) {
    (void)snprintf(crash_text, sizeof crash_text, "FAILED: a crash\n  replay with --seed %" PRIu64 " --runs 1\n", seed);
}

static void on_crash(int signal_number) {
    (void)signal(signal_number, SIG_DFL);
    size_t length = 0;
    while (crash_text[length] != '\0') length++;
    ssize_t written = write(STDERR_FILENO, crash_text, length);
    (void)written;
    (void)raise(signal_number);
}

/* --- what failed, readable --- */

static void print_u128(const char *name, tael_u128 value) {
    fprintf(stderr, "    %s 0x%" PRIx64 "%016" PRIx64 "\n", name, tael_u128_high(value), tael_u128_low(value));
}

static void print_flags(uint16_t flags, bool accounts) {
    fprintf(stderr, "    flags 0x%x:", flags);
#define X(bit, name)                                                                                                   \
    if (flags & (1u << (bit))) fprintf(stderr, " " #name);
    if (accounts) {
        TAEL_ACCOUNT_FLAG_TABLE(X)
    } else {
        TAEL_TRANSFER_FLAG_TABLE(X)
    }
#undef X
    fprintf(stderr, "\n");
}

static void print_event(const void *event, bool accounts) {
    const struct tael_account *a = event;
    const struct tael_transfer *t = event;
    print_u128("id", t->id);
    if (!accounts) {
        print_u128("debit_account_id", t->debit_account_id);
        print_u128("credit_account_id", t->credit_account_id);
        print_u128("amount", t->amount);
        print_u128("pending_id", t->pending_id);
        fprintf(stderr, "    timeout %" PRIu32 "\n", t->timeout);
    }
    print_flags(a->flags, accounts);
    fprintf(stderr, "    ledger %" PRIu32 ", code %u, timestamp %" PRIu64 "\n", a->ledger, a->code, a->timestamp);
}

static const char *name_of(uint32_t status, bool accounts) {
    const char *name = accounts ? tael_account_status_name(status) : tael_transfer_status_name(status);
    return name != NULL ? name : "unknown";
}

static void fail_event(const struct property *property, uint32_t index) {
    const bool accounts = tael_operation_creates_accounts(property->request->operation);
    const struct tael_create_result *model = &property->of_model[index];
    const struct tael_create_result *engine = &property->of_engine[index];
    fprintf(stderr, "event %" PRIu32 " of %" PRIu32 " in %" PRIu32 " batches:\n", index, property->request->event_count,
            property->request->batch_count);
    print_event((const uint8_t *)tael_request_payload(property->request) + (size_t)index * TAEL_RECORD_SIZE, accounts);
    fprintf(stderr, "  model:  %" PRIu32 " %s, timestamp %" PRIu64 "\n", model->status,
            name_of(model->status, accounts), model->timestamp);
    fprintf(stderr, "  engine: %" PRIu32 " %s, timestamp %" PRIu64 "\n", engine->status,
            name_of(engine->status, accounts), engine->timestamp);
    fail(property, "an event came to different results");
}

static void fail_read(const struct property *property, uint8_t operation, const uint8_t *model, uint32_t model_size,
                      const uint8_t *engine, uint32_t engine_size) {
    const uint32_t size = model_size < engine_size ? model_size : engine_size;
    uint32_t at = 0;
    while (at < size && model[at] == engine[at]) at++;
    fprintf(stderr,
            "read %s: %" PRIu32 " bytes from the model, %" PRIu32 " from the engine, first difference at %" PRIu32 "\n",
            tael_operation_info(operation).name, model_size, engine_size, at);
    fail(property, "a read came to different results");
}

/* --- reads --- */

static void flight_expect(struct property *property, struct flight *flight) {
    const struct tael_model_usage usage = tael_model_usage(property->model);
    TAEL_ASSERT(flight->expected_count < FLIGHT_OPS_MAX);
    const uint32_t size =
        tael_model_read(property->model, flight->operation, flight->body, flight->body_size, property->reply_model);
    uint8_t *reply = malloc(size + 1);
    TAEL_ASSERT(reply != NULL);
    memcpy(reply, property->reply_model, size);
    const uint32_t slot = flight->expected_count++;
    flight->expected[slot].op = usage.op;
    flight->expected[slot].timestamp = usage.timestamp;
    flight->expected[slot].size = size;
    flight->expected[slot].reply = reply;
}

static void flight_begin(struct property *property, struct flight *flight) {
    struct workload *workload = &property->workload;
    const bool large = test_random_percent(&workload->random, 10);
    if (test_random_percent(&workload->random, 10)) {
        flight->body_size = workload_lookup(workload, &flight->operation, flight->body, WORKLOAD_LOOKUP_IDS);
    } else {
        flight->body_size = workload_read(workload, &flight->operation, flight->body,
                                          test_random_percent(&workload->random, 80) ? 1 : 8);
    }
    uint32_t reply_size_max = 0;
    if (tael_query_body_check(flight->operation, flight->body, flight->body_size, &reply_size_max) != 0) {
        fail(property, "a well-formed read was refused");
    }
    flight->budget = large ? 100000 : (uint32_t)test_random_between(&workload->random, 1, 300);
    flight->expected_count = 0;
    flight->flying = true;
    flight_expect(property, flight);
    tael_query_begin(flight->query, property->engine->ledger, flight->operation, flight->body, flight->body_size,
                     flight->reply);
}

static void flight_end(struct property *property, struct flight *flight) {
    flight->flying = false;
    property->reads++;
    const uint32_t size = tael_query_reply_size(flight->query);
    bool found = false;
    for (uint32_t i = 0; i < flight->expected_count; i++) {
        if (flight->expected[i].op == tael_query_op(flight->query)) {
            found = true;
            if (flight->expected[i].timestamp != tael_query_timestamp(flight->query)) {
                fail(property, "a read reports another timestamp than its op's");
            }
            if (size != flight->expected[i].size || memcmp(flight->expected[i].reply, flight->reply, size) != 0) {
                fail_read(property, flight->operation, flight->expected[i].reply, flight->expected[i].size,
                          flight->reply, size);
            }
        }
        free(flight->expected[i].reply);
    }
    if (!found) fail(property, "a read reports an op at which it did not run");
}

static bool must_finish(const struct flight *flight) { return flight->expected_count == FLIGHT_OPS_MAX - 1; }

/* The ledger does one trial balance at a time; others wait for it, so it must go on for them to end. */
static void step_other_trial_balances(struct property *property, const struct flight *waiting) {
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        struct flight *flight = &property->flights[i];
        if (flight == waiting || !flight->flying || flight->operation != TAEL_OPERATION_trial_balance) continue;
        if (tael_query_step(flight->query, flight->budget)) flight_end(property, flight);
    }
}

/* Steps it until it is done; a read that looks at a hundred times what there is goes round in circles. */
static void flight_finish(struct property *property, struct flight *flight) {
    uint32_t steps = 0;
    while (!tael_query_step(flight->query, flight->budget)) {
        if (flight->operation == TAEL_OPERATION_trial_balance) step_other_trial_balances(property, flight);
        if (++steps > 1000000) {
            fprintf(stderr, "read %s, %" PRIu32 " bytes of body, slices of %" PRIu32 "\n",
                    tael_operation_info(flight->operation).name, flight->body_size, flight->budget);
            fail(property, "a read never ends");
        }
    }
    flight_end(property, flight);
}

static void flights_step(struct property *property) {
    struct test_random *random = &property->workload.random;
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        struct flight *flight = &property->flights[i];
        if (!flight->flying && test_random_percent(random, 30)) flight_begin(property, flight);
        if (!flight->flying) continue;
        const bool finish = must_finish(flight) || test_random_percent(random, 20);
        if (finish) {
            flight_finish(property, flight);
        } else if (tael_query_step(flight->query, flight->budget)) {
            flight_end(property, flight);
        }
    }
}

static void flights_finish(struct property *property) {
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        struct flight *flight = &property->flights[i];
        if (flight->flying) flight_finish(property, flight);
    }
}

/* --- requests --- */

static void count_statuses(struct property *property) {
    const struct tael_request *request = property->request;
    uint64_t *statuses =
        tael_operation_creates_accounts(request->operation) ? property->account_statuses : property->transfer_statuses;
    for (uint32_t i = 0; i < request->event_count; i++) {
        const uint32_t status = property->of_model[i].status;
        statuses[status == TAEL_STATUS_CREATED ? 0 : status]++;
    }
    property->events += request->event_count;
}

static void compare_usage(const struct property *property) {
    const struct tael_model_usage model = tael_model_usage(property->model);
    const struct tael_ledger_usage engine = tael_ledger_usage(property->engine->ledger);
    if (model.accounts != engine.accounts) fail(property, "the number of accounts differs");
    if (model.transfers != engine.transfers) fail(property, "the number of transfers and burnt ids differs");
    if (model.op != engine.op) fail(property, "the last op differs");
    if (model.timestamp != engine.timestamp) fail(property, "the last timestamp differs");
    if (model.expiry_next != engine.expiry_next) {
        fprintf(stderr, "model %" PRIu64 ", engine %" PRIu64 "\n", model.expiry_next, engine.expiry_next);
        fail(property, "the next expiry differs");
    }
}

static void compare_state(struct property *property) {
    if (tael_model_digest(property->model) != tael_ledger_digest(property->engine->ledger)) {
        fail(property, "the digest differs");
    }
    if (tael_model_sessions_digest(property->model) != tael_sessions_digest(property->engine->sessions)) {
        fail(property, "the digest of the sessions differs");
    }
    if (!tael_model_balanced(property->model)) fail(property, "the model's debits and credits differ");
}

/* The body that the client gets, and would get again. */
static void compare_reply(struct property *property) {
    const uint32_t session =
        tael_sessions_find(property->engine->sessions, property->request->client, property->request->slot);
    const void *reply_model = NULL;
    const uint32_t size_model =
        tael_model_reply(property->model, property->request->client, property->request->slot, &reply_model);
    const uint32_t size = tael_sessions_reply_encode(property->engine->sessions, session, property->reply_engine);
    if (size != size_model || memcmp(reply_model, property->reply_engine, size) != 0) {
        fail(property, "the kept reply differs");
    }
}

static void apply(struct property *property) {
    const struct tael_request *request = property->request;
    tael_model_apply(property->model, request, property->of_model);
    test_engine_apply_session(property->engine, request, property->of_engine);
    property->requests++;
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        if (property->flights[i].flying) flight_expect(property, &property->flights[i]);
    }
    if (tael_operation_info(request->operation).kind != TAEL_OPERATION_CREATE) return;
    for (uint32_t i = 0; i < request->event_count; i++) {
        if (memcmp(&property->of_model[i], &property->of_engine[i], sizeof property->of_model[i]) != 0) {
            fail_event(property, i);
        }
    }
    count_statuses(property);
    compare_reply(property);
}

static void steps_count(struct property *property) {
    if (property->engine->parallel == NULL) return;
    const struct tael_parallel_counters counters = tael_parallel_counters(property->engine->parallel);
    test_step_counters_add(&property->steps, &counters);
}

static void run(struct property *property, uint64_t seed, uint32_t events) {
    property->seed = seed;
    crash_prepare(seed);
    property->model = tael_model_new();
    workload_init(&property->workload, seed, events, property->model);
    struct workload_profile *profile = &property->workload.profile;
    if (property->workers > 0) workload_suit_steps(&property->workload, seed);
    property->engine = test_engine_open(&(struct tael_ledger_options){
        .accounts_max = profile->accounts_max,
        .transfers_max = profile->transfers_max,
        .hash_key = test_random_u128(&property->workload.random),
        .hash_bits = profile->hash_bits,
        .workers = property->workers,
    });
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) property->flights[i].query = property->engine->queries[i];
    const uint64_t events_before = property->events;
    const uint64_t requests_before = property->requests;
    while (property->events - events_before < events && property->requests - requests_before < events) {
        if (!workload_request(&property->workload, property->request)) break;
        apply(property);
        compare_usage(property);
        if (tael_model_counts(property->model).transfers < 4000 || property->requests % 16 == 0) {
            compare_state(property);
        }
        if (test_random_percent(&property->workload.random, 30)) {
            (void)tael_ledger_index_behind(property->engine->ledger,
                                           (uint32_t)test_random_below(&property->workload.random, 50));
        }
        flights_step(property);
    }
    flights_finish(property);
    compare_state(property);
    if (!tael_ledger_balanced(property->engine->ledger)) fail(property, "the engine's debits and credits differ");
    steps_count(property);
    test_engine_close(property->engine);
    tael_model_free(property->model);
}

/* --- the whole --- */

/* Prints how often each status was reached; returns how many never were. */
static uint32_t report(const struct property *property, bool verbose) {
    uint32_t missing = 0;
    uint64_t least = UINT64_MAX;
#define X(number, name, kind, text)                                                                                    \
    if (verbose) printf("  account  %2d %-60s %" PRIu64 "\n", number, #name, property->account_statuses[number]);      \
    if (property->account_statuses[number] == 0) {                                                                     \
        printf("never reached: account status %d %s\n", number, #name);                                                \
        missing++;                                                                                                     \
    }                                                                                                                  \
    if (property->account_statuses[number] < least) least = property->account_statuses[number];
    TAEL_ACCOUNT_STATUS_TABLE(X)
#undef X
#define X(number, name, kind, text)                                                                                    \
    if (verbose) printf("  transfer %2d %-60s %" PRIu64 "\n", number, #name, property->transfer_statuses[number]);     \
    if (property->transfer_statuses[number] == 0) {                                                                    \
        printf("never reached: transfer status %d %s\n", number, #name);                                               \
        missing++;                                                                                                     \
    }                                                                                                                  \
    if (property->transfer_statuses[number] < least) least = property->transfer_statuses[number];
    TAEL_TRANSFER_STATUS_TABLE(X)
#undef X
    printf("%" PRIu64 " requests, %" PRIu64 " events (%" PRIu64 " accounts and %" PRIu64 " transfers created), %" PRIu64
           " reads; the rarest status was reached %" PRIu64 " times\n",
           property->requests, property->events, property->account_statuses[0], property->transfer_statuses[0],
           property->reads, least);
    if (property->workers > 0) test_step_counters_print(&property->steps, verbose);
    return missing;
}

static void *allocate(size_t size_bytes) {
    void *memory =
        aligned_alloc(TAEL_SECTOR_SIZE, (size_bytes + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE);
    TAEL_ASSERT(memory != NULL);
    memset(memory, 0, size_bytes);
    return memory;
}

static struct property *property_open(void) {
    struct property *property = allocate(sizeof *property);
    property->request = allocate(TAEL_BLOCK_SIZE_MAX);
    property->of_model = allocate(TAEL_EVENTS_MAX * sizeof *property->of_model);
    property->of_engine = allocate(TAEL_EVENTS_MAX * sizeof *property->of_engine);
    property->reply_model = allocate(TAEL_MESSAGE_SIZE_MAX);
    property->reply_engine = allocate(TAEL_MESSAGE_SIZE_MAX);
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        property->flights[i].body = allocate(WORKLOAD_READ_BODY_MAX);
        property->flights[i].reply = allocate(TAEL_MESSAGE_SIZE_MAX);
    }
    return property;
}

static void property_close(struct property *property) {
    for (uint32_t i = 0; i < TEST_ENGINE_QUERIES; i++) {
        free(property->flights[i].body);
        free(property->flights[i].reply);
    }
    free(property->reply_engine);
    free(property->reply_model);
    free(property->of_engine);
    free(property->of_model);
    free(property->request);
    free(property);
}

int main(int argc, char **argv) {
    uint64_t seed = 1;
    uint32_t runs = RUNS_DEFAULT;
    uint32_t events = EVENTS_DEFAULT;
    uint32_t workers = 0;
    bool verbose = false;
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},   {"runs", required_argument, NULL, 'r'},
        {"events", required_argument, NULL, 'e'}, {"workers", required_argument, NULL, 'w'},
        {"verbose", no_argument, NULL, 'v'},      {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') seed = strtoull(optarg, NULL, 0);
        if (option == 'r') runs = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == 'e') events = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == 'w') workers = (uint32_t)strtoul(optarg, NULL, 0);
        if (option == 'v') verbose = true;
        if (option == '?') return 2;
    }
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    if (workers > TAEL_WORKERS_MAX) return 2;
    struct property *property = property_open();
    property->workers = workers;
    if (getenv("TAEL_TEST_LONG") != NULL) runs *= RUNS_LONG;
    printf("seed %" PRIu64 ", %" PRIu32 " runs of %" PRIu32 " events\n", seed, runs, events);
    fflush(stdout);
    for (uint32_t i = 0; i < runs; i++) run(property, seed + i, events);
    const uint32_t missing = report(property, verbose);
    /* Only a run of the default size can be expected to reach everything. */
    bool reached = missing == 0 || runs < RUNS_DEFAULT || events < EVENTS_DEFAULT;
    if (workers > 0 && runs >= RUNS_OF_WORKERS && events >= EVENTS_DEFAULT) {
        reached = test_step_counters_suffice(&property->steps) && reached;
        /* In a relay of two nothing is listed and nothing undone. */
        if (workers != 2) reached = test_step_counters_missing(&property->steps) == 0 && reached;
    }
    property_close(property);
    return reached ? 0 : 1;
}
