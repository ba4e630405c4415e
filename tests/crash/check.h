/* What the ledger must hold after a kill, by what was acknowledged. Fails the test where it does not. */
#ifndef TAEL_TESTS_CRASH_CHECK_H
#define TAEL_TESTS_CRASH_CHECK_H

#include "tests/crash/load.h"

struct tael_client;

/* Looks up what was acknowledged to a session, entries [first, end): what was created is there, as it was sent and with
 * the timestamp of its reply; what was rejected is not. Returns how many were created. */
uint64_t check_acknowledged(struct tael_client *client, const struct load_session *session, uint64_t first,
                            uint64_t end);

/* Reads all transfers of a session, in order of timestamps: each is one that it sent, each once. Returns how many. */
uint64_t check_once(struct tael_client *client, const struct load_session *session);

#endif
