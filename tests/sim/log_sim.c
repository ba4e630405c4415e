#include "tests/sim/log_sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/data_directory.h"
#include "persist/format.h"
#include "persist/log.h"
#include "persist/recovery.h"
#include "tests/persist/block_maker.h"
#include "tests/sim/disk_sim.h"

/* Small, so that a run sees many segments. */
#define SEGMENT_SIZE (256u << 10)
#define BLOCK_SIZE_MAX (64u << 10)
#define BUFFERS 40
#define MODEL_MAX 20000
#define CAPACITY_AMPLE (1ull << 40)

/* A block as it was submitted. */
struct model_block {
    tael_u128 checksum; /* of its header, which has the body's; 0: an empty block of the log's own */
    uint64_t op_last;
};

/* A block as it was recovered. */
struct found_block {
    struct tael_place place;
    uint32_t size;
    uint64_t durable;
    uint64_t incarnation;
    uint64_t sequence;
};

struct run {
    const struct log_sim_options *options;
    struct log_sim_result *result;
    struct test_random random;
    struct disk_sim *sim;
    struct tael_superblock superblock;
    struct tael_report report;
    struct tael_recovery_result recovered;
    struct tael_log *log;
    struct tael_arena arena;
    uint8_t *arena_memory;
    size_t arena_size;
    struct tael_log_options log_options;
    struct block_maker maker;
    struct tael_block blocks[BUFFERS];
    uint8_t *block_memory;
    uint64_t block_next;
    uint64_t now_ns;
    uint64_t incarnation;

    struct model_block *model; /* block q at q */
    uint64_t model_last;
    uint64_t acknowledged; /* highest sequence ever */
    uint64_t acknowledged_op;

    struct found_block *found; /* block q at q - 1 */
    uint64_t found_count;
    bool disk_is_small;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct run *run, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (run->result->failure[0] == '\0') {
        (void)vsnprintf(run->result->failure, sizeof run->result->failure, format, arguments);
    }
    va_end(arguments);
    return false;
}

