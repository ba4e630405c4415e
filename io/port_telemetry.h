/* Counters of ports for DPDK's telemetry: "/tael/port" and "/tael/drops" answer in JSON, a queue by "port0_queue0". Where EAL runs
 * without telemetry nobody asks. Any thread; not for a turn, since it locks. */
#ifndef TAEL_IO_PORT_TELEMETRY_H
#define TAEL_IO_PORT_TELEMETRY_H

struct tael_port;

/* From now on the queue is told of. More than 64 are not. */
void tael_port_telemetry_add(const struct tael_port *port);

/* From now on it is not touched any more. */
void tael_port_telemetry_remove(const struct tael_port *port);

#endif
