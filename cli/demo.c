/* `tael demo`: opens accounts, posts payments of its own making, and says how fast that went and whether the books balance.
 *
 * The accounts are the same each time; the transfers of a run have ids that begin with a random number, so a run never meets
 * the transfers of another. All of a run's events are meant to succeed: one that doesn't is a failure of the demonstration. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/status.h>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/trial_balance.h"

#define DEMO_OPTIONS(X, S)                                                                                             \
    TAEL_CONNECT_OPTIONS(X, S)                                                                                         \
    X(S, NUMBER, accounts, "N", 8, TAEL_ACCOUNTS_MAX, 10000, "how many accounts pay each other")                       \
    X(S, NUMBER, transfers, "N", 1, TAEL_TRANSFERS_MAX, 250000, "how many transfers are posted in full batches")       \
    X(S, NUMBER, singles, "N", 0, 1000000, 300, "how many transfers are posted one by one behind them")                \
    X(S, NUMBER, ledger, "N", 1, UINT32_MAX, 1, "the ledger of all of them")
TAEL_OPTIONS_DEFINE(demo_options, DEMO_OPTIONS);

#define ACCOUNT_ID_HIGH 0x64656d6f00000000ull /* "demo" */
enum {
    ACCOUNT_CODE = 10,
    PAYMENT_CODE = 1,
    FEE_CODE = 2,
    CHAIN_LENGTH = 3,
    AMOUNT_MAX = 100000,
    PENDING_TIMEOUT_S = 3600
};

/* What a batch holds. The stream repeats the order of `cycle`. */
/* clang-format off */
#define KIND_TABLE(X)                                                                       \
    X(payments,    "single payments")                                                       \
    X(chains,      "linked chains: a payment, its fee and its tax, all or none")             \
    X(reservations, "pending transfers")                                                    \
    X(settlements, "posts, some of a part, and voids of the pending ones before")
/* clang-format on */
enum kind {
#define X(name, text) KIND_##name,
    KIND_TABLE(X)
#undef X
        KINDS
};
static const char *const kind_names[KINDS] = {
#define X(name, text) #name,
    KIND_TABLE(X)
#undef X
};
static const char *const kind_texts[KINDS] = {
#define X(name, text) text,
    KIND_TABLE(X)
#undef X
};
static const enum kind cycle[] = {KIND_payments, KIND_payments,     KIND_chains,
                                  KIND_payments, KIND_reservations, KIND_settlements};
enum { CYCLE_LENGTH = sizeof cycle / sizeof cycle[0] };

struct demo {
    const struct demo_options *options;
    struct tael_client *client;
    uint64_t random; /* xorshift64 */
    uint64_t run; /* high half of all ids of this run's transfers */
    uint64_t next_id; /* low half */
    uint64_t pending_first_id; /* of the last batch of reservations */
    uint32_t pending_count;
    uint64_t accounts_opened;
    uint64_t posted;
    uint64_t by_kind[KINDS];
    uint64_t failed;
    uint32_t failed_status; /* of the first that failed */
    uint64_t *batch_latencies_ns;
    uint64_t batches;
    uint64_t *single_latencies_ns;
    uint64_t stream_ns;
    union {
        struct tael_account accounts[TAEL_EVENTS_MAX];
        struct tael_transfer transfers[TAEL_EVENTS_MAX];
    } events; /* of the batch at hand */
    struct tael_create_result results[TAEL_EVENTS_MAX];
};

static uint64_t random_next(struct demo *demo) {
    demo->random ^= demo->random << 13;
    demo->random ^= demo->random >> 7;
    demo->random ^= demo->random << 17;
    return demo->random;
}

static tael_u128 account_id(uint64_t index) { return tael_u128_make(ACCOUNT_ID_HIGH, index + 1); }

/* --- events --- */

static struct tael_transfer payment_build(struct demo *demo) {
    const uint64_t accounts = demo->options->accounts;
    const uint64_t debit = random_next(demo) % accounts;
    const uint64_t credit = (debit + 1 + random_next(demo) % (accounts - 1)) % accounts;
    return (struct tael_transfer){
        .id = tael_u128_make(demo->run, demo->next_id++),
        .debit_account_id = account_id(debit),
        .credit_account_id = account_id(credit),
        .amount = 1 + random_next(demo) % AMOUNT_MAX,
        .ledger = (uint32_t)demo->options->ledger,
        .code = PAYMENT_CODE,
    };
}

