/* The datagram server between models of clients and of the sequencer. Each request is executed once and answered with its own reply,
 * whatever the network does, and in the end no buffer is missing. A failure aborts after its seed was printed; `--seed S` repeats it.
 *
 *   test_datagram_sim [--seed S] [--seeds N] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "tests/sim/datagram_sim.h"

#define LIFE_MAX_NS (600 * RIG_S)

/* --- the network --- */

struct sim_packet {
    struct sim_packet *next;
    uint64_t due_ns;
    uint32_t size;
    uint32_t client;
    bool to_server;
    uint8_t bytes[];
};

static void packet_add(struct sim *sim, const uint8_t *bytes, uint32_t size, uint32_t client, bool to_server) {
    const uint64_t delay_max = test_random_percent(&sim->random, sim->delay) ? 300 * RIG_MS : RIG_MS / 5;
    struct sim_packet *packet = malloc(sizeof *packet + size);
    TAEL_ASSERT(packet != NULL);
    *packet = (struct sim_packet){.next = sim->packets,
                                  .due_ns = sim->rig.now_ns + 20000 + test_random_below(&sim->random, delay_max),
                                  .size = size,
                                  .client = client,
                                  .to_server = to_server};
    sim->packets = packet;
    memcpy(packet->bytes, bytes, size);
    if (test_random_percent(&sim->random, sim->garbling)) {
        const uint64_t bit = test_random_below(&sim->random, size * 8);
        packet->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void carry(struct sim *sim, const uint8_t *bytes, uint32_t size, uint32_t client, bool to_server) {
    sim->datagrams++;
    if (test_random_percent(&sim->random, sim->loss)) return;
    do packet_add(sim, bytes, size, client, to_server);
    while (test_random_percent(&sim->random, sim->repetition));
}

static uint32_t client_of(const struct sim *sim, const struct tael_endpoint *endpoint) {
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (tael_endpoint_equal(&sim->clients[i].endpoint, endpoint)) return i;
    }
    TAEL_UNREACHABLE("a datagram to nobody");
}

void sim_to_server(struct sim *sim, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const void *part, uint32_t part_size) {
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX];
    if (part_size > 0) memcpy(bytes + TAEL_DATAGRAM_HEADER_SIZE, part, part_size);
    const uint32_t size = tael_datagram_seal(bytes, header, part_size);
    carry(sim, bytes, size, client_of(sim, from), true);
}

static void collect(struct sim *sim) {
    struct rig_sent *sent;
    while ((sent = rig_take(&sim->rig)) != NULL) {
        carry(sim, sent->bytes, sent->size, client_of(sim, &sent->to), false);
        rig_done(sent);
    }
}

static void arrive(struct sim *sim, const struct sim_packet *packet) {
    struct sim_client *client = &sim->clients[packet->client];
    if (packet->to_server) {
        (void)rig_receive(&sim->rig, &client->endpoint, packet->bytes, packet->size);
    } else {
        sim_client_receive(sim, client, packet->bytes, packet->size);
    }
}

/* Those that are due, in any order; what they bring about is not due yet. */
static void deliver(struct sim *sim) {
    struct sim_packet *due = NULL;
    struct sim_packet *late = NULL;
    for (struct sim_packet *packet = sim->packets, *next; packet != NULL; packet = next) {
        struct sim_packet **list = packet->due_ns > sim->rig.now_ns ? &late : &due;
        next = packet->next;
        packet->next = *list;
        *list = packet;
    }
    sim->packets = late;
    while (due != NULL) {
        struct sim_packet *packet = due;
        due = packet->next;
        arrive(sim, packet);
        free(packet);
    }
}

/* --- one life --- */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t next_ns(const struct sim *sim) {
    uint64_t due = earlier(sim_sequencer_due_ns(sim), tael_datagram_server_deadline_ns(sim->rig.server));
    for (const struct sim_packet *packet = sim->packets; packet != NULL; packet = packet->next) {
        due = earlier(due, packet->due_ns);
    }
    for (uint32_t i = 0; i < sim->client_count; i++) due = earlier(due, sim_client_due_ns(&sim->clients[i]));
    /* What is due now, and could not be done, is tried again soon. */
    return due > sim->rig.now_ns + 10000 ? due : sim->rig.now_ns + 10000;
}

