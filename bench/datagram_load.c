/* Load by datagrams over a port of DPDK: sessions with slots, each slot with one request in flight, from one thread that does nothing
 * else. What `tael bench --udp` does by the kernel's sockets this does without a kernel: it shows what a server does whose clients are
 * as fast as it is.
 *
 * Transfers are made in the thread while earlier ones are on their way; latency counts from when a request was meant to be sent.
 *
 * usage: datagram_load --eal ARGS --address ADDR --to ADDR:PORT [--sessions N] [--slots N] [--batch N] [--accounts N] [--seconds N]
 *        [--warm-up N] [--rate REQUESTS] [--faults WHAT] [--mtu N] [--ledger N]
 * Prints one JSON object. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include <rte_mbuf.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/status.h>

#include "bench/load/histogram.h"
#include "bench/load/mix.h"
#include "io/address.h"
#include "io/datagram_client.h"
#include "io/eal.h"
#include "io/faults.h"
#include "io/host_address.h"
#include "io/port.h"

enum {
    SESSIONS_MAX = 1024,
    PORT_FIRST = 20000,
    PORT_OFFSET = 36, /* of UDP's destination port in a packet */
    REPLY_WINDOW = 128,
    REQUEST_WINDOW = 512,
    GIVE_WAY_NS = 25000,
};

/* A request that is on its way, or the next one. */
struct lane {
    struct tael_mix_stream stream;
    struct tael_transfer *buffers[2];
    uint32_t buffer; /* what is sent next, and made already */
    uint64_t meant_ns; /* when the one on its way was meant to be sent */
    bool is_on_its_way;
};

struct session {
    struct load *load;
    struct tael_datagram_client *client;
    struct tael_host host;
    struct rte_mbuf *packet; /* that is being filled */
    struct tael_faults faults; /* of what it sends */
    struct lane *lanes; /* one a slot */
    uint64_t due_ns;
    bool lacks_room; /* to send what it has to: it is looked after in the next turn */
};

struct options {
    const char *eal, *address, *to, *faults;
    uint64_t sessions, slots, batch, accounts, seconds, warm_up, rate, mtu, ledger;
};

struct load {
    struct options options;
    struct tael_faults_options faults;
    struct tael_port *port;
    struct tael_endpoint server;
    struct session sessions[SESSIONS_MAX];
    struct tael_mix mix;
    bool is_resolved;
    uint64_t accounts_opened; /* asked for */
    uint64_t opened; /* sessions */
    uint64_t on_its_way; /* requests */
    uint64_t gave_way_ns;
    /* Of the run. */
    bool is_sending, is_counting;
    uint64_t next, begin_ns; /* at a rate: the next request's number, and the first one's time */
    uint64_t requests, transfers, created;
    bool is_scratch;
    struct tael_histogram latency_ns;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

__attribute__((noreturn)) static void fail(const char *what, const char *why) {
    fprintf(stderr, "datagram_load: %s%s%s\n", what, why == NULL ? "" : ": ", why == NULL ? "" : why);
    exit(EXIT_FAILURE);
}

static uint64_t random_draw(void *context) {
    uint64_t value;
    (void)context;
    if (getrandom(&value, sizeof value, 0) != sizeof value) fail("no random numbers", NULL);
    return value;
}

static void *pages_map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("out of memory", NULL);
    return memory;
}

/* --- what carries datagrams --- */

static void *transmit_begin(void *context, uint32_t size_max) {
    struct session *session = context;
    (void)size_max;
    session->packet = tael_port_is_full(session->load->port) ? NULL : tael_port_packet(session->load->port);
    session->lacks_room = session->packet == NULL;
    return session->packet == NULL ? NULL : tael_port_payload(session->packet);
}

static void faulty_send(void *context, const void *datagram, size_t size, uint64_t tag) {
    struct session *session = context;
    struct rte_mbuf *packet = tael_port_packet(session->load->port);
    (void)tag;
    if (packet == NULL) return;
    memcpy(tael_port_payload(packet), datagram, size);
    tael_port_send(session->load->port, &session->host, &session->load->server, packet, (uint32_t)size);
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct session *session = context;
    struct load *load = session->load;
    if (load->options.faults == NULL) {
        tael_port_send(load->port, &session->host, &load->server, session->packet, size);
        return;
    }
    tael_faults_pass(&session->faults, datagram, size, 0, faulty_send, session);
    rte_pktmbuf_free(session->packet);
}

