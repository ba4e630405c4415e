/* A ledger and queries that do as the test says, in place of engine/ledger.c and engine/query.c.
 *
 * An event's user_data_32, where it is not 0, is the status that it gets, with user_data_64 as its timestamp. A read's
 * body is one struct fake_read. Costs nothing and knows nothing. */
#ifndef TAEL_TEST_FAKE_LEDGER_H
#define TAEL_TEST_FAKE_LEDGER_H

#include "engine/ledger.h"
#include "engine/query.h"

struct fake_read {
    uint32_t steps; /* slices until it is done */
    uint32_t reply_size; /* bytes of its reply, each the low byte of its op */
    uint32_t refusal; /* an eviction reason; 0 none */
    uint32_t reserved;
};

struct fake_ledger_state {
    struct tael_ledger_usage usage;
    uint64_t expiry_after_pulse; /* the next expiry once a pulse was applied */
    uint32_t pulses;
    tael_u128 digest;
};
extern struct fake_ledger_state fake_ledger;

void fake_ledger_reset(void);

#endif
