#include "io/port_telemetry.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_ethdev.h>
#include <rte_telemetry.h>

#include "io/port.h"

enum { PORTS_MAX = 64, NAME_SIZE = 32 };

static struct {
    pthread_mutex_t lock; /* telemetry asks on a thread of its own */
    const struct tael_port *ports[PORTS_MAX]; /* NULL: free */
    bool is_registered;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What the device has counted, all its queues together: packets that found no descriptor, and no mbuf. */
static void put_device(struct rte_tel_data *data, uint16_t port_id) {
    struct rte_eth_stats stats;
    if (rte_eth_stats_get(port_id, &stats) != 0) return;
    rte_tel_data_add_dict_u64(data, "device_missed", stats.imissed);
    rte_tel_data_add_dict_u64(data, "device_no_packet", stats.rx_nombuf);
    rte_tel_data_add_dict_u64(data, "device_receive_errors", stats.ierrors);
    rte_tel_data_add_dict_u64(data, "device_transmit_errors", stats.oerrors);
}

static void put_port(struct rte_tel_data *data, const struct tael_port *port) {
    struct tael_port_counters counters;
    tael_port_counters(port, &counters);
#define X(name, text) rte_tel_data_add_dict_u64(data, #name, counters.name);
    TAEL_PORT_COUNTER_TABLE(X)
#undef X
    if (tael_port_queue(port) == 0) put_device(data, tael_port_id(port));
}

static void put_drops(struct rte_tel_data *data, const struct tael_port *port) {
    struct tael_port_counters counters;
    tael_port_counters(port, &counters);
    for (uint32_t reason = 0; reason < TAEL_HOST_DROPS; reason++)
        rte_tel_data_add_dict_u64(data, tael_host_drop_name((enum tael_host_drop)reason), counters.drops[reason]);
}

/* One dictionary a queue in the answer's. */
static int answer(struct rte_tel_data *data, void (*put)(struct rte_tel_data *data, const struct tael_port *port)) {
    rte_tel_data_start_dict(data);
    pthread_mutex_lock(&told.lock);
    for (int i = 0; i < PORTS_MAX; i++) {
        const struct tael_port *port = told.ports[i];
        struct rte_tel_data *of_port = port == NULL ? NULL : rte_tel_data_alloc();
        char name[NAME_SIZE];
        if (of_port == NULL) continue;
        rte_tel_data_start_dict(of_port);
        put(of_port, port);
        snprintf(name, sizeof name, "port%u_queue%u", tael_port_id(port), tael_port_queue(port));
        if (rte_tel_data_add_dict_container(data, name, of_port, 0) != 0) rte_tel_data_free(of_port);
    }
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static int answer_port(const char *command, const char *parameters, struct rte_tel_data *data) {
    (void)command;
    (void)parameters;
    return answer(data, put_port);
}

static int answer_drops(const char *command, const char *parameters, struct rte_tel_data *data) {
    (void)command;
    (void)parameters;
    return answer(data, put_drops);
}

void tael_port_telemetry_add(const struct tael_port *port) {
    pthread_mutex_lock(&told.lock);
    if (!told.is_registered) {
        told.is_registered = true;
        rte_telemetry_register_cmd("/tael/port", answer_port, "Counters of each queue of each port. No parameters.");
        rte_telemetry_register_cmd("/tael/drops", answer_drops, "Packets dropped, by reason. No parameters.");
    }
    for (int i = 0; i < PORTS_MAX; i++) {
        if (told.ports[i] != NULL) continue;
        told.ports[i] = port;
        break;
    }
    pthread_mutex_unlock(&told.lock);
}

void tael_port_telemetry_remove(const struct tael_port *port) {
    pthread_mutex_lock(&told.lock);
    for (int i = 0; i < PORTS_MAX; i++) {
        if (told.ports[i] == port) told.ports[i] = NULL;
    }
    pthread_mutex_unlock(&told.lock);
}