/* --- requests --- */

static void lane_make(struct session *session, struct lane *lane) {
    struct load *load = session->load;
    tael_mix_fill(&load->mix, &lane->stream, lane->buffers[lane->buffer], (uint32_t)load->options.batch);
}

/* Sends the batch that is made, and makes the next one. */
static void lane_send(struct session *session, uint32_t slot, uint64_t meant_ns, uint64_t now) {
    struct lane *lane = &session->lanes[slot];
    struct load *load = session->load;
    const struct tael_datagram_client_request request = {
        .body = lane->buffers[lane->buffer],
        .body_size = (uint32_t)load->options.batch * (uint32_t)sizeof(struct tael_transfer),
        .operation = TAEL_OPERATION_create_transfers,
        .flags = TAEL_DATAGRAM_ONE_BATCH,
    };
    lane->meant_ns = meant_ns;
    lane->is_on_its_way = true;
    lane->buffer ^= 1;
    load->on_its_way++;
    tael_datagram_client_request(session->client, slot, &request, now);
    lane_make(session, lane);
}

/* When the next request is due; in a closed loop, now. UINT64_MAX: none is any more. */
static uint64_t next_due_ns(const struct load *load, uint64_t now) {
    if (!load->is_sending) return UINT64_MAX;
    if (load->options.rate == 0) return now;
    return load->begin_ns + (uint64_t)((tael_u128)load->next * TAEL_NS_PER_S / load->options.rate);
}

/* Sends what is due in this slot, which is free. */
static bool slot_go_on(struct session *session, uint32_t slot, uint64_t now) {
    struct load *load = session->load;
    const uint64_t due_ns = next_due_ns(load, now);
    if (due_ns > now) return false;
    load->next++;
    lane_send(session, slot, due_ns, now);
    return true;
}

static void answer_count(struct session *session, uint32_t slot, uint64_t now) {
    struct load *load = session->load;
    const struct tael_datagram_client_answer answer = tael_datagram_client_answer(session->client, slot);
    const uint32_t batch = (uint32_t)load->options.batch;
    struct tael_create_result result;
    if (answer.body_size < batch * sizeof result) fail("a reply is too short", NULL);
    for (uint32_t i = 0; i < batch; i++) {
        memcpy(&result, (const uint8_t *)answer.body + i * sizeof result, sizeof result);
        if (load->is_counting) load->created += result.status == TAEL_STATUS_CREATED;
        if (result.status != TAEL_STATUS_CREATED) fail("a transfer was not created", NULL);
    }
    if (!load->is_counting) return;
    load->is_scratch = answer.is_scratch;
    load->requests++;
    load->transfers += batch;
    tael_histogram_record(&load->latency_ns, now - session->lanes[slot].meant_ns);
}

static void session_hear(struct session *session, const struct tael_datagram_client_event *event, uint64_t now) {
    struct load *load = session->load;
    switch (event->happening) {
    case TAEL_DATAGRAM_CLIENT_OPENED:
        if (tael_datagram_client_slots(session->client) < load->options.slots)
            fail("fewer slots than wished for", NULL);
        load->opened++;
        break;
    case TAEL_DATAGRAM_CLIENT_ANSWERED:
        load->on_its_way--;
        if (!session->lanes[event->slot].is_on_its_way) break; /* accounts */
        session->lanes[event->slot].is_on_its_way = false;
        answer_count(session, event->slot, now);
        (void)slot_go_on(session, event->slot, now);
        break;
    case TAEL_DATAGRAM_CLIENT_REFUSED:
    case TAEL_DATAGRAM_CLIENT_ENDED:
        fail("the server refused", tael_datagram_notice_text(event->notice));
    case TAEL_DATAGRAM_CLIENT_NOTHING:
    case TAEL_DATAGRAM_CLIENT_BUSY:
        break;
    }
}

/* --- the turn --- */

