/* Which processor runs which role: net, the log (with the sequencer, which goes with it) and each worker.
 *
 * Left to itself ("auto") the map is a function of the machine's description and the number of workers alone:
 *
 *   - Home is the node of the first processor that the process may use. Where no number of workers is asked for, roles
 *     stay there, and each takes a core, never a hyper-thread beside another one.
 *       cores at home   roles
 *       1               all on it, one worker
 *       2, 3            net and log on the first, a worker on each of the others
 *       4 and more      net, log, and a worker on each of the others, up to TAEL_CORE_MAP_WORKERS_CHOSEN_MAX; what is
 *                       left over is the kernel's and the clients'
 *   - Asking for more workers widens the circle, no further than need be: the cores at home, the cores of other nodes,
 *     the second threads of cores at home, those elsewhere. A circle holds as many workers as it has processors, but
 *     for one that is for net and log; the log has one of its own where there is one more. Far cores come before near
 *     threads: what limits a worker is how much memory it can wait for at once, and the threads of a core share that.
 *   - Where even the widest circle holds too few, the workers go round it, the leader beginning with net and log.
 *   - Asking for the number that would have been chosen changes nothing.
 *
 * Within a circle processors come by their numbers. Pure: no I/O, no allocation. */
#ifndef TAEL_CLI_CORE_MAP_H
#define TAEL_CLI_CORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/topology.h"
#include "engine/parallel.h"
#include "persist/report.h"

/* Nobody should get more without having measured it: each pass of the workers waits for the slowest. */
#define TAEL_CORE_MAP_WORKERS_CHOSEN_MAX 12

struct tael_core_map {
    uint32_t net; /* a processor's number, as all of these */
    uint32_t log; /* the sequencer's too */
    uint32_t workers[TAEL_WORKERS_MAX]; /* [0] is the leader's */
    uint32_t worker_count; /* at least 1 */
    /* Workers that share their processor with another worker or, but for the leader, with net or log. They are threads
     * that wait for each other's turns: legal, and worth a warning. The leader, net and log can be one thread. */
    uint32_t workers_crowded;
};

/* The map of "auto". `workers` is at most TAEL_WORKERS_MAX; 0 chooses. The topology has a processor that is allowed. */
void tael_core_map_choose(const struct tael_topology *topology, uint32_t workers, struct tael_core_map *map);

/* Reads the text of --cores: "auto", or each role once, in any order, with processors that the process may use:
 *
 *     net=0,log=0,worker=1-3,5
 *
 * Net and log take one processor; the processors of worker are those of worker 0, 1 and so on. Roles may share one.
 * `workers` is --workers: 0 where it was not given, else it has to agree with the list. Where the text is wrong: false,
 * with the piece at fault in the report, and `map` is untouched. */
bool tael_core_map_parse(const char *text, const struct tael_topology *topology, uint32_t workers,
                         struct tael_core_map *map, struct tael_report *report);

/* Enough for every map. */
enum { TAEL_CORE_MAP_TEXT_SIZE = 512 };

/* "net 0, log 0, workers 1-3". A text that does not fit is cut; `size` is at least 96. */
void tael_core_map_describe(const struct tael_core_map *map, char *text, size_t size);

#endif
