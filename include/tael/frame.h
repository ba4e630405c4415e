/* The client protocol's frame: a 256-byte header, then the body (TigerBeetle 0.17). Little-endian.
 * docs/client-protocol.md says what Tael does with each. */
#ifndef TAEL_FRAME_H
#define TAEL_FRAME_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/limits.h>
#include <tael/u128.h>

enum tael_frame_command {
    TAEL_COMMAND_PING_CLIENT = 3,
    TAEL_COMMAND_PONG_CLIENT = 4,
    TAEL_COMMAND_REQUEST = 5,
    TAEL_COMMAND_REPLY = 8,
    TAEL_COMMAND_EVICTION = 18,
    TAEL_COMMAND_BUSY = 200, /* Tael's own, only for sessions that asked for it */
};

enum tael_eviction_reason {
    TAEL_EVICTION_NO_SESSION = 1,
    TAEL_EVICTION_CLIENT_RELEASE_TOO_LOW = 2,
    TAEL_EVICTION_CLIENT_RELEASE_TOO_HIGH = 3,
    TAEL_EVICTION_INVALID_REQUEST_OPERATION = 4,
    TAEL_EVICTION_INVALID_REQUEST_BODY = 5,
    TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE = 6,
    TAEL_EVICTION_SESSION_TOO_LOW = 7,
    TAEL_EVICTION_SESSION_RELEASE_MISMATCH = 8,
};

/* The last 4 bytes of a register body. */
#define TAEL_CAPABILITIES_OFFSET 252
enum tael_capability { TAEL_CAPABILITY_BUSY = 1u << 0 };

enum tael_busy_reason {
    TAEL_BUSY_ACCOUNTS = 1, /* no room for the request's accounts */
    TAEL_BUSY_TRANSFERS = 2, /* no room for the request's transfers */
    TAEL_BUSY_DISK = 3, /* no room for the request in the log */
    TAEL_BUSY_SESSIONS = 4, /* no room for its reply */
};

struct tael_frame_ping_client {
    tael_u128 client;
    uint64_t timestamp_monotonic;
    uint64_t session;
    uint8_t reserved[96];
};
struct tael_frame_pong_client {
    uint64_t timestamp_monotonic; /* the ping's */
    uint8_t reserved[120];
};
struct tael_frame_request {
    tael_u128 parent;
    tael_u128 parent_padding;
    tael_u128 client;
    uint64_t session;
    uint64_t timestamp;
    uint32_t request;
    uint8_t operation;
    uint8_t reserved_a[3];
    uint32_t previous_latency_us;
    uint8_t reserved_b[52];
};
struct tael_frame_reply {
    tael_u128 request_checksum;
    tael_u128 request_checksum_padding;
    tael_u128 context;
    tael_u128 context_padding;
    tael_u128 client;
    uint64_t op;
    uint64_t commit;
    uint64_t timestamp;
    uint32_t request;
    uint8_t operation;
    uint8_t reserved[19];
};
struct tael_frame_eviction {
    tael_u128 client;
    uint8_t reserved[111];
    uint8_t reason; /* enum tael_eviction_reason */
};
struct tael_frame_busy {
    tael_u128 request_checksum;
    tael_u128 request_checksum_padding;
    tael_u128 client;
    uint32_t request;
    uint32_t reason; /* enum tael_busy_reason */
    uint32_t wait_ms;
    uint8_t reserved[68];
};

struct tael_frame {
    tael_u128 checksum; /* of bytes 16..255 */
    tael_u128 checksum_padding;
    tael_u128 checksum_body;
    tael_u128 checksum_body_padding;
    tael_u128 nonce;
    tael_u128 cluster;
    uint32_t size; /* header and body */
    uint32_t epoch;
    uint32_t view;
    uint32_t release;
    uint16_t protocol;
    uint8_t command; /* enum tael_frame_command */
    uint8_t replica;
    uint8_t reserved[12];
    union {
        struct tael_frame_ping_client ping_client;
        struct tael_frame_pong_client pong_client;
        struct tael_frame_request request;
        struct tael_frame_reply reply;
        struct tael_frame_eviction eviction;
        struct tael_frame_busy busy;
        uint8_t command_part[128];
    };
};
static_assert(sizeof(struct tael_frame) == TAEL_FRAME_HEADER_SIZE, "wire format");
static_assert(offsetof(struct tael_frame, cluster) == 80, "wire format");
static_assert(offsetof(struct tael_frame, size) == 96, "wire format");
static_assert(offsetof(struct tael_frame, command) == 114, "wire format");
static_assert(offsetof(struct tael_frame, request.client) == 160, "wire format");
static_assert(offsetof(struct tael_frame, request.session) == 176, "wire format");
static_assert(offsetof(struct tael_frame, request.request) == 192, "wire format");
static_assert(offsetof(struct tael_frame, request.operation) == 196, "wire format");
static_assert(offsetof(struct tael_frame, request.previous_latency_us) == 200, "wire format");
static_assert(offsetof(struct tael_frame, reply.context) == 160, "wire format");
static_assert(offsetof(struct tael_frame, reply.client) == 192, "wire format");
static_assert(offsetof(struct tael_frame, reply.op) == 208, "wire format");
static_assert(offsetof(struct tael_frame, reply.operation) == 236, "wire format");
static_assert(offsetof(struct tael_frame, eviction.reason) == 255, "wire format");
static_assert(offsetof(struct tael_frame, busy.client) == 160, "wire format");
static_assert(offsetof(struct tael_frame, busy.request) == 176, "wire format");

/* The reply to a register. */
struct tael_register_result {
    uint32_t batch_size_limit;
    uint8_t reserved[60];
};
static_assert(sizeof(struct tael_register_result) == 64, "wire format");

#endif
