/* The datagram server under sequences of what can happen to it: datagrams with right checksums, turns, the sequencer's doings. Its own
 * assertions hold, nothing is read that is not there, and in the end every buffer is back (tests/net/datagram_rig.h counts them).
 *
 * The input is a list of steps: a byte that says what, then what that needs. Clients are few, and so are slots and numbers, so that
 * steps meet. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include <tael/assert.h>

#include "io/datagram_cookie.h"
#include "tests/net/datagram_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEERS = 4, HELD_MAX = 64, STEPS_MAX = 400 };

struct input {
    const uint8_t *data;
    size_t left;
};

struct world {
    struct rig rig;
    struct tael_message *held[HELD_MAX]; /* by the sequencer, the oldest first */
    uint32_t held_count;
    uint64_t op;
};

static uint8_t body[65536];

static uint32_t byte(struct input *input) {
    if (input->left == 0) return 0;
    input->left--;
    return *input->data++;
}

static uint32_t word(struct input *input) {
    const uint32_t low = byte(input);
    return byte(input) << 8 | low;
}

static struct tael_datagram header_read(struct input *input, uint8_t kind) {
    static const uint8_t operations[] = {TAEL_OPERATION_create_transfers,
                                         TAEL_OPERATION_lookup_accounts,
                                         TAEL_OPERATION_register,
                                         TAEL_OPERATION_query_accounts,
                                         3,
                                         TAEL_OPERATION_create_accounts,
                                         TAEL_OPERATION_trial_balance,
                                         240};
    const uint32_t names = byte(input);
    const uint32_t what = byte(input);
    return (struct tael_datagram){.token = (names >> 6) == 3 ? 0 : 1 + (names >> 6),
                                  .ledger = RIG_LEDGER,
                                  .client = 1 + (names & 1),
                                  .request = names >> 3 & 7,
                                  .slot = names >> 1 & 3,
                                  .flags = what & 1,
                                  .kind = kind,
                                  .operation = operations[what >> 1 & 7],
                                  .part_units = (what & 16) != 0 ? 11 : 2};
}

static void step_request(struct world *world, struct input *input, const struct tael_endpoint *from) {
    struct tael_datagram header = header_read(input, TAEL_DATAGRAM_REQUEST);
    header.body_size = word(input);
    const uint32_t parts = tael_datagram_parts(header.body_size, header.part_units);
    const uint32_t first = word(input) % parts;
    const uint32_t count = byte(input) % 16 + 1;
    for (uint32_t i = 0; i < count; i++) (void)rig_send_part(&world->rig, from, &header, body, (first + i) % parts);
}

static void step_have(struct world *world, struct input *input, const struct tael_endpoint *from) {
    const struct tael_datagram header = header_read(input, TAEL_DATAGRAM_HAVE_REPLY);
    uint8_t bits[TAEL_PARTS_MAX / 8];
    const uint32_t window = word(input);
    const uint32_t parts = word(input);
    memset(bits, (int)byte(input), sizeof bits);
    for (uint32_t i = 0; i < 4; i++) bits[i] = (uint8_t)byte(input);
    rig_have(&world->rig, from, &header, (uint16_t)window, (uint16_t)parts, bits);
}

static void step_hello(struct world *world, struct input *input, const struct tael_endpoint *from) {
    uint8_t cookie[TAEL_COOKIE_SIZE];
    tael_cookie_make(cookie, &world->rig.options.cookie_key, from, world->rig.now_ns);
    const uint32_t garbled = byte(input);
    if (garbled > 200) cookie[garbled % TAEL_COOKIE_SIZE] ^= 1;
    const uint32_t datagram_max = TAEL_DATAGRAM_SIZE_ETHERNET + word(input) % 10000;
    rig_hello(&world->rig, from, cookie, (uint16_t)datagram_max, (uint16_t)word(input));
}

/* Bytes as they are, but for their checksum. */
static void step_raw(struct world *world, struct input *input, const struct tael_endpoint *from) {
    size_t size = word(input) % (TAEL_DATAGRAM_SIZE_MAX + 10);
    if (size > input->left) size = input->left;
    if (size < sizeof(uint64_t)) return;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL) return;
    memcpy(bytes, input->data, size);
    input->data += size;
    input->left -= size;
    const uint64_t checksum = XXH3_64bits(bytes + sizeof checksum, size - sizeof checksum);
    memcpy(bytes, &checksum, sizeof checksum);
    (void)rig_receive(&world->rig, from, bytes, (uint32_t)size);
    free(bytes);
}

