/* A server that answers as a script tells it: one letter for each request that comes in, whatever its connection; when
 * the script is at its end, with a reply. It runs on a thread of its own and remembers what it saw. */
#ifndef TAEL_TESTS_FAKE_SERVER_H
#define TAEL_TESTS_FAKE_SERVER_H

#include <stdint.h>

#include <tael/frame.h>

/* The letters:
 *   r reply: the request's own body comes back      t the same twice: the second is an old one to the next request
 *   s silence                                       c close the connection instead of a reply
 *   k restart: nobody listens for a while           2 half a reply, then nothing
 *   h wrong header checksum                         b wrong body checksum
 *   C another cluster                               u an unknown command
 *   q a reply to something else                     o a reply of another operation
 *   x frames for another client, then the reply     p a pong, then the reply
 *   B busy                                          1 4 5 6 eviction of this reason */

struct fake_server;

struct fake_seen {
    uint32_t requests; /* all that came, registers too */
    uint32_t connections;
    uint32_t distinct; /* how many different requests */
    struct tael_frame last;
    uint32_t register_capabilities;
};

struct fake_server *fake_server_start(const char *script, tael_u128 cluster);
const char *fake_server_address(const struct fake_server *server);
struct fake_seen fake_server_stop(struct fake_server *server);

#endif
