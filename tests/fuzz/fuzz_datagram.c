/* Datagram checks on arbitrary bytes: no read beyond them, and a verdict that holds together.
 *
 * The first byte steers: odd means that the checksum is made right first, since chance never would; bit 1 means that it comes from a
 * server. The rest is the datagram. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <tael/assert.h>

#include "io/datagram.h"

#define LEDGER 0

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What both sides rely on once a datagram was let in. */
static void check_promises(const struct tael_datagram_view *view, const uint8_t *datagram, size_t size) {
    const struct tael_datagram *header = &view->header;
    TAEL_ASSERT(header->ledger == LEDGER);
    TAEL_ASSERT(header->body_size <= TAEL_BODY_SIZE_MAX);
    TAEL_ASSERT(view->part_count >= 1);
    TAEL_ASSERT(view->part_count <= TAEL_PARTS_MAX);
    TAEL_ASSERT(header->part < view->part_count);
    TAEL_ASSERT(view->part >= datagram);
    TAEL_ASSERT(view->part + view->part_size <= datagram + size);
    const uint64_t begin = (uint64_t)header->part * header->part_units * TAEL_PART_UNIT;
    TAEL_ASSERT(begin + view->part_size <= header->body_size);
    TAEL_ASSERT(header->part + 1 < view->part_count || begin + view->part_size == header->body_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const uint8_t steer = data[0];
    const enum tael_datagram_side side = steer & 2 ? TAEL_DATAGRAM_FROM_SERVER : TAEL_DATAGRAM_FROM_CLIENT;
    /* Exactly as large as the input, so that a read beyond it is seen. */
    const size_t datagram_size = size - 1;
    uint8_t *datagram = malloc(datagram_size + 1);
    if (datagram == NULL) return 0;
    memcpy(datagram, data + 1, datagram_size);
    if ((steer & 1) != 0 && datagram_size > 8) {
        const uint64_t checksum = XXH3_64bits(datagram + 8, datagram_size - 8);
        memcpy(datagram, &checksum, sizeof checksum);
    }
    struct tael_datagram_view view;
    const enum tael_datagram_verdict verdict = tael_datagram_check(datagram, datagram_size, side, LEDGER, &view);
    TAEL_ASSERT(tael_datagram_verdict_text(verdict) != NULL);
    if (verdict == TAEL_DATAGRAM_VERDICT_ok) check_promises(&view, datagram, datagram_size);
    free(datagram);
    return 0;
}
