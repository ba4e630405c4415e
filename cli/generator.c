#include "cli/generator.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "cli/output.h"

enum { PARCELS = 2, REPLIES_TURN = 256, PROBLEM_SIZE = 160 };

#define RELEASE 1u /* of a client, made up: any is taken */
#define SETTLE_MAX_NS (30 * TAEL_NS_PER_S)

enum stage {
    REGISTERING,
    OPENING, /* accounts, by the first session */
    SETTLING,
    WARMING_UP,
    MEASURING,
    BALANCING,
    DONE,
};

/* A request's memory. It is the sequencer's from when it is sent until it is released, which may be after the reply. */
struct parcel {
    struct tael_message message; /* first: what comes back is a pointer to it */
    struct tael_frame *frame; /* the body stands behind it */
    bool is_lent;
};

/* A session. */
struct lane {
    struct parcel parcels[PARCELS];
    struct tael_mix_stream stream;
    uint32_t next; /* the parcel for the next request */
    uint32_t made; /* transfers that stand in it; 0: none */
    struct tael_mix_state before; /* the stream's, before they were made */
    uint32_t sent; /* events of the request in flight; meaningless without one */
    bool is_in_flight;
    uint64_t begun_ns;
    /* As the protocol has them. */
    tael_u128 client;
    uint64_t session;
    tael_u128 parent;
    tael_u128 checksum; /* of the request in flight */
    uint32_t request;
};

struct tael_generator {
    struct tael_generator_options options;
    struct tael_ingress_site site;
    struct tael_mix mix;
    struct lane *lanes;
    uint32_t in_flight;
    uint32_t make_turn; /* the lane whose next request is made next */
    tael_u128 checksum_last;
    enum stage stage;
    bool is_draining;
    char problem[PROBLEM_SIZE]; /* empty: none */

    uint64_t sent; /* events in this stage */
    uint64_t begun_ns; /* this stage */
    uint64_t accounts_opened;
    struct tael_generator_run *runs;
    uint32_t run; /* under way */
    struct tael_server_times times_before;
    uint64_t make_ns, make_count;
    struct tael_trial_balance_row *balance;
    uint32_t balance_count;
    uint64_t balance_op;
};

/* --- making and ending --- */

struct tael_generator *tael_generator_make(const struct tael_generator_options *options) {
    struct tael_generator *generator = calloc(1, sizeof *generator);
    if (generator == NULL) return NULL;
    const uint32_t lanes = options->mix.streams;
    generator->options = *options;
    generator->lanes = calloc(lanes, sizeof *generator->lanes);
    generator->runs = calloc(options->runs, sizeof *generator->runs);
    generator->balance = malloc(TAEL_BODY_SIZE_MAX);
    bool is_made = generator->lanes != NULL && generator->runs != NULL && generator->balance != NULL &&
                   tael_mix_init(&generator->mix, &options->mix) == 0;
    const size_t size = ((options->mix.batch + 2) * TAEL_RECORD_SIZE + TAEL_FRAME_HEADER_SIZE + TAEL_SECTOR_SIZE - 1) /
                        TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE;
    for (uint32_t i = 0; i < lanes && is_made; i++) {
        struct lane *lane = &generator->lanes[i];
        lane->client = tael_u128_make(options->mix.run, i + 1);
        is_made = tael_mix_stream_init(&generator->mix, i, &lane->stream) == 0;
        for (uint32_t k = 0; k < PARCELS && is_made; k++) {
            lane->parcels[k].frame = aligned_alloc(TAEL_SECTOR_SIZE, size);
            is_made = lane->parcels[k].frame != NULL;
            if (is_made) memset(lane->parcels[k].frame, 0, size); /* no page is touched first while the clock runs */
        }
    }
    if (is_made) return generator;
    tael_generator_free(generator);
    return NULL;
}

