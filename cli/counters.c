#include "cli/counters.h"

#include "cli/output.h"

void tael_counters_print_log(const struct tael_sequencer *sequencer, const struct tael_log *log) {
    const struct tael_sequencer_counters *counters = tael_sequencer_counters(sequencer);
    const struct tael_log_counters written = tael_log_counters(log);
#define X(name, text) tael_counter_print(#name, counters->name, text);
    TAEL_SEQUENCER_COUNTER_TABLE(X)
#undef X
    tael_counter_print("log_bytes", written.bytes, "bytes written to the log");
    tael_counter_print("log_blocks", written.blocks, "blocks written to the log, empty ones included");
    tael_counter_print("log_commit_us", written.blocks == 0 ? 0 : written.commit_ns / written.blocks / 1000,
                       "from a block's submission until it was announced durable, on average");
}

static void print_reason(const char *name, uint64_t count, const char *text) {
    if (count > 0) tael_counter_print(name, count, text);
}

/* Of several workers; with one there is nothing to tell. */
void tael_counters_print_worker(const struct tael_state *state) {
    const struct tael_parallel *parallel = state->parallel;
    if (parallel == NULL) return;
    const struct tael_parallel_counters counters = tael_parallel_counters(parallel);
    tael_counter_print("steps", counters.steps, "applied by several workers together");
    tael_counter_print("step_events", counters.events, "transfers in them");
    tael_counter_print("step_events_residue", counters.events_listed, "decided by one worker for all");
#define X(name, text) print_reason("listed_" #name, counters.listed[TAEL_LISTED_##name], text);
    TAEL_LISTED_TABLE(X)
#undef X
    tael_counter_print("steps_sequential", counters.steps_sequential, "undone, and applied one by one");
#define X(name, text) print_reason("sequential_" #name, counters.sequential[TAEL_SEQUENTIAL_##name], text);
    TAEL_SEQUENTIAL_TABLE(X)
#undef X
    tael_counter_print("steps_backed_off", counters.steps_backed_off,
                       "applied one by one at once, since one before was undone");
    tael_counter_print("chains_alone", counters.chains_alone, "longer than a step, applied one by one");
    tael_counter_print("step_events_alone", counters.events_alone, "transfers applied one by one for these reasons");
    tael_counter_print("steps_reclaimed", counters.legs_reclaimed,
                       "ids that failed made the next ones be looked up anew");
    tael_counter_print("lookups_together", tael_lookups_counters(state->lookups).lookups,
                       "answered by several workers together");
}
