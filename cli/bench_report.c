/* See bench_report.h. */
#include "cli/bench_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <tael/limits.h>
#include <tael/status.h>

#include "cli/output.h"

/* A thread that is busy more than this can't be told from one that sets the pace. */
#define BUSY_SHARE 0.9

/* clang-format off */
#define PERCENTILE_TABLE(X) \
    X(p50, 50000)           \
    X(p99, 99000)           \
    X(p999, 99900)          \
    X(max, 100000)
/* clang-format on */

double tael_bench_rate(const struct tael_load_result *load) {
    return load->elapsed_ns == 0 ? 0 : (double)load->transfers * (double)TAEL_NS_PER_S / (double)load->elapsed_ns;
}

static int run_compare(const void *a, const void *b) {
    const struct tael_bench_run *one = a, *other = b;
    const double x = tael_bench_rate(&one->load), y = tael_bench_rate(&other->load);
    return (x > y) - (x < y);
}

void tael_bench_runs_sort(struct tael_bench_run *runs, uint32_t count) {
    qsort(runs, count, sizeof *runs, run_compare);
}

const struct tael_bench_run *tael_bench_median(const struct tael_bench_report *report) {
    return &report->runs[report->runs_count / 2];
}

static double microseconds(const struct tael_histogram *histogram, uint32_t per_100000) {
    return (double)tael_histogram_percentile(histogram, per_100000) / 1000;
}

/* Late by more than half of what is measured: then it's the generator that is measured. */
static bool is_late(const struct tael_load_result *load, uint32_t per_100000) {
    return tael_histogram_percentile(&load->late_ns, per_100000) * 2 >
           tael_histogram_percentile(&load->latency_ns, per_100000);
}

const char *tael_bench_generator_limit(const struct tael_bench_run *run, uint64_t rate) {
    const bool server_has_time = run->server_cpu < BUSY_SHARE; /* or isn't known */
    if (run->load.client_busy > BUSY_SHARE && server_has_time) {
        return "the generator was the limit: its thread was busy all the time; try more --clients";
    }
    if (rate != 0 && (is_late(&run->load, 50000) || is_late(&run->load, 99000))) {
        return "the generator was the limit: it sent late, by more than half of the latency";
    }
    return NULL;
}

bool tael_bench_rate_is_held(const struct tael_bench_run *run, uint64_t rate) {
    return tael_bench_rate(&run->load) * 1.02 >= (double)rate;
}

/* --- for people --- */

static void latency_print(const char *name, const struct tael_histogram *histogram) {
    printf("  %-22s", name);
#define X(percentile, per_100000) printf("  " #percentile " %.0f", microseconds(histogram, per_100000));
    PERCENTILE_TABLE(X)
#undef X
    printf(" us\n");
}

static void rejected_print(const struct tael_load_result *load) {
    char number[TAEL_NUMBER_TEXT_SIZE];
    for (uint32_t status = 0; status < TAEL_LOAD_STATUSES; status++) {
        if (load->rejected[status] == 0) continue;
        const char *name = tael_transfer_status_name(status);
        printf("  rejected%14s  %s\n", tael_number_format(load->rejected[status], number),
               name == NULL ? "a status unknown to this program" : name);
    }
}

static double share(uint64_t part, uint64_t whole) { return whole == 0 ? 0 : (double)part / (double)whole; }

/* Of each role, the share of the run that it worked, and of its turns that had something to do; of each thread, the rest. */
static void times_print(const struct tael_bench_run *run) {
    const struct tael_server_times *times = &run->times;
    for (uint32_t i = 0; i < TAEL_SERVER_ROLES; i++) {
        const struct tael_role_times *role = &times->roles[i];
        printf("  %-22s%5.1f %% of the time; %.1f %% of its turns had something to do\n",
               i == 0 ? "net: the generator" : role->name, 100 * share(role->worked_ns, run->load.elapsed_ns),
               100 * share(role->turns_worked, role->turns));
    }
    for (uint32_t i = 0; i < times->thread_count; i++) {
        const struct tael_loop_times *thread = &times->threads[i];
        printf("  thread of %-12s%5.1f %% asleep, %.1f %% submissions, %.1f %% completions\n", thread->first->name,
               100 * share(thread->asleep_ns, thread->life_ns), 100 * share(thread->kernel_ns, thread->life_ns),
               100 * share(thread->completions_ns, thread->life_ns));
    }
}

