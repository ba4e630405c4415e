/* A life of a simulated server: its processes, and time. */
#include "tests/sim/server_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>

#include "engine/reply_pool.h"
#include "tests/sim/server_sim_parts.h"

#define CAPACITY (1ull << 40)
#define TIME_BASE_NS (1000ull * TAEL_NS_PER_S)
#define REPLIES_SMALL 16
#define REPLIES_LARGE 4
#define IDLE_MAX_NS (10 * MS) /* time does not leap further */
#define DOWN_MAX_NS (500 * MS)
#define CRASH_TURNS 2000
#define TURNS_MAX 3000000
#define QUIET_NS (15 * TAEL_NS_PER_S) /* everything that the server holds for somebody has expired by then */

/* --- the run --- */

void sim_fail(struct run *run, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (run->result->failure[0] == '\0') {
        (void)vsnprintf(run->result->failure, sizeof run->result->failure, format, arguments);
    }
    va_end(arguments);
}

bool sim_failed(const struct run *run) { return run->result->failure[0] != '\0'; }

uint64_t sim_random(void *context) {
    struct run *run = context;
    return test_random_u64(&run->random);
}

tael_u128 sim_hash(const void *bytes, size_t size) {
    const XXH128_hash_t hash = XXH3_128bits(bytes, size);
    return tael_u128_make(hash.high64, hash.low64);
}

/* --- the server's processes --- */

static void format(struct run *run) {
    const struct tael_format_options options = {
        .cluster = LEDGER,
        .log_id = tael_u128_make(run->options->seed, 17),
        .hash_key = run->options->seed,
        .format_time_ns = TIME_BASE_NS,
        .limits = {.accounts_max = 1024,
                   .transfers_max = 400000,
                   /* Slots: now and then fewer than clients wish for. */
                   .sessions_max = CLIENTS_MAX * SLOTS_MAX - 4 + below(run, 40),
                   .segment_size = TAEL_SEGMENT_SIZE_MIN},
        .segments = 1,
    };
    if (core_life_format(&run->life, &options) != 0) sim_fail(run, "format failed: %s", run->life.report.text);
}

static struct core_life_process process_options(struct run *run) {
    return (struct core_life_process){
        .core = {.log = {.in_flight_max = 1 + (uint32_t)below(run, 6),
                         .segments_ahead = 1,
                         .faults = run->options->log_faults},
                 .replies_small = REPLIES_SMALL,
                 .replies_large = REPLIES_LARGE,
                 .reads_max = 4,
                 .queries_max = 2},
        .messages = tael_power_of_two(run->messages_max),
        .replies = tael_power_of_two(REPLIES_SMALL + REPLIES_LARGE),
        .op_min = run->op_shown,
    };
}

static struct tael_datagram_server_options server_options(struct run *run) {
    struct tael_datagram_server_options options = tael_datagram_server_options_default();
    options.ledger = LEDGER;
    options.datagram_max = chance(run, 3) ? TAEL_DATAGRAM_SIZE_MAX : TAEL_DATAGRAM_SIZE_ETHERNET;
    options.window = (uint16_t)(16 + below(run, 240));
    options.peers_max = 16;
    options.peers_per_address_max = 4;
    options.parts_max = run->parts_max;
    options.messages_max = run->messages_max;
    options.messages_per_peer_max = run->messages_max / 4;
    options.small_bodies = 8;
    options.large_bodies = 4;
    options.replies_held_max[TAEL_REPLY_POOL_SMALL] = REPLIES_SMALL / 8 * 6;
    options.replies_held_max[TAEL_REPLY_POOL_LARGE] = REPLIES_LARGE * 6 / 8;
    test_random_bytes(&run->random, &options.cookie_key, sizeof options.cookie_key);
    options.random = sim_random;
    options.random_context = run;
    options.carrier = net_carrier(run);
    return options;
}

static void start(struct run *run) {
    struct core_life_process process = process_options(run);
    const struct tael_datagram_server_options options = server_options(run);
    process.room = tael_datagram_server_size_bytes(&options);
    if (!core_life_start(&run->life, &process)) {
        sim_fail(run, "%s", run->life.why);
        return;
    }
    run->disk_pace = 1 + below(run, chance(run, 2) ? 2 : 30);
    net_server_starts(run);
    run->server = tael_datagram_server_init(&run->life.arena, &options, &run->life.link);
    tael_arena_freeze(&run->life.arena);
    run->result->starts++;
    run->result->cuts += run->life.core.recovery.cut;
    if (run->options->verbose) {
        char text[512];
        printf("  %6llu ms: incarnation %llu, op %llu: %s\n", (unsigned long long)(run->now_ns / MS),
               (unsigned long long)run->life.superblock.incarnation, (unsigned long long)run->life.core.state.replay.op,
               tael_recovery_describe(&run->life.core.recovery, text, sizeof text));
    }
}

static void counters_add(struct run *run) {
    const struct tael_datagram_counters *counters = tael_datagram_server_counters(run->server);
    run->result->expired += counters->assemblies_expired;
    run->result->unread += counters->replies_expired + counters->replies_crowded;
}

static void crash(struct run *run) {
    const enum disk_sim_crash kind = chance(run, 2) ? DISK_SIM_CRASH_POWER : DISK_SIM_CRASH_PROCESS;
    run->result->power_cuts += kind == DISK_SIM_CRASH_POWER;
    counters_add(run);
    run->server = NULL;
    run->up_ns = run->now_ns + below(run, chance(run, 4) ? DOWN_MAX_NS : DOWN_MAX_NS / 50);
    core_life_crash(&run->life, kind);
}

