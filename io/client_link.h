/* What the client library's thread knows of a transport. A lane has a link: its way to the server, with one request in flight. A source is
 * what epoll watches and what has a timer: a connection has one link, a datagram socket as many as its session has slots.
 *
 * 1. A request is sent again, byte for byte the same, until it is answered, refused, withdrawn or ended, or its session is over.
 * 2. What may have been executed is known: `is_certain` says that no copy can be executed any more.
 * 3. After `end` the link carries nothing of the request; whether it can take another one without being opened again, its
 *    phase says.
 *
 * Owned by one thread. */
#ifndef TAEL_IO_CLIENT_LINK_H
#define TAEL_IO_CLIENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/u128.h>

#include "io/address.h"
#include "io/faults.h"

#define TAEL_CLIENT_NEVER UINT64_MAX

struct tael_client_link;

enum tael_client_event {
    TAEL_CLIENT_EVENT_NONE,
    TAEL_CLIENT_EVENT_OPENED, /* the link takes requests */
    TAEL_CLIENT_EVENT_ANSWERED, /* the reply is there until `release` */
    TAEL_CLIENT_EVENT_REFUSED, /* the request was: it is not executed, and no longer in flight */
    TAEL_CLIENT_EVENT_EVICTED, /* the link is closed; for a request in flight the outcome is unknown */
};

enum tael_client_phase {
    TAEL_CLIENT_CLOSED,
    TAEL_CLIENT_REGISTERING,
    TAEL_CLIENT_IDLE,
    TAEL_CLIENT_REQUESTING,
};

/* What all links of a client share. */
struct tael_client_wire {
    struct tael_address address;
    tael_u128 cluster;
    uint64_t retransmit_ns; /* 0: the transport's own */
    uint32_t datagram_max;
    bool has_faults;
    struct tael_faults_options faults; /* of datagrams, on purpose */
    int epoll; /* where the sockets are watched; each event's data.ptr is its source */
    uint64_t timer_ns; /* no source's timer is earlier */
    struct {
        tael_u128 secret; /* random, so that no two clients draw the same ids */
        uint64_t drawn; /* session ids so far */
    } ids;
    uint64_t random; /* xorshift64, for pauses */
    void (*event)(void *context, struct tael_client_link *link, enum tael_client_event event);
    void *event_context;
    void (*waiting)(void *context, const char *why);
    void *waiting_context;
    /* Written by the owning thread, read by any: relaxed, numbers by themselves. */
    _Atomic uint64_t retransmissions;
    _Atomic uint64_t reconnects;
    _Atomic uint64_t busy;
    _Atomic uint64_t sessions;
};

struct tael_client_answer {
    uint64_t op;
    uint64_t timestamp;
    const void *body;
    uint32_t body_size;
};

struct tael_client_link_operations {
    bool takes_one_batch; /* a body of one batch needs no trailer */
    /* Opens a closed link; idle at once, or later with an event. */
    void (*open)(struct tael_client_link *link, uint64_t now_ns);
    /* Where the body of the next request is written, TAEL_BODY_SIZE_MAX bytes; only while it is idle. */
    void *(*body)(struct tael_client_link *link);
    /* Sends it. It is the owner who acts at the deadline. */
    void (*request)(struct tael_client_link *link, uint8_t operation, uint32_t body_size, bool is_one_batch,
                    uint64_t deadline_ns, uint64_t now_ns);
    struct tael_client_answer (*answer)(const struct tael_client_link *link);
    /* The answer has been read: the link is idle again, or closed. */
    void (*release)(struct tael_client_link *link);
    bool (*was_sent)(const struct tael_client_link *link); /* a whole copy of the request was */
    bool (*is_certain)(const struct tael_client_link *link);
    /* Forgets the request in flight, which is certain. */
    void (*withdraw)(struct tael_client_link *link);
    /* Forgets whatever the link was doing. */
    void (*end)(struct tael_client_link *link);
    const char *(*trouble)(const struct tael_client_link *link); /* why the request is not answered yet */
    const char *(*why)(const struct tael_client_link *link); /* what the last try failed of; empty: of nothing yet */
    const char *(*eviction)(const struct tael_client_link *link); /* what the server said by its last one */
};

struct tael_client_link {
    const struct tael_client_link_operations *operations;
    enum tael_client_phase phase;
    uint32_t lane; /* the owner's name for it */
};

struct tael_client_source;

struct tael_client_source_operations {
    void (*ready)(struct tael_client_source *source, uint32_t events,
                  uint64_t now_ns); /* `events` as epoll tells them */
    void (*tick)(struct tael_client_source *source, uint64_t now_ns); /* timer_ns has come */
    void (*flush)(struct tael_client_source *source, uint64_t now_ns); /* sends what was gathered; may be NULL */
};

struct tael_client_source {
    const struct tael_client_source_operations *operations;
    uint64_t timer_ns;
};

/* All links of a client. */
struct tael_client_links {
    uint32_t links_count;
    uint32_t sources_count;
    struct tael_client_link **links;
    struct tael_client_source **sources;
    void *all; /* the transport's */
    void (*free)(struct tael_client_links *links);
};

/* `count` closed links. 0, or a negative errno: nothing is taken. */
int tael_client_links_tcp(struct tael_client_wire *wire, uint32_t count, struct tael_client_links *out);
int tael_client_links_udp(struct tael_client_wire *wire, uint32_t count, struct tael_client_links *out);

#endif
