/* See load.h. */
#include "bench/load/load.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>

#include "bench/load/pace.h"

#define LOOK_NS (TAEL_NS_PER_S / 10) /* how often a phase looks whether to stop, and shows how far it is */
#define COST_TRANSFERS 65536u

/* A client, and what its thread counts. */
struct worker {
    struct tael_client *client;
    sem_t met;
    pid_t thread;
    uint64_t batches, transfers, created;
    uint64_t rejected[TAEL_LOAD_STATUSES];
    struct tael_histogram latency_ns;
};

struct lane {
    struct tael_load *load;
    struct worker *worker;
    struct lane *next_free;
    struct tael_mix_stream stream;
    struct tael_mix_state before; /* the stream's, when the batch in `made` was not made yet */
    struct tael_transfer *buffers[2]; /* one is on its way, in the other is the next batch */
    uint32_t buffer; /* the number of that */
    uint32_t made; /* events in it; 0: not made yet */
    uint32_t sent; /* events on their way */
    uint64_t begun_ns; /* when they were meant to be sent */
};

struct tael_load {
    struct tael_mix mix;
    struct worker *workers;
    struct lane *lanes;
    uint32_t workers_count, lanes_count;
    uint32_t submit_flags;

    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t changed; /* the first lane is free, or the last */
    struct tael_load_phase phase;
    struct tael_pace pace;
    struct lane *free;
    uint32_t active; /* lanes with a batch on its way */
    uint64_t begin_ns, end_ns;
    uint64_t next; /* number of the next batch */
    uint64_t next_transfer; /* transfers in those before it */
    bool is_failed;
    uint64_t failed;
    int failed_status;
    char failed_why[TAEL_CLIENT_WHY_SIZE];
    uint64_t waited;
    struct tael_histogram late_ns;
};

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* --- a lane's batches --- */

static void batch_done(void *context, const struct tael_client_result *result);

static void lane_make(struct lane *lane, uint32_t count) {
    lane->before = lane->stream.state;
    tael_mix_fill(&lane->load->mix, &lane->stream, lane->buffers[lane->buffer], count);
    lane->made = count;
}

static void load_fail(struct tael_load *load, int status, const char *why) {
    pthread_mutex_lock(&load->mutex);
    load->is_failed = true;
    if (load->failed++ == 0) {
        load->failed_status = status;
        snprintf(load->failed_why, sizeof load->failed_why, "%s", why);
    }
    pthread_mutex_unlock(&load->mutex);
}

static void lane_free_locked(struct lane *lane) {
    struct tael_load *load = lane->load;
    TAEL_ASSERT(load->active > 0);
    load->active--;
    /* The phase's thread waits for this only when no lane was free, or when all are to be: it isn't woken for each. */
    if (load->free == NULL || load->active == 0) pthread_cond_signal(&load->changed);
    lane->next_free = load->free;
    load->free = lane;
}

/* Sends the batch that is made, or one of `count` where that is another number: the last of a phase may be short. Not to be
 * touched by the caller any more, unless it is the client's thread: the completion may have come already. */
static void lane_send(struct lane *lane, uint32_t count) {
    if (lane->made != 0 && lane->made != count) {
        lane->stream.state = lane->before;
        lane->made = 0;
    }
    if (lane->made == 0) lane_make(lane, count);
    const struct tael_client_submit submit = {
        .operation = TAEL_OPERATION_create_transfers,
        .event_count = count,
        .events = lane->buffers[lane->buffer],
        .flags = lane->load->submit_flags,
        .completion = batch_done,
        .context = lane,
    };
    lane->buffer ^= 1;
    lane->made = 0;
    lane->sent = count;
    const int error = tael_client_submit(lane->worker->client, &submit);
    if (error == 0) return;
    load_fail(lane->load, error, "the client library didn't take a batch");
    pthread_mutex_lock(&lane->load->mutex);
    lane_free_locked(lane);
    pthread_mutex_unlock(&lane->load->mutex);
}

/* --- which batch is next --- */

static bool phase_is_over(const struct tael_load *load, uint64_t now) {
    if (load->is_failed || load->next_transfer >= load->phase.transfers) return true;
    if (load->phase.stop != NULL && *load->phase.stop) return true;
    /* At a rate, what was due in time is sent however late it is. */
    return (load->phase.rate == 0 ? now : tael_pace_intended_ns(&load->pace, load->next)) >= load->end_ns;
}

static bool is_due(const struct tael_load *load, uint64_t now) {
    return load->phase.rate == 0 || tael_pace_intended_ns(&load->pace, load->next) <= now;
}

