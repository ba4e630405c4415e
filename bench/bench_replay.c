/* Replay by two workers against one: recovery as `tael start` and `tael verify` do it, of the same log by turns, into a state of its own
 * each, all memory touched before: reading, checksums, the check of what blocks mean, worker, sessions. The log stands in memory, and
 * what copying it out takes is left out, as a disk would do that by itself (bench/memory_disk.h); accounts are made before the clock starts.
 * Both must come to the same digest.
 *
 * Counters: `ns` a transfer with two workers, `one_ns` with one, `speedup`: all time of one over all of two; `line`: bench/line.h. */
#include <stdlib.h>
#include <string.h>

#include <tael/operation.h>

#include "bench/harness.h"
#include "bench/line.h"
#include "bench/memory.h"
#include "bench/memory_disk.h"
#include "bench/team.h"
#include "bench/ticks.h"
#include "bench/workload.h"
#include "cli/state.h"
#include "engine/ledger_state.h"
#include "persist/format.h"

#define INDEX_TRANSFERS 60000000u /* an index of 100 million slots */
#define TRANSFERS 786432u /* in the log; all but the first few are timed */
#define ITERATIONS 3
#define BLOCK_TARGET (256u << 10) /* of blocks with small requests, as the sequencer closes them */

struct log {
    uint8_t *segment;
    uint64_t room;
    uint64_t size; /* so far */
    struct tael_superblock superblock;
    struct tael_log_block *block; /* that is being filled */
    tael_u128 checksum_previous;
    uint64_t sequence, op, timestamp;
    uint64_t accounts;
    uint64_t transfers;
    uint32_t events; /* a request */
};

/* --- the log --- */

static void block_begin(struct log *log) {
    log->block = (struct tael_log_block *)(void *)(log->segment + log->size);
    *log->block = (struct tael_log_block){
        .checksum_previous = log->checksum_previous,
        .log_id = log->superblock.log_id,
        .size = TAEL_BLOCK_HEADER_SIZE,
        .term = 1,
        .incarnation = 1,
        .sequence = ++log->sequence,
        .durable = log->sequence - 1,
        .op_first = log->op + 1,
    };
}

static void block_end(struct log *log) {
    struct tael_log_block *block = log->block;
    block->op_last = log->op;
    block->timestamp_last = log->timestamp;
    tael_log_block_seal(block);
    log->checksum_previous = block->checksum;
    log->size += tael_sector_round_up(block->size);
    TAEL_ASSERT(log->size + TAEL_BLOCK_SIZE_MAX <= log->room);
    log->block = NULL;
}

/* A request for `events` more, whose payload the caller writes; in a new block where it has no room. */
static void *request_add(struct log *log, enum tael_operation operation, uint32_t events, uint32_t block_size_max) {
    const uint32_t size = tael_request_size_in_block(tael_request_payload_size(events, 1));
    if (log->block != NULL && log->block->size + size > block_size_max) block_end(log);
    if (log->block == NULL) block_begin(log);
    struct tael_request *request = (struct tael_request *)(void *)((uint8_t *)log->block + log->block->size);
    tael_bench_request_begin(request, operation, events, &log->op, &log->timestamp);
    if (operation == TAEL_OPERATION_register) {
        request->session = 0;
        request->batch_count = 0;
    }
    request->request = (uint32_t)request->op;
    log->block->size += size;
    log->block->request_count++;
    return request + 1;
}

static void accounts_add(struct log *log) {
    for (uint64_t made = 0; made < log->accounts;) {
        const uint64_t left = log->accounts - made;
        const uint32_t count = left < TAEL_EVENTS_MAX ? (uint32_t)left : TAEL_EVENTS_MAX;
        struct tael_account *accounts = request_add(log, TAEL_OPERATION_create_accounts, count, TAEL_BLOCK_SIZE_MAX);
        for (uint32_t i = 0; i < count; i++) {
            accounts[i] = (struct tael_account){.id = ++made, .ledger = 1, .code = 1};
        }
    }
    block_end(log);
}

