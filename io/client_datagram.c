/* The client library's links over UDP: sessions of the datagram protocol, each on a socket of its own, of up to 64 slots; a slot is a link.
 *
 * Invariants:
 *  1. A port's socket is open exactly while its session is not closed.
 *  2. A session that is opened again has another client id and another socket, so another address: no late answer to the one
 *     before is taken for the new one's.
 *  3. A link that ends gives up its slot's request: a copy of it may still be executed before the slot's next number arrives, which
 *     is what "outcome unknown" means; afterwards the server refuses it.
 *  4. No busy notice makes certain that a request is not executed: the network may have repeated a copy. */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <tael/assert.h>
#include <tael/limits.h>

#include "io/aegis.h"
#include "io/client_link.h"
#include "io/client_udp.h"
#include "io/datagram_client.h"

#define NS_PER_MS 1000000ull
#define REOPEN_NS (100 * NS_PER_MS) /* after the kernel gave no socket */
#define WAITING_AFTER_NS TAEL_NS_PER_S
#define REQUEST_WINDOW 512u /* parts on the way; the server's window is less as a rule */
#define PART_ROOM 4096u /* of a socket's buffer that a datagram of 1472 bytes takes, with a margin */
#define BURSTS_MAX 8 /* that one turn takes from a socket */
#define WHY_SIZE 192

struct port;

struct slot_link {
    struct tael_client_link link;
    struct port *port;
    uint32_t slot;
    uint64_t begun_ns;
    bool is_waiting_told;
    uint8_t *body; /* TAEL_BODY_SIZE_MAX */
};

struct port {
    struct tael_client_source source;
    struct tael_client_wire *wire;
    struct tael_client_udp udp;
    struct tael_datagram_client *client;
    struct tael_faults *faults; /* two: what goes out, what comes in; NULL: none */
    uint8_t scratch[TAEL_DATAGRAM_SIZE_MAX]; /* what the faults have to pass */
    struct tael_datagram_client_counters seen; /* what the wire's counters have of the client's */
    struct slot_link *links;
    uint32_t links_count;
    uint64_t reopen_ns; /* when a socket is tried again; 0: there is no need */
    uint64_t now_ns; /* of the call at hand, for what the faults deliver */
    uint16_t notice; /* the last one that ended or refused something */
    uint32_t slots_given; /* by the server, of too few */
    char why[WHY_SIZE];
};

/* All that a client has of this. */
struct ports {
    struct port *ports;
    uint32_t count;
    struct slot_link *links;
};

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Relaxed: one writer, and a number by itself. */
static void count_add(_Atomic uint64_t *counter, uint64_t by) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

__attribute__((format(printf, 2, 3))) static void why_set(struct port *port, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(port->why, sizeof port->why, format, arguments);
    va_end(arguments);
}

static uint64_t random_draw(void *context) {
    struct tael_client_wire *wire = context;
    wire->random ^= wire->random << 13;
    wire->random ^= wire->random >> 7;
    wire->random ^= wire->random << 17;
    return wire->random;
}

/* --- the carrier --- */

static void *transmit_begin(void *context, uint32_t size_max) {
    struct port *port = context;
    TAEL_ASSERT(size_max <= port->udp.datagram_max);
    if (port->faults != NULL) return port->udp.socket >= 0 ? port->scratch : NULL;
    return tael_client_udp_begin(&port->udp);
}

static void faulty_send(void *context, const void *datagram, size_t size, uint64_t tag) {
    struct port *port = context;
    void *room = tael_client_udp_begin(&port->udp);
    (void)tag;
    if (room == NULL) return; /* lost, like others */
    memcpy(room, datagram, size);
    tael_client_udp_end(&port->udp, (uint32_t)size);
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct port *port = context;
    if (port->faults == NULL) {
        tael_client_udp_end(&port->udp, size);
    } else {
        tael_faults_pass(&port->faults[0], datagram, size, 0, faulty_send, port);
    }
}

/* --- the session --- */

/* Brings timer, counters and what people are told up to date. */
static void port_settle(struct port *port) {
    const struct tael_datagram_client_counters *counters = tael_datagram_client_counters(port->client);
    count_add(&port->wire->retransmissions, counters->repeats - port->seen.repeats);
    count_add(&port->wire->busy, counters->busy - port->seen.busy);
    count_add(&port->wire->reconnects, counters->greetings - port->seen.greetings);
    port->seen = *counters;
    if (port->udp.error != 0) {
        why_set(port, "datagrams: %s", strerror(port->udp.error));
        port->udp.error = 0;
    }
    port->source.timer_ns = tael_datagram_client_deadline_ns(port->client);
    if (port->reopen_ns != 0) port->source.timer_ns = earlier(port->source.timer_ns, port->reopen_ns);
    port->wire->timer_ns = earlier(port->wire->timer_ns, port->source.timer_ns);
}

