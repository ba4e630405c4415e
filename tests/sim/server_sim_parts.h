/* What the parts of the simulation of a whole server share: server_sim.c (a life: the server's processes, time), server_sim_net.c (the
 * network, and the server's carrier), server_sim_client.c (clients and what they know), server_sim_hostile.c (the others),
 * server_sim_audit.c (the log against what clients know). */
#ifndef TAEL_TESTS_SIM_SERVER_SIM_PARTS_H
#define TAEL_TESTS_SIM_SERVER_SIM_PARTS_H

#include <tael/limits.h>
#include <tael/record.h>
#include <tael/u128.h>

#include "io/datagram_client.h"
#include "io/datagram_server.h"
#include "io/faults.h"
#include "tests/sim/core_life.h"
#include "tests/sim/server_sim.h"
#include "tests/support/random.h"
#include "tests/support/way.h"

#define MS 1000000ull
#define US 1000ull

enum {
    LEDGER = 3,
    CLIENTS_MAX = 4,
    SLOTS_MAX = 4,
    HOSTILES = 3,
    ACCOUNTS_MAX = 60, /* that clients know */
    REQUESTS_MAX = 4096, /* of all clients in a life */
    ENDED_MAX = 1024,
    HEARD_MAX = 64, /* datagrams that the hostile ones remember */
    COOKIES_MAX = 4,
    WAY_MAX = 1u << 16,
};

/* --- what clients know of a request --- */

enum outcome { IN_FLIGHT, ANSWERED, REFUSED, UNSENT, UNKNOWN };

struct asked {
    enum outcome outcome;
    uint8_t operation;
    bool is_read;
    tael_u128 client;
    uint32_t slot;
    uint32_t events;
    tael_u128 events_hash; /* of a create */
    uint8_t *body; /* of a read, with its trailer */
    uint32_t body_size;
    uint64_t op_floor; /* its own must be above, or for a read not below */
    uint64_t op;
    uint64_t timestamp;
    tael_u128 answer_hash; /* of the answer's body */
    struct asked *resolves; /* a read in the end that looks for that one's events */
    bool is_looked_up; /* or is being so, its outcome being unknown */
    uint32_t found; /* of the events */
    uint32_t executed; /* how often it is in the log */
};

struct known_account {
    tael_u128 id;
    tael_u128 debits, credits;
};

/* --- the parties --- */

struct sim_slot {
    struct asked *asked; /* NULL: free */
    uint64_t give_up_ns;
    uint8_t *body; /* TAEL_BODY_SIZE_MAX */
};

struct sim_client {
    uint32_t endpoint;
    uint32_t opened_at; /* the endpoint */
    tael_u128 id;
    struct tael_datagram_client *datagram;
    void *memory;
    struct sim_slot slots[SLOTS_MAX];
};

struct hostile {
    uint32_t endpoint;
    tael_u128 id;
    uint64_t token;
    uint32_t request;
    bool is_welcome;
    uint8_t cookie[TAEL_COOKIE_SIZE];
};

/* An address and port, */
struct sim_endpoint {
    tael_u128 client; /* who opened its session there; 0: nobody */
    bool heard_another; /* another's register came from there, as far as the server can know */
    /* and what the present process of the server and it have sent each other. */
    uint64_t bytes_in;
    uint64_t bytes_out;
    bool has_shown; /* a cookie that the server sent there */
    uint32_t cookies_count;
    uint8_t cookies[COOKIES_MAX][TAEL_COOKIE_SIZE];
};

/* A packet buffer of the server's carrier. */
enum buffer_state { BUFFER_FREE, BUFFER_KEPT, BUFFER_TO_SEND };
struct buffer {
    enum buffer_state state;
    uint32_t next_free;
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX];
};

struct heard {
    uint32_t endpoint;
    uint32_t size;
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX];
};

struct run {
    const struct server_sim_options *options;
    struct server_sim_result *result;
    struct test_random random;
    uint64_t now_ns;
    /* The server. */
    struct core_life life;
    struct tael_datagram_server *server; /* NULL: it is down, */
    uint64_t up_ns; /* until then */
    uint64_t op_shown; /* the highest op in any answer */
    uint32_t parts_max, messages_max;
    uint64_t disk_pace; /* once in so many turns it completes something */
    uint64_t
        calm; /* how seldom something happens that throws all back: where it is often, large requests hardly get on */
    /* The network. */
    struct tael_faults to_server, to_client;
    struct way way;
    uint64_t packets;
    struct sim_endpoint *endpoints;
    uint32_t endpoints_count, endpoints_capacity;
    struct buffer *buffers;
    uint32_t buffers_max, buffer_free; /* UINT32_MAX: none */
    uint32_t buffers_kept, buffers_to_send;
    uint8_t scratch[TAEL_DATAGRAM_SIZE_MAX];
    /* Clients. */
    struct sim_client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct sim_client *transmitting;
    struct asked asked[REQUESTS_MAX];
    uint32_t asked_count;
    uint32_t requests; /* to be begun before everything settles */
    bool is_settling;
    bool is_resolving; /* unknown outcomes are being looked up, */
    uint32_t resolved; /* those before this one were */
    struct known_account accounts[ACCOUNTS_MAX];
    uint32_t account_count;
    struct asked *accounts_asked; /* in the end */
    bool accounts_checked;
    tael_u128 ended[ENDED_MAX]; /* clients whose open session the server ended */
    uint32_t ended_count;
    uint64_t id_last; /* of clients */
    /* The others. */
    struct hostile hostiles[HOSTILES];
    struct heard heard[HEARD_MAX];
    uint32_t heard_count;
};

/* --- server_sim.c --- */

__attribute__((format(printf, 2, 3))) void sim_fail(struct run *run, const char *format, ...);
bool sim_failed(const struct run *run);
uint64_t sim_random(void *run);
tael_u128 sim_hash(const void *bytes, size_t size);
static inline bool chance(struct run *run, uint64_t once_in) { return test_random_once_in(&run->random, once_in); }
static inline uint64_t below(struct run *run, uint64_t bound) { return test_random_below(&run->random, bound); }

/* --- server_sim_net.c --- */

void net_start(struct run *run);
void net_stop(struct run *run);
/* An endpoint that nobody has had. */
uint32_t net_endpoint_new(struct run *run);
/* Sends to the server, as from that endpoint. */
void net_send(struct run *run, uint32_t endpoint, const void *bytes, uint32_t size);
/* Hands on what arrives now: how much. */
uint32_t net_arrive(struct run *run);
/* When the next packet arrives; UINT64_MAX: none is on the way. */
uint64_t net_next_ns(const struct run *run);
/* A new process of the server: its buffers are all there, and it knows nobody. */
void net_server_starts(struct run *run);
struct tael_carrier net_carrier(struct run *run);

/* --- server_sim_client.c --- */

void clients_start(struct run *run);
void clients_stop(struct run *run);
/* True: it was for a client. */
bool client_receive(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size);
void clients_turn(struct run *run);
uint64_t clients_next_ns(const struct run *run);
/* Nothing is in flight, and nothing is left to be asked. */
bool clients_done(const struct run *run);

/* --- server_sim_hostile.c --- */

void hostiles_start(struct run *run);
/* What arrives at the server is overheard. */
void hostile_hear(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size);
void hostile_receive(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size);
void hostiles_turn(struct run *run);

/* --- server_sim_audit.c --- */

/* Between two processes of the server. */
void audit(struct run *run, const struct core_life_end *end);

#endif
