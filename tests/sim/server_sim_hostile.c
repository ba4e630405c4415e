/* Who is no client of a simulated server, and means it ill or knows no better. */
#include <string.h>

#include <tael/datagram.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

#include "io/datagram.h"
#include "tests/sim/server_sim_parts.h"

#define FLOOD_MAX 40
#define BEGUN_PARTS_MAX 6

/* --- sending --- */

static void send(struct run *run, uint32_t endpoint, const struct tael_datagram *header, const void *part,
                 uint32_t part_size) {
    uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX];
    if (part_size > 0) memcpy(bytes + TAEL_DATAGRAM_HEADER_SIZE, part, part_size);
    net_send(run, endpoint, bytes, tael_datagram_seal(bytes, header, part_size));
    run->result->hostile++;
}

static struct tael_datagram header_of(const struct hostile *hostile, enum tael_datagram_kind kind, uint32_t body_size) {
    return (struct tael_datagram){.token = hostile->token,
                                  .ledger = LEDGER,
                                  .client = hostile->id,
                                  .request = hostile->request,
                                  .body_size = body_size,
                                  .kind = (uint8_t)kind,
                                  .part_units = 11};
}

static void hello(struct run *run, struct hostile *hostile) {
    struct tael_datagram_hello hello = {.datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET, .window = 4};
    memcpy(hello.cookie, hostile->cookie, sizeof hello.cookie);
    const struct tael_datagram header = header_of(hostile, TAEL_DATAGRAM_HELLO, sizeof hello);
    send(run, hostile->endpoint, &header, &hello, sizeof hello);
}

static void registers(struct run *run, struct hostile *hostile) {
    const struct tael_datagram_register wish = {.slots = 1};
    struct tael_datagram header = header_of(hostile, TAEL_DATAGRAM_REQUEST, sizeof wish);
    header.operation = TAEL_OPERATION_register;
    header.token = header.request = 0;
    send(run, hostile->endpoint, &header, &wish, sizeof wish);
}

/* --- what they do --- */

/* From addresses that are not theirs: noise, and hellos that nobody waits for. */
static void flood(struct run *run) {
    uint8_t noise[TAEL_DATAGRAM_SIZE_MIN + 64];
    const uint32_t count = 1 + (uint32_t)below(run, FLOOD_MAX);
    const struct hostile somebody = {.id = 1 + below(run, 1000)};
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t victim = chance(run, 8) ? net_endpoint_new(run) : (uint32_t)below(run, run->endpoints_count);
        if (chance(run, 2)) {
            struct hostile one = somebody;
            one.endpoint = victim;
            hello(run, &one);
            continue;
        }
        test_random_bytes(&run->random, noise, sizeof noise);
        net_send(run, victim, noise, (uint32_t)below(run, sizeof noise));
        run->result->hostile++;
    }
}

/* The first parts of a large request, and never the last one. */
static void begin(struct run *run, const struct hostile *hostile) {
    static const uint8_t zeros[11 * TAEL_PART_UNIT];
    struct tael_datagram header =
        header_of(hostile, TAEL_DATAGRAM_REQUEST, sizeof zeros * (BEGUN_PARTS_MAX + (uint32_t)below(run, 700)));
    header.operation = TAEL_OPERATION_create_transfers;
    header.client = 1 + below(run, 1000);
    header.token = 1 + below(run, 1000);
    header.slot = (uint8_t)below(run, TAEL_SLOTS_MAX);
    header.request = 1 + (uint32_t)below(run, 100);
    const uint32_t parts = 1 + (uint32_t)below(run, BEGUN_PARTS_MAX);
    for (uint32_t i = 0; i < parts; i++) {
        header.part = (uint16_t)i;
        send(run, hostile->endpoint, &header, zeros, sizeof zeros);
    }
}

/* Sizes, parts and units that contradict each other, or what came before. */
static void lie(struct run *run, const struct hostile *hostile) {
    uint8_t part[TAEL_DATAGRAM_SIZE_ETHERNET - TAEL_DATAGRAM_HEADER_SIZE] = {0};
    struct tael_datagram header = header_of(hostile, TAEL_DATAGRAM_REQUEST, (uint32_t)test_random_u64(&run->random));
    if (chance(run, 2)) header.body_size %= 20000;
    header.operation = TAEL_OPERATION_create_transfers;
    header.token = 1 + below(run, 3);
    header.request = 1 + (uint32_t)below(run, 3);
    header.part = (uint16_t)below(run, chance(run, 2) ? 16 : 1200);
    header.part_units = (uint8_t)below(run, 12);
    header.kind = (uint8_t)(1 + below(run, 4));
    const uint32_t promised = header.part_units == 0 || header.body_size > TAEL_BODY_SIZE_MAX
                                  ? 0
                                  : tael_datagram_parts(header.body_size, header.part_units);
    const bool is_plausible = header.part < promised && chance(run, 2);
    send(run, hostile->endpoint, &header, part,
         is_plausible ? tael_datagram_part_size(header.body_size, header.part_units, header.part)
                      : (uint32_t)below(run, sizeof part));
}

