#include "io/port_carrier.h"

#include <rte_mbuf.h>

static uint8_t *transmit_begin(void *context, void **buffer) {
    struct tael_port_carrier *self = context;
    struct rte_mbuf *packet = tael_port_packet(self->port);
    if (packet == NULL) return NULL;
    *buffer = packet;
    return tael_port_payload(packet);
}

static void transmit_end(void *context, void *buffer, uint32_t size, const struct tael_endpoint *to) {
    struct tael_port_carrier *self = context;
    tael_port_send(self->port, &self->host, to, buffer, size);
}

static bool is_full(void *context) {
    struct tael_port *port = ((struct tael_port_carrier *)context)->port;
    if (!tael_port_is_full(port)) return false;
    (void)tael_port_flush(port);
    return tael_port_is_full(port);
}

static void packet_free(void *context, void *buffer) {
    (void)context;
    rte_pktmbuf_free(buffer);
}

struct tael_carrier tael_port_carrier(struct tael_port_carrier *carrier) {
    return (struct tael_carrier){
        .context = carrier,
        .transmit_begin = transmit_begin,
        .transmit_end = transmit_end,
        .is_full = is_full,
        .transmit_cancel = packet_free,
        .release = packet_free,
    };
}