/* Gives the next batch, if there is one now, to the lane. Returns how many transfers it holds; 0: none. */
static uint32_t batch_take_locked(struct lane *lane, uint64_t now, bool is_lane_free) {
    struct tael_load *load = lane->load;
    if (phase_is_over(load, now) || !is_due(load, now)) return 0;
    lane->begun_ns = now;
    if (load->phase.rate != 0) {
        lane->begun_ns = tael_pace_intended_ns(&load->pace, load->next);
        if (is_lane_free) {
            tael_histogram_record(&load->late_ns, now - lane->begun_ns);
        } else {
            load->waited++;
        }
    }
    const uint64_t count = lesser(load->mix.options.batch, load->phase.transfers - load->next_transfer);
    load->next++;
    load->next_transfer += count;
    return (uint32_t)count;
}

/* --- completions --- */

static void results_count(struct lane *lane, const struct tael_client_result *result, uint64_t now) {
    struct worker *worker = lane->worker;
    const struct tael_create_result *results = result->results;
    worker->batches++;
    worker->transfers += result->count;
    tael_histogram_record(&worker->latency_ns, now - lane->begun_ns);
    for (uint32_t i = 0; i < result->count; i++) {
        if (results[i].status == TAEL_STATUS_CREATED) {
            worker->created++;
        } else {
            worker->rejected[results[i].status < TAEL_LOAD_STATUSES ? results[i].status : 0]++;
        }
    }
}

static void batch_done(void *context, const struct tael_client_result *result) {
    struct lane *lane = context;
    struct tael_load *load = lane->load;
    const uint64_t now = now_ns();
    if (result->status == 0 && result->count == lane->sent) {
        results_count(lane, result, now);
    } else {
        load_fail(load, result->status, result->status == 0 ? "the reply has another number of results" : result->why);
    }
    /* What the thread that runs the phase sent, it could not make the next batch for. */
    if (lane->made == 0) lane_make(lane, load->mix.options.batch);
    pthread_mutex_lock(&load->mutex);
    /* A free lane besides: then the batch is late for the generator's sake, not for lack of a lane. */
    const uint32_t count = batch_take_locked(lane, now_ns(), load->free != NULL);
    if (count == 0) lane_free_locked(lane);
    pthread_mutex_unlock(&load->mutex);
    if (count == 0) return;
    lane_send(lane, count);
    lane_make(lane, load->mix.options.batch);
}

/* --- a phase --- */

static void changed_await(struct tael_load *load, uint64_t until_ns) {
    const struct timespec until = {.tv_sec = (time_t)(until_ns / TAEL_NS_PER_S),
                                   .tv_nsec = (long)(until_ns % TAEL_NS_PER_S)};
    (void)pthread_cond_timedwait(&load->changed, &load->mutex, &until);
}

/* Until when the thread of the phase has nothing to do, unless a lane becomes free. */
static uint64_t idle_until(const struct tael_load *load, uint64_t now) {
    const uint64_t look_ns = now + LOOK_NS;
    if (load->free == NULL || load->phase.rate == 0)
        return lesser(look_ns, load->end_ns > now ? load->end_ns : look_ns);
    return lesser(look_ns, tael_pace_intended_ns(&load->pace, load->next));
}

static void progress_show(struct tael_load *load, uint64_t now, uint64_t *shown_ns) {
    if (load->phase.progress == NULL || now - *shown_ns < LOOK_NS) return;
    *shown_ns = now;
    load->phase.progress(load->phase.progress_context, load->next_transfer);
}

/* Sends what no completion sends: the first batches, and at a rate those that are due while a lane is free. */
static void phase_drive_locked(struct tael_load *load) {
    uint64_t shown_ns = 0;
    for (;;) {
        const uint64_t now = now_ns();
        const bool is_over = phase_is_over(load, now);
        if (is_over && load->active == 0) return;
        progress_show(load, now, &shown_ns);
        struct lane *lane = load->free;
        const uint32_t count = lane == NULL || is_over ? 0 : batch_take_locked(lane, now, true);
        if (count == 0) {
            changed_await(load, is_over ? now + LOOK_NS : idle_until(load, now));
            continue;
        }
        load->free = lane->next_free;
        load->active++;
        pthread_mutex_unlock(&load->mutex);
        lane_send(lane, count);
        pthread_mutex_lock(&load->mutex);
    }
}

/* --- what the generator takes of the machine --- */

