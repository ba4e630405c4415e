#include "cli/ingress_datagram.h"

#include <inttypes.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>

#include <tael/assert.h>

#include "cli/command.h"
#include "cli/output.h"
#include "engine/reply_pool.h"
#include "io/eal.h"
#include "io/host_address.h"

/* Nobody rings when a packet comes: it has to be looked for. A loop that sleeps looks again so soon, by how long ago something came. */
#define LOOK_AFTER_NS 20000u
#define LOOK_AFTER_QUIET_NS 200000u
#define LOOK_AFTER_SILENCE_NS 1000000u
#define QUIET_NS 2000000u
#define SILENCE_NS TAEL_NS_PER_S
#define LINK_LOOK_NS (TAEL_NS_PER_S / 10)

/* Reply buffers of each kind that large replies may hold while clients take them, in eighths. */
#define REPLIES_HELD_EIGHTHS 6

static uint64_t random_draw(void *context) {
    uint64_t value;
    (void)context;
    const ssize_t size = getrandom(&value, sizeof value, 0);
    TAEL_ASSERT(size == sizeof value);
    return value;
}

static struct tael_datagram_server_options server_options(const struct tael_ingress_datagram *self,
                                                          uint32_t replies_small, uint32_t replies_large) {
    struct tael_datagram_server_options options = tael_datagram_server_options_default();
    options.datagram_max = (uint16_t)(self->mtu - TAEL_HOST_MTU_HEADERS_SIZE);
    options.parts_max = self->parts_max;
    options.peers_max = self->peers_max;
    options.replies_held_max[TAEL_REPLY_POOL_SMALL] = replies_small / 8 * REPLIES_HELD_EIGHTHS;
    options.replies_held_max[TAEL_REPLY_POOL_LARGE] = replies_large * REPLIES_HELD_EIGHTHS / 8;
    options.random = random_draw;
    return options;
}

static struct tael_port_options port_options(const struct tael_ingress_datagram *self) {
    struct tael_port_options options = tael_port_options_default();
    options.port_id = self->port_id;
    options.queues = 1;
    options.mtu = self->mtu;
    options.address = self->address;
    /* Requests of one part keep a packet each until they stand in a block. */
    options.packets_kept_max = self->parts_max + tael_datagram_server_options_default().messages_max;
    return options;
}

static size_t size_bytes(const void *context, uint32_t replies_small, uint32_t replies_large) {
    const struct tael_ingress_datagram *self = context;
    const struct tael_datagram_server_options server = server_options(self, replies_small, replies_large);
    const struct tael_port_options port = port_options(self);
    return tael_datagram_server_size_bytes(&server) + tael_port_size_bytes(&port);
}

static int port_open(struct tael_ingress_datagram *self, const struct tael_ingress_site *site) {
    const struct tael_port_options options = port_options(self);
    const struct tael_eal_options eal = {
        .arguments = self->eal, .memory_mib = tael_port_memory_mib(&options), .log = site->say};
    char why[TAEL_WHY_SIZE];
    int error = tael_eal_start(&eal, why);
    if (error == 0) error = tael_port_open(&self->port, site->arena, &options, why);
    if (error != 0) {
        tael_error(&tael_command_start, "--eal: %s", why);
        return error;
    }
    self->carrier = (struct tael_port_carrier){
        .port = self->port,
        .host = {.address = self->address, .port = self->udp_port, .mtu = self->mtu},
    };
    tael_port_mac(self->port, self->carrier.host.mac);
    error = tael_host_check(&self->carrier.host);
    if (error != 0) tael_error(&tael_command_start, "--address, --mtu: no host can be like that");
    return error;
}

static int open_datagram(void *context, const struct tael_ingress_site *site) {
    struct tael_ingress_datagram *self = context;
    const int error = port_open(self, site);
    if (error != 0) return error;
    struct tael_datagram_server_options options = server_options(self, site->replies_small, site->replies_large);
    options.ledger = site->cluster;
    options.is_scratch = site->is_scratch;
    options.carrier = tael_port_carrier(&self->carrier);
    const ssize_t drawn = getrandom(&options.cookie_key, sizeof options.cookie_key, 0);
    TAEL_ASSERT(drawn == sizeof options.cookie_key);
    self->server = tael_datagram_server_init(site->arena, &options, site->link);
    /* Sleeps are as short as they are said to be. */
    (void)prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    tael_say("whoever reaches the port's network can move money: datagrams know no authentication yet");
    return 0;
}

static void tell(const void *context) {
    const struct tael_ingress_datagram *self = context;
    const struct tael_host_address address = {.address = self->address, .prefix_length = 32};
    char text[TAEL_HOST_ADDRESS_TEXT_SIZE], mac[TAEL_MAC_TEXT_SIZE];
    printf("datagrams to %s:%u, at %s\n", tael_host_address_format(&address, text), (unsigned)self->udp_port,
           tael_mac_format(self->carrier.host.mac, mac));
}