static void session_begin(struct port *port, uint64_t now_ns) {
    struct tael_client_wire *wire = port->wire;
    uint32_t room;
    const int error = tael_client_udp_open(&port->udp, &wire->address, wire->epoll, &port->source, &room);
    if (error != 0) {
        why_set(port, "socket: %s", strerror(-error));
        port->reopen_ns = now_ns + REOPEN_NS;
        return;
    }
    port->reopen_ns = 0;
    port->why[0] = '\0';
    wire->ids.drawn++;
    tael_datagram_client_open(port->client, tael_checksum(&wire->ids, sizeof wire->ids) | 1, now_ns);
}

static void session_end(struct port *port) {
    tael_datagram_client_close(port->client);
    tael_client_udp_close(&port->udp);
    port->reopen_ns = 0;
}

static void tell(struct port *port, struct slot_link *link, enum tael_client_event event) {
    port->wire->event(port->wire->event_context, &link->link, event);
}

static void session_opened(struct port *port) {
    const uint32_t slots = tael_datagram_client_slots(port->client);
    for (uint32_t i = 0; i < port->links_count; i++) {
        struct slot_link *link = &port->links[i];
        if (link->link.phase != TAEL_CLIENT_REGISTERING) continue;
        link->link.phase = i < slots ? TAEL_CLIENT_IDLE : TAEL_CLIENT_CLOSED;
        if (i >= slots) port->slots_given = slots;
        if (i < slots) count_add(&port->wire->sessions, 1);
        tell(port, link, i < slots ? TAEL_CLIENT_EVENT_OPENED : TAEL_CLIENT_EVENT_EVICTED);
    }
}

static void session_ended(struct port *port) {
    session_end(port);
    for (uint32_t i = 0; i < port->links_count; i++) {
        struct slot_link *link = &port->links[i];
        const enum tael_client_phase phase = link->link.phase;
        link->link.phase = TAEL_CLIENT_CLOSED;
        if (phase == TAEL_CLIENT_REGISTERING || phase == TAEL_CLIENT_REQUESTING) {
            tell(port, link, TAEL_CLIENT_EVENT_EVICTED);
        }
    }
}

static void event_take(struct port *port, struct tael_datagram_client_event event) {
    struct slot_link *link = &port->links[event.slot];
    if (event.notice != 0 && event.happening != TAEL_DATAGRAM_CLIENT_BUSY) port->notice = event.notice;
    switch (event.happening) {
    case TAEL_DATAGRAM_CLIENT_NOTHING:
    case TAEL_DATAGRAM_CLIENT_BUSY: /* it goes on by itself */
        break;
    case TAEL_DATAGRAM_CLIENT_OPENED:
        session_opened(port);
        break;
    case TAEL_DATAGRAM_CLIENT_ANSWERED:
        tell(port, link, TAEL_CLIENT_EVENT_ANSWERED);
        break;
    case TAEL_DATAGRAM_CLIENT_REFUSED:
        link->link.phase =
            tael_datagram_client_is_spent(port->client, link->slot) ? TAEL_CLIENT_CLOSED : TAEL_CLIENT_IDLE;
        tell(port, link, TAEL_CLIENT_EVENT_REFUSED);
        break;
    case TAEL_DATAGRAM_CLIENT_ENDED:
        session_ended(port);
        break;
    }
}

/* --- a link --- */

static struct slot_link *slot_of(struct tael_client_link *link) { return (struct slot_link *)link; }
static const struct slot_link *slot_of_const(const struct tael_client_link *link) {
    return (const struct slot_link *)link;
}

/* A session with a slot that has used up its numbers is opened anew once nothing is in flight in it. */
static void spent_replace(struct port *port, uint64_t now_ns) {
    for (uint32_t i = 0; i < port->links_count; i++) {
        if (port->links[i].link.phase == TAEL_CLIENT_REQUESTING) return;
    }
    for (uint32_t i = 0; i < port->links_count; i++) {
        if (port->links[i].link.phase == TAEL_CLIENT_IDLE) port->links[i].link.phase = TAEL_CLIENT_CLOSED;
    }
    session_end(port);
    session_begin(port, now_ns);
}

