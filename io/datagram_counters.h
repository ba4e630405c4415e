/* What happened to datagrams, for whoever wants to know why a client waits. */
#ifndef TAEL_IO_DATAGRAM_COUNTERS_H
#define TAEL_IO_DATAGRAM_COUNTERS_H

#include <stdint.h>

#include "io/datagram.h"

/* clang-format off */
#define TAEL_DATAGRAM_COUNTER_TABLE(X)                                                       \
    X(received,            "datagrams that came in")                                         \
    X(sent,                "datagrams sent")                                                 \
    X(unsent,              "not sent: the carrier had no buffer")                            \
    X(notices_unanswered,  "of another ledger or version, and not a client's: not answered") \
    X(cookies,             "cookies sent")                                                   \
    X(hellos,              "hellos with a cookie that holds")                                \
    X(hellos_wrong,        "hellos with a cookie that does not hold")                        \
    X(hellos_small,        "hellos of clients that take less than an Ethernet frame")        \
    X(peers_evicted,       "endpoints forgotten to make room")                               \
    X(requests,            "requests handed on")                                             \
    X(polls,               "questions after requests handed on")                             \
    X(polls_dropped,       "questions after requests dropped: no room to ask")               \
    X(tokens_missing,      "requests and questions without a token")                         \
    X(draining,            "dropped while the server was stopping")                          \
    X(parts,               "parts of requests kept")                                         \
    X(parts_repeated,      "parts of requests that were there already")                      \
    X(parts_disagreeing,   "parts that contradict the others of their request")              \
    X(parts_old,           "parts of a request older than its slot's present one")           \
    X(assembled,           "requests put together from parts")                               \
    X(assemblies_replaced, "half-sent requests given up for a newer one in their slot")      \
    X(assemblies_expired,  "half-sent requests given up after a time")                       \
    X(busy_parts,          "requests refused: no packet buffers for their parts")            \
    X(busy_queue,          "requests refused: too many wait")                                \
    X(sizes_wrong,         "requests refused: of no possible size")                 \
    X(haves,               "told which parts of a request are there")                        \
    X(notices,             "notices sent")                                                   \
    X(replies,             "replies sent, or begun to be sent")                              \
    X(replies_stale,       "replies whose endpoint is forgotten")                            \
    X(replies_again,       "replies of which parts were still being sent")                   \
    X(replies_done,        "replies of several parts that arrived whole")                    \
    X(replies_overtaken,   "given up: the client asked something newer in that slot")        \
    X(replies_expired,     "given up: the client did not go on to read")                     \
    X(replies_crowded,     "given up or not kept: too many are being read")                             \
    X(reply_parts,         "parts of replies sent")                                          \
    X(reply_parts_again,   "parts of replies sent again")
/* clang-format on */

struct tael_datagram_counters {
#define X(name, text) uint64_t name;
    TAEL_DATAGRAM_COUNTER_TABLE(X)
#undef X
    uint64_t rejected[TAEL_DATAGRAM_VERDICTS]; /* dropped, or answered with a notice */
};

#endif