/* Each chain's payer pays somebody, then the fee to the first account and the tax to the second; it is neither. */
static void chains_build(struct demo *demo, struct tael_transfer *transfers, uint32_t count) {
    const uint64_t accounts = demo->options->accounts;
    uint64_t payer = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t place = i % CHAIN_LENGTH;
        transfers[i] = payment_build(demo);
        if (place == 0) payer = 2 + random_next(demo) % (accounts - 2);
        const uint64_t payee = place == 0 ? (payer + 1 + random_next(demo) % (accounts - 1)) % accounts : place - 1;
        transfers[i].debit_account_id = account_id(payer);
        transfers[i].credit_account_id = account_id(payee);
        if (place != 0) transfers[i].code = FEE_CODE;
        if (place + 1 < CHAIN_LENGTH && i + 1 < count) transfers[i].flags = TAEL_TRANSFER_FLAG_linked;
    }
}

static void reservations_build(struct demo *demo, struct tael_transfer *transfers, uint32_t count) {
    demo->pending_first_id = demo->next_id;
    demo->pending_count = count;
    for (uint32_t i = 0; i < count; i++) {
        transfers[i] = payment_build(demo);
        transfers[i].flags = TAEL_TRANSFER_FLAG_pending;
        transfers[i].timeout = PENDING_TIMEOUT_S;
    }
}

/* Of four reservations two are posted whole, one in part, one is voided. A void takes 0 for all, a post the largest. */
static void settlements_build(struct demo *demo, struct tael_transfer *transfers, uint32_t count) {
    TAEL_ASSERT(count <= demo->pending_count);
    for (uint32_t i = 0; i < count; i++) {
        const bool is_void = i % 4 == 3;
        const tael_u128 posted = i % 4 == 2 ? 1 : TAEL_U128_MAX;
        transfers[i] = (struct tael_transfer){
            .id = tael_u128_make(demo->run, demo->next_id++),
            .pending_id = tael_u128_make(demo->run, demo->pending_first_id + i),
            .amount = is_void ? 0 : posted,
            .flags = is_void ? TAEL_TRANSFER_FLAG_void_pending_transfer : TAEL_TRANSFER_FLAG_post_pending_transfer,
        };
    }
}

static void payments_build(struct demo *demo, struct tael_transfer *transfers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) transfers[i] = payment_build(demo);
}

static void (*const builders[KINDS])(struct demo *demo, struct tael_transfer *transfers, uint32_t count) = {
    [KIND_payments] = payments_build,
    [KIND_chains] = chains_build,
    [KIND_reservations] = reservations_build,
    [KIND_settlements] = settlements_build,
};

/* --- requests --- */

/* Sends the `count` events in demo->events; their results are in demo->results. */
static int events_send(struct demo *demo, uint8_t operation, uint32_t count) {
    struct tael_client_reply reply;
    const int error =
        tael_client_call(demo->client, operation, &demo->events, count, demo->results, TAEL_EVENTS_MAX, 0, &reply);
    if (error != 0) tael_error(&tael_command_demo, "%s", reply.why);
    return error;
}

static int accounts_open(struct demo *demo) {
    const uint64_t accounts = demo->options->accounts;
    for (uint64_t done = 0; done < accounts;) {
        const uint32_t count = (uint32_t)(accounts - done < TAEL_EVENTS_MAX ? accounts - done : TAEL_EVENTS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            demo->events.accounts[i] = (struct tael_account){
                .id = account_id(done + i), .ledger = (uint32_t)demo->options->ledger, .code = ACCOUNT_CODE};
        }
        if (events_send(demo, TAEL_OPERATION_create_accounts, count) != 0) return -EIO;
        const struct tael_create_result *results = demo->results;
        for (uint32_t i = 0; i < count; i++) {
            if (results[i].status == TAEL_STATUS_CREATED) demo->accounts_opened++;
            if (results[i].status == TAEL_STATUS_CREATED || results[i].status == TAEL_ACCOUNT_exists) continue;
            const char *text = tael_account_status_text(results[i].status);
            tael_error(&tael_command_demo, "an account can't be opened: %s; try another --ledger", text);
            return -EIO;
        }
        done += count;
    }
    return 0;
}