static void link_open(struct tael_client_link *any, uint64_t now_ns) {
    struct slot_link *link = slot_of(any);
    struct port *port = link->port;
    link->link.phase = TAEL_CLIENT_REGISTERING;
    link->begun_ns = now_ns;
    link->is_waiting_told = false;
    switch (tael_datagram_client_phase(port->client)) {
    case TAEL_DATAGRAM_CLIENT_CLOSED:
        if (port->reopen_ns == 0) session_begin(port, now_ns);
        break;
    case TAEL_DATAGRAM_CLIENT_OPENING:
        break;
    case TAEL_DATAGRAM_CLIENT_OPEN:
        if (link->slot < tael_datagram_client_slots(port->client) &&
            !tael_datagram_client_is_spent(port->client, link->slot)) {
            link->link.phase = TAEL_CLIENT_IDLE;
            count_add(&port->wire->sessions, 1);
        } else {
            spent_replace(port, now_ns);
        }
        break;
    }
    port_settle(port);
}

static void *link_body(struct tael_client_link *link) {
    TAEL_ASSERT(link->phase == TAEL_CLIENT_IDLE);
    return slot_of(link)->body;
}

static void link_request(struct tael_client_link *any, uint8_t operation, uint32_t body_size, bool is_one_batch,
                         uint64_t deadline_ns, uint64_t now_ns) {
    struct slot_link *link = slot_of(any);
    TAEL_ASSERT(link->link.phase == TAEL_CLIENT_IDLE);
    (void)deadline_ns;
    const struct tael_datagram_client_request request = {.body = link->body,
                                                         .body_size = body_size,
                                                         .operation = operation,
                                                         .flags = is_one_batch ? TAEL_DATAGRAM_ONE_BATCH : 0};
    link->link.phase = TAEL_CLIENT_REQUESTING;
    link->begun_ns = now_ns;
    link->is_waiting_told = false;
    tael_datagram_client_request(link->port->client, link->slot, &request, now_ns);
    port_settle(link->port);
}

static struct tael_client_answer link_answer(const struct tael_client_link *any) {
    const struct slot_link *link = slot_of_const(any);
    const struct tael_datagram_client_answer answer = tael_datagram_client_answer(link->port->client, link->slot);
    return (struct tael_client_answer){
        .op = answer.op, .timestamp = answer.timestamp, .body = answer.body, .body_size = answer.body_size};
}

/* The slot has nothing in flight any more. */
static void link_release(struct tael_client_link *any) {
    struct slot_link *link = slot_of(any);
    const bool is_spent = tael_datagram_client_is_spent(link->port->client, link->slot);
    link->link.phase = is_spent ? TAEL_CLIENT_CLOSED : TAEL_CLIENT_IDLE;
}

static bool link_is_certain(const struct tael_client_link *any) {
    const struct slot_link *link = slot_of_const(any);
    return tael_datagram_client_is_certain(link->port->client, link->slot);
}

static bool link_was_sent(const struct tael_client_link *link) { return !link_is_certain(link); }

static bool port_is_wanted(const struct port *port) {
    for (uint32_t i = 0; i < port->links_count; i++) {
        if (port->links[i].link.phase != TAEL_CLIENT_CLOSED) return true;
    }
    return false;
}

static void link_end(struct tael_client_link *any) {
    struct slot_link *link = slot_of(any);
    struct port *port = link->port;
    if (link->link.phase == TAEL_CLIENT_REGISTERING) {
        link->link.phase = TAEL_CLIENT_CLOSED;
        if (!port_is_wanted(port)) session_end(port);
    } else if (link->link.phase == TAEL_CLIENT_REQUESTING) {
        /* Answered by what turned out to be no reply: then nothing is in flight. */
        if (tael_datagram_client_is_in_flight(port->client, link->slot)) {
            tael_datagram_client_give_up(port->client, link->slot);
        }
        link_release(any);
    }
    port_settle(port);
}

/* --- texts --- */

static const char *link_why(const struct tael_client_link *any) {
    const struct slot_link *link = slot_of_const(any);
    const struct port *port = link->port;
    const uint16_t hint = tael_datagram_client_hint(port->client);
    if (port->why[0] != '\0') return port->why;
    if (link->link.phase != TAEL_CLIENT_REGISTERING) return "";
    if (hint != 0) return tael_datagram_notice_text(hint);
    return tael_datagram_client_was_heard(port->client) ? "it opens no session yet" : "it doesn't answer";
}

