/* Posts transfers of amount 1 through the client library's public face, many submits outstanding, and checks what it is told: each
 * was created, then each is found by its id. Run twice on one ledger it would find its ids taken, and fail.
 *
 * Usage: post ADDRESS SESSIONS TRANSFERS SUBMIT_MIN SUBMIT_MAX PAUSE_US [IN_FLIGHT]
 * The sizes of the submits go round from SUBMIT_MIN to SUBMIT_MAX; between two there is a pause. Prints a report. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <tael/client.h>

#define ACCOUNTS 1000
#define TIMEOUT_NS 120000000000ull

struct post {
    struct tael_client *client;
    uint64_t transfers, min, max, pause_us, in_flight;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct work *free; /* guarded, as all below */
    uint64_t free_count;
    uint64_t created;
    int failed; /* the first status that was not 0 */
    char why[TAEL_CLIENT_WHY_SIZE];
};

struct work {
    struct post *post;
    struct work *next;
    uint32_t count;
    struct tael_transfer *transfers;
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "post: %s: %s\n", what, why);
    exit(1);
}

static double seconds_of(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

static void completed(void *context, const struct tael_client_result *result) {
    struct work *work = context;
    struct post *post = work->post;
    const struct tael_create_result *results = result->results;
    uint64_t created = 0;
    for (uint32_t i = 0; i < result->count; i++) created += results[i].status == TAEL_STATUS_CREATED;
    pthread_mutex_lock(&post->mutex);
    post->created += created;
    if (result->status != 0 && post->failed == 0) {
        post->failed = result->status;
        snprintf(post->why, sizeof post->why, "%s", result->why);
    }
    work->next = post->free;
    post->free = work;
    post->free_count++;
    pthread_cond_signal(&post->changed);
    pthread_mutex_unlock(&post->mutex);
}

/* A work that is not in flight, waited for; with `all`, when none is. */
static struct work *work_take(struct post *post, int all) {
    pthread_mutex_lock(&post->mutex);
    while (post->free_count < (all ? post->in_flight : 1)) pthread_cond_wait(&post->changed, &post->mutex);
    struct work *work = post->free;
    post->free = work->next;
    post->free_count--;
    pthread_mutex_unlock(&post->mutex);
    return work;
}

static void accounts_open(const struct post *post) {
    static struct tael_account accounts[ACCOUNTS];
    static struct tael_create_result results[ACCOUNTS];
    struct tael_client_reply reply;
    for (uint32_t i = 0; i < ACCOUNTS; i++) accounts[i] = (struct tael_account){.id = i + 1, .ledger = 1, .code = 1};
    if (tael_client_call(post->client, TAEL_OPERATION_create_accounts, accounts, ACCOUNTS, results, ACCOUNTS, 0,
                         &reply) != 0) {
        die("accounts", reply.why);
    }
}

static void work_fill(struct work *work, uint64_t first_id, uint64_t count) {
    work->count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t id = first_id + i;
        work->transfers[i] = (struct tael_transfer){.id = id,
                                                    .debit_account_id = id * 7919 % ACCOUNTS + 1,
                                                    .credit_account_id = (id * 7919 + 1 + id % 99) % ACCOUNTS + 1,
                                                    .amount = 1,
                                                    .ledger = 1,
                                                    .code = 1};
    }
}

static void transfers_post(struct post *post) {
    uint64_t size = post->min;
    for (uint64_t done = 0; done < post->transfers;) {
        struct work *work = work_take(post, 0);
        work_fill(work, done + 1, size < post->transfers - done ? size : post->transfers - done);
        const struct tael_client_submit submit = {.operation = TAEL_OPERATION_create_transfers,
                                                  .event_count = work->count,
                                                  .events = work->transfers,
                                                  .completion = completed,
                                                  .context = work};
        const int error = tael_client_submit(post->client, &submit);
        if (error != 0) die("submit", strerror(-error));
        done += work->count;
        size = size == post->max ? post->min : size + 1;
        if (post->pause_us > 0) nanosleep(&(struct timespec){.tv_nsec = (long)post->pause_us * 1000}, NULL);
    }
    work_take(post, 1);
}

