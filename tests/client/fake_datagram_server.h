/* The model of a datagram server (tests/net/datagram_model.h) behind a UDP socket of loopback, on a thread of its own. It answers creates
 * as fake_server.h's does: one result an event, its timestamp the low half of the event's id.
 *
 * A script has one letter for each whole request that is not executed yet, registers too; at its end they are executed.
 *   r reply               s silence, as if it had not arrived       m executed, the answer lost
 *   k executed, not answered, and the server has restarted          e no session
 *   B busy                4 5 6 notice of this code                 w a reply with a wrong body */
#ifndef TAEL_TESTS_FAKE_DATAGRAM_SERVER_H
#define TAEL_TESTS_FAKE_DATAGRAM_SERVER_H

#include "tests/net/datagram_model.h"

struct fake_datagram_server;

struct fake_datagram_server *fake_datagram_server_start(const char *script, tael_u128 ledger, uint32_t slots_max);
const char *fake_datagram_server_address(const struct fake_datagram_server *server);

/* Goes on with another script, from its beginning. */
void fake_datagram_server_follow(struct fake_datagram_server *server, const char *script);

/* While it holds, requests are being executed, and not answered, but for registers. */
void fake_datagram_server_hold(struct fake_datagram_server *server, bool holds);

/* Waits until it holds that many; false after ten seconds. */
bool fake_datagram_server_await_held(struct fake_datagram_server *server, uint32_t count);

struct datagram_model_counters fake_datagram_server_stop(struct fake_datagram_server *server);

#endif