void tael_generator_free(struct tael_generator *generator) {
    if (generator == NULL) return;
    for (uint32_t i = 0; generator->lanes != NULL && i < generator->options.mix.streams; i++) {
        for (uint32_t k = 0; k < PARCELS; k++) free(generator->lanes[i].parcels[k].frame);
        tael_mix_stream_free(&generator->lanes[i].stream);
    }
    tael_mix_free(&generator->mix);
    free(generator->lanes);
    free(generator->runs);
    free(generator->balance);
    free(generator);
}

static void fail(struct tael_generator *generator, const char *problem) {
    if (generator->problem[0] == '\0') (void)snprintf(generator->problem, PROBLEM_SIZE, "%s", problem);
}

/* --- requests --- */

static uint8_t *body_of(const struct parcel *parcel) { return (uint8_t *)(parcel->frame + 1); }

static bool lane_may_send(const struct lane *lane) { return !lane->is_in_flight && !lane->parcels[lane->next].is_lent; }

/* Sends what stands in the lane's next parcel. */
static void lane_send(struct tael_generator *generator, struct lane *lane, uint8_t operation, uint32_t events,
                      uint32_t body_size) {
    struct parcel *parcel = &lane->parcels[lane->next];
    lane->checksum = ++generator->checksum_last;
    *parcel->frame = (struct tael_frame){
        .checksum = lane->checksum,
        .cluster = generator->site.cluster,
        .size = TAEL_FRAME_HEADER_SIZE + body_size,
        .release = RELEASE,
        .command = TAEL_COMMAND_REQUEST,
        .request = {.parent = lane->parent,
                    .client = lane->client,
                    .session = lane->session,
                    .request = lane->request++,
                    .operation = operation},
    };
    tael_message_of_frame(&parcel->message, parcel->frame, (tael_connection)(lane - generator->lanes) + 1);
    parcel->is_lent = true;
    lane->next = (lane->next + 1) % PARCELS;
    lane->made = 0;
    lane->sent = events;
    lane->is_in_flight = true;
    lane->begun_ns = tael_monotonic_ns();
    generator->in_flight++;
    generator->sent += events;
    const bool is_pushed = tael_ring_push(&generator->site.link->requests, &parcel->message);
    TAEL_ASSERT(is_pushed); /* it holds as many as there are parcels */
}

/* Behind its events, which stand in the body. */
static uint32_t trailer_write(uint8_t *body, uint32_t events) {
    const uint16_t count = (uint16_t)events;
    return tael_multi_batch_encode(body, events * TAEL_RECORD_SIZE, &count, 1, TAEL_RECORD_SIZE);
}

static void register_send(struct tael_generator *generator, struct lane *lane) {
    memset(body_of(&lane->parcels[lane->next]), 0, tael_operation_info(TAEL_OPERATION_register).event_size);
    lane_send(generator, lane, TAEL_OPERATION_register, 1, tael_operation_info(TAEL_OPERATION_register).event_size);
}

static void accounts_send(struct tael_generator *generator, struct lane *lane) {
    const struct tael_mix_options *mix = &generator->options.mix;
    uint8_t *body = body_of(&lane->parcels[lane->next]);
    struct tael_account *accounts = (struct tael_account *)(void *)body;
    const uint64_t left = mix->accounts - generator->sent;
    const uint32_t count = left < mix->batch ? (uint32_t)left : mix->batch;
    for (uint32_t i = 0; i < count; i++) accounts[i] = tael_mix_account(mix, generator->sent + i);
    lane_send(generator, lane, TAEL_OPERATION_create_accounts, count, trailer_write(body, count));
}

static void balance_send(struct tael_generator *generator, struct lane *lane) {
    const struct tael_trial_balance_filter filter = {0};
    memcpy(body_of(&lane->parcels[lane->next]), &filter, sizeof filter);
    lane_send(generator, lane, TAEL_OPERATION_trial_balance, 1, sizeof filter);
}

static uint64_t transfers_of_stage(const struct tael_generator *generator) {
    const struct tael_generator_options *options = &generator->options;
    return generator->stage == MEASURING ? options->transfers : options->warm_up_transfers;
}

