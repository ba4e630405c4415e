/* `tael bench`: how fast a ledger is, over TCP or in process, and with what latency.
 *
 * It measures the server that it is pointed to, or one that it starts on a ledger of its own, or is, without a network. Each run
 * has a warm-up, which counts for nothing. All transfers are meant to be created: any that isn't is a failure. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <tael/datagram.h>
#include <tael/limits.h>

#include "bench/load/load.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/generator.h"
#include "cli/output.h"
#include "cli/own_server.h"
#include "cli/placement.h"
#include "cli/server.h"
#include "cli/trial_balance.h"
#include "io/faults.h"

#define BATCHES_OUTSTANDING_MAX 1000000
#define TRANSFERS_DEFAULT 2000000
#define SETTLE_MAX_NS (30 * TAEL_NS_PER_S)
#define SETTLE_LOOK_NS 10000000
#define OWN_TRANSFERS_DEFAULT 20000000 /* room in a ledger of our own where seconds are given */

#define BENCH_OPTIONS(X, S)                                                                                            \
    X(S, TEXT, to, "ADDR:PORT", 0, 0, NULL, "the server to measure; without it, one on a new ledger is started")       \
    X(S, FLAG, udp, "", 0, 0, false, "with --to: by datagrams; the address is that of the server's datagram port")     \
    X(S, NUMBER, datagram_max, "BYTES", TAEL_DATAGRAM_SIZE_ETHERNET, TAEL_DATAGRAM_SIZE_MAX,                           \
      TAEL_DATAGRAM_SIZE_ETHERNET, "with --udp: of a datagram, as the way takes them")                                 \
    X(S, TEXT, faults, "LIST", 0, 0, NULL,                                                                             \
      "with --udp: faults on purpose, percent of datagrams: drop=20,duplicate=10,reorder=10,corrupt=1,seed=7")         \
    X(S, TEXT, start, "DIR", 0, 0, NULL, "make that new ledger in DIR and keep it; without it, it is removed")         \
    X(S, FLAG, in_process, "", 0, 0, false,                                                                            \
      "make requests in the server's own process, without a network; the server is this one, on a new ledger")         \
    X(S, NUMBER, workers, "N", 1, TAEL_WORKERS_MAX, 0, "with --in-process: as tael start has it")                      \
    X(S, TEXT, cores, "MAP", 0, 0, NULL, "with --in-process: as tael start has it; net is the generator")              \
    X(S, TEXT, idle, "HOW", 0, 0, "sleep", "with --in-process: as tael start has it")                                  \
    X(S, WIDE, cluster, "N", 0, 0, 0, "the ledger's cluster number")                                                   \
    X(S, NUMBER, timeout, "SECONDS", 1, 86400, 60, "how long one request may take, retries included")                  \
    X(S, NUMBER, sessions, "N", 1, TAEL_CLIENT_SESSIONS_MAX, 4,                                                        \
      "a connection each, or a slot with --udp, with one request in flight")                                           \
    X(S, NUMBER, clients, "N", 1, 64, 1, "threads of the generator that share the sessions")                           \
    X(S, NUMBER, outstanding, "N", 1, BATCHES_OUTSTANDING_MAX, 0,                                                      \
      "batches at once, in place of one a session; more than that share requests")                                     \
    X(S, NUMBER, batch, "N", 1, TAEL_EVENTS_MAX, TAEL_EVENTS_MAX, "transfers in a batch")                              \
    X(S, NUMBER, accounts, "N", 2, TAEL_ACCOUNTS_MAX, 10000, "accounts that pay each other")                           \
    X(S, NUMBER, transfers, "N", 1, TAEL_TRANSFERS_MAX, 0, "how many a run sends; 2 million without --seconds")        \
    X(S, NUMBER, seconds, "N", 1, 86400, 0, "how long a run sends")                                                    \
    X(S, NUMBER, warm_up, "SECONDS", 0, 86400, 2, "before each run; but no more than a tenth of --transfers")          \
    X(S, NUMBER, runs, "N", 1, 1000, 1, "one after the other; figures are those of the median one")                    \
    X(S, NUMBER, rate, "N", 1, 1000000000, 0, "transfers a second, evenly; without it, as fast as replies come")       \
    X(S, TEXT, choice, "HOW", 0, 0, "uniform", "of accounts: uniform, hot or zipf")                                    \
    X(S, NUMBER, hot, "PERCENT", 0, 100, 50, "with --choice hot: transfers that credit one merchant")                  \
    X(S, NUMBER, theta, "HUNDREDTHS", 1, 500, 99, "with --choice zipf: 99 is an exponent of 0.99")                     \
    X(S, NUMBER, pending, "PERCENT", 0, 50, 0, "transfers that are pending; as many settle those, a batch later")      \
    X(S, NUMBER, voids, "PERCENT", 0, 100, 10, "of what settles, that voids; the rest posts")                          \
    X(S, NUMBER, chains, "PERCENT", 0, 100, 0, "transfers that are in linked chains")                                  \
    X(S, NUMBER, chain_length, "N", 2, TAEL_EVENTS_MAX, 4, "transfers in a chain")                                     \
    X(S, FLAG, history, "", 0, 0, false, "the accounts keep their history")                                            \
    X(S, NUMBER, ledger, "N", 1, UINT32_MAX, 1, "the ledger of all of them")                                           \
    X(S, NUMBER, transfers_max, "N", TAEL_TRANSFERS_MIN, TAEL_TRANSFERS_MAX, 0,                                        \
      "room in the new ledger; a run of --seconds ends when it is used up")                                            \
    X(S, NUMBER, seed, "N", 0, INT64_MAX, 1, "the same one chooses the same accounts")                                 \
    X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