struct usage {
    uint64_t cpu_ns; /* of the process */
    uint64_t busy_ns[64]; /* of each client's thread: running, or waiting for a processor */
};

enum { CLIENTS_MAX = sizeof((struct usage){0}.busy_ns) / sizeof(uint64_t) };

/* The kernel counts both for every thread; where it doesn't, 0. */
static uint64_t thread_busy_ns(pid_t thread) {
    char path[64];
    uint64_t ran_ns = 0, waited_ns = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", (int)thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &ran_ns, &waited_ns) != 2) ran_ns = waited_ns = 0;
    fclose(file);
    return ran_ns + waited_ns;
}

static struct usage usage_read(const struct tael_load *load) {
    struct usage usage = {0};
    usage.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t i = 0; i < load->workers_count; i++) usage.busy_ns[i] = thread_busy_ns(load->workers[i].thread);
    return usage;
}

static void usage_result(const struct tael_load *load, const struct usage *before, const struct usage *after,
                         struct tael_load_result *result) {
    if (result->elapsed_ns == 0) return;
    const double elapsed_ns = (double)result->elapsed_ns;
    result->cpu = (double)(after->cpu_ns - before->cpu_ns) / elapsed_ns;
    for (uint32_t i = 0; i < load->workers_count; i++) {
        const double busy = (double)(after->busy_ns[i] - before->busy_ns[i]) / elapsed_ns;
        if (busy > result->client_busy) result->client_busy = busy;
    }
}

/* --- before and after a phase --- */

static void counters_add(const struct tael_load *load, struct tael_load_result *result, uint64_t sign) {
    for (uint32_t i = 0; i < load->workers_count; i++) {
        const struct tael_client_counters counters = tael_client_counters(load->workers[i].client);
        result->requests += sign * counters.requests;
        result->retransmissions += sign * counters.retransmissions;
        result->reconnects += sign * counters.reconnects;
        result->busy += sign * counters.busy;
    }
}

static void phase_begin(struct tael_load *load, const struct tael_load_phase *phase) {
    for (uint32_t i = 0; i < load->workers_count; i++) {
        struct worker *worker = &load->workers[i];
        worker->batches = worker->transfers = worker->created = 0;
        memset(worker->rejected, 0, sizeof worker->rejected);
        memset(&worker->latency_ns, 0, sizeof worker->latency_ns);
    }
    for (uint32_t i = 0; i < load->lanes_count; i++) {
        if (load->lanes[i].made == 0) lane_make(&load->lanes[i], load->mix.options.batch);
    }
    load->phase = *phase;
    load->next = load->next_transfer = load->waited = load->failed = 0;
    load->is_failed = false;
    memset(&load->late_ns, 0, sizeof load->late_ns);
    load->begin_ns = now_ns();
    load->end_ns = phase->duration_ns > UINT64_MAX - load->begin_ns ? UINT64_MAX : load->begin_ns + phase->duration_ns;
    load->pace = (struct tael_pace){.begin_ns = load->begin_ns, .rate = phase->rate, .batch = load->mix.options.batch};
}

static void phase_result(struct tael_load *load, struct tael_load_result *result) {
    for (uint32_t i = 0; i < load->workers_count; i++) {
        const struct worker *worker = &load->workers[i];
        result->batches += worker->batches;
        result->transfers += worker->transfers;
        result->created += worker->created;
        for (uint32_t k = 0; k < TAEL_LOAD_STATUSES; k++) result->rejected[k] += worker->rejected[k];
        tael_histogram_merge(&result->latency_ns, &worker->latency_ns);
    }
    tael_histogram_merge(&result->late_ns, &load->late_ns);
    result->waited = load->waited;
    result->failed = load->failed;
    result->failed_status = load->failed_status;
    snprintf(result->failed_why, sizeof result->failed_why, "%s", load->failed == 0 ? "" : load->failed_why);
}

void tael_load_run(struct tael_load *load, const struct tael_load_phase *phase, struct tael_load_result *result) {
    memset(result, 0, sizeof *result);
    /* The kernel may wake a thread 50 us later than it asks, to save power. That would count as latency. */
    const int slack_ns = prctl(PR_GET_TIMERSLACK);
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    counters_add(load, result, (uint64_t)-1);
    const struct usage before = usage_read(load);
    pthread_mutex_lock(&load->mutex);
    phase_begin(load, phase);
    phase_drive_locked(load);
    result->elapsed_ns = now_ns() - load->begin_ns;
    pthread_mutex_unlock(&load->mutex);
    const struct usage after = usage_read(load);
    if (slack_ns > 0) (void)prctl(PR_SET_TIMERSLACK, (unsigned long)slack_ns, 0UL, 0UL, 0UL);
    counters_add(load, result, 1);
    usage_result(load, &before, &after, result);
    phase_result(load, result);
}