/* Makes the lane's next request. */
static void transfers_make(struct tael_generator *generator, struct lane *lane) {
    const uint64_t left = transfers_of_stage(generator) - generator->sent;
    const uint32_t batch = generator->options.mix.batch;
    const uint32_t count = left < batch ? (uint32_t)left : batch;
    if (count == 0) return;
    const uint64_t begun_ns = tael_monotonic_ns();
    lane->before = lane->stream.state;
    struct tael_transfer *transfers = (struct tael_transfer *)(void *)body_of(&lane->parcels[lane->next]);
    tael_mix_fill(&generator->mix, &lane->stream, transfers, count);
    lane->made = count;
    generator->make_ns += tael_monotonic_ns() - begun_ns;
    generator->make_count += count;
}

static bool transfers_are_sent(const struct tael_generator *generator, uint64_t now_ns) {
    const struct tael_generator_options *options = &generator->options;
    const uint64_t duration_ns = generator->stage == MEASURING ? options->duration_ns : options->warm_up_ns;
    return generator->sent >= transfers_of_stage(generator) || now_ns - generator->begun_ns >= duration_ns;
}

static void transfers_send(struct tael_generator *generator, struct lane *lane) {
    if (lane->made > transfers_of_stage(generator) - generator->sent) {
        lane->stream.state = lane->before; /* the last of a run is shorter: it is made again */
        lane->made = 0;
    }
    if (lane->made == 0) transfers_make(generator, lane);
    if (lane->made == 0) return;
    uint8_t *body = body_of(&lane->parcels[lane->next]);
    lane_send(generator, lane, TAEL_OPERATION_create_transfers, lane->made, trailer_write(body, lane->made));
}

/* --- replies --- */

static uint32_t created_count(const struct tael_frame *frame, uint32_t count) {
    const struct tael_create_result *results = (const struct tael_create_result *)(const void *)(frame + 1);
    uint32_t created = 0;
    for (uint32_t i = 0; i < count; i++) created += results[i].status == TAEL_STATUS_CREATED;
    return created;
}

static void reply_use(struct tael_generator *generator, struct lane *lane, const struct tael_frame *frame) {
    struct tael_generator_run *run = &generator->runs[generator->run];
    const uint32_t body_size = frame->size - TAEL_FRAME_HEADER_SIZE;
    switch (generator->stage) {
    case REGISTERING:
        lane->session = frame->reply.op;
        break;
    case OPENING:
        generator->accounts_opened += created_count(frame, lane->sent);
        break;
    case MEASURING:
        run->requests++;
        run->transfers += lane->sent;
        run->created += created_count(frame, lane->sent);
        tael_histogram_record(&run->latency_ns, tael_monotonic_ns() - lane->begun_ns);
        break;
    case BALANCING:
        memcpy(generator->balance, frame + 1, body_size);
        generator->balance_count = body_size / (uint32_t)sizeof *generator->balance;
        generator->balance_op = frame->reply.op;
        break;
    case SETTLING:
    case WARMING_UP:
    case DONE:
        break;
    }
}

static void reply_take(struct tael_generator *generator, const struct tael_reply *reply) {
    const struct tael_frame *frame = reply->frame;
    TAEL_ASSERT(reply->connection >= 1);
    TAEL_ASSERT(reply->connection <= generator->options.mix.streams);
    struct lane *lane = &generator->lanes[reply->connection - 1];
    if (frame->command != TAEL_COMMAND_REPLY) {
        fail(generator, "a session was evicted");
        return;
    }
    if (!lane->is_in_flight || frame->reply.request_checksum != lane->checksum) return; /* a repeated one */
    reply_use(generator, lane, frame);
    lane->parent = frame->reply.context;
    lane->is_in_flight = false;
    generator->in_flight--;
}

static uint32_t replies_take(struct tael_generator *generator) {
    struct tael_link *link = generator->site.link;
    uint32_t work = 0;
    struct tael_message *message;
    while ((message = tael_ring_pop(&link->released)) != NULL) {
        ((struct parcel *)(void *)message)->is_lent = false;
        work++;
    }
    for (uint32_t i = 0; i < REPLIES_TURN; i++) {
        struct tael_reply *reply = tael_ring_pop(&link->replies);
        if (reply == NULL) break;
        reply_take(generator, reply);
        const bool is_pushed = tael_ring_push(&link->sent, reply);
        TAEL_ASSERT(is_pushed);
        work++;
    }
    return work;
}

