/* A datagram server with everything around it in the test's hands: the carrier, the sequencer, the clock, the randomness.
 *
 * Every packet buffer is as large as its datagram and freed when it is given back, so that the sanitizers see what is read too far or
 * too late; all buffers are counted, and rig_stop finds what was lost. Without CMocka, for simulations and fuzzing too. */
#ifndef TAEL_TESTS_NET_DATAGRAM_RIG_H
#define TAEL_TESTS_NET_DATAGRAM_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/link.h>
#include <tael/operation.h>

#include "io/datagram.h"
#include "io/datagram_server.h"

#define RIG_LEDGER 7
#define RIG_MS 1000000ull
#define RIG_S 1000000000ull

enum {
    RIG_POOL_SMALL = 0,
    RIG_POOL_LARGE = 1,
    RIG_SMALL_CAPACITY = 4096,
    RIG_SMALL_REPLIES = 64,
    RIG_LARGE_REPLIES = 16,
};

/* A datagram that the server sent. */
struct rig_sent {
    struct tael_endpoint to;
    struct tael_datagram_view view; /* checked: it is sound */
    uint32_t size;
    uint8_t *bytes;
    struct rig_sent *next;
};

struct rig {
    struct tael_arena arena;
    struct tael_link link;
    struct tael_datagram_server_options options;
    struct tael_datagram_server *server;
    uint64_t now_ns;
    uint64_t random; /* counted up: what is drawn are its hashes */
    /* The carrier. */
    bool has_no_transmit_buffer;
    uint32_t kept; /* packet buffers that the server has */
    uint32_t transmitting; /* buffers to send that the server has */
    struct rig_sent *sent_first; /* the oldest first */
    struct rig_sent *sent_last;
    uint32_t sent_count;
    uint64_t bytes_in;
    uint64_t bytes_out;
    /* The sequencer. */
    struct tael_reply *replies;
    struct tael_reply *free[2][RIG_SMALL_REPLIES];
    uint32_t free_count[2];
};

/* Small tables, so that their ends are near. */
struct tael_datagram_server_options rig_options(void);
void rig_start(struct rig *rig, const struct tael_datagram_server_options *options);
/* The same with a ring to the sequencer that holds fewer requests than there are messages. A power of two. */
void rig_start_with(struct rig *rig, const struct tael_datagram_server_options *options, uint32_t requests_capacity);
/* Gives back what the sequencer has, closes, and asserts that nothing is left. */
void rig_stop(struct rig *rig);

/* An address and port of its own for each number. */
struct tael_endpoint rig_endpoint(uint32_t number);

/* The bytes come from there; whether the server kept them. */
bool rig_receive(struct rig *rig, const struct tael_endpoint *from, const void *bytes, uint32_t size);
/* Header and part, sealed. */
bool rig_send(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header, const void *part,
              uint32_t part_size);
/* One part of a body, or all of them. */
bool rig_send_part(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const uint8_t *body, uint32_t part);
void rig_send_body(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *header,
                   const uint8_t *body);
/* Hello, cookie, hello: the server knows the endpoint then. */
void rig_open(struct rig *rig, const struct tael_endpoint *from, uint16_t datagram_max, uint16_t window);
/* HELLO with a cookie, or zeros. */
void rig_hello(struct rig *rig, const struct tael_endpoint *from, const uint8_t cookie[16], uint16_t datagram_max,
               uint16_t window);
/* HAVE_REPLY; the first `count` parts, or as the bits say. */
void rig_have(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *about, uint16_t window,
              uint16_t parts, const uint8_t bits[TAEL_PARTS_MAX / 8]);
void rig_poll_request(struct rig *rig, const struct tael_endpoint *from, const struct tael_datagram *about);

/* A turn, after so much time. */
uint32_t rig_turn(struct rig *rig, uint64_t later_ns);

/* The oldest datagram that the server sent and that was not taken yet; NULL: none. rig_done frees it. */
struct rig_sent *rig_take(struct rig *rig);
void rig_done(struct rig_sent *sent);
/* Forgets all of them: how many there were. */
uint32_t rig_discard(struct rig *rig);

/* The sequencer's next message, after a turn where there is none yet; NULL: none. */
struct tael_message *rig_message(struct rig *rig);
void rig_release(struct rig *rig, struct tael_message *message);
/* Takes and releases all messages: how many. */
uint32_t rig_release_all(struct rig *rig);
/* What the message asked for, with a body of so many bytes, which are rig_byte(op, i); a register's begins with its
 * token. False: there is no buffer. */
bool rig_reply(struct rig *rig, const struct tael_message *message, uint32_t body_size, uint64_t op);
bool rig_notice(struct rig *rig, const struct tael_message *message, uint16_t code, uint16_t wait_ms);
uint8_t rig_byte(uint64_t op, uint32_t index);
/* Reply buffers that the server has. */
uint32_t rig_replies_out(struct rig *rig);

const struct tael_datagram_counters *rig_counters(const struct rig *rig);

#endif