static bool all_done(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (!sim_client_done(&sim->clients[i])) return false;
    }
    return true;
}

static void turn(struct sim *sim) {
    sim->rig.has_no_transmit_buffer = test_random_percent(&sim->random, sim->refusal);
    deliver(sim);
    (void)rig_turn(&sim->rig, 0);
    collect(sim);
    sim_sequencer_turn(sim);
    (void)rig_turn(&sim->rig, 0);
    collect(sim);
    for (uint32_t i = 0; i < sim->client_count; i++) sim_client_turn(sim, &sim->clients[i]);
}

static void start(struct sim *sim, uint64_t seed) {
    *sim = (struct sim){.random = {seed}};
    struct test_random *random = &sim->random;
    struct tael_datagram_server_options options = rig_options();
    options.peers_max = (uint32_t)test_random_between(random, 1, 16);
    options.messages_max = (uint32_t)test_random_between(random, 2, 64);
    options.messages_per_peer_max = (uint32_t)test_random_between(random, 2, 32);
    options.window = (uint16_t)test_random_between(random, 8, 128);
    options.small_bodies = (uint32_t)test_random_between(random, 1, 8);
    options.large_bodies = (uint32_t)test_random_between(random, 1, 4);
    options.replies_held_max[RIG_POOL_SMALL] = (uint32_t)test_random_between(random, 1, 32);
    options.replies_held_max[RIG_POOL_LARGE] = (uint32_t)test_random_between(random, 1, 12);
    if (test_random_once_in(random, 3)) options.datagram_max = TAEL_DATAGRAM_SIZE_MAX;
    rig_start_with(&sim->rig, &options, 1u << test_random_below(random, 6));
    const bool quiet = test_random_once_in(random, 4);
    sim->loss = quiet ? 0 : (uint32_t)test_random_below(random, 25);
    sim->repetition = quiet ? 0 : (uint32_t)test_random_below(random, 15);
    sim->garbling = quiet ? 0 : (uint32_t)test_random_below(random, 5);
    sim->delay = quiet ? 0 : (uint32_t)test_random_below(random, 10);
    sim->refusal = quiet ? 0 : (uint32_t)test_random_below(random, 10);
    sim->busy = (uint32_t)test_random_below(random, 20);
    sim->scratch = malloc(SIM_BODY_MAX);
    TAEL_ASSERT(sim->scratch != NULL);
    /* No more than there is room for: who is evicted again and again gets nowhere. */
    const uint32_t clients_max = options.peers_max < SIM_CLIENTS_MAX ? options.peers_max + 1 : SIM_CLIENTS_MAX;
    sim->client_count = (uint32_t)test_random_between(random, 1, clients_max);
    for (uint32_t i = 0; i < sim->client_count; i++) sim_client_start(sim, i);
}

static void stop(struct sim *sim) {
    /* What is on the way is lost; after a time the server has given up everything by itself. */
    while (sim->packets != NULL) {
        struct sim_packet *packet = sim->packets;
        sim->packets = packet->next;
        free(packet);
    }
    sim->rig.has_no_transmit_buffer = false;
    for (uint32_t i = 0; i < 40; i++) {
        sim_sequencer_turn(sim);
        (void)rig_turn(&sim->rig, RIG_S / 2);
        (void)rig_discard(&sim->rig);
    }
    TAEL_ASSERT(sim->task_count == 0);
    TAEL_ASSERT(sim->rig.kept == 0);
    TAEL_ASSERT(rig_replies_out(&sim->rig) == 0);
    TAEL_ASSERT(tael_datagram_server_drained(sim->rig.server));
    TAEL_ASSERT(tael_datagram_server_deadline_ns(sim->rig.server) == UINT64_MAX);
    rig_stop(&sim->rig);
    for (uint32_t i = 0; i < sim->client_count; i++) sim_client_stop(&sim->clients[i]);
    free(sim->scratch);
}

