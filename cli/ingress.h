/* How requests come into a server: what its net role is made of. TCP is one (cli/ingress_tcp.h).
 *
 * All but `size_bytes` is called by the thread of the net role's loop, on whose io_uring it lives. */
#ifndef TAEL_CLI_INGRESS_H
#define TAEL_CLI_INGRESS_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>
#include <tael/u128.h>

#include "cli/loop.h"

enum { TAEL_SERVER_ROLES = 3 };

/* Where a server's time went: net, log, worker; and by thread. */
struct tael_server_times {
    struct tael_role_times roles[TAEL_SERVER_ROLES];
    struct tael_loop_times threads[TAEL_SERVER_ROLES];
    uint32_t thread_count;
};

/* What the server hands it. All of it outlives the ingress. */
struct tael_ingress_site {
    tael_u128 cluster;
    bool is_scratch; /* what the ledger acknowledges may not be durable: those who are told so should know it */
    struct tael_arena *arena;
    struct io_uring *ring;
    struct tael_link *link;
    uint32_t replies_small; /* how many reply buffers of each kind there are */
    uint32_t replies_large;
    void (*say)(void *context, const char *line); /* for the administrator */
    /* For one that measures. */
    const void *server;
    void (*times_read)(const void *server, struct tael_server_times *times); /* while the loops run */
    bool (*is_settled)(const void *server); /* nothing is going on behind any more: see cli/touch.h */
};

struct tael_ingress {
    const char *name; /* of its role, for people */
    void *context;
    bool serves_scratch; /* it can tell its clients that what they are told may not be durable */
    uint32_t messages_max; /* requests lent to the sequencer at once; the link's rings hold as many */
    /* Of the arena, for so many reply buffers. */
    size_t (*size_bytes)(const void *context, uint32_t replies_small, uint32_t replies_large);
    const char *size_options; /* that it depends on, for people */
    /* 0, or a negative errno; why has been said. */
    int (*open)(void *context, const struct tael_ingress_site *site);
    /* Tells on stdout that it is ready, and how it is reached. */
    void (*tell)(const void *context);
    uint32_t (*poll)(void *context, uint64_t now_ns); /* a turn: how much it did */
    uint64_t (*deadline_ns)(const void *context); /* when the next turn is due though nothing comes */
    void (*drain)(void *context); /* takes no more requests; those that were handed on are still answered */
    bool (*drained)(const void *context); /* no request is lent, no reply is unsent */
    void (*close)(void *context); /* drains, and gives up what is unsent; then is polled until it is closed */
    bool (*closed)(const void *context);
    void (*print)(const void *context); /* its counters */
};

#endif