/* Hands a burst's datagrams on, and frees the packets that were not kept. */
static void burst_hand_on(struct tael_ingress_datagram *self, const struct tael_datagram_received *received,
                          uint32_t count, uint64_t now_ns) {
    const uint32_t kept = tael_datagram_server_receive_burst(self->server, received, count, now_ns);
    for (uint32_t i = 0; i < count; i++) {
        if ((kept >> i & 1) == 0) rte_pktmbuf_free(received[i].buffer);
    }
}

static uint32_t receive(struct tael_ingress_datagram *self, uint64_t now_ns) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    struct tael_datagram_received received[TAEL_DATAGRAM_BURST_MAX];
    struct tael_host_received taken;
    uint32_t count = 0;
    const uint32_t packet_count = tael_port_receive(self->port, packets);
    for (uint32_t i = 0; i < packet_count; i++) {
        if (tael_port_take(self->port, &self->carrier.host, packets[i], &taken) != TAEL_HOST_DATAGRAM) continue;
        received[count++] = (struct tael_datagram_received){
            .payload = taken.payload, .size = taken.payload_size, .from = taken.from, .buffer = packets[i]};
        if (count < TAEL_DATAGRAM_BURST_MAX) continue;
        burst_hand_on(self, received, count, now_ns);
        count = 0;
    }
    if (count > 0) burst_hand_on(self, received, count, now_ns);
    return packet_count;
}

/* Neighbours are told of the host whenever its link has come up. */
static void link_look(struct tael_ingress_datagram *self, uint64_t now_ns) {
    if (now_ns - self->link_looked_ns < LINK_LOOK_NS) return;
    const bool is_up = tael_port_is_up(self->port);
    if (is_up && !self->is_up) (void)tael_port_announce(self->port, &self->carrier.host);
    self->is_up = is_up;
    self->link_looked_ns = now_ns;
}

static uint32_t poll_datagram(void *context, uint64_t now_ns) {
    struct tael_ingress_datagram *self = context;
    uint32_t work = receive(self, now_ns);
    if (work > 0) self->heard_ns = now_ns;
    self->now_ns = now_ns;
    work += tael_datagram_server_poll(self->server, now_ns);
    link_look(self, now_ns);
    return work + tael_port_flush(self->port);
}

static uint64_t deadline_ns(const void *context) {
    const struct tael_ingress_datagram *self = context;
    const uint64_t since_ns = self->now_ns - self->heard_ns;
    uint64_t after_ns = LOOK_AFTER_NS;
    if (self->spins) after_ns = 0;
    if (since_ns > QUIET_NS) after_ns = LOOK_AFTER_QUIET_NS;
    if (since_ns > SILENCE_NS) after_ns = LOOK_AFTER_SILENCE_NS;
    const uint64_t server_ns = tael_datagram_server_deadline_ns(self->server);
    return self->now_ns + after_ns < server_ns ? self->now_ns + after_ns : server_ns;
}

static void drain(void *context) { tael_datagram_server_drain(((struct tael_ingress_datagram *)context)->server); }
static bool drained(const void *context) {
    return tael_datagram_server_drained(((const struct tael_ingress_datagram *)context)->server);
}
static void close_datagram(void *context) {
    tael_datagram_server_close(((struct tael_ingress_datagram *)context)->server);
}
static bool closed(const void *context) {
    return tael_datagram_server_closed(((const struct tael_ingress_datagram *)context)->server);
}

/* --- counters --- */

static void print_if(const char *name, uint64_t count, const char *text) {
    if (count > 0) tael_counter_print(name, count, text);
}

static void print_server(const struct tael_datagram_server *server) {
    const struct tael_datagram_counters *counters = tael_datagram_server_counters(server);
    tael_counter_print("datagram_peers", tael_datagram_server_peers(server), "addresses remembered now");
#define X(name, text) print_if("datagram_" #name, counters->name, text);
    TAEL_DATAGRAM_COUNTER_TABLE(X)
#undef X
    for (uint32_t i = 0; i < TAEL_DATAGRAM_VERDICTS; i++) {
        print_if("datagram_rejected", counters->rejected[i], tael_datagram_verdict_text(i));
    }
}

static void print_port(const struct tael_port *port) {
    struct tael_port_counters counters;
    tael_port_counters(port, &counters);
#define X(name, text) print_if("port_" #name, counters.name, text);
    TAEL_PORT_COUNTER_TABLE(X)
#undef X
    for (uint32_t i = 0; i < TAEL_HOST_DROPS; i++) print_if("port_dropped", counters.drops[i], tael_host_drop_text(i));
}

static void print(const void *context) {
    const struct tael_ingress_datagram *self = context;
    print_server(self->server);
    print_port(self->port);
}

struct tael_ingress tael_ingress_datagram(struct tael_ingress_datagram *datagram) {
    return (struct tael_ingress){
        .name = "datagrams",
        .context = datagram,
        .serves_scratch = true,
        .messages_max = tael_datagram_server_options_default().messages_max,
        .size_bytes = size_bytes,
        .size_options = "--parts-max, --peers-max",
        .open = open_datagram,
        .tell = tell,
        .poll = poll_datagram,
        .deadline_ns = deadline_ns,
        .drain = drain,
        .drained = drained,
        .close = close_datagram,
        .closed = closed,
        .print = print,
    };
}
