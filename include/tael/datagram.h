/* Tael's datagram protocol: requests and replies over UDP, each slot's requests executed at most once. Little-endian.
 * docs/datagram-protocol.md tells the same as prose, with the rules. */
#ifndef TAEL_DATAGRAM_H
#define TAEL_DATAGRAM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/frame.h>
#include <tael/limits.h>
#include <tael/u128.h>

#define TAEL_DATAGRAM_VERSION 1
#define TAEL_DATAGRAM_HEADER_SIZE 64
/* Whoever's address is not validated yet gets no more bytes than it sent. So the answer to such is exactly as long as the
 * shortest datagram that a client may send; shorter ones are padded with zeros behind their body. */
#define TAEL_DATAGRAM_SIZE_MIN 96
/* What fits into the smallest MTU that Ethernet has, without fragments: 1500 less IP's and UDP's headers. */
#define TAEL_DATAGRAM_SIZE_ETHERNET 1472
#define TAEL_DATAGRAM_SIZE_MAX 8972 /* likewise of an MTU of 9000 */
/* All parts of a body but the last have the same size, a multiple of this. */
#define TAEL_PART_UNIT 128
#define TAEL_PARTS_MAX 1024
#define TAEL_SLOTS_MAX 64

static_assert((TAEL_DATAGRAM_SIZE_ETHERNET - TAEL_DATAGRAM_HEADER_SIZE) / TAEL_PART_UNIT * TAEL_PART_UNIT *
                      TAEL_PARTS_MAX >=
                  TAEL_BODY_SIZE_MAX,
              "any body fits in parts of an Ethernet frame");
static_assert(TAEL_DATAGRAM_SIZE_ETHERNET - TAEL_DATAGRAM_HEADER_SIZE == 11 * TAEL_RECORD_SIZE, "eleven transfers");

enum tael_datagram_kind {
    /* From clients. */
    TAEL_DATAGRAM_HELLO = 1, /* struct tael_datagram_hello */
    TAEL_DATAGRAM_REQUEST = 2, /* a part of a request */
    TAEL_DATAGRAM_POLL = 3, /* what became of that request? No body */
    TAEL_DATAGRAM_HAVE_REPLY = 4, /* struct tael_datagram_have, of the reply to that request */
    /* From servers. */
    TAEL_DATAGRAM_COOKIE = 129, /* struct tael_datagram_cookie */
    TAEL_DATAGRAM_WELCOME = 130, /* struct tael_datagram_welcome */
    TAEL_DATAGRAM_REPLY = 131, /* a part of a reply */
    TAEL_DATAGRAM_HAVE_REQUEST = 132, /* struct tael_datagram_have, of that request */
    TAEL_DATAGRAM_NOTICE = 133, /* struct tael_datagram_notice, about that request */
};

enum tael_datagram_flag {
    TAEL_DATAGRAM_ONE_BATCH = 1u << 0, /* request: the body is one batch, without a trailer */
    TAEL_DATAGRAM_SCRATCH = 1u << 1, /* all from servers: what this ledger acknowledges may not be durable */
};

struct tael_datagram {
    uint64_t checksum; /* XXH3-64, seed 0, of all bytes that follow, padding included */
    uint64_t token; /* of the session; 0 before there is one */
    tael_u128 ledger; /* its number */
    union {
        tael_u128 client; /* from clients: the id that it drew */
        struct { /* from servers */
            uint64_t op; /* REPLY: the request's place in the order of all; of a read: the last op that it shows */
            uint64_t timestamp; /* REPLY: ns since 1970, of that op */
        };
    };
    uint32_t request; /* its number in the slot */
    uint32_t body_size; /* bytes, of all parts */
    uint16_t part; /* which, from 0 */
    uint8_t slot;
    uint8_t flags; /* enum tael_datagram_flag */
    uint8_t version; /* TAEL_DATAGRAM_VERSION */
    uint8_t kind; /* enum tael_datagram_kind */
    uint8_t operation; /* of the request; HELLO, COOKIE, WELCOME: 0 */
    uint8_t part_units; /* of all parts but the last, in TAEL_PART_UNIT bytes; at least 1 */
};
static_assert(sizeof(struct tael_datagram) == TAEL_DATAGRAM_HEADER_SIZE, "wire format");
static_assert(offsetof(struct tael_datagram, ledger) == 16, "wire format");
static_assert(offsetof(struct tael_datagram, client) == 32, "wire format");
static_assert(offsetof(struct tael_datagram, timestamp) == 40, "wire format");
static_assert(offsetof(struct tael_datagram, request) == 48, "wire format");
static_assert(offsetof(struct tael_datagram, part) == 56, "wire format");
static_assert(offsetof(struct tael_datagram, version) == 60, "wire format");

