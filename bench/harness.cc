// The one file in C++: Google Benchmark has no other interface. Options are its own (--benchmark_filter, --benchmark_out, …).
#include "bench/harness.h"

#include <benchmark/benchmark.h>

#include <vector>

struct tael_bench {
    benchmark::State &state;
};

bool tael_bench_next(struct tael_bench *run) { return run->state.KeepRunning(); }

void tael_bench_time(struct tael_bench *run, uint64_t ns) {
    run->state.SetIterationTime(static_cast<double>(ns) / 1e9);
}

void tael_bench_items(struct tael_bench *run, uint64_t items) {
    run->state.SetItemsProcessed(static_cast<int64_t>(items));
}

void tael_bench_bytes(struct tael_bench *run, uint64_t bytes) {
    run->state.SetBytesProcessed(static_cast<int64_t>(bytes));
}

void tael_bench_counter(struct tael_bench *run, const char *name, double value) { run->state.counters[name] = value; }

static void register_all(const struct tael_bench_case *cases) {
    for (; cases->name != nullptr; cases++) {
        auto *entry = benchmark::RegisterBenchmark(cases->name, [cases](benchmark::State &state) {
            struct tael_bench run = {state};
            cases->run(&run, cases);
        });
        if (cases->iterations != 0) entry->Iterations(cases->iterations)->UseManualTime();
    }
}

int main(int argc, char **argv) {
    // Defaults stand in front, so that what is given on the command line counts.
    static char repetitions[] = "--benchmark_repetitions=5";
    static char tabular[] = "--benchmark_counters_tabular=true";
    std::vector<char *> arguments = {argv[0], repetitions, tabular};
    arguments.insert(arguments.end(), argv + 1, argv + argc);
    int count = static_cast<int>(arguments.size());
    arguments.push_back(nullptr);
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;

    register_all(tael_bench_limit_cases);
    register_all(tael_bench_checksum_cases);
    register_all(tael_bench_datagram_cases);
    register_all(tael_bench_log_cases);
    register_all(tael_bench_table_cases);
    register_all(tael_bench_rule_cases);
    register_all(tael_bench_engine_cases);
    register_all(tael_bench_parallel_cases);
    register_all(tael_bench_residue_cases);
    register_all(tael_bench_lookup_cases);
    register_all(tael_bench_step_cases);
    register_all(tael_bench_relay_cases);
    register_all(tael_bench_handover_cases);
    register_all(tael_bench_replay_cases);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