static const char *link_trouble(const struct tael_client_link *any) {
    const struct slot_link *link = slot_of_const(any);
    const uint16_t busy = tael_datagram_client_busy(link->port->client, link->slot);
    if (busy != 0) return tael_datagram_notice_text(busy);
    if (link->port->why[0] != '\0') return link->port->why;
    return link_is_certain(any) ? "it takes nothing yet" : "it doesn't answer";
}

static const char *link_eviction(const struct tael_client_link *any) {
    const struct port *port = slot_of_const(any)->port;
    if (port->slots_given != 0) return "it gives a session fewer slots than there are to be: ask for fewer sessions";
    return tael_datagram_notice_text(port->notice);
}

/* Says once a request that it takes long, and why. */
static void waiting_tell(struct port *port, uint64_t now_ns) {
    if (port->wire->waiting == NULL) return;
    bool is_opening_told = false;
    for (uint32_t i = 0; i < port->links_count; i++) {
        struct slot_link *link = &port->links[i];
        const bool is_opening = link->link.phase == TAEL_CLIENT_REGISTERING;
        if (!is_opening && link->link.phase != TAEL_CLIENT_REQUESTING) continue;
        if (link->is_waiting_told || now_ns - link->begun_ns <= WAITING_AFTER_NS) continue;
        link->is_waiting_told = true;
        if (is_opening && is_opening_told) continue; /* one session */
        is_opening_told |= is_opening;
        port->wire->waiting(port->wire->waiting_context,
                            is_opening ? link_why(&link->link) : link_trouble(&link->link));
    }
}

/* --- the socket --- */

static void datagram_take(struct port *port, const void *datagram, size_t size) {
    event_take(port, tael_datagram_client_receive(port->client, datagram, size, port->now_ns));
}

static void faulty_take(void *context, const void *datagram, size_t size, uint64_t tag) {
    (void)tag;
    datagram_take(context, datagram, size);
}

static void burst_take(struct port *port, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *datagram = port->udp.in + (size_t)i * port->udp.datagram_max;
        const uint32_t size = port->udp.in_messages[i].msg_len;
        if (port->faults == NULL) {
            datagram_take(port, datagram, size);
        } else {
            tael_faults_pass(&port->faults[1], datagram, size, 0, faulty_take, port);
        }
    }
}

static void source_ready(struct tael_client_source *source, uint32_t events, uint64_t now_ns) {
    struct port *port = (struct port *)source;
    port->now_ns = now_ns;
    if ((events & EPOLLOUT) != 0) {
        tael_client_udp_flush(&port->udp);
        tael_datagram_client_tick(port->client, now_ns);
    }
    for (int i = 0; i < BURSTS_MAX; i++) {
        const uint32_t got = tael_client_udp_receive(&port->udp);
        if (got > 0) port->why[0] = '\0';
        burst_take(port, got);
        if (got < TAEL_CLIENT_UDP_BURST) break;
    }
    port_settle(port);
}

static void source_tick(struct tael_client_source *source, uint64_t now_ns) {
    struct port *port = (struct port *)source;
    port->now_ns = now_ns;
    if (port->reopen_ns != 0 && port->reopen_ns <= now_ns) session_begin(port, now_ns);
    tael_datagram_client_tick(port->client, now_ns);
    waiting_tell(port, now_ns);
    port_settle(port);
}

static void source_flush(struct tael_client_source *source, uint64_t now_ns) {
    struct port *port = (struct port *)source;
    (void)now_ns;
    if (port->udp.sending > 0) tael_client_udp_flush(&port->udp);
}
static_assert(offsetof(struct port, source) == 0, "a source is its port");
static_assert(offsetof(struct slot_link, link) == 0, "a link is its slot's");

static const struct tael_client_source_operations source_operations = {
    .ready = source_ready, .tick = source_tick, .flush = source_flush};

static const struct tael_client_link_operations link_operations = {
    .takes_one_batch = true,
    .open = link_open,
    .body = link_body,
    .request = link_request,
    .answer = link_answer,
    .release = link_release,
    .was_sent = link_was_sent,
    .is_certain = link_is_certain,
    .withdraw = link_end,
    .end = link_end,
    .trouble = link_trouble,
    .why = link_why,
    .eviction = link_eviction,
};

/* --- making them --- */

/* What all slots' replies together may have on the way without the socket dropping any, a part for each at least 16. The kernel
 * says how much room it gives only for a socket, so one is opened to ask. */