/* Every create of every client was executed, once; that none was twice was checked when it was. */
static void executed_check(const struct sim *sim) {
    for (uint32_t client = 0; client < sim->client_count; client++) {
        for (uint32_t slot = 0; slot < sim->clients[client].slot_count; slot++) {
            for (uint32_t number = 1; number <= sim->clients[client].requests; number++) {
                const bool is_read = sim_request_of(client, slot, number).is_read;
                TAEL_ASSERT(sim->executed[client][slot][number] == (is_read ? 0u : 1u));
            }
        }
    }
}

/* Who waits for what, when it takes too long. */
static void dump(const struct sim *sim) {
    fprintf(stderr, "%u clients, %u peers at most; loss %u, refusal %u, busy %u\n", sim->client_count,
            sim->rig.options.peers_max, sim->loss, sim->refusal, sim->busy);
    for (uint32_t client = 0; client < sim->client_count; client++) {
        for (uint32_t i = 0; i < sim->clients[client].slot_count; i++) {
            const struct sim_slot *slot = &sim->clients[client].slots[i];
            fprintf(
                stderr,
                "client %u (%s), slot %u: request %u of %u, %u bytes%s, the server has %u parts; reply %u, has %u\n",
                client, sim->clients[client].welcome ? "welcome" : "unknown", i, slot->number,
                sim->clients[client].requests, slot->request.body_size, slot->request.is_read ? " (read)" : "",
                tael_part_set_count(&slot->server_has), slot->request.reply_size,
                slot->replying ? tael_part_set_count(&slot->reply_has) : 0);
        }
    }
    const struct tael_datagram_counters *counters = rig_counters(&sim->rig);
#define X(name, text)                                                                                                  \
    if (counters->name > 0) fprintf(stderr, "%12llu %s\n", (unsigned long long)counters->name, text);
    TAEL_DATAGRAM_COUNTER_TABLE(X)
#undef X
}

struct totals {
    uint64_t answered;
    uint64_t datagrams;
    struct tael_datagram_counters counters;
};

static void life(struct sim *sim, uint64_t seed, struct totals *totals) {
    start(sim, seed);
    const uint64_t end_ns = sim->rig.now_ns + LIFE_MAX_NS;
    for (turn(sim); !all_done(sim); turn(sim)) {
        sim->rig.now_ns = next_ns(sim);
        if (sim->rig.now_ns < end_ns) continue;
        fprintf(stderr, "seed %llu: not all requests are answered\n", (unsigned long long)seed);
        dump(sim);
        abort();
    }
    executed_check(sim);
    totals->answered += sim->answered;
    totals->datagrams += sim->datagrams;
    const struct tael_datagram_counters *counters = rig_counters(&sim->rig);
#define X(name, text) totals->counters.name += counters->name;
    TAEL_DATAGRAM_COUNTER_TABLE(X)
#undef X
    stop(sim);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'}, {0}};
    uint64_t seed = 1;
    uint64_t seeds = getenv("TAEL_TEST_LONG") != NULL ? 1000 : 200;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's') seed = strtoull(optarg, NULL, 10), seeds = 1;
        if (option == 'n') seeds = strtoull(optarg, NULL, 10);
        if (option == '?') return 2;
    }
    static struct sim sim;
    static struct totals totals;
    for (uint64_t i = seed; i < seed + seeds; i++) {
        printf("\rseed %llu", (unsigned long long)i);
        fflush(stdout);
        life(&sim, i, &totals);
    }
    printf("\nseeds %llu to %llu: %llu requests answered, each executed once, by %llu datagrams\n",
           (unsigned long long)seed, (unsigned long long)(seed + seeds - 1), (unsigned long long)totals.answered,
           (unsigned long long)totals.datagrams);
#define X(name, text) printf("%12llu %s\n", (unsigned long long)totals.counters.name, text);
    TAEL_DATAGRAM_COUNTER_TABLE(X)
#undef X
    return 0;
}