/* --- stages --- */

static void times_subtract(struct tael_server_times *times, const struct tael_server_times *before) {
    for (uint32_t i = 0; i < TAEL_SERVER_ROLES; i++) {
        times->roles[i].turns -= before->roles[i].turns;
        times->roles[i].turns_worked -= before->roles[i].turns_worked;
        times->roles[i].worked_ns -= before->roles[i].worked_ns;
    }
    for (uint32_t i = 0; i < times->thread_count; i++) {
        times->threads[i].life_ns -= before->threads[i].life_ns;
        times->threads[i].completions_ns -= before->threads[i].completions_ns;
        times->threads[i].kernel_ns -= before->threads[i].kernel_ns;
        times->threads[i].asleep_ns -= before->threads[i].asleep_ns;
        times->threads[i].sleeps -= before->threads[i].sleeps;
    }
}

static void stage_begin(struct tael_generator *generator, enum stage stage, uint64_t now_ns) {
    generator->stage = stage;
    generator->sent = 0;
    generator->begun_ns = now_ns;
    if (stage == MEASURING) generator->site.times_read(generator->site.server, &generator->times_before);
    /* The administrator's way to stop a server. */
    if (stage == DONE) (void)kill(getpid(), SIGTERM);
}

static void run_end(struct tael_generator *generator, uint64_t now_ns) {
    struct tael_generator_run *run = &generator->runs[generator->run];
    run->elapsed_ns = tael_monotonic_ns() - generator->begun_ns;
    generator->site.times_read(generator->site.server, &run->times);
    times_subtract(&run->times, &generator->times_before);
    if (run->created != run->transfers) fail(generator, "transfers were rejected");
    generator->run++;
    stage_begin(generator, generator->run < generator->options.runs ? WARMING_UP : BALANCING, now_ns);
}

/* Once all that the stage sent is answered. */
static void stage_end(struct tael_generator *generator, uint64_t now_ns) {
    switch (generator->stage) {
    case REGISTERING:
        stage_begin(generator, OPENING, now_ns);
        break;
    case OPENING:
        if (generator->accounts_opened != generator->options.mix.accounts) fail(generator, "accounts were rejected");
        stage_begin(generator, SETTLING, now_ns);
        break;
    case SETTLING:
        stage_begin(generator, WARMING_UP, now_ns);
        break;
    case WARMING_UP:
        stage_begin(generator, MEASURING, tael_monotonic_ns());
        break;
    case MEASURING:
        run_end(generator, now_ns);
        break;
    case BALANCING:
        stage_begin(generator, DONE, now_ns);
        break;
    case DONE:
        break;
    }
}

static bool stage_is_sent(const struct tael_generator *generator, uint64_t now_ns) {
    switch (generator->stage) {
    case REGISTERING:
        return generator->sent == generator->options.mix.streams;
    case OPENING:
        return generator->sent == generator->options.mix.accounts;
    case SETTLING:
        return generator->site.is_settled(generator->site.server) || now_ns - generator->begun_ns > SETTLE_MAX_NS;
    case WARMING_UP:
    case MEASURING:
        return transfers_are_sent(generator, now_ns);
    case BALANCING:
        return generator->sent > 0;
    case DONE:
        break;
    }
    return false;
}

static uint32_t lanes_send(struct tael_generator *generator, uint64_t now_ns) {
    const enum stage stage = generator->stage;
    const bool is_by_one = stage == OPENING || stage == BALANCING;
    const uint32_t lanes = is_by_one ? 1 : generator->options.mix.streams;
    uint32_t work = 0;
    if (stage == SETTLING || stage == DONE) return 0;
    for (uint32_t i = 0; i < lanes && !stage_is_sent(generator, now_ns); i++) {
        struct lane *lane = &generator->lanes[i];
        if (!lane_may_send(lane)) continue;
        if (stage == REGISTERING) {
            if (lane->request == 0) register_send(generator, lane);
        } else if (stage == OPENING) {
            accounts_send(generator, lane);
        } else if (stage == BALANCING) {
            balance_send(generator, lane);
        } else {
            transfers_send(generator, lane);
        }
        work++;
    }
    return work;
}