TAEL_OPTIONS_DEFINE(bench_options, BENCH_OPTIONS);

struct bench {
    const struct bench_options *options;
    struct tael_load_options load_options;
    struct tael_own_server server;
    struct tael_load *load;
    struct tael_progress progress;
    uint64_t room; /* transfers that the ledger still takes, of one of our own */
    struct tael_bench_report report;
};

static volatile sig_atomic_t is_stopped;

static void stop_note(int number) {
    (void)number;
    is_stopped = 1;
}

/* The second signal ends the program at once. */
static void signals_take(void) {
    struct sigaction action = {.sa_handler = stop_note, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* --- options --- */

static int wrong(const char *text) {
    tael_error(&tael_command_bench, "%s; see 'tael bench --help'", text);
    return TAEL_EXIT_USAGE;
}

static int choice_read(const char *text, enum tael_mix_choice *out) {
    static const char *const names[] = {"uniform", "hot", "zipf"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) return *out = (enum tael_mix_choice)i, TAEL_EXIT_DONE;
    }
    return wrong("--choice takes uniform, hot or zipf");
}

static int options_check(const struct bench_options *options) {
    const uint64_t outstanding = options->outstanding == 0 ? options->sessions : options->outstanding;
    if (options->to != NULL && options->start != NULL) return wrong("--to and --start exclude each other");
    if (options->to != NULL && options->transfers_max != 0) return wrong("--transfers-max is for a new ledger");
    if (options->in_process && options->to != NULL) return wrong("--in-process has a server of its own, so no --to");
    if (options->in_process && options->rate != 0) return wrong("--in-process knows no --rate");
    if (options->in_process && outstanding != options->sessions) {
        return wrong("--in-process has as many batches at once as --sessions");
    }
    struct tael_faults_options faults;
    if (options->udp && options->to == NULL) return wrong("--udp needs --to");
    if (!options->udp && (options->faults != NULL || options->datagram_max != TAEL_DATAGRAM_SIZE_ETHERNET)) {
        return wrong("--faults and --datagram-max need --udp");
    }
    if (options->faults != NULL && tael_faults_parse(options->faults, &faults) != 0) {
        return wrong("--faults takes drop, duplicate, reorder and corrupt in percent, and seed");
    }
    if (options->clients > options->sessions) return wrong("each client needs a session; there are more --clients");
    if (outstanding < options->sessions) return wrong("--outstanding is less than the sessions, so some were idle");
    if (2 * options->pending + options->chains > 100) return wrong("twice --pending and --chains are more than 100 %");
    if (options->chains > 0 && options->chain_length > options->batch) return wrong("a chain doesn't fit a batch");
    return TAEL_EXIT_DONE;
}

static int load_options_make(struct bench *bench) {
    const struct bench_options *options = bench->options;
    struct tael_load_options *load = &bench->load_options;
    int status = options_check(options);
    if (status == TAEL_EXIT_DONE) status = choice_read(options->choice, &load->mix.choice);
    if (status != TAEL_EXIT_DONE) return status;
    load->address = options->to;
    load->udp = options->udp;
    load->datagram_max = options->udp ? (uint32_t)options->datagram_max : 0;
    load->faults = options->faults;
    load->cluster = options->cluster;
    load->timeout_ns = options->timeout * TAEL_NS_PER_S;
    load->clients = (uint32_t)options->clients;
    load->sessions = (uint32_t)options->sessions;
    load->outstanding = (uint32_t)(options->outstanding == 0 ? options->sessions : options->outstanding);
    load->mix.accounts = options->accounts;
    load->mix.seed = options->seed;
    load->mix.ledger = (uint32_t)options->ledger;
    load->mix.batch = (uint32_t)options->batch;
    load->mix.hot_percent = (uint32_t)options->hot;
    load->mix.theta_percent = (uint32_t)options->theta;
    load->mix.pending_percent = (uint32_t)options->pending;
    load->mix.void_percent = (uint32_t)options->voids;
    load->mix.chain_percent = (uint32_t)options->chains;
    load->mix.chain_length = options->chains > 0 ? (uint32_t)options->chain_length : 2;
    load->mix.history = options->history;
    if (getrandom(&load->mix.run, sizeof load->mix.run, 0) == sizeof load->mix.run) return TAEL_EXIT_DONE;
    tael_error(&tael_command_bench, "the kernel gives no random numbers: %s", strerror(errno));
    return TAEL_EXIT_FAILED;
}

/* What a run sends at most: its own limit, of transfers or what the rate makes in its seconds. */
static uint64_t run_transfers(const struct bench_options *options) {
    if (options->transfers != 0) return options->transfers;
    if (options->seconds == 0) return TRANSFERS_DEFAULT;
    return options->rate == 0 ? UINT64_MAX : options->rate * options->seconds;
}

/* A tenth of a run, or what is left of the ledger where a run has no limit. */
static uint64_t warm_up_transfers(const struct bench_options *options) {
    const uint64_t transfers = run_transfers(options);
    return transfers == UINT64_MAX ? OWN_TRANSFERS_DEFAULT / 10 : (transfers + 9) / 10;
}

/* Room for all runs in a ledger of our own. */
static uint64_t own_transfers_max(const struct bench_options *options) {
    const uint64_t transfers = run_transfers(options);
    if (options->transfers_max != 0) return options->transfers_max;
    if (transfers == UINT64_MAX) return OWN_TRANSFERS_DEFAULT;
    const tael_u128 all = (tael_u128)(transfers + warm_up_transfers(options) + 1) * options->runs;
    if (all > TAEL_TRANSFERS_MAX) return TAEL_TRANSFERS_MAX;
    return all < TAEL_TRANSFERS_MIN ? TAEL_TRANSFERS_MIN : (uint64_t)all;
}

/* --- runs --- */

static void progress_show(void *context, uint64_t done) {
    struct bench *bench = context;
    tael_progress_show(&bench->progress, done);
}

/* Until the server has touched its memory. It does so only when a processor is idle, so where none ever is, not for long. */
static void own_server_settle(struct bench *bench) {
    const uint64_t begun_ns = tael_monotonic_ns();
    uint64_t waited_ns = 0;
    tael_progress_begin(&bench->progress, "waiting for the server to touch its memory", "s", 0);
    while (tael_own_server_is_settling(&bench->server) && !is_stopped && waited_ns < SETTLE_MAX_NS) {
        (void)nanosleep(&(struct timespec){.tv_nsec = SETTLE_LOOK_NS}, NULL);
        waited_ns = tael_monotonic_ns() - begun_ns;
        tael_progress_show(&bench->progress, waited_ns / TAEL_NS_PER_S);
    }
    tael_progress_end(&bench->progress);
    if (waited_ns < SETTLE_MAX_NS) return;
    tael_error(&tael_command_bench,
               "the processors are so busy that the server still touches its memory: the figures are "
               "lower for it");
}

static struct tael_own_server_options own_server_options(const struct bench_options *options) {
    return (struct tael_own_server_options){
        .directory = options->start,
        .cluster = options->cluster,
        .accounts_max = options->accounts < TAEL_ACCOUNTS_MIN ? TAEL_ACCOUNTS_MIN : options->accounts,
        .transfers_max = own_transfers_max(options),
        .sessions_max = options->sessions,
    };
}

static bool own_server_start(struct bench *bench) {
    const struct tael_own_server_options own = own_server_options(bench->options);
    if (!tael_own_server_start(&tael_command_bench, &own, &bench->server)) return false;
    own_server_settle(bench);
    bench->load_options.address = bench->server.address;
    bench->room = own.transfers_max;
    return true;
}

static struct tael_load_phase phase_make(struct bench *bench) {
    return (struct tael_load_phase){
        .transfers = UINT64_MAX,
        .duration_ns = UINT64_MAX,
        .rate = bench->options->rate,
        .stop = &is_stopped,
        .progress = progress_show,
        .progress_context = bench,
    };
}

static bool load_open(struct bench *bench) {
    char why[TAEL_CLIENT_WHY_SIZE];
    if (tael_load_open(&bench->load_options, &bench->load, why) != 0) {
        tael_error(&tael_command_bench, "%s", why);
        return false;
    }
    bench->report.make_cost_ns = tael_load_make_cost_ns(bench->load);
    const struct tael_load_phase phase = phase_make(bench);
    tael_progress_begin(&bench->progress, "opening", "accounts", bench->options->accounts);
    const int error = tael_load_accounts_open(bench->load, &phase, &bench->report.accounts_opened, why);
    tael_progress_end(&bench->progress);
    if (error != 0) tael_error(&tael_command_bench, "%s", why);
    return error == 0;
}

/* Runs the phase within what room the ledger has. False when a transfer was not created, which has been said. */
static bool phase_run(struct bench *bench, const char *what, struct tael_load_phase phase,
                      struct tael_load_result *result) {
    if (phase.transfers > bench->room) phase.transfers = bench->room;
    tael_progress_begin(&bench->progress, what, "transfers", phase.transfers == UINT64_MAX ? 0 : phase.transfers);
    tael_load_run(bench->load, &phase, result);
    tael_progress_end(&bench->progress);
    if (bench->room != UINT64_MAX) bench->room -= result->transfers;
    if (is_stopped) {
        tael_error(&tael_command_bench, "stopped by a signal");
        return false;
    }
    if (result->failed > 0) {
        tael_error(&tael_command_bench, "%" PRIu64 " batches failed, the first: %s", result->failed,
                   result->failed_why);
    } else if (result->created != result->transfers) {
        tael_error(&tael_command_bench, "%" PRIu64 " transfers were rejected", result->transfers - result->created);
    }
    return result->failed == 0 && result->created == result->transfers;
}

static bool run_measure(struct bench *bench, struct tael_bench_run *run) {
    const struct bench_options *options = bench->options;
    struct tael_load_phase phase = phase_make(bench);
    if (options->warm_up > 0) {
        phase.duration_ns = options->warm_up * TAEL_NS_PER_S;
        phase.transfers = warm_up_transfers(options);
        if (!phase_run(bench, "warming up", phase, &run->load)) return false;
    }
    phase.duration_ns = options->seconds == 0 ? UINT64_MAX : options->seconds * TAEL_NS_PER_S;
    phase.transfers = run_transfers(options);
    const uint64_t before_ns = tael_own_server_cpu_ns(&bench->server);
    const bool is_well = phase_run(bench, "measuring", phase, &run->load);
    const uint64_t cpu_ns = tael_own_server_cpu_ns(&bench->server) - before_ns;
    run->server_cpu = before_ns == 0 || run->load.elapsed_ns == 0 ? -1 : (double)cpu_ns / (double)run->load.elapsed_ns;
    return is_well;
}

/* Runs until all are done or one has failed; that one is in the report, too. */
static bool runs_measure(struct bench *bench) {
    struct tael_bench_report *report = &bench->report;
    report->runs = calloc(bench->options->runs, sizeof *report->runs);
    if (report->runs == NULL) {
        tael_error(&tael_command_bench, "out of memory");
        return false;
    }
    bool is_well = true;
    while (is_well && report->runs_count < bench->options->runs) {
        is_well = run_measure(bench, &report->runs[report->runs_count++]);
    }
    tael_bench_runs_sort(report->runs, report->runs_count);
    return is_well;
}

/* --- the command --- */

static int report_print(struct bench *bench, const struct tael_trial_balance *balance) {
    bench->report.balance = balance;
    int status = TAEL_EXIT_DONE;
    if (bench->options->json) {
        status = tael_json_print(tael_bench_json(&bench->report));
    } else {
        tael_bench_print(&bench->report);
    }
    if (!balance->is_balanced) {
        tael_error(&tael_command_bench, "the books do not balance");
        status = TAEL_EXIT_FAILED;
    }
    return status;
}

static int report_fetch_and_print(struct bench *bench) {
    struct tael_trial_balance balance;
    char why[TAEL_CLIENT_WHY_SIZE];
    if (tael_trial_balance_fetch(tael_load_client(bench->load), 0, 0, &balance, why) != 0) {
        tael_error(&tael_command_bench, "no trial balance: %s", why);
        return TAEL_EXIT_FAILED;
    }
    const int status = report_print(bench, &balance);
    tael_trial_balance_free(&balance);
    return status;
}

static int bench_measure(struct bench *bench) {
    bench->room = UINT64_MAX;
    bench->report.options = &bench->load_options;
    bench->report.rate = bench->options->rate;
    (void)getloadavg(&bench->report.load_average, 1);
    if (bench->options->to == NULL && !own_server_start(bench)) return TAEL_EXIT_FAILED;
    if (!load_open(bench)) return TAEL_EXIT_FAILED;
    const bool is_well = runs_measure(bench);
    const int status = bench->report.runs_count == 0 ? TAEL_EXIT_FAILED : report_fetch_and_print(bench);
    return is_well ? status : TAEL_EXIT_FAILED;
}

/* --- in process --- */

static struct tael_generator_options generator_options(const struct bench *bench) {
    const struct bench_options *options = bench->options;
    struct tael_mix_options mix = bench->load_options.mix;
    mix.streams = (uint32_t)options->sessions;
    return (struct tael_generator_options){
        .mix = mix,
        .transfers = run_transfers(options),
        .duration_ns = options->seconds == 0 ? UINT64_MAX : options->seconds * TAEL_NS_PER_S,
        .warm_up_ns = options->warm_up * TAEL_NS_PER_S,
        .warm_up_transfers = warm_up_transfers(options),
        .runs = (uint32_t)options->runs,
    };
}

/* What the generator found, as a report has it. */
static bool runs_take(struct bench *bench, const struct tael_generator *generator) {
    struct tael_bench_report *report = &bench->report;
    const struct tael_generator_run *runs;
    report->runs_count = tael_generator_runs(generator, &runs);
    report->runs = calloc(report->runs_count, sizeof *report->runs);
    if (report->runs == NULL) return false;
    for (uint32_t i = 0; i < report->runs_count; i++) {
        report->runs[i].server_cpu = -1;
        report->runs[i].times = runs[i].times;
        report->runs[i].load = (struct tael_load_result){
            .elapsed_ns = runs[i].elapsed_ns,
            .batches = runs[i].requests,
            .requests = runs[i].requests,
            .transfers = runs[i].transfers,
            .created = runs[i].created,
            .latency_ns = runs[i].latency_ns,
        };
    }
    tael_bench_runs_sort(report->runs, report->runs_count);
    report->is_in_process = true;
    report->accounts_opened = tael_generator_accounts_opened(generator);
    report->make_cost_ns = tael_generator_make_cost_ns(generator);
    return true;
}

static int generator_report(struct bench *bench, const struct tael_generator *generator) {
    const char *problem = tael_generator_problem(generator);
    struct tael_trial_balance balance;
    uint32_t rows_count;
    uint64_t op;
    const struct tael_trial_balance_row *rows = tael_generator_balance(generator, &rows_count, &op);
    if (problem == NULL && tael_trial_balance_read(rows, rows_count, op, &balance) != 0) problem = "no trial balance";
    if (problem == NULL && !runs_take(bench, generator)) problem = "out of memory";
    if (problem == NULL) return report_print(bench, &balance);
    tael_error(&tael_command_bench, "%s", problem);
    return TAEL_EXIT_FAILED;
}

/* The server in this process, with the generator in place of a network. */
static int in_process_measure(struct bench *bench) {
    const struct bench_options *options = bench->options;
    const struct tael_own_server_options own = own_server_options(options);
    const struct tael_generator_options load = generator_options(bench);
    struct tael_server_options server = {
        .replies_large = TAEL_BUFFERS_LARGE_DEFAULT, .log_in_flight = TAEL_LOG_IN_FLIGHT_DEFAULT, .is_quiet = true};
    bench->report.options = &bench->load_options;
    (void)getloadavg(&bench->report.load_average, 1);
    if (!tael_placement_make(&tael_command_bench, (uint32_t)options->workers, options->cores, options->idle,
                             &server.placement)) {
        return TAEL_EXIT_USAGE;
    }
    if (!tael_own_server_format(&tael_command_bench, &own, &bench->server)) return TAEL_EXIT_FAILED;
    struct tael_generator *generator = tael_generator_make(&load);
    if (generator == NULL) {
        tael_error(&tael_command_bench, "out of memory");
        return TAEL_EXIT_FAILED;
    }
    server.path = bench->server.directory;
    server.ingresses[server.ingress_count++] = tael_generator_ingress(generator);
    int status = tael_server_run(&server);
    if (status == TAEL_EXIT_DONE) status = generator_report(bench, generator);
    tael_generator_free(generator);
    return status;
}

static int bench_run(const void *options_any, int operands_count, char **operands) {
    struct bench *bench = calloc(1, sizeof *bench);
    (void)operands_count;
    (void)operands;
    if (bench == NULL) return TAEL_EXIT_FAILED;
    bench->options = options_any;
    int status = load_options_make(bench);
    if (status == TAEL_EXIT_DONE && bench->options->in_process) {
        status = in_process_measure(bench);
    } else if (status == TAEL_EXIT_DONE) {
        signals_take();
        status = bench_measure(bench);
    }
    tael_load_close(bench->load);
    if (!tael_own_server_stop(&bench->server)) status = TAEL_EXIT_FAILED;
    free(bench->report.runs);
    free(bench);
    return status;
}

const struct tael_command tael_command_bench = {
    .name = "bench",
    .summary = "Measures transfers a second and their latency, and whether the books balance afterwards",
    .details =
        "Without --to it makes a ledger, starts a server on it and stops it at the end. With --to the accounts and\n"
        "transfers stay in that ledger. Latency is that of a batch, from when it was meant to be sent: with --rate a\n"
        "batch that waits for a session counts its wait. It says when the generator was the limit, not the server.\n"
        "The exit status is 1 when a transfer isn't created or the books don't balance.",
    .operands = "",
    TAEL_OPTIONS_OF(bench_options),
    .run = bench_run,
};