struct tael_datagram_hello {
    uint8_t cookie[16]; /* as the server gave it; zeros: none yet */
    uint16_t datagram_max; /* bytes of the largest one that the client takes */
    uint16_t window; /* parts of replies that it takes beyond those that it has said to have */
    uint8_t reserved[12];
};
static_assert(sizeof(struct tael_datagram_hello) == 32, "wire format");

struct tael_datagram_cookie {
    uint8_t cookie[16];
    uint8_t reserved[16];
};
static_assert(sizeof(struct tael_datagram_cookie) + TAEL_DATAGRAM_HEADER_SIZE == TAEL_DATAGRAM_SIZE_MIN,
              "it is sent to addresses that are not validated");

struct tael_datagram_welcome {
    uint16_t datagram_max; /* bytes of the largest one that the server takes, and of those that it sends */
    uint16_t window; /* parts of requests that it takes beyond those that it has said to have, over all slots */
    uint16_t slots_max; /* of a session */
    uint8_t reserved[26];
};
static_assert(sizeof(struct tael_datagram_welcome) == 32, "wire format");

/* Which parts of a request or reply have arrived. */
struct tael_datagram_have {
    uint16_t window; /* as in hello and welcome, from now on */
    uint16_t parts; /* how many there are */
    uint8_t reserved[4];
    uint8_t bits[TAEL_PARTS_MAX / 8]; /* part i: bit i % 8 of byte i / 8 */
};
static_assert(sizeof(struct tael_datagram_have) == 136, "wire format");

/* 1 to 8 are enum tael_eviction_reason, 17 to 20 enum tael_busy_reason + 16. */
enum tael_datagram_notice_code {
    TAEL_NOTICE_NO_SESSION =
        TAEL_EVICTION_NO_SESSION, /* no such session, slot and token: evicted, or there never was one */
    TAEL_NOTICE_OPERATION = TAEL_EVICTION_INVALID_REQUEST_OPERATION,
    TAEL_NOTICE_BODY = TAEL_EVICTION_INVALID_REQUEST_BODY,
    TAEL_NOTICE_BODY_SIZE = TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE,
    /* Busy: not executed; the same request may come again after wait_ms. */
    TAEL_NOTICE_BUSY = 16,
    TAEL_NOTICE_BUSY_ACCOUNTS = TAEL_NOTICE_BUSY + TAEL_BUSY_ACCOUNTS,
    TAEL_NOTICE_BUSY_TRANSFERS = TAEL_NOTICE_BUSY + TAEL_BUSY_TRANSFERS,
    TAEL_NOTICE_BUSY_DISK = TAEL_NOTICE_BUSY + TAEL_BUSY_DISK,
    TAEL_NOTICE_BUSY_SESSIONS = TAEL_NOTICE_BUSY + TAEL_BUSY_SESSIONS,
    TAEL_NOTICE_BUSY_PARTS = 24, /* no packet buffers for the parts of so large a request */
    TAEL_NOTICE_BUSY_QUEUE = 25, /* more requests wait already than the server lets wait */
    /* About the request's number. */
    TAEL_NOTICE_TOO_OLD = 32, /* a later request of the slot was executed, so this one's reply was seen or given up */
    TAEL_NOTICE_OTHER = 33, /* another request was executed under this number */
    TAEL_NOTICE_EXECUTING = 34, /* answer to POLL: it is there as a whole, and will be answered */
    TAEL_NOTICE_UNSEEN = 35, /* answer to POLL: it is not there: send it */
    /* About the datagram. */
    TAEL_NOTICE_LEDGER = 48, /* another ledger is served here */
    TAEL_NOTICE_VERSION = 49, /* another version is spoken here: the one in this notice's header */
};

struct tael_datagram_notice {
    uint16_t code; /* enum tael_datagram_notice_code */
    uint16_t wait_ms; /* busy: how long to wait before the next try */
    uint8_t reserved[28];
};
static_assert(sizeof(struct tael_datagram_notice) + TAEL_DATAGRAM_HEADER_SIZE == TAEL_DATAGRAM_SIZE_MIN,
              "some are sent to addresses that are not validated");

/* The body of a register by datagram. */
struct tael_datagram_register {
    uint16_t slots; /* wished for, at least 1 */
    uint8_t reserved[30];
};
static_assert(sizeof(struct tael_datagram_register) == 32, "wire format");

/* The body of its reply, whose op is the session's number. */
struct tael_datagram_registered {
    uint64_t token; /* random; names the session in all that follows, together with the client's id */
    uint16_t slots; /* that the session has, numbered from 0 */
    uint8_t reserved[22];
};
static_assert(sizeof(struct tael_datagram_registered) == 32, "wire format");

#endif
