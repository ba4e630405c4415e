/* A datagram server between clients and a sequencer that are models, over a network that loses, repeats, delays and garbles: one
 * process, one thread, virtual time, all from a seed.
 *
 * The clients are as simple as docs/datagram-protocol.md lets them be, and know what each reply has to hold. The sequencer executes
 * what it takes, checks that nothing is executed twice or with other bytes, keeps replies of creates and runs reads again. */
#ifndef TAEL_TESTS_SIM_DATAGRAM_SIM_H
#define TAEL_TESTS_SIM_DATAGRAM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "io/part_set.h"
#include "tests/net/datagram_rig.h"
#include "tests/support/random.h"

enum { SIM_CLIENTS_MAX = 8, SIM_SLOTS_MAX = 4, SIM_REQUESTS_MAX = 64, SIM_BODY_MAX = 300000 };

/* --- what is asked and answered: functions of who asks --- */

struct sim_request {
    uint64_t id; /* of client, slot and number */
    uint32_t body_size;
    uint32_t reply_size;
    bool is_read;
};

/* --- clients --- */

struct sim_slot {
    uint32_t number; /* of the request in flight */
    struct sim_request request;
    uint8_t *body;
    struct tael_part_set server_has;
    struct tael_part_set sent; /* once at least */
    bool replying; /* parts of a reply are there */
    uint64_t reply_op;
    uint32_t reply_size;
    uint32_t reply_units;
    uint32_t reply_unsaid; /* parts that came since the last HAVE */
    struct tael_part_set reply_has;
    uint8_t *reply;
    uint64_t pause_ns;
    uint64_t due_ns; /* when its patience ends */
};

struct sim_client {
    struct tael_endpoint endpoint;
    tael_u128 id;
    uint64_t token;
    bool welcome; /* as far as it knows */
    bool registered;
    uint8_t cookie[16];
    uint16_t datagram_max;
    uint16_t window; /* of replies, its own */
    uint16_t server_window;
    uint64_t hello_sent_ns;
    uint64_t hello_due_ns;
    uint32_t slot_count;
    uint32_t requests; /* to make in each slot */
    struct sim_slot slots[SIM_SLOTS_MAX]; /* of an unregistered one the first holds the register */
};

/* --- the sequencer --- */

struct sim_kept {
    uint32_t last; /* the number of the last create */
    bool any;
    bool answered;
    tael_u128 checksum;
    uint64_t op;
    uint32_t reply_size;
};

struct sim_session {
    uint64_t token;
    tael_u128 register_checksum;
    bool open;
    struct sim_kept kept[SIM_SLOTS_MAX];
};

/* Something that the sequencer will do later. */
struct sim_task {
    uint64_t due_ns;
    struct tael_message names; /* a copy: the message may be released before */
    struct tael_message *release; /* give this one back; NULL: answer */
    struct sim_kept *kept; /* of a create; NULL for a read */
    uint64_t op;
    uint32_t reply_size;
    uint16_t notice;
};

enum { SIM_TASKS_MAX = 4096 };

struct sim {
    struct rig rig;
    struct test_random random;
    /* In percent. */
    uint32_t loss;
    uint32_t repetition;
    uint32_t garbling;
    uint32_t delay; /* of datagrams that come very late */
    uint32_t refusal; /* of the carrier, in a turn */
    uint32_t busy; /* of the sequencer */
    struct sim_client clients[SIM_CLIENTS_MAX];
    uint32_t client_count;
    struct sim_session sessions[SIM_CLIENTS_MAX];
    uint64_t op;
    uint32_t executed[SIM_CLIENTS_MAX][SIM_SLOTS_MAX][SIM_REQUESTS_MAX + 1]; /* how often, creates */
    struct sim_task tasks[SIM_TASKS_MAX];
    uint32_t task_count;
    uint64_t answered; /* requests that have their reply */
    uint64_t datagrams;
    /* Datagrams on their way. */
    struct sim_packet *packets;
    uint8_t *scratch; /* SIM_BODY_MAX bytes */
};

/* The request of a client's slot: the same whoever asks. */
struct sim_request sim_request_of(uint32_t client, uint32_t slot, uint32_t number);
void sim_body_fill(const struct sim_request *request, uint8_t *body);

/* --- test_datagram_sim.c --- */

/* Puts a datagram on its way to the server. */
void sim_to_server(struct sim *sim, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const void *part, uint32_t part_size);

/* --- datagram_sim_client.c --- */

void sim_client_start(struct sim *sim, uint32_t index);
void sim_client_stop(struct sim_client *client);
/* A datagram came from the server; sound or not. */
void sim_client_receive(struct sim *sim, struct sim_client *client, const uint8_t *bytes, uint32_t size);
/* Does what is due. */
void sim_client_turn(struct sim *sim, struct sim_client *client);
uint64_t sim_client_due_ns(const struct sim_client *client);
bool sim_client_done(const struct sim_client *client);

/* --- datagram_sim_sequencer.c --- */

void sim_sequencer_turn(struct sim *sim);
uint64_t sim_sequencer_due_ns(const struct sim *sim);

#endif