static void transfers_add(struct log *log) {
    const uint32_t events = log->events;
    const uint32_t block_size = events < 1024 ? BLOCK_TARGET : TAEL_BLOCK_SIZE_MAX;
    struct tael_bench_workload workload = {.accounts = log->accounts};
    while (workload.transfers + events <= TRANSFERS) {
        tael_bench_workload_fill(&workload, request_add(log, TAEL_OPERATION_create_transfers, events, block_size),
                                 events);
    }
    log->transfers = workload.transfers;
    block_end(log);
}

static void log_make(struct log *log, uint64_t accounts, uint32_t events) {
    struct tael_segment_header *header;
    *log = (struct log){.accounts = accounts, .events = events, .timestamp = TAEL_NS_PER_S};
    log->room = ((accounts + TRANSFERS + TRANSFERS / events * 2) * TAEL_RECORD_SIZE * 17 / 16 + (16u << 20)) &
                ~(uint64_t)(TAEL_SECTOR_SIZE - 1);
    log->segment = aligned_alloc(TAEL_SECTOR_SIZE, log->room);
    TAEL_ASSERT(log->segment != NULL);
    memset(log->segment, 0, log->room);
    log->superblock = (struct tael_superblock){
        .incarnation = 1,
        .log_id = 1,
        .hash_key = 0x5bd1e995,
        .limits = {.accounts_max = accounts, .transfers_max = INDEX_TRANSFERS, .sessions_max = 16},
    };
    log->size = sizeof *header;
    (void)request_add(log, TAEL_OPERATION_register, 0, TAEL_BLOCK_SIZE_MAX);
    block_end(log);
    accounts_add(log);
    transfers_add(log);
    log->superblock.limits.segment_size = log->size + TAEL_SECTOR_SIZE;
    header = (struct tael_segment_header *)(void *)log->segment;
    *header = (struct tael_segment_header){
        .in_flight_max = 1,
        .log_id = log->superblock.log_id,
        .number = 1,
        .sequence_first = 1,
        .op_first = 1,
        .incarnation = 1,
        .size = log->superblock.limits.segment_size,
    };
    tael_segment_header_seal(header);
}

/* --- the replay --- */

struct player {
    const struct log *log;
    struct tael_arena arena;
    struct tael_state state;
    struct tael_bench_team team;
    struct tael_bench_disk disk;
    uint64_t begun_ns; /* less what was copied until then; 0: not yet */
    uint64_t transfers_before; /* that */
    uint64_t line_ns; /* before and behind, the slower */
};

static void populate(struct tael_ledger *ledger) {
    const struct tael_account_table *accounts = &ledger->accounts;
    tael_bench_populate(accounts->lines, (accounts->count_max + 1) * sizeof *accounts->lines);
    tael_bench_populate(accounts->index.buckets, accounts->index.bucket_count * sizeof *accounts->index.buckets);
    tael_bench_populate(accounts->cold, (accounts->count_max + 1) * sizeof *accounts->cold);
    tael_bench_populate(ledger->index.buckets, ledger->index.bucket_count * sizeof *ledger->index.buckets);
    tael_bench_populate(ledger->journal.bodies, TRANSFERS * sizeof *ledger->journal.bodies);
    tael_bench_populate(ledger->journal.traces, TRANSFERS * sizeof *ledger->journal.traces);
    tael_bench_populate(ledger->history.transfers, TRANSFERS * sizeof *ledger->history.transfers);
}

static void nothing(void *argument, uint32_t worker) {
    (void)argument;
    (void)worker;
}

static uint64_t now_ns(const struct player *player) { return tael_bench_wall_ns() - player->disk.copied_ns; }

/* The clock starts with the first piece that is read when there are transfers. A worker that slept while the disk's part was played would
 * not have slept beside a disk. */
static void copied(void *context) {
    struct player *player = context;
    const uint64_t transfers = tael_ledger_usage(player->state.ledger).transfers;
    if (player->begun_ns == 0 && transfers > 0) {
        player->begun_ns = now_ns(player);
        player->transfers_before = transfers;
    }
    if (player->state.crew != NULL) player->team.team.run(player->team.team.context, nothing, NULL);
}

