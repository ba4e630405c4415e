/* The processors of a machine: which belong together, and which of them this process may use. */
#ifndef TAEL_CLI_TOPOLOGY_H
#define TAEL_CLI_TOPOLOGY_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/* Processors with higher numbers are left out. */
#define TAEL_PROCESSORS_MAX 1024

struct tael_processor {
    uint32_t number; /* as the kernel counts */
    uint32_t node; /* whose memory is near */
    uint32_t core; /* the same for the hyper-threads of one core, and for nobody else on the machine */
    bool is_allowed; /* this process may run on it */
};

struct tael_topology {
    struct tael_processor processors[TAEL_PROCESSORS_MAX]; /* by rising number */
    uint32_t count;
};

/* Describes this machine as the calling thread may use it: ask before any thread is bound to a processor. What the
 * kernel does not tell is taken to be simple: every processor a core of its own, all on one node. 0, or a negative
 * errno where not even the processors are to be had. */
int tael_topology_read(struct tael_topology *topology);

/* The same, for tests, from the files under `devices` (/sys/devices/system) and the processors that the process may
 * use. */
void tael_topology_read_from(struct tael_topology *topology, const char *devices, const cpu_set_t *allowed);

/* NULL where there is none of that number. */
const struct tael_processor *tael_topology_find(const struct tael_topology *topology, uint32_t number);

#endif