static void run_print(const struct tael_bench_run *run, uint64_t rate, bool is_in_process) {
    const struct tael_load_result *load = &run->load;
    char number[3][TAEL_NUMBER_TEXT_SIZE];
    printf("%s transfers/s: %s transfers in %.3f s, %s requests\n",
           tael_number_format((uint64_t)tael_bench_rate(load), number[0]),
           tael_number_format(load->transfers, number[1]), (double)load->elapsed_ns / (double)TAEL_NS_PER_S,
           tael_number_format(load->requests, number[2]));
    latency_print("latency of a batch", &load->latency_ns);
    if (rate != 0) {
        latency_print("sent late by", &load->late_ns);
        printf("  waited for a session  %s of %s batches\n", tael_number_format(load->waited, number[0]),
               tael_number_format(load->batches, number[1]));
    }
    if (is_in_process) {
        times_print(run);
        return;
    }
    printf("  processors            generator %.2f (its thread was busy %.0f %% of the time)", load->cpu,
           100 * load->client_busy);
    if (run->server_cpu >= 0) printf(", server %.2f", run->server_cpu);
    putchar('\n');
    rejected_print(load);
    if (load->retransmissions + load->reconnects + load->busy > 0) {
        printf("  sent again %" PRIu64 ", connected again %" PRIu64 ", server was busy %" PRIu64 "\n",
               load->retransmissions, load->reconnects, load->busy);
    }
    const char *limit = tael_bench_generator_limit(run, rate);
    if (limit != NULL) printf("  %s\n", limit);
    if (!tael_bench_rate_is_held(run, rate)) {
        printf("  replies did not keep up with %s transfers/s: latency is that of a growing queue\n",
               tael_number_format(rate, number[0]));
    }
}

static const char *const choice_names[] = {
    [TAEL_MIX_UNIFORM] = "uniform",
    [TAEL_MIX_HOT] = "hot",
    [TAEL_MIX_ZIPF] = "zipf",
};

void tael_bench_print(const struct tael_bench_report *report) {
    const struct tael_load_options *options = report->options;
    const struct tael_mix_options *mix = &options->mix;
    char number[2][TAEL_NUMBER_TEXT_SIZE];
    printf("%s accounts, %s of them opened now, chosen %s; batches of %" PRIu32 ", %" PRIu32 " at once, %" PRIu32
           " sessions\n",
           tael_number_format(mix->accounts, number[0]), tael_number_format(report->accounts_opened, number[1]),
           choice_names[mix->choice], mix->batch, options->outstanding, options->sessions);
    if (options->udp) {
        printf("by datagrams of up to %" PRIu32 " bytes%s%s\n", options->datagram_max,
               options->faults == NULL ? "" : ", with faults on purpose: ",
               options->faults == NULL ? "" : options->faults);
    }
    printf("making a transfer takes %.0f ns; load average before: %.2f\n", report->make_cost_ns, report->load_average);
    for (uint32_t i = 0; i < report->runs_count; i++) run_print(&report->runs[i], report->rate, report->is_in_process);
    if (report->runs_count > 1) {
        printf("median %s transfers/s of %" PRIu32 " runs, from %s",
               tael_number_format((uint64_t)tael_bench_rate(&tael_bench_median(report)->load), number[0]),
               report->runs_count, tael_number_format((uint64_t)tael_bench_rate(&report->runs[0].load), number[1]));
        printf(" to %s\n",
               tael_number_format((uint64_t)tael_bench_rate(&report->runs[report->runs_count - 1].load), number[0]));
    }
    tael_trial_balance_print(stdout, report->balance);
}

/* --- JSON --- */