/* Asks for an answer of many parts, and says never what of it has arrived. */
static void ask_and_not_read(struct run *run, struct hostile *hostile) {
    struct tael_query_filter body[2] = {{.limit = TAEL_EVENTS_MAX}};
    const uint16_t counts[1] = {1};
    const uint32_t size = tael_multi_batch_encode(body, sizeof body[0], counts, 1, sizeof body[0]);
    hostile->request++;
    struct tael_datagram header = header_of(hostile, TAEL_DATAGRAM_REQUEST, size);
    header.operation = TAEL_OPERATION_query_transfers;
    send(run, hostile->endpoint, &header, body, size);
}

/* In somebody's name whose token it does not know: must never be executed. */
static void forge(struct run *run, const struct hostile *hostile) {
    const struct tael_transfer transfer = {.id = test_random_u128(&run->random),
                                           .debit_account_id = run->accounts[0].id,
                                           .credit_account_id = run->accounts[1].id,
                                           .amount = 1,
                                           .user_data_64 = UINT64_MAX,
                                           .ledger = 1,
                                           .code = 1};
    struct tael_datagram header = header_of(hostile, TAEL_DATAGRAM_REQUEST, sizeof transfer);
    header.operation = TAEL_OPERATION_create_transfers;
    header.flags = TAEL_DATAGRAM_ONE_BATCH;
    header.client = run->clients[below(run, run->client_count)].id;
    header.token = 1 + below(run, UINT64_MAX - 1);
    header.request = 1 + (uint32_t)below(run, 1000);
    send(run, hostile->endpoint, &header, &transfer, sizeof transfer);
}

/* What others sent, once more: from a new address, its own, or theirs. */
static void replay(struct run *run, const struct hostile *hostile) {
    if (run->heard_count == 0) return;
    const uint32_t count = 1 + (uint32_t)below(run, 8);
    const uint32_t victim = (uint32_t)below(run, run->endpoints_count);
    for (uint32_t i = 0; i < count; i++) {
        const struct heard *heard =
            &run->heard[below(run, run->heard_count < HEARD_MAX ? run->heard_count : HEARD_MAX)];
        uint32_t from = heard->endpoint;
        if (chance(run, 2)) from = chance(run, 2) ? hostile->endpoint : victim;
        net_send(run, from, heard->bytes, heard->size);
        run->result->hostile++;
    }
}

static void act(struct run *run, struct hostile *hostile) {
    if (!hostile->is_welcome && chance(run, 2)) hello(run, hostile);
    switch (below(run, 6)) {
    case 0:
        flood(run);
        return;
    case 1:
        begin(run, hostile);
        return;
    case 2:
        lie(run, hostile);
        return;
    case 3:
        if (hostile->token != 0) ask_and_not_read(run, hostile);
        return;
    case 4:
        if (run->account_count >= 2) forge(run, hostile);
        return;
    default:
        replay(run, hostile);
        return;
    }
}

void hostiles_turn(struct run *run) {
    for (uint32_t i = 0; i < HOSTILES; i++) {
        if (chance(run, 100)) act(run, &run->hostiles[i]);
    }
}

/* --- what they hear --- */

void hostile_hear(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size) {
    if (!chance(run, 8)) return;
    struct heard *heard = &run->heard[run->heard_count++ % HEARD_MAX];
    heard->endpoint = endpoint;
    heard->size = size;
    memcpy(heard->bytes, bytes, size);
}

static void registered(struct hostile *hostile, const struct tael_datagram_view *view) {
    struct tael_datagram_registered registered;
    if (view->part_size != sizeof registered) return;
    memcpy(&registered, view->part, sizeof registered);
    hostile->token = registered.token;
    hostile->request = 0;
}

static void take(struct run *run, struct hostile *hostile, const struct tael_datagram_view *view) {
    struct tael_datagram_notice notice;
    switch (view->header.kind) {
    case TAEL_DATAGRAM_COOKIE:
        memcpy(hostile->cookie, view->part, sizeof hostile->cookie);
        hostile->is_welcome = false;
        hello(run, hostile);
        return;
    case TAEL_DATAGRAM_WELCOME:
        hostile->is_welcome = true;
        if (hostile->token == 0) registers(run, hostile);
        return;
    case TAEL_DATAGRAM_REPLY:
        if (view->header.operation == TAEL_OPERATION_register && hostile->token == 0) registered(hostile, view);
        return;
    case TAEL_DATAGRAM_NOTICE:
        memcpy(&notice, view->part, sizeof notice);
        if (notice.code != TAEL_NOTICE_NO_SESSION || view->header.token != hostile->token) return;
        hostile->token = 0;
        hostile->id = tael_u128_make(3, ++run->id_last);
        return;
    default:
        return;
    }
}

void hostile_receive(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size) {
    struct tael_datagram_view view;
    if (run->is_settling) return;
    if (tael_datagram_check(bytes, size, TAEL_DATAGRAM_FROM_SERVER, LEDGER, &view) != TAEL_DATAGRAM_VERDICT_ok) return;
    for (uint32_t i = 0; i < HOSTILES; i++) {
        if (run->hostiles[i].endpoint == endpoint) take(run, &run->hostiles[i], &view);
    }
}

void hostiles_start(struct run *run) {
    for (uint32_t i = 0; i < HOSTILES; i++) {
        run->hostiles[i] = (struct hostile){.endpoint = net_endpoint_new(run), .id = tael_u128_make(3, ++run->id_last)};
    }
}
