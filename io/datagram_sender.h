/* The server's datagrams on their way out: header, body, seal, carrier.
 *
 * Owned by one thread. What the carrier has no buffer for is counted and lost: the client asks again. */
#ifndef TAEL_IO_DATAGRAM_SENDER_H
#define TAEL_IO_DATAGRAM_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "io/carrier.h"
#include "io/datagram.h"
#include "io/datagram_counters.h"

struct tael_datagram_sender {
    struct tael_carrier carrier;
    struct tael_datagram_counters *counters;
    tael_u128 ledger;
    uint8_t flags; /* of all that is sent: TAEL_DATAGRAM_SCRATCH, or 0 */
};

/* Sends `header`, whose ledger and flags are filled in, and the part behind it. False: it is lost. */
bool tael_datagram_send(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                        struct tael_datagram *header, const void *part, uint32_t part_size);

/* Sends an answer of the given kind to the datagram `about`, with a body of one part. */
bool tael_datagram_answer(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                          const struct tael_datagram *about, enum tael_datagram_kind kind, const void *body,
                          uint32_t body_size);

/* Likewise a notice. */
bool tael_datagram_notify(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                          const struct tael_datagram *about, enum tael_datagram_notice_code code, uint16_t wait_ms);

#endif