/* The session whose port a packet is for; the first one for what is none of theirs. */
static struct session *session_of(struct load *load, const struct rte_mbuf *packet) {
    const uint8_t *bytes = rte_pktmbuf_mtod(packet, const uint8_t *);
    if (packet->data_len < PORT_OFFSET + 2) return &load->sessions[0];
    const uint32_t port = (uint32_t)bytes[PORT_OFFSET] << 8 | bytes[PORT_OFFSET + 1];
    const uint32_t index = port - PORT_FIRST;
    return &load->sessions[index < load->options.sessions ? index : 0];
}

static void packet_hear(struct load *load, struct rte_mbuf *packet, uint64_t now) {
    struct session *session = session_of(load, packet);
    struct tael_host_received received;
    const enum tael_host_verdict verdict = tael_port_take(load->port, &session->host, packet, &received);
    if (verdict == TAEL_HOST_NEIGHBOUR && received.from.address == load->server.address) {
        memcpy(load->server.mac, received.from.mac, sizeof load->server.mac);
        load->is_resolved = true;
    }
    if (verdict != TAEL_HOST_DATAGRAM) return;
    const struct tael_datagram_client_event event =
        tael_datagram_client_receive(session->client, received.payload, received.payload_size, now);
    session_hear(session, &event, now);
    session->due_ns = tael_datagram_client_deadline_ns(session->client);
    rte_pktmbuf_free(packet);
}

static void turn(struct load *load) {
    struct rte_mbuf *packets[TAEL_PORT_BURST_MAX];
    const uint32_t count = tael_port_receive(load->port, packets);
    const uint64_t now = now_ns();
    for (uint32_t i = 0; i < count; i++) packet_hear(load, packets[i], now);
    for (uint64_t i = 0; i < load->options.sessions; i++) {
        struct session *session = &load->sessions[i];
        if (session->due_ns > now && !session->lacks_room) continue;
        session->lacks_room = false;
        tael_datagram_client_tick(session->client, now);
        session->due_ns = tael_datagram_client_deadline_ns(session->client);
    }
    (void)tael_port_flush(load->port);
    /* The kernel's threads that complete the disk's writes may be this processor's. */
    if (now - load->gave_way_ns < GIVE_WAY_NS) return;
    (void)sched_yield();
    load->gave_way_ns = now;
}

/* Sends what is due in all slots that are free. */
static void slots_go_on(struct load *load) {
    const uint64_t now = now_ns();
    for (uint64_t i = 0; i < load->options.sessions; i++) {
        struct session *session = &load->sessions[i];
        for (uint32_t slot = 0; slot < load->options.slots; slot++) {
            if (!tael_datagram_client_is_free(session->client, slot)) continue;
            if (!slot_go_on(session, slot, now)) return;
            session->due_ns = tael_datagram_client_deadline_ns(session->client);
        }
    }
}

/* --- from the beginning to the end --- */

static void port_open(struct load *load) {
    static _Alignas(TAEL_SECTOR_SIZE) uint8_t memory[1 << 16];
    struct tael_arena arena = {.base = memory, .size = sizeof memory};
    struct tael_port_options options = tael_port_options_default();
    struct tael_host_address own;
    struct tael_address to;
    char why[TAEL_WHY_SIZE];
    if (tael_host_address_parse(load->options.address, &own) != 0) fail("--address is none", NULL);
    if (tael_address_parse(load->options.to, &to) != 0 ||
        !tael_address_ipv4(&to, &load->server.address, &load->server.port)) {
        fail("--to is no ADDR:PORT", NULL);
    }
    options.mtu = (uint16_t)load->options.mtu;
    options.address = own.address;
    const struct tael_eal_options eal = {.arguments = load->options.eal, .memory_mib = tael_port_memory_mib(&options)};
    if (tael_eal_start(&eal, why) != 0 || tael_port_open(&load->port, &arena, &options, why) != 0) fail("--eal", why);
    for (uint64_t i = 0; i < load->options.sessions; i++) {
        struct tael_host *host = &load->sessions[i].host;
        *host = (struct tael_host){
            .address = own.address, .port = (uint16_t)(PORT_FIRST + i), .mtu = (uint16_t)load->options.mtu};
        tael_port_mac(load->port, host->mac);
    }
}

static void server_resolve(struct load *load) {
    const uint64_t end_ns = now_ns() + 10 * TAEL_NS_PER_S;
    uint64_t asked_ns = 0;
    while (!load->is_resolved) {
        const uint64_t now = now_ns();
        if (now > end_ns) fail("nobody has the server's address", NULL);
        if (now - asked_ns > TAEL_NS_PER_S / 10) {
            (void)tael_port_resolve(load->port, &load->sessions[0].host, load->server.address);
            asked_ns = now;
        }
        turn(load);
    }
}

