/* EAL, DPDK's environment, brought up in a process that has threads and a main of its own.
 *
 * It runs nothing but what DPDK needs behind the scenes (threads for interrupts, telemetry): no lcores besides the calling thread,
 * whose affinity is left as it was. Nothing of DPDK happens before tael_eal_start.
 * Once in a process: DPDK cannot be started again after it was stopped, or after it failed to start. */
#ifndef TAEL_IO_EAL_H
#define TAEL_IO_EAL_H

#include <stdint.h>

#include "io/why.h"

struct tael_eal_options {
    const char *arguments; /* of EAL, in one string; see io/eal_arguments.h */
    uint32_t memory_mib; /* what the ports will need: decides whether huge pages suffice. 0: 256 */
    void (*log)(void *context, const char *line); /* EAL's warnings, on any of its threads; NULL: to stderr */
    void *log_context;
};

/* Starts EAL on the calling thread, which takes a tenth of a second, and has the process ignore SIGPIPE (peers of vhost and
 * memif may leave). 0, or a negative errno and a sentence in `why`. The options' log must outlive EAL. */
int tael_eal_start(const struct tael_eal_options *options, char why[static TAEL_WHY_SIZE]);

/* Gives everything back. On the thread that started it, with all ports closed and all other threads gone from EAL. */
void tael_eal_stop(void);

/* Makes the calling thread one that EAL knows, until tael_eal_leave: a thread that works with ports must be, or each packet buffer that
 * it takes or frees costs an atomic operation on the pool instead of one on its cache. The thread that started EAL is one.
 * 0, or a negative errno: -ENOMEM for more than EAL has room for. */
int tael_eal_enter(void);
void tael_eal_leave(void);

#endif
