/* A server that answers as a script tells it: one letter for each request that comes in, whatever its connection; when
 * the script is at its end, with a reply. It runs on a thread of its own, serves many connections, and remembers what it saw.
 *
 * Its replies tell what they answer. To creates: one result an event, its timestamp the low half of the event's id. To
 * lookups of accounts: a record with the id, for every id that is not divisible by 3. To get_account_transfers: the
 * filter's `limit` records, with ids that count up from the filter's account_id. To trial_balance: two rows. */
#ifndef TAEL_TESTS_FAKE_SERVER_H
#define TAEL_TESTS_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/frame.h>

/* The letters:
 *   r reply                                         t the same twice: the second is an old one to the next request
 *   s silence                                       c close the connection instead of a reply
 *   k restart: nobody listens for a while           2 half a reply, then nothing
 *   h wrong header checksum                         b wrong body checksum
 *   C another cluster                               u an unknown command
 *   q a reply to something else                     o a reply of another operation
 *   x frames for another client, then the reply     p a pong, then the reply
 *   B busy                                          1 4 5 6 7 eviction of this reason
 *   w a body that is wrong                          d reply in drops of a few bytes
 *   z the reply, after 100 ms */

#define FAKE_SEEN_MAX 256

struct fake_server;

struct fake_request {
    tael_u128 client;
    uint32_t request;
    uint32_t batches; /* sub-batches; 1 where there is no such thing */
    uint32_t events;
    uint8_t operation;
};

struct fake_seen {
    uint32_t requests; /* all that came, registers too */
    uint32_t registers; /* of them, different ones */
    uint32_t connections;
    uint32_t distinct; /* how many different requests of their client, one after the other */
    uint32_t held; /* requests that wait, see fake_server_hold */
    struct tael_frame last;
    uint32_t register_capabilities;
    uint32_t log_count; /* different requests but registers, in order; those beyond the log's end are only counted */
    struct fake_request log[FAKE_SEEN_MAX];
};

struct fake_server *fake_server_start(const char *script, tael_u128 cluster);
/* Goes on with another script, from its beginning. */
void fake_server_follow(struct fake_server *server, const char *script);

const char *fake_server_address(const struct fake_server *server);

/* While it holds, requests are taken and not answered, but for registers; then all are, in the order in which they came. */
void fake_server_hold(struct fake_server *server, bool holds);

/* What it has seen so far. */
struct fake_seen fake_server_seen(struct fake_server *server);

/* Waits until it holds that many requests; false after ten seconds. */
bool fake_server_await_held(struct fake_server *server, uint32_t count);

struct fake_seen fake_server_stop(struct fake_server *server);

#endif
