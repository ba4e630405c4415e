/* A datagram client and a model of the server over a network that drops, repeats, reorders and damages, as a seed has it: each request
 * is answered once, by its own reply, and executed at most once, reads apart; and all of them come to an end.
 *
 * Method: virtual time; what is on the way stands in a list by the time of its arrival. The server is restarted, forgets
 * addresses, is busy and slow, as the seed has it; some requests are given up. Half of the faults come from io/faults.h, both ways.
 *
 * Usage: datagram_lossy [--seeds N] [--first SEED]. With TAEL_TEST_LONG set there are 25 times as many. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "io/datagram_client.h"
#include "io/faults.h"
#include "tests/net/datagram_model.h"
#include "tests/support/random.h"
#include "tests/support/way.h"

#define US 1000ull
#define MS 1000000ull
#define SECONDS_MAX (600 * TAEL_NS_PER_S)
#define LONG_TIMES 25

enum { LEDGER = 3, WAY_MAX = 65536, REQUESTS_MAX = 256, REPLY_MAX = 200000 };

/* A request's body begins with this; the reply's bytes are made of both. */
struct head {
    uint64_t id;
    uint32_t reply_size;
    uint32_t reserved;
};

struct work {
    bool is_in_flight;
    bool is_read;
    uint64_t id;
    uint32_t reply_size;
    uint64_t give_up_ns;
    uint8_t *body;
    uint32_t body_size;
};

struct run {
    struct test_random random;
    uint64_t now_ns;
    struct datagram_model *model;
    struct tael_datagram_client *client;
    void *memory;
    uint32_t peer; /* the client's address */
    struct tael_faults to_server, to_client;
    uint64_t latency_ns, jitter_ns;
    struct way way;
    uint64_t packets;
    uint8_t transmit[TAEL_DATAGRAM_SIZE_MAX];
    bool is_damaged; /* what the faults deliver at present was */
    struct work works[TAEL_SLOTS_MAX];
    uint32_t slots;
    uint32_t begun, done;
    uint32_t requests;
    uint8_t executions[REQUESTS_MAX];
    uint32_t busy_percent, later_percent, restart_permille;
    bool has_ended;
    /* What happened, over all seeds. */
    uint64_t answered, given_up, ended, lost_outcomes;
};

/* --- the way --- */

static void deliver(struct run *run, const void *datagram, size_t size, uint64_t peer, bool to_server) {
    struct packet packet = {.arrives_ns =
                                run->now_ns + run->latency_ns + test_random_below(&run->random, run->jitter_ns + 1),
                            .order = run->packets++,
                            .to_server = to_server,
                            .endpoint = (uint32_t)peer,
                            .size = (uint32_t)size,
                            .bytes = malloc(size)};
    TAEL_ASSERT(packet.bytes != NULL);
    memcpy(packet.bytes, datagram, size);
    way_push(&run->way, packet);
}

static void deliver_to_server(void *context, const void *datagram, size_t size, uint64_t peer) {
    deliver(context, datagram, size, peer, true);
}

static void deliver_to_client(void *context, const void *datagram, size_t size, uint64_t peer) {
    deliver(context, datagram, size, peer, false);
}

static void *transmit_begin(void *context, uint32_t size_max) {
    struct run *run = context;
    TAEL_ASSERT(size_max <= sizeof run->transmit);
    /* A carrier without room, at times. */
    return test_random_once_in(&run->random, 200) ? NULL : run->transmit;
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct run *run = context;
    tael_faults_pass(&run->to_server, datagram, size, run->peer, deliver_to_server, run);
}

static void server_send(void *context, uint64_t peer, const void *datagram, uint32_t size) {
    struct run *run = context;
    tael_faults_pass(&run->to_client, datagram, size, peer, deliver_to_client, run);
}

static uint64_t random_any(void *context) {
    struct run *run = context;
    return test_random_u64(&run->random);
}

/* --- the server's side --- */

static void bytes_make(uint64_t id, uint64_t what, uint8_t *out, uint32_t size) {
    struct test_random random = {.state = id * 2 + what};
    test_random_bytes(&random, out, size);
}