static uint32_t reply_window(struct port *port) {
    uint32_t room = 0;
    if (tael_client_udp_open(&port->udp, &port->wire->address, port->wire->epoll, &port->source, &room) == 0) {
        tael_client_udp_close(&port->udp);
    }
    const uint32_t per_part = PART_ROOM + (port->udp.datagram_max - TAEL_DATAGRAM_SIZE_ETHERNET) * 2;
    const uint32_t window = room / per_part / port->links_count;
    return window < 16 ? 16 : window > TAEL_PARTS_MAX ? TAEL_PARTS_MAX : window;
}

static int faults_init(struct port *port, uint32_t index) {
    if (!port->wire->has_faults) return 0;
    port->faults = calloc(2, sizeof *port->faults);
    if (port->faults == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < 2; i++) tael_faults_init(&port->faults[i], &port->wire->faults, 2 * index + i);
    return 0;
}

static int port_init(struct port *port, struct tael_client_wire *wire, uint32_t index, struct slot_link *links,
                     uint32_t links_count) {
    *port = (struct port){
        .source = {&source_operations, TAEL_CLIENT_NEVER}, .wire = wire, .links = links, .links_count = links_count};
    int error = tael_client_udp_init(&port->udp, wire->datagram_max);
    if (error == 0) error = faults_init(port, index);
    if (error != 0) return error;
    const struct tael_datagram_client_options options = {.ledger = wire->cluster,
                                                         .slots = links_count,
                                                         .datagram_max = wire->datagram_max,
                                                         .reply_window = reply_window(port),
                                                         .request_window = REQUEST_WINDOW,
                                                         .pause_min_ns = wire->retransmit_ns,
                                                         .carrier = {port, transmit_begin, transmit_end},
                                                         .random = random_draw,
                                                         .random_context = wire};
    const size_t size = tael_datagram_client_size_bytes(&options);
    TAEL_ASSERT(size > 0);
    void *memory = aligned_alloc(64, size);
    if (memory == NULL) return -ENOMEM;
    port->client = tael_datagram_client_init(memory, &options);
    for (uint32_t i = 0; i < links_count; i++) {
        links[i] = (struct slot_link){.link = {.operations = &link_operations}, .port = port, .slot = i};
        links[i].body = malloc(TAEL_BODY_SIZE_MAX);
        if (links[i].body == NULL) return -ENOMEM;
    }
    return 0;
}

static void port_free(struct port *port) {
    if (port->links == NULL) return; /* not begun */
    for (uint32_t i = 0; i < port->links_count; i++) free(port->links[i].body);
    free(port->client);
    free(port->faults);
    tael_client_udp_free(&port->udp);
}

static void links_free(struct tael_client_links *links) {
    struct ports *ports = links->all;
    for (uint32_t i = 0; i < ports->count && ports->ports != NULL; i++) port_free(&ports->ports[i]);
    free(ports->ports);
    free(ports->links);
    free(ports);
    free(links->links);
    free(links->sources);
}

static int ports_init(struct tael_client_wire *wire, uint32_t count, struct tael_client_links *links) {
    struct ports *ports = links->all;
    ports->ports = calloc(ports->count, sizeof *ports->ports);
    ports->links = calloc(count, sizeof *ports->links);
    links->links = calloc(count, sizeof *links->links);
    links->sources = calloc(ports->count, sizeof *links->sources);
    if (ports->ports == NULL || ports->links == NULL || links->links == NULL || links->sources == NULL) return -ENOMEM;
    uint32_t begun = 0;
    for (uint32_t i = 0; i < ports->count; i++) {
        const uint32_t slots = count / ports->count + (i < count % ports->count ? 1 : 0);
        const int error = port_init(&ports->ports[i], wire, i, &ports->links[begun], slots);
        if (error != 0) return error;
        links->sources[links->sources_count++] = &ports->ports[i].source;
        for (uint32_t k = 0; k < slots; k++) links->links[links->links_count++] = &ports->links[begun++].link;
    }
    return 0;
}

int tael_client_links_udp(struct tael_client_wire *wire, uint32_t count, struct tael_client_links *out) {
    struct ports *ports = calloc(1, sizeof *ports);
    if (ports == NULL) return -ENOMEM;
    ports->count = (count + TAEL_SLOTS_MAX - 1) / TAEL_SLOTS_MAX;
    struct tael_client_links links = {.all = ports, .free = links_free};
    const int error = ports_init(wire, count, &links);
    if (error != 0) {
        links_free(&links);
        return error;
    }
    *out = links;
    return 0;
}
