/* One simulated life of a whole server that is reached by datagram: the datagram server, the core with its log on the simulated disk,
 * and real datagram clients, over a network that drops, repeats, reorders and damages in both directions. Others flood, begin and
 * never finish, lie about sizes, guess tokens, never read, and send again what they overheard, from elsewhere too. The server crashes and starts again.
 * One process, one thread, virtual time, all from a seed.
 *
 * What must hold:
 *   1. A request that was answered is in the log once, with the events that were asked for; what the slow model makes of
 *      the log there is its answer, byte for byte. The same goes for reads, at the op that they name.
 *   2. No request is in the log twice; what was refused, or never sent as a whole, is not in it at all.
 *   3. Whose outcome is unknown, that is found by its ids where it is in the log, and else is not.
 *   4. An answer shows all that any answer showed before its request was sent.
 *   5. Nobody's session ends but by an eviction that is in the log, unless a register of another's came from where it was opened.
 *   6. An address that has not shown a cookie gets cookies and notices, and never more bytes than came from it.
 *   7. In the end everybody is answered, and no packet buffer, message or reply buffer is missing.
 *   8. The digests of the running ledger, of its replay and of the model are the same. */
#ifndef TAEL_TESTS_SIM_SERVER_SIM_H
#define TAEL_TESTS_SIM_SERVER_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct server_sim_options {
    uint64_t seed;
    uint32_t log_faults; /* enum tael_log_fault: to show that the checks see something */
    bool verbose;
};

/* clang-format off */
#define SERVER_SIM_COUNT_TABLE(X)                                    \
    X(starts,      "starts")                                         \
    X(power_cuts,  "of them after a power cut")                      \
    X(cuts,        "of them cut a tail")                             \
    X(ops,         "ops")                                            \
    X(requests,    "requests begun")                                 \
    X(answered,    "answered")                                       \
    X(reads,       "of them reads")                                  \
    X(largest,     "of them with 8189 events")                       \
    X(events,      "events in answered requests")                    \
    X(refused,     "refused")                                        \
    X(unknown,     "of unknown outcome, looked up in the end")       \
    X(unknown_executed, "of those in the log")                       \
    X(unsent,      "given up before all of it was sent")             \
    X(busy,        "busy notices")                                   \
    X(closed,      "sessions ended by their clients")                \
    X(evicted,     "sessions ended by the server")                   \
    X(misled,      "of those where another's register came from their client's address") \
    X(roamed,      "times that a client changed its address")        \
    X(greetings,   "times that a client was asked for its cookie again") \
    X(datagrams,   "datagrams")                                      \
    X(dropped,     "dropped")                                        \
    X(duplicated,  "duplicated")                                     \
    X(reordered,   "reordered")                                      \
    X(corrupted,   "corrupted")                                      \
    X(hostile,     "sent by others than clients")                    \
    X(expired,     "half-sent requests given up after a time")       \
    X(unread,      "replies given up that nobody read")
/* clang-format on */

struct server_sim_result {
    char failure[1400]; /* empty: everything held */
#define X(name, text) uint64_t name;
    SERVER_SIM_COUNT_TABLE(X)
#undef X
};

void server_sim_run(const struct server_sim_options *options, struct server_sim_result *result);

#endif
