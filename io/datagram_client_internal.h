/* What the parts of the datagram client share: datagram_client.c (the session: hello, register, what comes in, what is due) and
 * datagram_client_slot.c (a slot's request and reply).
 *
 * A request's parts are in three sets: `sent` at least once, `on_way` as far as the client can know, and `had` by the server. What
 * is in neither of the last two is to be sent. The server's window bounds the sent ones that it has not said to have, of all
 * slots; the congestion window bounds those on the way.
 *
 * Invariants:
 *  1. client->unhad and client->on_way are the sums of the slots', and those are |sent - had| and |on_way|.
 *  2. on_way is part of sent and has nothing of had.
 *  3. A slot in flight has a timer: something always happens next.
 *  4. A slot is in client->sending only if it is in flight, and then where it may have parts to send. */
#ifndef TAEL_IO_DATAGRAM_CLIENT_INTERNAL_H
#define TAEL_IO_DATAGRAM_CLIENT_INTERNAL_H

#include <tael/limits.h>

#include "io/datagram_client.h"
#include "io/datagram_pace.h"
#include "io/part_set.h"

#define TAEL_DATAGRAM_NEVER UINT64_MAX

enum tael_datagram_slot_state {
    TAEL_DATAGRAM_SLOT_FREE,
    TAEL_DATAGRAM_SLOT_IN_FLIGHT,
    TAEL_DATAGRAM_SLOT_BUSY, /* in flight, and not to be sent before its timer */
};

/* A reply, as far as it has arrived. */
struct tael_datagram_reply {
    uint64_t op;
    uint64_t timestamp;
    uint32_t size;
    uint32_t part_units;
    uint32_t parts; /* 0: nothing has arrived */
    uint32_t count; /* of parts that have */
    uint32_t told; /* of those, how many the server was told of */
    bool is_scratch;
    bool
        is_gone; /* of a read: the server holds it no longer, and has the request sent again; its parts may be those of the next one, too */
    bool is_doubtful; /* an earlier one replaces it */
    struct tael_part_set set;
    uint8_t *body; /* TAEL_BODY_SIZE_MAX bytes */
};

struct tael_datagram_slot {
    enum tael_datagram_slot_state state;
    uint32_t index;
    uint32_t number; /* of the last request */
    struct tael_datagram header; /* of its datagrams, but for part and checksum */
    const uint8_t *body;
    uint32_t parts;
    uint32_t sent_to; /* parts below this were sent at least once, whatever was forgotten of it since */
    uint32_t repeats; /* datagrams of this request beyond one of each part: a round trip can't be told from it */
    uint32_t tries; /* silences in succession */
    uint16_t busy; /* the notice that has it wait */
    bool
        is_asked; /* a question is on the way: nothing is sent before the answer, which tells all that the server has */
    uint64_t timer_ns;
    uint64_t sent_ns; /* when its last part was */
    uint64_t asked_ns; /* when the last question was */
    struct tael_part_set sent, on_way, had;
    uint32_t unhad_count;
    uint32_t on_way_count;
    uint32_t order[TAEL_PARTS_MAX]; /* in which the parts were sent last */
    struct tael_datagram_reply reply;
};

struct tael_datagram_client {
    struct tael_datagram_client_options options;
    struct tael_datagram_pace pace;
    struct tael_datagram_client_counters counters;
    enum tael_datagram_client_phase phase;
    tael_u128 id;
    uint64_t token; /* 0 before there is one */
    bool is_welcome; /* the server knows our address, as far as we know */
    bool was_heard;
    uint16_t hint;
    /* Hello. */
    uint8_t cookie[16];
    uint32_t hello_tries;
    uint64_t hello_ns; /* when it is said again, while not welcome */
    uint64_t hello_sent_ns;
    uint64_t welcome_ns; /* when it last was; 0: never */
    /* What the server takes. */
    uint32_t part_units;
    uint32_t server_window;
    uint32_t slots_max;
    uint32_t unhad; /* parts of all slots */
    uint32_t on_way;
    uint32_t order; /* counts the parts that were sent */
    uint64_t sending; /* slots that may have parts to send, a bit each */
    uint32_t turn; /* the slot that sends first */
    uint64_t deadline_ns;
    uint32_t slots_count; /* of the session, 0 before there is one */
    struct tael_datagram_register registration;
    struct tael_datagram_slot *slots; /* options.slots */
};

/* Sends one datagram; false: the carrier has no room. */
bool tael_datagram_client_transmit(struct tael_datagram_client *client, const struct tael_datagram *header,
                                   const void *part, uint32_t part_size);

/* The next tick is due at that time, or before. */
void tael_datagram_client_due(struct tael_datagram_client *client, uint64_t at_ns);

/* Begins a request of the free slot, under slot->number; it is sent by tael_datagram_slots_send. */
void tael_datagram_slot_begin(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                              const struct tael_datagram_client_request *request, uint64_t now_ns);

/* The slot's request is no longer in flight. */
void tael_datagram_slot_end(struct tael_datagram_client *client, struct tael_datagram_slot *slot);

/* The server has nothing of the request: all of it is to be sent. */
void tael_datagram_slot_restart(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns);

/* The server has all of it. */
void tael_datagram_slot_whole(struct tael_datagram_client *client, struct tael_datagram_slot *slot);

/* It is not to be sent for so long. */
void tael_datagram_slot_wait(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint16_t busy,
                             uint32_t wait_ms, uint64_t now_ns);

/* HAVE: the server has those parts of the request. */
void tael_datagram_slot_had(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                            const struct tael_datagram_have *have, uint64_t now_ns);

/* A part of the reply. True: with it the reply is there as a whole, and the slot's request no longer in flight. */
bool tael_datagram_slot_reply(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                              const struct tael_datagram_view *view, uint64_t now_ns);

/* The slot's timer has come. */
void tael_datagram_slot_due(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns);

/* Sends parts, slot by slot, as far as windows and the carrier have room. */
void tael_datagram_slots_send(struct tael_datagram_client *client, uint64_t now_ns);

#endif