/* Each id is found, once, with its amount. */
static void transfers_find(const struct post *post) {
    static tael_u128 ids[TAEL_CLIENT_EVENTS_MAX];
    static struct tael_transfer found[TAEL_CLIENT_EVENTS_MAX];
    struct tael_client_reply reply;
    for (uint64_t done = 0; done < post->transfers;) {
        const uint64_t left = post->transfers - done;
        const uint32_t count = left < TAEL_CLIENT_EVENTS_MAX ? (uint32_t)left : TAEL_CLIENT_EVENTS_MAX;
        for (uint32_t i = 0; i < count; i++) ids[i] = done + i + 1;
        if (tael_client_call(post->client, TAEL_OPERATION_lookup_transfers, ids, count, found, TAEL_CLIENT_EVENTS_MAX,
                             0, &reply) != 0) {
            die("lookup", reply.why);
        }
        if (reply.count != count) die("lookup", "a transfer is missing");
        for (uint32_t i = 0; i < count; i++) {
            if (found[i].id != ids[i] || found[i].amount != 1) die("lookup", "a transfer is another one");
        }
        done += count;
    }
}

static void works_make(struct post *post) {
    struct work *works = calloc(post->in_flight, sizeof *works);
    for (uint64_t i = 0; works != NULL && i < post->in_flight; i++) {
        works[i] =
            (struct work){.post = post, .next = post->free, .transfers = calloc(post->max, sizeof *works->transfers)};
        if (works[i].transfers == NULL) die("memory", "out of it");
        post->free = &works[i];
        post->free_count++;
    }
    if (works == NULL) die("memory", "out of it");
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: post ADDRESS SESSIONS TRANSFERS SUBMIT_MIN SUBMIT_MAX PAUSE_US [IN_FLIGHT]\n");
        return 2;
    }
    struct post post = {.transfers = strtoull(argv[3], NULL, 10),
                        .min = strtoull(argv[4], NULL, 10),
                        .max = strtoull(argv[5], NULL, 10),
                        .pause_us = strtoull(argv[6], NULL, 10),
                        .in_flight = argc > 7 ? strtoull(argv[7], NULL, 10) : 64};
    const struct tael_client_options options = {.address = argv[1],
                                                .sessions = (uint32_t)strtoul(argv[2], NULL, 10),
                                                .timeout_ns = TIMEOUT_NS,
                                                .retransmit_ns = 100000000};
    pthread_mutex_init(&post.mutex, NULL);
    pthread_cond_init(&post.changed, NULL);
    works_make(&post);
    if (tael_client_connect(&options, &post.client, post.why) != 0) die("connect", post.why);
    accounts_open(&post);
    const double begun_s = now_s(), cpu_begun_s = cpu_s(RUSAGE_SELF), own_begun_s = cpu_s(RUSAGE_THREAD);
    transfers_post(&post);
    const double took_s = now_s() - begun_s;
    const double own_s = cpu_s(RUSAGE_THREAD) - own_begun_s;
    const double library_s = cpu_s(RUSAGE_SELF) - cpu_begun_s - own_s;
    if (post.failed != 0) die("transfers", post.why);
    if (post.created != post.transfers) die("transfers", "not all were created");
    const struct tael_client_counters counters = tael_client_counters(post.client);
    transfers_find(&post);
    tael_client_close(post.client, 0);
    printf("%llu transfers in %.3f s: %.0f a second; %llu submits in %llu requests; %llu reconnects\n"
           "cores: %.2f the library's thread, %.2f the maker of the transfers\n",
           (unsigned long long)post.transfers, took_s, (double)post.transfers / took_s,
           (unsigned long long)counters.submits, (unsigned long long)counters.requests,
           (unsigned long long)counters.reconnects, library_s / took_s, own_s / took_s);
    return 0;
}