static void lanes_init(struct load *load, struct session *session, uint32_t first) {
    session->lanes = calloc(load->options.slots, sizeof *session->lanes);
    if (session->lanes == NULL) fail("out of memory", NULL);
    for (uint32_t slot = 0; slot < load->options.slots; slot++) {
        struct lane *lane = &session->lanes[slot];
        if (tael_mix_stream_init(&load->mix, first + slot, &lane->stream) != 0) fail("out of memory", NULL);
        for (uint32_t i = 0; i < 2; i++)
            lane->buffers[i] = pages_map(load->options.batch * sizeof(struct tael_transfer));
        lane_make(session, lane);
    }
}

static void session_open(struct load *load, uint64_t index) {
    struct session *session = &load->sessions[index];
    const struct tael_datagram_client_options options = {
        .ledger = load->options.ledger,
        .slots = (uint32_t)load->options.slots,
        .datagram_max = (uint32_t)load->options.mtu - TAEL_HOST_MTU_HEADERS_SIZE,
        .reply_window = REPLY_WINDOW,
        .request_window = REQUEST_WINDOW,
        .carrier = {.context = session, .transmit_begin = transmit_begin, .transmit_end = transmit_end},
        .random = random_draw,
    };
    const size_t size = tael_datagram_client_size_bytes(&options);
    if (size == 0) fail("options out of their ranges", NULL);
    session->load = load;
    session->due_ns = UINT64_MAX;
    tael_faults_init(&session->faults, &load->faults, index);
    session->client = tael_datagram_client_init(pages_map(size), &options);
    lanes_init(load, session, (uint32_t)(index * load->options.slots));
}

static void sessions_open(struct load *load) {
    const uint64_t end_ns = now_ns() + 30 * TAEL_NS_PER_S;
    for (uint64_t i = 0; i < load->options.sessions; i++) {
        struct session *session = &load->sessions[i];
        const tael_u128 id = (tael_u128)random_draw(NULL) << 64 | random_draw(NULL);
        tael_datagram_client_open(session->client, id | 1, now_ns());
        session->due_ns = tael_datagram_client_deadline_ns(session->client);
    }
    while (load->opened < load->options.sessions) {
        turn(load);
        if (now_ns() > end_ns) fail("not all sessions could be opened", NULL);
    }
}

static void accounts_open(struct load *load) {
    static struct tael_account accounts[TAEL_EVENTS_MAX];
    while (load->accounts_opened < load->options.accounts) {
        uint32_t count = 0;
        while (count < TAEL_EVENTS_MAX && load->accounts_opened < load->options.accounts) {
            accounts[count++] = tael_mix_account(&load->mix.options, load->accounts_opened++);
        }
        const struct tael_datagram_client_request request = {.body = accounts,
                                                             .body_size = count * (uint32_t)sizeof accounts[0],
                                                             .operation = TAEL_OPERATION_create_accounts,
                                                             .flags = TAEL_DATAGRAM_ONE_BATCH};
        load->on_its_way++;
        tael_datagram_client_request(load->sessions[0].client, 0, &request, now_ns());
        load->sessions[0].due_ns = 0;
        while (load->on_its_way > 0) turn(load);
    }
}

/* Sends for so long, then waits for what is on its way. */
static void phase_run(struct load *load, uint64_t seconds, bool is_counting, uint64_t *elapsed_ns) {
    load->begin_ns = now_ns();
    load->next = 0;
    load->is_sending = true;
    load->is_counting = is_counting;
    const uint64_t end_ns = load->begin_ns + seconds * TAEL_NS_PER_S;
    while (now_ns() < end_ns) {
        /* In a closed loop the answers send what is next. */
        if (load->options.rate != 0 || load->next == 0) slots_go_on(load);
        turn(load);
    }
    load->is_sending = false;
    while (load->on_its_way > 0) turn(load);
    *elapsed_ns = now_ns() - load->begin_ns;
}

static double percentile_us(const struct load *load, uint32_t per_100000) {
    return (double)tael_histogram_percentile(&load->latency_ns, per_100000) / 1000;
}