static uint32_t execute(void *context, const struct datagram_model_request *request, uint8_t *reply) {
    struct run *run = context;
    struct head head;
    TAEL_ASSERT(request->body_size >= sizeof head);
    memcpy(&head, request->body, sizeof head);
    TAEL_ASSERT(head.id < run->requests);
    uint8_t *expected = malloc(request->body_size);
    TAEL_ASSERT(expected != NULL);
    bytes_make(head.id, 0, expected, request->body_size);
    memcpy(expected, &head, sizeof head);
    TAEL_ASSERT(memcmp(expected, request->body, request->body_size) == 0);
    free(expected);
    TAEL_ASSERT(request->flags == (head.id % 2 == 0 ? TAEL_DATAGRAM_ONE_BATCH : 0));
    if (run->executions[head.id] < UINT8_MAX) run->executions[head.id]++;
    bytes_make(head.id, 1, reply, head.reply_size);
    return head.reply_size;
}

static enum datagram_model_verdict judge(void *context, const struct datagram_model_request *request,
                                         struct tael_datagram_notice *notice) {
    static const uint16_t codes[] = {TAEL_NOTICE_BUSY_TRANSFERS, TAEL_NOTICE_BUSY_PARTS, TAEL_NOTICE_BUSY_QUEUE};
    struct run *run = context;
    (void)request;
    if (test_random_below(&run->random, 1000) < run->restart_permille) return DATAGRAM_MODEL_RESTART;
    if (test_random_percent(&run->random, run->busy_percent)) {
        notice->code = codes[test_random_below(&run->random, 3)];
        notice->wait_ms = (uint16_t)test_random_below(&run->random, 20);
        return DATAGRAM_MODEL_NOTICE;
    }
    return test_random_percent(&run->random, run->later_percent) ? DATAGRAM_MODEL_LATER : DATAGRAM_MODEL_EXECUTE;
}

/* --- the client's owner --- */

static void session_open(struct run *run) {
    run->peer++; /* an address of its own */
    tael_datagram_client_open(run->client, test_random_u128(&run->random) | 1, run->now_ns);
}

static void work_end(struct run *run, uint32_t slot) {
    run->works[slot].is_in_flight = false;
    free(run->works[slot].body);
    run->works[slot].body = NULL;
    run->done++;
}

static void answer_check(struct run *run, uint32_t slot) {
    const struct work *work = &run->works[slot];
    const struct tael_datagram_client_answer answer = tael_datagram_client_answer(run->client, slot);
    TAEL_ASSERT(work->is_in_flight);
    TAEL_ASSERT(answer.body_size == work->reply_size);
    TAEL_ASSERT(answer.op != 0 && answer.timestamp == answer.op * 10);
    uint8_t *expected = malloc(work->reply_size + 1);
    TAEL_ASSERT(expected != NULL);
    bytes_make(work->id, 1, expected, work->reply_size);
    TAEL_ASSERT(memcmp(expected, answer.body, work->reply_size) == 0);
    free(expected);
    TAEL_ASSERT(run->executions[work->id] >= 1);
    TAEL_ASSERT(work->is_read || run->executions[work->id] == 1);
    run->answered++;
    work_end(run, slot);
}

static void event_take(struct run *run, struct tael_datagram_client_event event) {
    switch (event.happening) {
    case TAEL_DATAGRAM_CLIENT_OPENED:
        run->slots = tael_datagram_client_slots(run->client);
        break;
    case TAEL_DATAGRAM_CLIENT_ANSWERED:
        answer_check(run, event.slot);
        break;
    case TAEL_DATAGRAM_CLIENT_ENDED:
        run->has_ended = true;
        run->ended++;
        for (uint32_t i = 0; i < run->slots; i++) {
            if (run->works[i].is_in_flight) work_end(run, i);
        }
        run->slots = 0;
        session_open(run);
        break;
    case TAEL_DATAGRAM_CLIENT_REFUSED:
        TAEL_UNREACHABLE("this server refuses nothing");
    case TAEL_DATAGRAM_CLIENT_BUSY:
    case TAEL_DATAGRAM_CLIENT_NOTHING:
        break;
    }
}

static uint32_t size_draw(struct test_random *random, uint32_t least) {
    static const uint32_t bounds[] = {100, 1400, 1500, 9000, 60000, REPLY_MAX};
    const uint32_t bound = bounds[test_random_below(random, 6)];
    return least + (uint32_t)test_random_below(random, bound);
}

