/* Answers of any content to a datagram client, with right checksums: nothing outside of its memory is touched, it tells only of what
 * is in flight, and its own books stay right (it asserts them).
 *
 * The input is a list of steps. The first byte of each says what: time passes, a request begins or is given up, or an answer comes, whose
 * header and body the next bytes make. Most answers are of the session and of a request in flight, as chance never would have it. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "io/datagram_client.h"

enum { LEDGER = 5, SLOTS = 4, BODY = 20000, OPERATION = TAEL_OPERATION_create_transfers };

#define TOKEN 99

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz {
    const uint8_t *data;
    size_t left;
    uint64_t now_ns;
    struct tael_datagram_client *client;
    bool is_in_flight[TAEL_SLOTS_MAX];
    uint32_t numbers[TAEL_SLOTS_MAX];
    uint8_t transmit[TAEL_DATAGRAM_SIZE_MAX];
    uint64_t id;
} fuzz;

static uint8_t request_body[BODY];

static uint8_t take(void) {
    if (fuzz.left == 0) return 0;
    fuzz.left--;
    return *fuzz.data++;
}

static uint16_t take_u16(void) {
    const uint16_t low = take();
    return (uint16_t)(low | take() << 8);
}

static void *transmit_begin(void *context, uint32_t size_max) {
    (void)context;
    TAEL_ASSERT(size_max <= sizeof fuzz.transmit);
    return fuzz.transmit;
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct tael_datagram_view view;
    (void)context;
    TAEL_ASSERT(tael_datagram_check(datagram, size, TAEL_DATAGRAM_FROM_CLIENT, LEDGER, &view) ==
                TAEL_DATAGRAM_VERDICT_ok);
}

static uint64_t chance(void *context) {
    (void)context;
    return fuzz.now_ns * 0x9E3779B97F4A7C15u;
}

static void event_check(struct tael_datagram_client_event event) {
    switch (event.happening) {
    case TAEL_DATAGRAM_CLIENT_OPENED:
        memset(fuzz.numbers, 0, sizeof fuzz.numbers);
        TAEL_ASSERT(tael_datagram_client_slots(fuzz.client) <= SLOTS);
        break;
    case TAEL_DATAGRAM_CLIENT_ANSWERED: {
        TAEL_ASSERT(fuzz.is_in_flight[event.slot]);
        const struct tael_datagram_client_answer answer = tael_datagram_client_answer(fuzz.client, event.slot);
        TAEL_ASSERT(answer.body_size <= TAEL_BODY_SIZE_MAX);
        fuzz.is_in_flight[event.slot] = false;
        break;
    }
    case TAEL_DATAGRAM_CLIENT_REFUSED:
        TAEL_ASSERT(fuzz.is_in_flight[event.slot]);
        fuzz.is_in_flight[event.slot] = false;
        break;
    case TAEL_DATAGRAM_CLIENT_ENDED:
        memset(fuzz.is_in_flight, 0, sizeof fuzz.is_in_flight);
        tael_datagram_client_open(fuzz.client, ++fuzz.id, fuzz.now_ns);
        break;
    case TAEL_DATAGRAM_CLIENT_BUSY:
    case TAEL_DATAGRAM_CLIENT_NOTHING:
        break;
    }
}

/* A body of that kind: its usual beginning, or whatever. */
static uint32_t body_make(uint8_t kind, bool is_register, uint8_t *body) {
    uint32_t size = kind == TAEL_DATAGRAM_HAVE_REQUEST ? sizeof(struct tael_datagram_have)
                    : kind == TAEL_DATAGRAM_REPLY      ? take_u16()
                                                       : 32;
    memset(body, 0, 160);
    if (is_register) {
        const struct tael_datagram_registered registered = {.token = TOKEN, .slots = take() % (SLOTS + 2)};
        memcpy(body, &registered, sizeof registered);
        return sizeof registered;
    }
    const uint32_t taken = take() % 32;
    for (uint32_t i = 0; i < taken; i++) body[i] = take();
    if (kind == TAEL_DATAGRAM_HAVE_REQUEST) memset(body + 4, 0, 4);
    return size;
}