static void report(const struct load *load, uint64_t elapsed_ns) {
    uint64_t repeats = 0, polls = 0, busy = 0;
    const double seconds = (double)elapsed_ns / (double)TAEL_NS_PER_S;
    for (uint64_t i = 0; i < load->options.sessions; i++) {
        const struct tael_datagram_client_counters *counters = tael_datagram_client_counters(load->sessions[i].client);
        repeats += counters->repeats;
        polls += counters->polls;
        busy += counters->busy;
    }
    printf("{\"transfers_per_s\": %.0f, \"requests_per_s\": %.0f, \"created\": %" PRIu64
           ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"repeats\": %" PRIu64 ", \"polls\": %" PRIu64
           ", \"busy\": %" PRIu64 ", \"scratch\": %s}\n",
           (double)load->transfers / seconds, (double)load->requests / seconds, load->created,
           percentile_us(load, 50000), percentile_us(load, 99000), percentile_us(load, 99900), repeats, polls, busy,
           load->is_scratch ? "true" : "false");
}

/* --- options --- */

static void options_parse(struct options *options, int argc, char **argv) {
    struct number {
        const char *name;
        uint64_t *value;
    };
    const struct {
        const char *name;
        const char **value;
    } texts[] = {
        {"eal", &options->eal}, {"address", &options->address}, {"to", &options->to}, {"faults", &options->faults}};
    const struct number numbers[] = {
        {"sessions", &options->sessions}, {"slots", &options->slots},     {"batch", &options->batch},
        {"accounts", &options->accounts}, {"seconds", &options->seconds}, {"warm-up", &options->warm_up},
        {"rate", &options->rate},         {"mtu", &options->mtu},         {"ledger", &options->ledger},
    };
    for (int i = 1; i < argc; i += 2) {
        bool is_known = false;
        if (i + 1 == argc || strncmp(argv[i], "--", 2) != 0) fail("usage: see the source", NULL);
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
            if (strcmp(argv[i] + 2, texts[k].name) != 0) continue;
            *texts[k].value = argv[i + 1];
            is_known = true;
        }
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            if (strcmp(argv[i] + 2, numbers[k].name) != 0) continue;
            *numbers[k].value = strtoull(argv[i + 1], NULL, 10);
            is_known = true;
        }
        if (!is_known) fail("there is no option", argv[i]);
    }
    if (options->eal == NULL || options->address == NULL || options->to == NULL)
        fail("--eal, --address and --to", NULL);
    if (options->sessions < 1 || options->sessions > SESSIONS_MAX) fail("--sessions is out of its range", NULL);
    if (options->slots < 1 || options->slots > TAEL_SLOTS_MAX) fail("--slots is out of its range", NULL);
    if (options->batch < 1 || options->batch > TAEL_EVENTS_MAX) fail("--batch is out of its range", NULL);
    if (options->accounts < 2) fail("--accounts is out of its range", NULL);
}

int main(int argc, char **argv) {
    static struct load load = {
        .options = {
            .sessions = 4, .slots = 16, .batch = 1, .accounts = 10000, .seconds = 5, .warm_up = 1, .mtu = 1500}};
    uint64_t elapsed_ns;
    options_parse(&load.options, argc, argv);
    if (load.options.faults != NULL && tael_faults_parse(load.options.faults, &load.faults) != 0) {
        fail("--faults", load.options.faults);
    }
    const struct tael_mix_options mix = {.accounts = load.options.accounts,
                                         .seed = 1,
                                         .run = random_draw(NULL),
                                         .ledger = 1,
                                         .streams = (uint32_t)(load.options.sessions * load.options.slots),
                                         .batch = (uint32_t)load.options.batch,
                                         .chain_length = 2};
    if (tael_mix_init(&load.mix, &mix) != 0) fail("out of memory", NULL);
    for (uint64_t i = 0; i < load.options.sessions; i++) session_open(&load, i);
    port_open(&load);
    server_resolve(&load);
    sessions_open(&load);
    accounts_open(&load);
    if (load.options.warm_up > 0) phase_run(&load, load.options.warm_up, false, &elapsed_ns);
    phase_run(&load, load.options.seconds, true, &elapsed_ns);
    report(&load, elapsed_ns);
    return EXIT_SUCCESS;
}