static void player_open(struct player *player, const struct log *log, uint32_t workers) {
    const struct tael_state_options options = {
        .superblock = &log->superblock, .blocks_max = 1, .reads_max = 1, .queries_max = 1, .workers = workers};
    struct tael_budget budget = {0};
    *player = (struct player){.log = log};
    tael_state_budget(&options, &budget);
    player->arena = tael_bench_map(tael_budget_total(&budget));
    tael_state_init(&player->state, &player->arena, &options);
    populate(player->state.ledger);
    tael_bench_disk_open(&player->disk, log->segment, log->superblock.limits.segment_size);
    player->disk.copied = copied;
    player->disk.context = player;
    if (player->state.crew != NULL) tael_bench_team_join(&player->team, player->state.crew, workers);
}

static void player_close(struct player *player) {
    if (player->state.crew != NULL) tael_bench_team_close(&player->team);
    tael_bench_unmap(&player->arena);
}

static void line_measure(struct player *player) {
    if (player->state.crew == NULL) return;
    const uint64_t ns = tael_bench_line_ns(&player->team);
    if (ns > player->line_ns) player->line_ns = ns;
}

/* What a replay came to. */
struct played {
    uint64_t ns;
    uint64_t transfers; /* that it took so long for */
    uint64_t line_ns;
    tael_u128 digest; /* where it was asked for */
};

static struct played play(const struct log *log, uint32_t workers, bool digest) {
    static struct player player;
    struct tael_recovery_result result;
    struct tael_report report;
    player_open(&player, log, workers);
    const struct tael_state_recovery recovery = {
        .disk = &player.disk.disk, .superblock = &log->superblock, .read_only = true, .until = UINT64_MAX};
    line_measure(&player);
    TAEL_ASSERT(tael_state_recover(&player.state, &recovery, &result, &report) == 0);
    const uint64_t ns = now_ns(&player) - player.begun_ns;
    line_measure(&player);
    TAEL_ASSERT(player.state.replay.op == log->op);
    TAEL_ASSERT(!result.cut);
    const struct played played = {.ns = ns,
                                  .transfers = log->transfers - player.transfers_before,
                                  .line_ns = player.line_ns,
                                  .digest = digest ? tael_state_digest(&player.state) : 0};
    player_close(&player);
    return played;
}

/* The log of the case, which all its repetitions read; both ways to read it must come to the same. */
static const struct log *log_get(uint64_t accounts, uint32_t events) {
    static struct log log;
    if (log.segment != NULL && log.accounts == accounts && log.events == events) return &log;
    free(log.segment);
    log_make(&log, accounts, events);
    TAEL_ASSERT(play(&log, 1, true).digest == play(&log, 2, true).digest);
    return &log;
}

/* `size`: accounts; `variant`: events a request. */
static void run_pair(struct tael_bench *run, const struct tael_bench_case *self) {
    const struct log *log = log_get((uint64_t)self->size, (uint32_t)self->variant);
    uint64_t one_ns = 0, two_ns = 0, transfers = 0;
    uint64_t line_ns[ITERATIONS];
    uint32_t turns = 0;
    while (tael_bench_next(run)) {
        const struct played two = play(log, 2, false);
        two_ns += two.ns;
        transfers += two.transfers;
        line_ns[turns++] = two.line_ns;
        one_ns += play(log, 1, false).ns;
        tael_bench_time(run, two.ns);
    }
    tael_bench_items(run, transfers);
    tael_bench_counter(run, "ns", (double)two_ns / (double)transfers);
    tael_bench_counter(run, "one_ns", (double)one_ns / (double)transfers);
    tael_bench_counter(run, "speedup", (double)one_ns / (double)two_ns);
    tael_bench_counter(run, "line", (double)tael_bench_ticks_median(line_ns, turns));
}

const struct tael_bench_case tael_bench_replay_cases[] = {
    {.name = "replay/2/batches/10k",
     .run = run_pair,
     .iterations = ITERATIONS,
     .size = 10000,
     .variant = TAEL_EVENTS_MAX},
    {.name = "replay/2/batches/1M",
     .run = run_pair,
     .iterations = ITERATIONS,
     .size = 1000000,
     .variant = TAEL_EVENTS_MAX},
    {.name = "replay/2/hundreds/1M", .run = run_pair, .iterations = ITERATIONS, .size = 1000000, .variant = 100},
    {.name = "replay/2/fours/1M", .run = run_pair, .iterations = ITERATIONS, .size = 1000000, .variant = 4},
    {.name = "replay/2/singles/1M", .run = run_pair, .iterations = ITERATIONS, .size = 1000000, .variant = 1},
    {0},
};