static void answer_come(uint8_t what) {
    static uint8_t datagram[TAEL_DATAGRAM_SIZE_MAX + 64];
    static const uint8_t kinds[] = {TAEL_DATAGRAM_COOKIE, TAEL_DATAGRAM_WELCOME, TAEL_DATAGRAM_REPLY,
                                    TAEL_DATAGRAM_HAVE_REQUEST, TAEL_DATAGRAM_NOTICE};
    const uint8_t kind = kinds[what % 5];
    const bool is_opening = tael_datagram_client_phase(fuzz.client) == TAEL_DATAGRAM_CLIENT_OPENING;
    const uint8_t slot = take() % (SLOTS + 1);
    uint8_t *body = datagram + TAEL_DATAGRAM_HEADER_SIZE;
    struct tael_datagram header = {.token = is_opening ? 0 : TOKEN,
                                   .ledger = LEDGER,
                                   .request = is_opening ? 0 : fuzz.numbers[slot],
                                   .slot = is_opening ? 0 : slot,
                                   .kind = kind,
                                   .operation = is_opening ? TAEL_OPERATION_register : OPERATION,
                                   .part_units = 11};
    if (kind == TAEL_DATAGRAM_REPLY) header.op = take();
    header.body_size = body_make(kind, is_opening && kind == TAEL_DATAGRAM_REPLY, body);
    if ((what & 0x80) != 0) {
        header.part_units = take();
        header.token ^= take() & 1;
        header.request ^= take() & 1;
        header.body_size ^= take() & 0x3F;
        header.part = take();
        header.flags = take() & 3;
    } else if (kind == TAEL_DATAGRAM_REPLY) {
        header.part = (uint16_t)(take() % tael_datagram_parts(header.body_size, header.part_units));
    }
    uint32_t part_size = 32;
    if (header.part_units > 0 && header.part_units <= 69 &&
        header.part < tael_datagram_parts(header.body_size, header.part_units)) {
        part_size = tael_datagram_part_size(header.body_size, header.part_units, header.part);
    }
    const uint32_t sealed = tael_datagram_seal(datagram, &header, part_size);
    /* Exactly as large as it is, so that a read beyond it is seen. */
    uint8_t *exact = malloc(sealed);
    TAEL_ASSERT(exact != NULL);
    memcpy(exact, datagram, sealed);
    event_check(tael_datagram_client_receive(fuzz.client, exact, sealed, fuzz.now_ns));
    free(exact);
}

static void request_begin(void) {
    const uint32_t slot = take() % SLOTS;
    const struct tael_datagram_client_request request = {
        .body = request_body, .body_size = take_u16() % BODY, .operation = OPERATION, .flags = take() & 1};
    if (!tael_datagram_client_is_free(fuzz.client, slot)) return;
    tael_datagram_client_request(fuzz.client, slot, &request, fuzz.now_ns);
    fuzz.is_in_flight[slot] = true;
    fuzz.numbers[slot]++;
}

static void step(void) {
    const uint8_t what = take();
    switch (what % 8) {
    case 0:
        fuzz.now_ns += (uint64_t)take() << (take() % 24);
        tael_datagram_client_tick(fuzz.client, fuzz.now_ns);
        break;
    case 1:
        request_begin();
        break;
    case 2: {
        const uint32_t slot = take() % SLOTS;
        if (!fuzz.is_in_flight[slot]) break;
        tael_datagram_client_give_up(fuzz.client, slot);
        fuzz.is_in_flight[slot] = false;
        break;
    }
    default:
        answer_come(what / 8 % 5 + (what & 0x80));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void *memory;
    const struct tael_datagram_client_options options = {.ledger = LEDGER,
                                                         .slots = SLOTS,
                                                         .datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET,
                                                         .reply_window = 8,
                                                         .request_window = 40,
                                                         .carrier = {NULL, transmit_begin, transmit_end},
                                                         .random = chance};
    if (memory == NULL) memory = aligned_alloc(64, tael_datagram_client_size_bytes(&options));
    TAEL_ASSERT(memory != NULL);
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.data = data;
    fuzz.left = size;
    fuzz.now_ns = TAEL_NS_PER_S;
    fuzz.id = 1;
    fuzz.client = tael_datagram_client_init(memory, &options);
    tael_datagram_client_open(fuzz.client, fuzz.id, fuzz.now_ns);
    while (fuzz.left > 0) step();
    return 0;
}