static void results_count(struct demo *demo, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (demo->results[i].status == TAEL_STATUS_CREATED) {
            demo->posted++;
        } else if (demo->failed++ == 0) {
            demo->failed_status = demo->results[i].status;
        }
    }
}

static int batch_post(struct demo *demo, enum kind kind, uint32_t count, uint64_t *latency_ns) {
    builders[kind](demo, demo->events.transfers, count);
    const uint64_t begun_ns = tael_monotonic_ns();
    if (events_send(demo, TAEL_OPERATION_create_transfers, count) != 0) return -EIO;
    *latency_ns = tael_monotonic_ns() - begun_ns;
    demo->by_kind[kind] += count;
    results_count(demo, count);
    return 0;
}

static int stream_post(struct demo *demo) {
    struct tael_progress progress;
    tael_progress_begin(&progress, "posting", "transfers", demo->options->transfers);
    const uint64_t begun_ns = tael_monotonic_ns();
    int error = 0;
    for (uint64_t done = 0; done < demo->options->transfers && error == 0;) {
        const uint64_t left = demo->options->transfers - done;
        const uint32_t count = (uint32_t)(left < TAEL_EVENTS_MAX ? left : TAEL_EVENTS_MAX);
        error = batch_post(demo, cycle[demo->batches % CYCLE_LENGTH], count, &demo->batch_latencies_ns[demo->batches]);
        if (error == 0) demo->batches++;
        done += count;
        tael_progress_show(&progress, done);
    }
    demo->stream_ns = tael_monotonic_ns() - begun_ns;
    tael_progress_end(&progress);
    return error;
}

static int singles_post(struct demo *demo) {
    for (uint64_t i = 0; i < demo->options->singles; i++) {
        if (batch_post(demo, KIND_payments, 1, &demo->single_latencies_ns[i]) != 0) return -EIO;
    }
    return 0;
}

/* --- the report --- */

static int latency_compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The latency in ms that `percent` of the sorted ones don't exceed. */
static double percentile_ms(const uint64_t *sorted_ns, uint64_t count, uint64_t percent) {
    if (count == 0) return 0;
    const uint64_t rank = (count * percent + 99) / 100;
    return (double)sorted_ns[rank - 1] / 1e6;
}

static double rate_per_s(const struct demo *demo) {
    return demo->stream_ns == 0 ? 0 : (double)demo->options->transfers * 1e9 / (double)demo->stream_ns;
}

static void latency_print(const char *what, const uint64_t *sorted_ns, uint64_t count) {
    if (count == 0) return;
    printf("  latency of %-13s p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n", what, percentile_ms(sorted_ns, count, 50),
           percentile_ms(sorted_ns, count, 99), percentile_ms(sorted_ns, count, 100));
}

static void report_print(const struct demo *demo, const struct tael_trial_balance *balance) {
    char number[3][TAEL_NUMBER_TEXT_SIZE];
    printf("accounts: %s, %s of them opened now\n", tael_number_format(demo->options->accounts, number[0]),
           tael_number_format(demo->accounts_opened, number[1]));
    printf("transfers: %s in %s requests of up to %d, then %s one by one\n",
           tael_number_format(demo->options->transfers, number[0]), tael_number_format(demo->batches, number[1]),
           TAEL_EVENTS_MAX, tael_number_format(demo->options->singles, number[2]));
    for (int kind = 0; kind < KINDS; kind++) {
        printf("  %-13s%12s  %s\n", kind_names[kind], tael_number_format(demo->by_kind[kind], number[0]),
               kind_texts[kind]);
    }
    printf("durable and answered:\n  throughput %s transfers a second\n",
           tael_number_format((uint64_t)rate_per_s(demo), number[0]));
    latency_print("a batch", demo->batch_latencies_ns, demo->batches);
    latency_print("one transfer", demo->single_latencies_ns, demo->options->singles);
    tael_trial_balance_print(stdout, balance);
}