double tael_load_make_cost_ns(struct tael_load *load) {
    struct lane *lane = &load->lanes[0];
    if (lane->made != 0) lane->stream.state = lane->before;
    const struct tael_mix_state before = lane->stream.state;
    const uint32_t batch = load->mix.options.batch;
    uint64_t made = 0;
    const uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (; made < COST_TRANSFERS; made += batch) tael_mix_fill(&load->mix, &lane->stream, lane->buffers[0], batch);
    const uint64_t took_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
    lane->stream.state = before;
    lane->made = 0;
    return (double)took_ns / (double)made;
}

/* --- accounts --- */

static bool account_is_there(const struct tael_create_result *result) {
    return result->status == TAEL_STATUS_CREATED || result->status == TAEL_ACCOUNT_exists;
}

static int accounts_check(const struct tael_create_result *results, uint32_t count, uint64_t *opened,
                          char why[static TAEL_CLIENT_WHY_SIZE]) {
    for (uint32_t i = 0; i < count; i++) {
        if (!account_is_there(&results[i])) {
            const char *text = tael_account_status_text(results[i].status);
            snprintf(why, TAEL_CLIENT_WHY_SIZE, "an account can't be opened: %s", text == NULL ? "unknown" : text);
            return -EEXIST;
        }
        if (results[i].status == TAEL_STATUS_CREATED) ++*opened;
    }
    return 0;
}

static int accounts_send(struct tael_load *load, uint64_t first, uint32_t count, struct tael_account *accounts,
                         struct tael_create_result *results, char why[static TAEL_CLIENT_WHY_SIZE]) {
    struct tael_client_reply reply;
    for (uint32_t i = 0; i < count; i++) accounts[i] = tael_mix_account(&load->mix.options, first + i);
    const int error = tael_client_call(load->workers[0].client, TAEL_OPERATION_create_accounts, accounts, count,
                                       results, count, 0, &reply);
    if (error != 0) snprintf(why, TAEL_CLIENT_WHY_SIZE, "%s", reply.why);
    return error;
}

int tael_load_accounts_open(struct tael_load *load, const struct tael_load_phase *phase, uint64_t *opened,
                            char why[static TAEL_CLIENT_WHY_SIZE]) {
    struct tael_account *accounts = calloc(TAEL_CLIENT_EVENTS_MAX, sizeof *accounts);
    struct tael_create_result *results = calloc(TAEL_CLIENT_EVENTS_MAX, sizeof *results);
    int error = accounts == NULL || results == NULL ? -ENOMEM : 0;
    snprintf(why, TAEL_CLIENT_WHY_SIZE, "%s", "out of memory");
    *opened = 0;
    const uint64_t all = load->mix.options.accounts;
    for (uint64_t done = 0; done < all && error == 0;) {
        const uint32_t count = (uint32_t)lesser(all - done, TAEL_CLIENT_EVENTS_MAX);
        error = accounts_send(load, done, count, accounts, results, why);
        if (error == 0) error = accounts_check(results, count, opened, why);
        done += count;
        if (phase->progress != NULL) phase->progress(phase->progress_context, done);
        if (error != 0 || phase->stop == NULL || !*phase->stop) continue;
        snprintf(why, TAEL_CLIENT_WHY_SIZE, "told to stop");
        error = -ECANCELED;
    }
    free(accounts);
    free(results);
    return error;
}

/* --- opening and closing --- */

static void worker_met(void *context, const struct tael_client_result *result) {
    struct worker *worker = context;
    (void)result;
    worker->thread = gettid();
    sem_post(&worker->met);
}

/* Learns which thread is the client's: it asks for an account and never mind the answer. */
static int worker_meet(struct worker *worker) {
    const tael_u128 id = 1;
    const struct tael_client_submit submit = {.operation = TAEL_OPERATION_lookup_accounts,
                                              .event_count = 1,
                                              .events = &id,
                                              .completion = worker_met,
                                              .context = worker};
    if (sem_init(&worker->met, 0, 0) != 0) return -errno;
    const int error = tael_client_submit(worker->client, &submit);
    while (error == 0 && sem_wait(&worker->met) != 0) continue;
    sem_destroy(&worker->met);
    return error;
}

