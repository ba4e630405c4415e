#include "cli/topology.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <tael/assert.h>

#include "cli/processor_list.h"

static_assert(CPU_SETSIZE == TAEL_PROCESSORS_MAX, "a set holds every processor that is described");

enum { PATH_SIZE = 4096, LIST_TEXT_SIZE = 32768 };

static void set_add(cpu_set_t *set, struct tael_processor_span span) {
    for (uint32_t i = span.first; i <= span.last && i < TAEL_PROCESSORS_MAX; i++) CPU_SET(i, set);
}

/* Reads the list that a file of the kernel holds, "0-3,8" in one line. An empty set where there is no such file. */
static void list_read(const char *path, cpu_set_t *set) {
    CPU_ZERO(set);
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    char text[LIST_TEXT_SIZE] = "";
    const char *at = fgets(text, sizeof text, file);
    (void)fclose(file);
    if (at == NULL) return;
    struct tael_processor_span span;
    while (tael_processor_span_read(&at, &span)) {
        set_add(set, span);
        if (*at++ != ',') return;
    }
}

/* Finds what runs now; a processor that is off may be in the machine, but nothing can be put on it. */
static void processors_read(struct tael_topology *topology, const char *devices, const cpu_set_t *allowed) {
    char path[PATH_SIZE];
    cpu_set_t online;
    (void)snprintf(path, sizeof path, "%s/cpu/online", devices);
    list_read(path, &online);
    CPU_OR(&online, &online, allowed);
    topology->count = 0;
    for (uint32_t i = 0; i < TAEL_PROCESSORS_MAX; i++) {
        if (!CPU_ISSET(i, &online)) continue;
        topology->processors[topology->count++] = (struct tael_processor){
            .number = i,
            .core = i,
            .is_allowed = CPU_ISSET(i, allowed),
        };
    }
}

/* A core is called by the lowest number among its processors: the kernel's core_id is unique only within a package, or
 * a die. */
static void cores_read(struct tael_topology *topology, const char *devices) {
    for (uint32_t i = 0; i < topology->count; i++) {
        struct tael_processor *processor = &topology->processors[i];
        char path[PATH_SIZE];
        cpu_set_t siblings;
        (void)snprintf(path, sizeof path, "%s/cpu/cpu%" PRIu32 "/topology/core_cpus_list", devices, processor->number);
        list_read(path, &siblings);
        for (uint32_t number = 0; number < processor->number; number++) {
            if (!CPU_ISSET(number, &siblings)) continue;
            processor->core = number;
            break;
        }
    }
}

static void node_read(struct tael_topology *topology, const char *devices, uint32_t node) {
    char path[PATH_SIZE];
    cpu_set_t set;
    (void)snprintf(path, sizeof path, "%s/node/node%" PRIu32 "/cpulist", devices, node);
    list_read(path, &set);
    for (uint32_t i = 0; i < topology->count; i++) {
        if (CPU_ISSET(topology->processors[i].number, &set)) topology->processors[i].node = node;
    }
}

/* Nodes have numbers far below those of processors, so a set holds them as well. */
static void nodes_read(struct tael_topology *topology, const char *devices) {
    char path[PATH_SIZE];
    cpu_set_t nodes;
    (void)snprintf(path, sizeof path, "%s/node/online", devices);
    list_read(path, &nodes);
    for (uint32_t node = 0; node < TAEL_PROCESSORS_MAX; node++) {
        if (CPU_ISSET(node, &nodes)) node_read(topology, devices, node);
    }
}

void tael_topology_read_from(struct tael_topology *topology, const char *devices, const cpu_set_t *allowed) {
    TAEL_ASSERT(CPU_COUNT(allowed) > 0);
    processors_read(topology, devices, allowed);
    cores_read(topology, devices);
    nodes_read(topology, devices);
}

int tael_topology_read(struct tael_topology *topology) {
    /* The kernel refuses a set that is smaller than its own, which has up to 8192 places. */
    cpu_set_t sets[8192 / CPU_SETSIZE];
    if (sched_getaffinity(0, sizeof sets, sets) != 0) return -errno;
    if (CPU_COUNT(&sets[0]) == 0) return -ENOTSUP; /* it may run only where numbers are higher than we count */
    tael_topology_read_from(topology, "/sys/devices/system", &sets[0]);
    return 0;
}

const struct tael_processor *tael_topology_find(const struct tael_topology *topology, uint32_t number) {
    for (uint32_t i = 0; i < topology->count; i++) {
        if (topology->processors[i].number == number) return &topology->processors[i];
    }
    return NULL;
}