static json_t *report_json(const struct demo *demo, const struct tael_trial_balance *balance) {
    json_t *kinds = json_object();
    for (int kind = 0; kind < KINDS; kind++) {
        json_object_set_new(kinds, kind_names[kind], json_integer((json_int_t)demo->by_kind[kind]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "accounts",
                     (json_int_t)demo->options->accounts, "transfers", (json_int_t)demo->options->transfers, "posted",
                     (json_int_t)demo->posted, "failed", (json_int_t)demo->failed, "batches", (json_int_t)demo->batches,
                     "kinds", kinds, "seconds", (double)demo->stream_ns / 1e9, "rate", rate_per_s(demo), "batch_p50_ms",
                     percentile_ms(demo->batch_latencies_ns, demo->batches, 50), "batch_p99_ms",
                     percentile_ms(demo->batch_latencies_ns, demo->batches, 99), "single_p50_ms",
                     percentile_ms(demo->single_latencies_ns, demo->options->singles, 50), "single_p99_ms",
                     percentile_ms(demo->single_latencies_ns, demo->options->singles, 99), "trial_balance",
                     tael_trial_balance_json(balance));
}

static int report(struct demo *demo) {
    struct tael_trial_balance balance;
    char why[TAEL_CLIENT_WHY_SIZE];
    if (tael_trial_balance_fetch(demo->client, 0, 0, &balance, why) != 0) {
        tael_error(&tael_command_demo, "%s", why);
        return TAEL_EXIT_FAILED;
    }
    qsort(demo->batch_latencies_ns, demo->batches, sizeof(uint64_t), latency_compare);
    qsort(demo->single_latencies_ns, demo->options->singles, sizeof(uint64_t), latency_compare);
    int status = TAEL_EXIT_DONE;
    if (demo->options->json) {
        status = tael_json_print(report_json(demo, &balance));
    } else {
        report_print(demo, &balance);
    }
    if (demo->failed > 0) {
        const char *text = tael_transfer_status_text(demo->failed_status);
        tael_error(&tael_command_demo, "%" PRIu64 " transfers failed, the first with: %s", demo->failed,
                   text == NULL ? "a status unknown to this program" : text);
    }
    tael_trial_balance_free(&balance);
    return demo->failed > 0 || !balance.is_balanced ? TAEL_EXIT_FAILED : status;
}

/* --- the command --- */

static bool demo_init(struct demo *demo) {
    const uint64_t batches = (demo->options->transfers + TAEL_EVENTS_MAX - 1) / TAEL_EVENTS_MAX;
    demo->batch_latencies_ns = calloc(batches, sizeof(uint64_t));
    demo->single_latencies_ns = calloc(demo->options->singles + 1, sizeof(uint64_t));
    if (demo->batch_latencies_ns == NULL || demo->single_latencies_ns == NULL ||
        getrandom(&demo->run, sizeof demo->run, 0) != sizeof demo->run) {
        tael_error(&tael_command_demo, "can't begin: %s", strerror(errno));
        return false;
    }
    demo->run |= 1;
    demo->random = demo->run;
    demo->next_id = 1;
    demo->client = tael_connect(&tael_command_demo, demo->options->to, demo->options->udp, demo->options->cluster,
                                demo->options->timeout);
    return demo->client != NULL;
}

static int demo_run(const void *options_any, int operands_count, char **operands) {
    struct demo *demo = calloc(1, sizeof *demo);
    (void)operands_count;
    (void)operands;
    if (demo == NULL) return TAEL_EXIT_FAILED;
    demo->options = options_any;
    int status = TAEL_EXIT_FAILED;
    if (demo_init(demo) && accounts_open(demo) == 0 && stream_post(demo) == 0 && singles_post(demo) == 0) {
        status = report(demo);
    }
    tael_client_close(demo->client, 0);
    free(demo->batch_latencies_ns);
    free(demo->single_latencies_ns);
    free(demo);
    return status;
}

const struct tael_command tael_command_demo = {
    .name = "demo",
    .summary = "Opens accounts, posts payments of its own making, says how fast that was and whether the books balance",
    .details = "For a ledger to try things out on: the accounts and transfers stay in it. A second run uses the same\n"
               "accounts. 'latency' is what the client waited for replies, so each was on disk by then.",
    .operands = "",
    TAEL_OPTIONS_OF(demo_options),
    .run = demo_run,
};