/* One request ahead a turn, so that a lane's next one is there when its reply comes. */
static uint32_t ahead_make(struct tael_generator *generator) {
    if (generator->stage != WARMING_UP && generator->stage != MEASURING) return 0;
    for (uint32_t i = 0; i < generator->options.mix.streams; i++) {
        struct lane *lane = &generator->lanes[generator->make_turn];
        generator->make_turn = (generator->make_turn + 1) % generator->options.mix.streams;
        if (!lane->is_in_flight || lane->made > 0 || lane->parcels[lane->next].is_lent) continue;
        transfers_make(generator, lane);
        return lane->made > 0;
    }
    return 0;
}

static uint32_t poll_generator(void *context, uint64_t now_ns) {
    struct tael_generator *generator = context;
    uint32_t work = replies_take(generator);
    if (generator->is_draining) return work;
    if (generator->problem[0] != '\0' && generator->stage != DONE) stage_begin(generator, DONE, now_ns);
    work += lanes_send(generator, now_ns);
    work += ahead_make(generator);
    if (generator->in_flight > 0 || !stage_is_sent(generator, now_ns)) return work;
    stage_end(generator, now_ns);
    return work + 1;
}

/* --- as an ingress --- */

static size_t size_bytes(const void *context, uint32_t replies_small, uint32_t replies_large) {
    (void)context;
    (void)replies_small;
    (void)replies_large;
    return 0;
}

static int open_generator(void *context, const struct tael_ingress_site *site) {
    ((struct tael_generator *)context)->site = *site;
    return 0;
}

static void tell(const void *context) { (void)context; }

/* While the server settles nothing else wakes the loop. */
static uint64_t deadline_ns(const void *context) {
    const struct tael_generator *generator = context;
    return generator->stage == SETTLING ? tael_monotonic_ns() + TAEL_NS_PER_S / 100 : UINT64_MAX;
}

static void drain(void *context) {
    struct tael_generator *generator = context;
    if (!generator->is_draining && generator->stage != DONE) fail(generator, "stopped by a signal");
    generator->is_draining = true;
}

static bool drained(const void *context) { return ((const struct tael_generator *)context)->in_flight == 0; }
static void close_generator(void *context) { drain(context); }
static bool closed(const void *context) { return ((const struct tael_generator *)context)->is_draining; }
static void print(const void *context) { (void)context; }

struct tael_ingress tael_generator_ingress(struct tael_generator *generator) {
    return (struct tael_ingress){
        .name = "net",
        .context = generator,
        .messages_max = PARCELS * generator->options.mix.streams,
        .size_bytes = size_bytes,
        .size_options = "--buffers-large",
        .open = open_generator,
        .tell = tell,
        .poll = poll_generator,
        .deadline_ns = deadline_ns,
        .drain = drain,
        .drained = drained,
        .close = close_generator,
        .closed = closed,
        .print = print,
    };
}

/* --- what came of it --- */

const char *tael_generator_problem(const struct tael_generator *generator) {
    if (generator->problem[0] != '\0') return generator->problem;
    return generator->stage == DONE ? NULL : "the server ended before the last run";
}

uint32_t tael_generator_runs(const struct tael_generator *generator, const struct tael_generator_run **runs) {
    *runs = generator->runs;
    return generator->run;
}

uint64_t tael_generator_accounts_opened(const struct tael_generator *generator) { return generator->accounts_opened; }

double tael_generator_make_cost_ns(const struct tael_generator *generator) {
    return generator->make_count == 0 ? 0 : (double)generator->make_ns / (double)generator->make_count;
}

const struct tael_trial_balance_row *tael_generator_balance(const struct tael_generator *generator, uint32_t *count,
                                                            uint64_t *op) {
    *count = generator->balance_count;
    *op = generator->balance_op;
    return generator->balance;
}