static void work_begin(struct run *run, uint32_t slot) {
    struct work *work = &run->works[slot];
    work->id = run->begun++;
    work->is_read = test_random_once_in(&run->random, 3);
    work->body_size = size_draw(&run->random, sizeof(struct head));
    work->reply_size = size_draw(&run->random, 0);
    work->body = malloc(work->body_size);
    TAEL_ASSERT(work->body != NULL);
    bytes_make(work->id, 0, work->body, work->body_size);
    const struct head head = {.id = work->id, .reply_size = work->reply_size};
    memcpy(work->body, &head, sizeof head);
    work->is_in_flight = true;
    work->give_up_ns =
        test_random_once_in(&run->random, 10) ? run->now_ns + test_random_below(&run->random, 50 * MS) : UINT64_MAX;
    const struct tael_datagram_client_request request = {.body = work->body,
                                                         .body_size = work->body_size,
                                                         .operation = work->is_read ? TAEL_OPERATION_lookup_accounts
                                                                                    : TAEL_OPERATION_create_transfers,
                                                         .flags = work->id % 2 == 0 ? TAEL_DATAGRAM_ONE_BATCH : 0};
    tael_datagram_client_request(run->client, slot, &request, run->now_ns);
}

static void work_give_up(struct run *run, uint32_t slot) {
    struct work *work = &run->works[slot];
    if (tael_datagram_client_is_certain(run->client, slot)) {
        TAEL_ASSERT(run->executions[work->id] == 0);
    } else {
        run->lost_outcomes++;
    }
    tael_datagram_client_give_up(run->client, slot);
    run->given_up++;
    work_end(run, slot);
}

static void works_turn(struct run *run) {
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->works[i].is_in_flight && run->works[i].give_up_ns <= run->now_ns) work_give_up(run, i);
        if (tael_datagram_client_is_free(run->client, i) && run->begun < run->requests) work_begin(run, i);
    }
}

/* --- a run --- */

static uint64_t next_ns(const struct run *run) {
    uint64_t next = tael_datagram_client_deadline_ns(run->client);
    if (way_next_ns(&run->way) < next) next = way_next_ns(&run->way);
    if (datagram_model_counters(run->model).waiting > 0 && run->now_ns + 3 * MS < next) next = run->now_ns + 3 * MS;
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->works[i].is_in_flight && run->works[i].give_up_ns < next) next = run->works[i].give_up_ns;
    }
    return next > run->now_ns ? next : run->now_ns;
}

static void packets_arrive(struct run *run) {
    while (way_next_ns(&run->way) <= run->now_ns) {
        const struct packet packet = way_pop(&run->way);
        if (packet.to_server) {
            datagram_model_receive(run->model, packet.endpoint, packet.bytes, packet.size,
                                   run->to_server.options.corrupt == 0);
        } else if (packet.endpoint == run->peer) {
            event_take(run, tael_datagram_client_receive(run->client, packet.bytes, packet.size, run->now_ns));
        }
        free(packet.bytes);
    }
}

static void server_turn(struct run *run) {
    if (test_random_once_in(&run->random, 3)) datagram_model_execute(run->model);
    if (run->restart_permille == 0) return;
    if (test_random_once_in(&run->random, 4000)) datagram_model_restart(run->model);
    if (test_random_once_in(&run->random, 4000)) datagram_model_forget_addresses(run->model);
    if (test_random_once_in(&run->random, 20000)) datagram_model_forget_sessions(run->model);
    if (test_random_once_in(&run->random, 500)) {
        datagram_model_window(run->model, (uint32_t)test_random_below(&run->random, 65));
    }
}

static struct tael_faults_options faults_draw(struct test_random *random) {
    const bool is_bad = !test_random_once_in(random, 4);
    return (struct tael_faults_options){
        .drop = is_bad ? (uint32_t)test_random_below(random, 31) : 0,
        .duplicate = is_bad ? (uint32_t)test_random_below(random, 21) : 0,
        .reorder = is_bad ? (uint32_t)test_random_below(random, 21) : 0,
        .corrupt = is_bad ? (uint32_t)test_random_below(random, 4) : 0,
        .seed = test_random_u64(random),
    };
}

