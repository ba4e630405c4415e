#include "io/datagram_sender.h"

#include <string.h>

bool tael_datagram_send(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                        struct tael_datagram *header, const void *part, uint32_t part_size) {
    void *buffer;
    uint8_t *payload = sender->carrier.transmit_begin(sender->carrier.context, &buffer);
    if (payload == NULL) {
        sender->counters->unsent++;
        return false;
    }
    header->ledger = sender->ledger;
    header->flags = sender->flags;
    memcpy(payload + TAEL_DATAGRAM_HEADER_SIZE, part, part_size);
    const uint32_t size = tael_datagram_seal(payload, header, part_size);
    sender->carrier.transmit_end(sender->carrier.context, buffer, size, to);
    sender->counters->sent++;
    return true;
}

bool tael_datagram_answer(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                          const struct tael_datagram *about, enum tael_datagram_kind kind, const void *body,
                          uint32_t body_size) {
    struct tael_datagram header = {
        .token = about->token,
        .request = about->request,
        .body_size = body_size,
        .slot = about->slot,
        .kind = (uint8_t)kind,
        .operation = about->operation,
        .part_units = (uint8_t)((body_size + TAEL_PART_UNIT - 1) / TAEL_PART_UNIT),
    };
    return tael_datagram_send(sender, to, &header, body, body_size);
}

bool tael_datagram_notify(const struct tael_datagram_sender *sender, const struct tael_endpoint *to,
                          const struct tael_datagram *about, enum tael_datagram_notice_code code, uint16_t wait_ms) {
    const struct tael_datagram_notice notice = {.code = (uint16_t)code, .wait_ms = wait_ms};
    sender->counters->notices++;
    return tael_datagram_answer(sender, to, about, TAEL_DATAGRAM_NOTICE, &notice, sizeof notice);
}