static uint32_t share_of(uint32_t whole, uint32_t parts, uint32_t index) {
    return whole / parts + (index < whole % parts ? 1 : 0);
}

static int workers_init(struct tael_load *load, const struct tael_load_options *options,
                        char why[static TAEL_CLIENT_WHY_SIZE]) {
    load->workers = calloc(options->clients, sizeof *load->workers);
    if (load->workers == NULL) return -ENOMEM;
    for (; load->workers_count < options->clients; load->workers_count++) {
        const uint32_t index = load->workers_count;
        const struct tael_client_options client = {
            .address = options->address,
            .cluster = options->cluster,
            .sessions = share_of(options->sessions, options->clients, index),
            /* A batch's place in the queue is free only after its completion, which sends the next one. */
            .queue_max = 2 * (options->outstanding / options->clients + 2),
            .timeout_ns = options->timeout_ns,
            .transport = options->udp ? TAEL_CLIENT_UDP : TAEL_CLIENT_TCP,
            .datagram_max = options->datagram_max,
            .faults = options->faults,
            .connect_timeout_ns = lesser(options->timeout_ns, 10 * TAEL_NS_PER_S),
        };
        int error = tael_client_connect(&client, &load->workers[index].client, why);
        if (error != 0) return error;
        error = worker_meet(&load->workers[index]);
        if (error == 0) continue;
        tael_client_close(load->workers[index].client, 0);
        return error;
    }
    return 0;
}

static int lane_init(struct tael_load *load, uint32_t index) {
    struct lane *lane = &load->lanes[index];
    const size_t size = (size_t)load->mix.options.batch * sizeof(struct tael_transfer);
    lane->load = load;
    lane->worker = &load->workers[index % load->workers_count];
    lane->next_free = load->free;
    load->free = lane;
    int error = tael_mix_stream_init(&load->mix, index, &lane->stream);
    if (error != 0) return error;
    for (int i = 0; i < 2; i++) {
        lane->buffers[i] = malloc(size);
        if (lane->buffers[i] == NULL) return -ENOMEM;
        memset(lane->buffers[i], 0, size); /* so that no page is first touched while the clock runs */
    }
    return 0;
}

static int lanes_init(struct tael_load *load, uint32_t count) {
    load->lanes = calloc(count, sizeof *load->lanes);
    if (load->lanes == NULL) return -ENOMEM;
    load->lanes_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const int error = lane_init(load, i);
        if (error != 0) return error;
    }
    return 0;
}

static int sync_init(struct tael_load *load) {
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0) return -error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0) error = pthread_cond_init(&load->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (error == 0) error = pthread_mutex_init(&load->mutex, NULL);
    return -error;
}

int tael_load_open(const struct tael_load_options *options, struct tael_load **out,
                   char why[static TAEL_CLIENT_WHY_SIZE]) {
    TAEL_ASSERT(options->clients > 0 && options->clients <= CLIENTS_MAX);
    TAEL_ASSERT(options->sessions >= options->clients);
    TAEL_ASSERT(options->outstanding >= options->clients);
    struct tael_load *load = calloc(1, sizeof *load);
    if (load == NULL) return -ENOMEM;
    snprintf(why, TAEL_CLIENT_WHY_SIZE, "out of memory");
    /* With a session for each batch every batch is a request of its own, also when several are sent at one time. */
    load->submit_flags = options->outstanding > options->sessions ? 0 : TAEL_CLIENT_ALONE;
    struct tael_mix_options mix = options->mix;
    mix.streams = options->outstanding;
    int error = sync_init(load);
    if (error == 0) error = tael_mix_init(&load->mix, &mix);
    if (error == 0) error = workers_init(load, options, why);
    if (error == 0) error = lanes_init(load, options->outstanding);
    if (error != 0) {
        tael_load_close(load);
        return error;
    }
    *out = load;
    return 0;
}

void tael_load_close(struct tael_load *load) {
    if (load == NULL) return;
    for (uint32_t i = 0; i < load->workers_count; i++) tael_client_close(load->workers[i].client, 0);
    for (uint32_t i = 0; i < load->lanes_count; i++) {
        struct lane *lane = &load->lanes[i];
        tael_mix_stream_free(&lane->stream);
        free(lane->buffers[0]);
        free(lane->buffers[1]);
    }
    tael_mix_free(&load->mix);
    free(load->lanes);
    free(load->workers);
    pthread_cond_destroy(&load->changed);
    pthread_mutex_destroy(&load->mutex);
    free(load);
}

struct tael_client *tael_load_client(struct tael_load *load) {
    return load->workers[0].client;
}