__attribute__((format(printf, 2, 3))) static void tell(const struct run *run, const char *format, ...) {
    if (!run->options->verbose) return;
    va_list arguments;
    va_start(arguments, format);
    printf("  ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static bool chance(struct run *run, uint64_t once_in) { return test_random_once_in(&run->random, once_in); }
static uint64_t below(struct run *run, uint64_t bound) { return test_random_below(&run->random, bound); }

/* --- format --- */

static int format(struct run *run) {
    const struct tael_format_options options = {
        .cluster = 3,
        .log_id = tael_u128_make(run->options->seed, 17),
        .hash_key = 1,
        .limits = {.accounts_max = 16, .transfers_max = 16, .sessions_max = 1, .segment_size = SEGMENT_SIZE},
        .segments = 1 + (uint32_t)below(run, 3),
    };
    return tael_data_directory_format(disk_sim_disk(run->sim), &options, &run->superblock, &run->report);
}

/* A format that the power interrupts leaves a ledger, or none. */
static bool format_until_done(struct run *run) {
    if (chance(run, 4)) disk_sim_fail_after(run->sim, below(run, 40));
    int error = format(run);
    if (error != 0 && !disk_sim_is_down(run->sim)) return fail(run, "format failed: %s", run->report.text);
    disk_sim_crash(run->sim,
                   disk_sim_is_down(run->sim) || chance(run, 2) ? DISK_SIM_CRASH_POWER : DISK_SIM_CRASH_PROCESS);
    if (error == 0) return true;
    if (disk_sim_exists(run->sim, "superblock"))
        return true; /* it had its name, but format did not hear of it any more */
    disk_sim_free(run->sim);
    run->sim = disk_sim_new(test_random_u64(&run->random), CAPACITY_AMPLE);
    error = format(run);
    if (error != 0) return fail(run, "format failed: %s", run->report.text);
    disk_sim_crash(run->sim, DISK_SIM_CRASH_PROCESS);
    return true;
}

/* --- recovery --- */

static int visit_block(void *context, const struct tael_log_block *block, const struct tael_place *place) {
    struct run *run = context;
    if (run->found_count >= MODEL_MAX) return -ENOMEM;
    run->found[run->found_count++] = (struct found_block){
        .place = *place,
        .size = block->size,
        .durable = block->durable,
        .incarnation = block->incarnation,
        .sequence = block->sequence,
    };
    if (block->sequence > run->model_last) {
        fail(run, "block %" PRIu64 " was recovered but never written", block->sequence);
        return 0;
    }
    const struct model_block *expected = &run->model[block->sequence];
    const bool equal = expected->checksum == 0 ? block->request_count == 0 : block->checksum == expected->checksum;
    if (!equal) fail(run, "block %" PRIu64 " was recovered with another content", block->sequence);
    return 0;
}

static int recover(struct run *run) {
    static const uint32_t window_sizes[] = {8u << 10, 32u << 10, 128u << 10}; /* some blocks span several */
    const struct tael_recovery_options options = {
        .disk = disk_sim_disk(run->sim),
        .superblock = &run->superblock,
        .block = visit_block,
        .context = run,
        .window_size = window_sizes[below(run, 3)],
        .faults = run->options->recovery_faults,
    };
    run->found_count = 0;
    return tael_recovery_run(&options, &run->recovered, &run->report);
}

/* The log's own empty blocks are not in the model: one may stand behind what was submitted last. */
static void model_allow_empty(struct run *run) {
    run->model_last++;
    run->model[run->model_last] = (struct model_block){.op_last = run->model[run->model_last - 1].op_last};
}

static bool check_recovered(struct run *run) {
    const struct tael_log_position *position = &run->recovered.position;
    if (position->sequence_last < run->acknowledged) {
        return fail(run, "block %" PRIu64 " was acknowledged, and is missing: the log ends with %" PRIu64,
                    run->acknowledged, position->sequence_last);
    }
    if (position->op_last < run->acknowledged_op) {
        return fail(run, "op %" PRIu64 " was acknowledged, and is missing: the log ends with %" PRIu64,
                    run->acknowledged_op, position->op_last);
    }
    if (position->op_last != run->model[position->sequence_last].op_last) return fail(run, "the last op differs");
    return run->result->failure[0] == '\0';
}

/* --- rot --- */

/* True where a block after `index` says that the block at `index` was announced. */
static bool is_confirmed(const struct run *run, uint64_t index) {
    for (uint64_t i = index + 1; i < run->found_count; i++) {
        if (run->found[i].durable >= run->found[index].sequence) return true;
    }
    return false;
}

/* A byte of a confirmed block, or of the header of a segment that begins with one. */
static void rot_place(struct run *run, const struct found_block *victim, char name[TAEL_DISK_NAME_MAX],
                      uint64_t *offset) {
    tael_segment_name(name, victim->place.segment, false);
    const bool is_first = victim->place.offset == TAEL_SECTOR_SIZE;
    *offset = is_first && chance(run, 2) ? below(run, sizeof(struct tael_segment_header))
                                         : victim->place.offset + below(run, victim->size);
}

/* One bit flipped in a block that later ones confirm: the start refuses, and changes nothing. */
static bool try_rot(struct run *run) {
    if (run->found_count == 0) return true;
    const uint64_t index = below(run, run->found_count);
    if (!is_confirmed(run, index)) return true;
    const struct found_block victim = run->found[index];
    char name[TAEL_DISK_NAME_MAX];
    uint64_t offset;
    rot_place(run, &victim, name, &offset);
    const uint32_t bit = (uint32_t)below(run, 8);
    disk_sim_flip_bit(run->sim, name, offset, bit);
    const uint64_t before = disk_sim_checksum(run->sim);
    const struct tael_recovery_result recovered = run->recovered;
    const int error = recover(run);
    if (error == 0) {
        return fail(run,
                    "a bit flipped in block %" PRIu64 " (of incarnation %" PRIu64 ", now %" PRIu64
                    "), which was acknowledged, was taken for a tail: %" PRIu64 " blocks are left",
                    victim.sequence, victim.incarnation, run->superblock.incarnation, run->recovered.blocks);
    }
    if (error != -EBADMSG) return fail(run, "rot gave another error: %s", run->report.text);
    if (strstr(run->report.text, name) == NULL && strstr(run->report.text, "makes no sense") == NULL) {
        return fail(run, "the refusal does not name %s: %s", name, run->report.text);
    }
    if (disk_sim_checksum(run->sim) != before) return fail(run, "a start that was refused changed something");
    tell(run, "refused: %s", run->report.text);
    run->result->rot_refused++;
    run->result->rot_refused_older += victim.incarnation < recovered.incarnation_last;
    disk_sim_flip_bit(run->sim, name, offset, bit);
    run->recovered = recovered;
    return true;
}

/* A read that fails is never taken for a tail. */
static bool try_read_error(struct run *run) {
    char name[TAEL_DISK_NAME_MAX];
    const uint64_t last = run->recovered.position.segment_last;
    tael_segment_name(name, 1 + below(run, last), false);
    disk_sim_set_read_error(run->sim, name, below(run, SEGMENT_SIZE));
    const uint64_t before = disk_sim_checksum(run->sim);
    const struct tael_recovery_result recovered = run->recovered;
    const int error = recover(run);
    disk_sim_set_read_error(run->sim, NULL, 0);
    if (error != -EIO) return fail(run, "a read error was taken for something else: %d", error);
    if (disk_sim_checksum(run->sim) != before) return fail(run, "a start with a read error changed something");
    run->result->read_errors_refused++;
    run->recovered = recovered;
    return true;
}

/* --- start --- */

static void log_options_choose(struct run *run) {
    run->log_options = (struct tael_log_options){
        .in_flight_max = 1 + (uint32_t)below(run, 8),
        .block_size_max = BLOCK_SIZE_MAX,
        .segments_ahead = 1 + (uint32_t)below(run, 4),
        .faults = run->options->log_faults,
    };
}

static int log_open(struct run *run) {
    log_options_choose(run);
    run->arena = (struct tael_arena){.base = run->arena_memory, .size = run->arena_size};
    memset(run->arena_memory, 0, run->arena_size);
    const int error = tael_log_init(&run->arena, &run->log_options, disk_sim_disk(run->sim), &run->superblock,
                                    &run->recovered.position, &run->log, &run->report);
    tael_arena_freeze(&run->arena);
    return error;
}

/* Everything that starts a log. 0, or the error of what failed. */
static int start(struct run *run) {
    const struct tael_data_directory_options options = {0};
    int error = tael_data_directory_open(disk_sim_disk(run->sim), &options, &run->superblock, &run->report);
    if (error == 0 && run->superblock.incarnation <= run->incarnation) fail(run, "the incarnation did not rise");
    if (error == 0) run->incarnation = run->superblock.incarnation;
    if (error == 0) error = recover(run);
    return error;
}

static bool start_until_done(struct run *run) {
    for (;;) {
        if (chance(run, 3)) disk_sim_fail_after(run->sim, below(run, 80));
        const int error = start(run);
        if (error == 0) break;
        if (!disk_sim_is_down(run->sim)) return fail(run, "a start after a crash was refused: %s", run->report.text);
        disk_sim_crash(run->sim, DISK_SIM_CRASH_POWER);
        run->result->starts_broken_off++;
    }
    disk_sim_fail_after(run->sim, UINT64_MAX);
    char text[512];
    tell(run, "incarnation %" PRIu64 ": %s", run->superblock.incarnation,
         tael_recovery_describe(&run->recovered, text, sizeof text));
    run->result->starts++;
    run->result->cuts += run->recovered.cut;
    run->result->blocks += run->recovered.blocks;
    if (!check_recovered(run)) return false;
    run->model_last = run->recovered.position.sequence_last;
    if (chance(run, 2) && !try_rot(run)) return false;
    if (chance(run, 4) && !try_read_error(run)) return false;
    if (run->result->failure[0] != '\0') return false;
    if (log_open(run) != 0) return fail(run, "the log cannot be opened: %s", run->report.text);
    run->maker.op_last = run->recovered.position.op_last;
    run->maker.timestamp_last = run->recovered.position.timestamp_last;
    for (uint32_t i = 0; i < BUFFERS; i++) run->blocks[i].sequence = 0;
    return true;
}

/* --- work --- */

/* In turn, so that a buffer rests longer than any block is in flight: a planted fault may announce it too early. */
static struct tael_block *block_free(struct run *run) {
    struct tael_block *block = &run->blocks[run->block_next % BUFFERS];
    if (block->sequence > tael_log_durable_sequence(run->log)) return NULL;
    return block;
}

static void submit(struct run *run) {
    struct tael_block *block = block_free(run);
    if (block == NULL || !tael_log_can_submit(run->log)) return;
    static const uint32_t bounds[] = {1024, 1024, 8192, BLOCK_SIZE_MAX};
    const uint32_t size = 512 + (uint32_t)below(run, bounds[below(run, 4)] - 512);
    if (tael_log_room(run->log) < tael_sector_round_up(size)) return;
    block_maker_fill(&run->maker, block, size);
    run->block_next++;
    const uint64_t room = tael_log_room(run->log);
    tael_log_submit(run->log, block);
    if (tael_log_room(run->log) + tael_sector_round_up(block->size) < room) {
        fail(run, "room shrank by more than a block");
    }
    while (run->model_last + 1 < block->sequence) model_allow_empty(run);
    run->model_last = block->sequence;
    const struct tael_log_block *header = (const struct tael_log_block *)(const void *)block->data;
    run->model[run->model_last] = (struct model_block){.checksum = header->checksum, .op_last = header->op_last};
}

static void acknowledge(struct run *run) {
    const uint64_t sequence = tael_log_durable_sequence(run->log);
    if (sequence < run->recovered.position.sequence_last) fail(run, "what is durable went back");
    if (sequence > run->acknowledged) run->acknowledged = sequence;
    const uint64_t op = tael_log_durable_op(run->log);
    if (op > run->acknowledged_op) run->acknowledged_op = op;
}

/* Space goes, or comes back. */
static void disk_size_change(struct run *run) {
    if (run->disk_is_small) run->result->full_disks++;
    run->disk_is_small = !run->disk_is_small;
    disk_sim_set_capacity(run->sim, run->disk_is_small ? 0 : CAPACITY_AMPLE);
}

/* With space again, room comes back: nothing else may be needed for it. */
static bool check_room_returns(struct run *run) {
    disk_sim_set_capacity(run->sim, CAPACITY_AMPLE);
    run->disk_is_small = false;
    for (int i = 0; i < 1000 && tael_log_room(run->log) < BLOCK_SIZE_MAX; i++) {
        run->now_ns += TAEL_NS_PER_S / 4;
        if (tael_log_poll(run->log, run->now_ns) < 0) return true;
        (void)disk_sim_step(run->sim);
        acknowledge(run);
    }
    if (tael_log_room(run->log) < BLOCK_SIZE_MAX && !disk_sim_is_down(run->sim)) {
        return fail(run, "there is space, but no room in the log: %u segments are ready",
                    tael_log_counters(run->log).segments_ready);
    }
    return true;
}

/* One turn; false when the log has stopped. */
static bool turn(struct run *run) {
    for (uint64_t i = below(run, 4); i > 0; i--) submit(run);
    for (uint64_t i = below(run, 6); i > 0; i--) (void)disk_sim_step(run->sim);
    run->now_ns += below(run, 5000000);
    const int work = tael_log_poll(run->log, run->now_ns);
    acknowledge(run);
    if (chance(run, 100)) disk_size_change(run);
    return work >= 0;
}

static bool close_cleanly(struct run *run) {
    const int error = tael_log_close(run->log);
    acknowledge(run);
    if (error != 0) return disk_sim_is_down(run->sim) || fail(run, "the log did not close: %s", strerror(-error));
    if (run->acknowledged < run->model_last) return fail(run, "a clean end acknowledged less than was written");
    return true;
}

/* From a start to the next crash. */
static bool live(struct run *run) {
    if (chance(run, 2)) disk_sim_fail_after(run->sim, below(run, 600));
    const bool write_errors = chance(run, 8);
    if (write_errors) disk_sim_set_write_errors(run->sim, 40);
    for (uint64_t turns = below(run, 200); turns > 0 && turn(run); turns--) continue;
    if (run->result->failure[0] != '\0') return false;
    const int error = tael_log_poll(run->log, run->now_ns);
    if (error < 0 && !disk_sim_is_down(run->sim) && !write_errors) return fail(run, "the log failed: %d", error);
    if (error < 0 && !disk_sim_is_down(run->sim)) run->result->write_errors++;
    if (error >= 0 && !disk_sim_is_down(run->sim) && !write_errors && chance(run, 4)) {
        if (!check_room_returns(run)) return false;
        if (!close_cleanly(run)) return false;
    }
    acknowledge(run);
    /* It may have written an empty block that nobody here has seen. */
    model_allow_empty(run);
    const bool power = disk_sim_is_down(run->sim) || chance(run, 2);
    run->result->starts_after_power_cut += power;
    disk_sim_crash(run->sim, power ? DISK_SIM_CRASH_POWER : DISK_SIM_CRASH_PROCESS);
    disk_sim_set_capacity(run->sim, CAPACITY_AMPLE);
    run->disk_is_small = false;
    return true;
}

static void *memory(size_t size) {
    void *taken = aligned_alloc(TAEL_SECTOR_SIZE, (size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE * TAEL_SECTOR_SIZE);
    TAEL_ASSERT(taken != NULL);
    return taken;
}

static void run_begin(struct run *run) {
    run->random.state = run->options->seed;
    run->maker.random = &run->random;
    run->sim = disk_sim_new(test_random_u64(&run->random), CAPACITY_AMPLE);
    const struct tael_log_options options = {0};
    run->arena_size = tael_log_size_bytes(&options);
    run->arena_memory = memory(run->arena_size);
    run->block_memory = memory((size_t)BUFFERS * (BLOCK_SIZE_MAX + TAEL_SECTOR_SIZE));
    run->model = memory((MODEL_MAX + 1) * sizeof *run->model);
    run->found = memory(MODEL_MAX * sizeof *run->found);
    run->model[0] = (struct model_block){0};
    for (uint32_t i = 0; i < BUFFERS; i++) {
        run->blocks[i].data = run->block_memory + (size_t)i * (BLOCK_SIZE_MAX + TAEL_SECTOR_SIZE);
    }
}

void log_sim_run(const struct log_sim_options *options, struct log_sim_result *result) {
    *result = (struct log_sim_result){0};
    struct run run = {.options = options, .result = result};
    run_begin(&run);
    if (format_until_done(&run)) {
        const uint64_t lives = 2 + below(&run, 5);
        bool well = true;
        for (uint64_t i = 0; i < lives && well; i++) well = start_until_done(&run) && live(&run);
        if (well) (void)start_until_done(&run);
    }
    disk_sim_free(run.sim);
    free(run.arena_memory);
    free(run.block_memory);
    free(run.model);
    free(run.found);
}
