/* What carries datagrams for those who speak by them: sockets, a network card's queues, or a test.
 *
 * Buffers are the carrier's own. Of one to send, room for a payload is lent between transmit_begin and transmit_end or
 * transmit_cancel; of one that came in, whoever got it may keep the whole until it calls release. None of the functions blocks, and
 * all are called by the thread that owns the carrier. */
#ifndef TAEL_IO_CARRIER_H
#define TAEL_IO_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "io/endpoint.h"

struct tael_carrier {
    void *context;
    /* Room for one payload of the largest size there is, any alignment, and the buffer that it stands in. NULL: there is none
     * now. */
    uint8_t *(*transmit_begin)(void *context, void **buffer);
    /* Sends the first `size` bytes of it. Whether they arrive is nobody's promise. */
    void (*transmit_end)(void *context, void *buffer, uint32_t size, const struct tael_endpoint *to);
    /* Whether so much waits to leave that what is sent now may be lost. NULL: never. */
    bool (*is_full)(void *context);
    /* Gives it back unsent. */
    void (*transmit_cancel)(void *context, void *buffer);
    /* Gives back a buffer that came in and was kept. */
    void (*release)(void *context, void *buffer);
};

#endif
