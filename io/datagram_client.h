/* One session of the datagram protocol, the client's side: up to 64 slots, each with one request in flight. docs/datagram-protocol.md has the
 * rules.
 *
 * It says hello, registers, carries requests and puts replies together; it repeats what is not answered, and says hello again
 * where the server has forgotten the address. Its owner hands in the datagrams that came, the time, and randomness, and is told what
 * they mean; what it sends goes to a carrier, which knows the way to the one server.
 *
 *  1. All datagrams of a request are the same, byte for byte, however often they are sent. Its body stays the owner's and must not
 *     change until the request is answered, refused, given up or the session has ended.
 *  2. A request goes on until then. Deadlines are the owner's: it gives up.
 *  3. A request that was given up may still be executed, from a copy that is on its way, until the slot's next request is; then the
 *     server refuses it. Only where no copy of all of it was ever sent is it certain that it won't
 *     (tael_datagram_client_is_certain): the network may repeat a copy, so that not even a busy notice makes sure.
 *  4. What contradicts the protocol, or is not of this session and of a request in flight, changes nothing.
 *  5. A session is opened from an address of its own: an answer to the one before would be taken for this one's.
 *
 * Pure: no socket, no clock, no allocation after init. Owned by one thread. */
#ifndef TAEL_IO_DATAGRAM_CLIENT_H
#define TAEL_IO_DATAGRAM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/datagram.h>

#include "io/datagram.h"

struct tael_datagram_client;

/* What takes datagrams to the server. */
struct tael_datagram_carrier {
    void *context;
    /* Room for a datagram of up to `size_max` bytes, of any alignment; NULL: none now. Then tael_datagram_client_tick is called
     * once there is. */
    void *(*transmit_begin)(void *context, uint32_t size_max);
    /* The datagram that was begun is there: its first `size` bytes. */
    void (*transmit_end)(void *context, void *datagram, uint32_t size);
};

struct tael_datagram_client_options {
    tael_u128 ledger;
    uint32_t slots; /* wished for, 1 .. TAEL_SLOTS_MAX */
    uint32_t
        datagram_max; /* bytes of the largest one, either way: TAEL_DATAGRAM_SIZE_ETHERNET .. TAEL_DATAGRAM_SIZE_MAX */
    uint32_t
        reply_window; /* parts of a reply that it takes beyond those that it has said to have, 1 .. TAEL_PARTS_MAX */
    uint32_t request_window; /* parts of requests that it ever lets be on the way, 1 .. UINT16_MAX */
    uint64_t pause_min_ns; /* of silence before something is sent again; 0: TAEL_DATAGRAM_PAUSE_MIN_NS */
    struct tael_datagram_carrier carrier;
    uint64_t (*random)(void *context); /* any 64 bits, for pauses */
    void *random_context;
};

enum tael_datagram_client_phase {
    TAEL_DATAGRAM_CLIENT_CLOSED,
    TAEL_DATAGRAM_CLIENT_OPENING,
    TAEL_DATAGRAM_CLIENT_OPEN,
};

enum tael_datagram_client_happening {
    TAEL_DATAGRAM_CLIENT_NOTHING,
    TAEL_DATAGRAM_CLIENT_OPENED, /* the session has tael_datagram_client_slots */
    TAEL_DATAGRAM_CLIENT_ANSWERED, /* the slot's request: see tael_datagram_client_answer */
    TAEL_DATAGRAM_CLIENT_REFUSED, /* the slot's request: it is not executed */
    TAEL_DATAGRAM_CLIENT_BUSY, /* the server, for the slot's request; that goes on by itself */
    TAEL_DATAGRAM_CLIENT_ENDED, /* the session, or its opening: it is closed, the outcome of what was in flight unknown */
};

struct tael_datagram_client_event {
    enum tael_datagram_client_happening happening;
    uint32_t slot;
    uint16_t notice; /* REFUSED, BUSY, ENDED: enum tael_datagram_notice_code */
};

struct tael_datagram_client_request {
    const void *body;
    uint32_t body_size; /* at most TAEL_BODY_SIZE_MAX */
    uint8_t operation; /* enum tael_operation */
    uint8_t flags; /* TAEL_DATAGRAM_ONE_BATCH or 0 */
};