static json_t *latency_json(const struct tael_histogram *histogram) {
    json_t *object = json_object();
    json_object_set_new(object, "count", json_integer((json_int_t)histogram->count));
    json_object_set_new(object, "mean", json_real(tael_histogram_mean(histogram) / 1000));
#define X(percentile, per_100000)                                                                                      \
    json_object_set_new(object, #percentile, json_real(microseconds(histogram, per_100000)));
    PERCENTILE_TABLE(X)
#undef X
    return object;
}

static json_t *rejected_json(const struct tael_load_result *load) {
    json_t *object = json_object();
    for (uint32_t status = 0; status < TAEL_LOAD_STATUSES; status++) {
        if (load->rejected[status] == 0) continue;
        const char *name = tael_transfer_status_name(status);
        json_object_set_new(object, name == NULL ? "unknown" : name, json_integer((json_int_t)load->rejected[status]));
    }
    return object;
}

static json_t *times_json(const struct tael_bench_run *run) {
    json_t *object = json_object();
    for (uint32_t i = 0; i < TAEL_SERVER_ROLES; i++) {
        const struct tael_role_times *role = &run->times.roles[i];
        json_object_set_new(object, role->name,
                            json_pack("{s:f, s:f}", "time", share(role->worked_ns, run->load.elapsed_ns), "turns",
                                      share(role->turns_worked, role->turns)));
    }
    return object;
}

static json_t *run_json(const struct tael_bench_run *run, uint64_t rate, bool is_in_process) {
    const struct tael_load_result *load = &run->load;
    json_t *object =
        json_pack("{s:f, s:f, s:I, s:I, s:o, s:I, s:I, s:I, s:o}", "transfers_per_s", tael_bench_rate(load), "seconds",
                  (double)load->elapsed_ns / (double)TAEL_NS_PER_S, "transfers", (json_int_t)load->transfers, "created",
                  (json_int_t)load->created, "rejected", rejected_json(load), "batches", (json_int_t)load->batches,
                  "requests", (json_int_t)load->requests, "failed_batches", (json_int_t)load->failed, "latency_us",
                  latency_json(&load->latency_ns));
    if (rate != 0) {
        json_object_set_new(object, "late_us", latency_json(&load->late_ns));
        json_object_set_new(object, "waited", json_integer((json_int_t)load->waited));
        json_object_set_new(object, "rate_is_held", json_boolean(tael_bench_rate_is_held(run, rate)));
    }
    json_object_set_new(object, "retransmissions", json_integer((json_int_t)load->retransmissions));
    json_object_set_new(object, "reconnects", json_integer((json_int_t)load->reconnects));
    json_object_set_new(object, "busy", json_integer((json_int_t)load->busy));
    if (is_in_process) {
        json_object_set_new(object, "roles", times_json(run));
        return object;
    }
    json_object_set_new(object, "generator_cpu", json_real(load->cpu));
    json_object_set_new(object, "generator_busy", json_real(load->client_busy));
    json_object_set_new(object, "generator_was_limit", json_boolean(tael_bench_generator_limit(run, rate) != NULL));
    json_object_set_new(object, "server_cpu", run->server_cpu < 0 ? json_null() : json_real(run->server_cpu));
    return object;
}

static json_t *options_json(const struct tael_bench_report *report) {
    const struct tael_load_options *options = report->options;
    const struct tael_mix_options *mix = &options->mix;
    return json_pack("{s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:b, s:I, s:I}",
                     "transport", options->udp ? "udp" : "tcp", "faults", options->faults, "clients",
                     (json_int_t)options->clients, "sessions", (json_int_t)options->sessions, "outstanding",
                     (json_int_t)options->outstanding, "batch", (json_int_t)mix->batch, "accounts",
                     (json_int_t)mix->accounts, "choice", choice_names[mix->choice], "hot_percent",
                     (json_int_t)mix->hot_percent, "theta", (double)mix->theta_percent / 100, "pending_percent",
                     (json_int_t)mix->pending_percent, "void_percent", (json_int_t)mix->void_percent, "chain_percent",
                     (json_int_t)mix->chain_percent, "chain_length", (json_int_t)mix->chain_length, "history",
                     (int)mix->history, "rate", (json_int_t)report->rate, "seed", (json_int_t)mix->seed);
}

json_t *tael_bench_json(const struct tael_bench_report *report) {
    json_t *runs = json_array();
    for (uint32_t i = 0; i < report->runs_count; i++) {
        json_array_append_new(runs, run_json(&report->runs[i], report->rate, report->is_in_process));
    }
    json_t *object = run_json(tael_bench_median(report), report->rate, report->is_in_process);
    json_object_set_new(object, "options", options_json(report));
    json_object_set_new(object, "accounts_opened", json_integer((json_int_t)report->accounts_opened));
    json_object_set_new(object, "make_cost_ns", json_real(report->make_cost_ns));
    json_object_set_new(object, "load_average", json_real(report->load_average));
    json_object_set_new(object, "runs", runs);
    json_object_set_new(object, "trial_balance", tael_trial_balance_json(report->balance));
    return object;
}