static void step_take(struct world *world) {
    if (world->held_count == HELD_MAX) return;
    struct tael_message *message = rig_message(&world->rig);
    if (message == NULL) return;
    /* All that it says is there can be read. */
    uint32_t size = 0;
    for (uint32_t i = 0; i < message->part_count; i++) {
        size += message->parts[i].size;
        (void)XXH3_64bits(message->parts[i].data, message->parts[i].size);
    }
    TAEL_ASSERT(size == message->body_size);
    TAEL_ASSERT(message->token != 0);
    world->held[world->held_count++] = message;
}

static void step_answer(struct world *world, struct input *input, bool notice) {
    const uint32_t index = byte(input);
    const uint32_t size = word(input);
    if (world->held_count == 0) return;
    const struct tael_message *message = world->held[index % world->held_count];
    if (notice) {
        (void)rig_notice(&world->rig, message, (uint16_t)(1 + size % 50), (uint16_t)(size % 100));
    } else {
        (void)rig_reply(&world->rig, message, 8 + size, world->op += index & 1);
    }
}

static void step_release(struct world *world, struct input *input) {
    const uint32_t index = byte(input);
    if (world->held_count == 0) return;
    struct tael_message **held = &world->held[index % world->held_count];
    rig_release(&world->rig, *held);
    *held = world->held[--world->held_count];
}

static void step(struct world *world, struct input *input) {
    const uint32_t what = byte(input);
    const struct tael_endpoint from = rig_endpoint(what >> 4 & (PEERS - 1));
    const struct tael_datagram_server *server = world->rig.server;
    switch (what & 15) {
    case 0:
    case 1:
        step_request(world, input, &from);
        break;
    case 2:
        step_have(world, input, &from);
        break;
    case 3: {
        const struct tael_datagram header = header_read(input, TAEL_DATAGRAM_POLL);
        rig_poll_request(&world->rig, &from, &header);
        break;
    }
    case 4:
        step_hello(world, input, &from);
        break;
    case 5:
        step_raw(world, input, &from);
        break;
    case 6:
        step_take(world);
        break;
    case 7:
        step_answer(world, input, false);
        break;
    case 8:
        step_answer(world, input, true);
        break;
    case 9:
        step_release(world, input);
        break;
    case 10:
        (void)rig_turn(&world->rig, (uint64_t)byte(input) * RIG_MS);
        break;
    case 11:
        (void)rig_turn(&world->rig, (uint64_t)byte(input) * 50 * RIG_MS);
        break;
    case 12:
        world->rig.has_no_transmit_buffer = !world->rig.has_no_transmit_buffer;
        break;
    case 13:
        if ((what & 0xf0) == 0xf0) tael_datagram_server_drain(world->rig.server);
        break;
    default:
        TAEL_ASSERT(tael_datagram_server_deadline_ns(server) > 0 || rig_replies_out(&world->rig) > 0);
        (void)rig_turn(&world->rig, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct input input = {.data = data, .left = size};
    struct tael_datagram_server_options options = rig_options();
    options.peers_max = 1 + byte(&input) % PEERS;
    options.messages_max = 8;
    options.messages_per_peer_max = 6;
    options.small_bodies = 2;
    options.large_bodies = 1;
    options.window = 16;
    options.replies_held_max[RIG_POOL_SMALL] = 3;
    options.replies_held_max[RIG_POOL_LARGE] = 2;
    if ((byte(&input) & 1) != 0) options.datagram_max = TAEL_DATAGRAM_SIZE_MAX;
    rig_start(&world.rig, &options);
    world.held_count = 0;
    world.op = 1;
    for (uint32_t i = 0; i < STEPS_MAX && input.left > 0; i++) {
        step(&world, &input);
        (void)rig_discard(&world.rig);
    }
    world.rig.has_no_transmit_buffer = false;
    while (world.held_count > 0) rig_release(&world.rig, world.held[--world.held_count]);
    /* Left alone, it gives up everything. */
    for (uint32_t i = 0; i < 16; i++) {
        (void)rig_turn(&world.rig, RIG_S);
        while (rig_release_all(&world.rig) > 0) (void)rig_turn(&world.rig, 0);
        (void)rig_discard(&world.rig);
    }
    TAEL_ASSERT(world.rig.kept == 0);
    TAEL_ASSERT(rig_replies_out(&world.rig) == 0);
    TAEL_ASSERT(tael_datagram_server_deadline_ns(world.rig.server) == UINT64_MAX);
    rig_stop(&world.rig);
    return 0;
}