struct tael_datagram_client_answer {
    uint64_t op;
    uint64_t timestamp;
    const void *body; /* valid until the slot's next request */
    uint32_t body_size;
    bool is_scratch; /* the ledger may not have it durable */
};

struct tael_datagram_client_counters {
    uint64_t verdicts[TAEL_DATAGRAM_VERDICTS]; /* of what came */
    uint64_t strays; /* sound, but of no session or request in flight */
    uint64_t datagrams; /* sent */
    uint64_t repeats; /* parts sent again, of those */
    uint64_t polls; /* and questions for what became of a request or reply */
    uint64_t hellos;
    uint64_t greetings; /* welcomes that were asked for */
    uint64_t busy; /* notices of the server */
    uint64_t losses; /* by which the window was halved, or would have been */
};

/* Bytes that a session takes; 0: the options are out of their ranges. A reply's largest body for each slot is among them,
 * memory that is not touched before it is needed. */
size_t tael_datagram_client_size_bytes(const struct tael_datagram_client_options *options);

/* A closed session in `memory`, aligned to 64. */
struct tael_datagram_client *tael_datagram_client_init(void *memory,
                                                       const struct tael_datagram_client_options *options);

/* Opens the closed session under a client id that was never used before, not zero. */
void tael_datagram_client_open(struct tael_datagram_client *client, tael_u128 id, uint64_t now_ns);

/* Closes it, whatever it was doing, and forgets all that was in flight. The server is told nothing. */
void tael_datagram_client_close(struct tael_datagram_client *client);

enum tael_datagram_client_phase tael_datagram_client_phase(const struct tael_datagram_client *client);

/* How many slots the open session has, numbered from 0. */
uint32_t tael_datagram_client_slots(const struct tael_datagram_client *client);

/* Whether the slot has no request in flight, and another number for one. */
bool tael_datagram_client_is_free(const struct tael_datagram_client *client, uint32_t slot);

/* Whether the slot has a request in flight. */
bool tael_datagram_client_is_in_flight(const struct tael_datagram_client *client, uint32_t slot);

/* Whether the slot has used up its numbers: only a new session has more. */
bool tael_datagram_client_is_spent(const struct tael_datagram_client *client, uint32_t slot);

/* Sends a request in a free slot of the open session. */
void tael_datagram_client_request(struct tael_datagram_client *client, uint32_t slot,
                                  const struct tael_datagram_client_request *request, uint64_t now_ns);

/* Forgets the slot's request in flight: the slot is free for its next number. See 3. */
void tael_datagram_client_give_up(struct tael_datagram_client *client, uint32_t slot);

/* True while no copy of the whole request in flight was sent. */
bool tael_datagram_client_is_certain(const struct tael_datagram_client *client, uint32_t slot);

/* The notice that keeps the slot's request waiting, a busy one; 0: none does. */
uint16_t tael_datagram_client_busy(const struct tael_datagram_client *client, uint32_t slot);

/* A datagram came from the server's address. What it means to the owner, if anything. */
struct tael_datagram_client_event tael_datagram_client_receive(struct tael_datagram_client *client,
                                                               const void *datagram, size_t size, uint64_t now_ns);

/* The answer that tael_datagram_client_receive told of. */
struct tael_datagram_client_answer tael_datagram_client_answer(const struct tael_datagram_client *client,
                                                               uint32_t slot);

/* Does what is due, and sends what the carrier had no room for. */
void tael_datagram_client_tick(struct tael_datagram_client *client, uint64_t now_ns);

/* When the next tick is due, at the earliest; UINT64_MAX: never. */
uint64_t tael_datagram_client_deadline_ns(const struct tael_datagram_client *client);

/* The last notice about ledger or version that came while it was opening; 0: none. No proof, but a hint for people. */
uint16_t tael_datagram_client_hint(const struct tael_datagram_client *client);

/* Whether the server has ever answered since the session was opened. */
bool tael_datagram_client_was_heard(const struct tael_datagram_client *client);

const struct tael_datagram_client_counters *tael_datagram_client_counters(const struct tael_datagram_client *client);

/* What a notice says, for people. */
const char *tael_datagram_notice_text(uint16_t code);

#endif