static void run_begin(struct run *run, uint64_t seed) {
    memset(run->executions, 0, sizeof run->executions);
    run->random.state = seed;
    run->now_ns = TAEL_NS_PER_S;
    struct test_random *random = &run->random;
    const struct tael_faults_options faults[2] = {faults_draw(random), faults_draw(random)};
    tael_faults_init(&run->to_server, &faults[0], 1);
    tael_faults_init(&run->to_client, &faults[1], 2);
    run->latency_ns = (20 + test_random_below(random, 500)) * US;
    run->jitter_ns = test_random_once_in(random, 2) ? 0 : test_random_below(random, 300) * US;
    run->requests = 1 + (uint32_t)test_random_below(random, REQUESTS_MAX);
    run->busy_percent = test_random_once_in(random, 2) ? 0 : (uint32_t)test_random_below(random, 40);
    run->later_percent = (uint32_t)test_random_below(random, 60);
    run->restart_permille = test_random_once_in(random, 2) ? 0 : (uint32_t)test_random_below(random, 20);
    run->begun = run->done = run->slots = run->way.count = 0;
    static const uint32_t sizes[] = {TAEL_DATAGRAM_SIZE_ETHERNET, 4000, TAEL_DATAGRAM_SIZE_MAX};
    const struct datagram_model_options server = {.ledger = LEDGER,
                                                  .datagram_max = sizes[test_random_below(random, 3)],
                                                  .window = 1 + (uint32_t)test_random_below(random, 256),
                                                  .slots_max = 1 + (uint32_t)test_random_below(random, 16),
                                                  .context = run,
                                                  .send = server_send,
                                                  .judge = judge,
                                                  .execute = execute};
    run->model = datagram_model_new(&server);
    const struct tael_datagram_client_options options = {.ledger = LEDGER,
                                                         .slots = 1 + (uint32_t)test_random_below(random, 16),
                                                         .datagram_max = sizes[test_random_below(random, 3)],
                                                         .reply_window = 1 + (uint32_t)test_random_below(random, 128),
                                                         .request_window = 1 + (uint32_t)test_random_below(random, 300),
                                                         .carrier = {run, transmit_begin, transmit_end},
                                                         .random = random_any,
                                                         .random_context = run};
    const size_t size = tael_datagram_client_size_bytes(&options);
    run->memory = aligned_alloc(64, size);
    TAEL_ASSERT(run->memory != NULL);
    run->client = tael_datagram_client_init(run->memory, &options);
    session_open(run);
}

static void run_end(struct run *run) {
    for (uint32_t i = 0; i < run->way.count; i++) free(run->way.packets[i].bytes);
    datagram_model_free(run->model);
    free(run->memory);
}

static void run_one(struct run *run, uint64_t seed) {
    run_begin(run, seed);
    while (run->done < run->requests) {
        run->now_ns = next_ns(run);
        if (run->now_ns > SECONDS_MAX) {
            fprintf(stderr, "seed %" PRIu64 ": %u of %u requests are done after 10 minutes\n", seed, run->done,
                    run->requests);
            exit(1);
        }
        packets_arrive(run);
        server_turn(run);
        tael_datagram_client_tick(run->client, run->now_ns);
        works_turn(run);
    }
    run_end(run);
}

int main(int argc, char **argv) {
    uint64_t seeds = 300, first = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0) seeds = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--first") == 0) first = strtoull(argv[i + 1], NULL, 10);
    }
    if (getenv("TAEL_TEST_LONG") != NULL) seeds *= LONG_TIMES;
    struct run *run = calloc(1, sizeof *run);
    TAEL_ASSERT(run != NULL);
    run->way = (struct way){.packets = calloc(WAY_MAX, sizeof(struct packet)), .max = WAY_MAX};
    TAEL_ASSERT(run->way.packets != NULL);
    printf("seeds %" PRIu64 " to %" PRIu64 "\n", first, first + seeds - 1);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (getenv("TAEL_TEST_VERBOSE") != NULL) fprintf(stderr, "seed %" PRIu64 "\n", seed);
        run_one(run, seed);
    }
    printf("%" PRIu64 " answered, %" PRIu64 " given up (%" PRIu64 " of them sent), %" PRIu64 " sessions ended, %" PRIu64
           " datagrams\n",
           run->answered, run->given_up, run->lost_outcomes, run->ended, run->packets);
    free(run->way.packets);
    free(run);
    return 0;
}
