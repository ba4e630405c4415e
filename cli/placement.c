#include "cli/placement.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/topology.h"

static bool map_make(const struct tael_command *command, uint32_t workers, const char *cores,
                     struct tael_placement *placement) {
    struct tael_topology topology;
    struct tael_report report = {0};
    placement->map = (struct tael_core_map){.worker_count = 1};
    placement->is_bound = cores != NULL || workers > 1;
    if (!placement->is_bound) return true;
    const int error = tael_topology_read(&topology);
    if (error != 0) {
        tael_error(command, "cannot tell what processors there are: %s", strerror(-error));
        return false;
    }
    if (cores == NULL) cores = "auto";
    if (tael_core_map_parse(cores, &topology, workers, &placement->map, &report)) return true;
    tael_error(command, "--cores %s: %s", cores, report.text);
    return false;
}

/* Whether the map has a role for each processor that the process may use. */
static bool is_machine_taken(const struct tael_core_map *map) {
    cpu_set_t left;
    if (sched_getaffinity(0, sizeof left, &left) != 0) return false;
    CPU_CLR(map->net, &left);
    CPU_CLR(map->log, &left);
    for (uint32_t w = 0; w < map->worker_count; w++) CPU_CLR(map->workers[w], &left);
    return CPU_COUNT(&left) == 0;
}

static bool idle_make(const struct tael_command *command, const char *idle, struct tael_placement *placement) {
    const bool spins = strcmp(idle, "spin") == 0;
    const uint32_t crowded = placement->map.workers_crowded;
    if (!spins && strcmp(idle, "sleep") != 0) {
        tael_error(command, "--idle is sleep or spin, not %s", idle);
        return false;
    }
    if (spins && crowded > 0) {
        tael_error(command, "--idle spin: %" PRIu32 " workers have no processor of their own", crowded);
        return false;
    }
    if (crowded > 0) {
        tael_say("%" PRIu32 " workers share a processor and wait for each other there: fewer are faster", crowded);
    }
    /* One worker is a role, and its loop gives way; several wait for each other, and do not. */
    if (spins && placement->map.worker_count > 1 && is_machine_taken(&placement->map)) {
        tael_say("--idle spin leaves the kernel no processor to complete the disk's writes on: commits will take "
                 "milliseconds");
    }
    placement->idle = spins ? TAEL_IDLE_SPIN : crowded > 0 ? TAEL_IDLE_SLEEP_AT_ONCE : TAEL_IDLE_SLEEP;
    return true;
}

bool tael_placement_make(const struct tael_command *command, uint32_t workers, const char *cores, const char *idle,
                         struct tael_placement *placement) {
    return map_make(command, workers, cores, placement) && idle_make(command, idle, placement);
}

const char *tael_placement_describe(const struct tael_placement *placement, char text[static TAEL_CORE_MAP_TEXT_SIZE]) {
    if (!placement->is_bound) return NULL;
    tael_core_map_describe(&placement->map, text, TAEL_CORE_MAP_TEXT_SIZE);
    return text;
}