/* --- turns --- */

/* The roles are independent of each other's pace. How much they did. */
static uint32_t server_turn(struct run *run) {
    uint32_t work = 0;
    int logged = 0;
    if (!chance(run, 4)) work += tael_datagram_server_poll(run->server, run->now_ns);
    if (!chance(run, 4)) work += tael_core_sequence(&run->life.core, TIME_BASE_NS + run->now_ns);
    if (!chance(run, 4)) work += tael_core_apply(&run->life.core);
    if (!chance(run, 4)) logged = tael_core_log(&run->life.core, run->now_ns);
    if (logged < 0) sim_fail(run, "the log failed on a sound disk");
    if (chance(run, run->disk_pace)) work += disk_sim_step(run->life.disk);
    return work + (uint32_t)(logged > 0 ? logged : 0);
}

static uint64_t next_ns(const struct run *run) {
    uint64_t next = run->now_ns + IDLE_MAX_NS;
    if (net_next_ns(run) < next) next = net_next_ns(run);
    if (clients_next_ns(run) < next) next = clients_next_ns(run);
    if (run->server == NULL && run->up_ns < next) next = run->up_ns;
    return next;
}

static void clock_advance(struct run *run, uint32_t work) {
    const bool is_at_work = work > 0 || (run->server != NULL && !tael_core_is_idle(&run->life.core));
    const uint64_t soon = run->now_ns + 1 + below(run, 20 * US);
    const uint64_t next = next_ns(run);
    run->now_ns = is_at_work || next < soon ? soon : next;
}

static void turn(struct run *run) {
    uint32_t work = net_arrive(run);
    if (run->server != NULL) {
        work += server_turn(run);
    } else if (run->now_ns >= run->up_ns) {
        start(run);
    }
    if (sim_failed(run)) return;
    clients_turn(run);
    if (!run->is_settling) hostiles_turn(run);
    if (!run->is_settling && run->server != NULL && chance(run, CRASH_TURNS * run->calm)) crash(run);
    clock_advance(run, work);
}

/* Until clients have nothing left to ask. */
static void turns(struct run *run) {
    for (uint32_t i = 0; i < TURNS_MAX; i++) {
        turn(run);
        if (sim_failed(run)) return;
        const bool has_begun_all = run->is_settling || run->asked_count >= run->requests;
        if (has_begun_all && clients_done(run)) return;
    }
    sim_fail(run, "some clients were never answered");
}

static void rest(struct run *run) {
    const uint64_t until_ns = run->now_ns + QUIET_NS;
    while (run->now_ns < until_ns && !sim_failed(run)) turn(run);
}

/* Everybody is answered in the end, and asks what became of what it does not know; then everything is quiet. */
static void settle(struct run *run) {
    run->is_settling = true;
    run->to_server.options = run->to_client.options = (struct tael_faults_options){0};
    turns(run);
    rest(run);
    if (sim_failed(run)) return;
    run->is_resolving = true;
    turns(run);
    rest(run);
}

/* Nothing is missing when nobody wants anything. */
static void buffers_check(struct run *run) {
    if (run->server == NULL) {
        sim_fail(run, "the server is down");
        return;
    }
    if (!tael_datagram_server_drained(run->server)) sim_fail(run, "a message or a reply is still lent");
    if (run->buffers_kept != 0) sim_fail(run, "%u packet buffers are missing", run->buffers_kept);
    if (run->buffers_to_send != 0) sim_fail(run, "%u buffers to send are missing", run->buffers_to_send);
    if (!tael_core_is_idle(&run->life.core)) sim_fail(run, "a reply buffer is missing");
    tael_datagram_server_close(run->server);
    (void)tael_datagram_server_poll(run->server, run->now_ns);
    if (!tael_datagram_server_closed(run->server)) sim_fail(run, "the server does not close");
}

/* Ends the server, compares its log with what clients know, and with what a new one makes of it. */
static void end(struct run *run) {
    struct core_life_end end;
    buffers_check(run);
    if (sim_failed(run)) return;
    if (!core_life_end(&run->life, &end)) {
        sim_fail(run, "%s", run->life.why);
        return;
    }
    run->result->ops = end.op;
    crash(run); /* all was synced, so a power cut is no worse than an end */
    audit(run, &end);
    if (sim_failed(run)) return;
    start(run);
    if (!sim_failed(run) && !core_life_resumes(&run->life, &end)) sim_fail(run, "%s", run->life.why);
}

static void live(struct run *run) {
    format(run);
    if (!sim_failed(run)) start(run);
    if (!sim_failed(run)) turns(run);
    if (!sim_failed(run)) settle(run);
    if (!sim_failed(run)) end(run);
}

void server_sim_run(const struct server_sim_options *options, struct server_sim_result *result) {
    *result = (struct server_sim_result){0};
    struct run *run = calloc(1, sizeof *run);
    TAEL_ASSERT(run != NULL);
    run->options = options;
    run->result = result;
    run->random = (struct test_random){.state = options->seed};
    run->parts_max = 4 * TAEL_PARTS_MAX;
    run->messages_max = chance(run, 2) ? 16 : 64;
    run->calm = 1u << below(run, 4);
    run->life.disk = disk_sim_new(test_random_u64(&run->random), CAPACITY);
    net_start(run);
    hostiles_start(run);
    clients_start(run);
    live(run);
    if (run->server != NULL) counters_add(run);
    clients_stop(run);
    net_stop(run);
    disk_sim_free(run->life.disk); /* first: writes in flight are still the disk's */
    tael_memory_unmap(&run->life.arena);
    free(run);
}
