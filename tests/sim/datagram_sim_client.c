/* The model of a client. It is patient: a slot whose request is not answered asks again after a pause that doubles. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>

#include "tests/sim/datagram_sim.h"

#define PAUSE_MIN_NS (20 * RIG_MS)
#define PAUSE_MAX_NS (640 * RIG_MS)

static uint32_t index_of(const struct sim *sim, const struct sim_client *client) {
    return (uint32_t)(client - sim->clients);
}

struct sim_request sim_request_of(uint32_t client, uint32_t slot, uint32_t number) {
    struct test_random random = {client * 1000003 + slot * 1009 + number};
    const uint64_t id = (uint64_t)client << 40 | (uint64_t)slot << 32 | number;
    struct sim_request request = {.id = id, .is_read = test_random_once_in(&random, 3)};
    const uint32_t kind = (uint32_t)test_random_below(&random, 8);
    const uint32_t largest = kind < 5 ? 1400 : kind < 7 ? 20000 : request.is_read ? 150000 : SIM_BODY_MAX;
    request.body_size = 16 + (uint32_t)test_random_below(&random, largest - 16) / 16 * 16;
    const uint32_t reply_kind = (uint32_t)test_random_below(&random, 8);
    request.reply_size = (uint32_t)test_random_below(&random, reply_kind < 5   ? 1400
                                                              : reply_kind < 7 ? 20000
                                                                               : SIM_BODY_MAX);
    return request;
}

void sim_body_fill(const struct sim_request *request, uint8_t *body) {
    for (uint32_t i = 0; i < request->body_size; i++) body[i] = rig_byte(request->id, i);
    memcpy(body, &request->id, sizeof request->id);
}

/* --- sending --- */

static struct tael_datagram header_of(const struct sim *sim, const struct sim_client *client,
                                      const struct sim_slot *slot) {
    struct tael_datagram header = {.token = client->token,
                                   .ledger = RIG_LEDGER,
                                   .client = client->id,
                                   .request = slot->number,
                                   .body_size = slot->request.body_size,
                                   .slot = (uint8_t)(slot - client->slots),
                                   .flags = TAEL_DATAGRAM_ONE_BATCH,
                                   .kind = TAEL_DATAGRAM_REQUEST,
                                   .operation = slot->request.is_read ? TAEL_OPERATION_lookup_accounts
                                                                      : TAEL_OPERATION_create_transfers,
                                   .part_units = tael_datagram_part_units(sim->rig.options.datagram_max)};
    if (client->registered) return header;
    header.flags = 0;
    header.operation = TAEL_OPERATION_register;
    return header;
}

static void send_part(struct sim *sim, struct sim_client *client, struct sim_slot *slot, uint32_t part) {
    struct tael_datagram header = header_of(sim, client, slot);
    header.part = (uint16_t)part;
    const uint32_t size = tael_datagram_part_size(header.body_size, header.part_units, part);
    sim_to_server(sim, &client->endpoint, &header, slot->body + (size_t)part * header.part_units * TAEL_PART_UNIT,
                  size);
    tael_part_set_add(&slot->sent, part);
}

static uint32_t parts_of(const struct sim *sim, const struct sim_client *client, const struct sim_slot *slot) {
    const struct tael_datagram header = header_of(sim, client, slot);
    return tael_datagram_parts(header.body_size, header.part_units);
}

/* Parts that were never sent, as far as its share of the server's window goes. */
static void send_more(struct sim *sim, struct sim_client *client, struct sim_slot *slot) {
    const uint32_t parts = parts_of(sim, client, slot);
    const uint32_t share = client->registered ? client->server_window / client->slot_count : 1;
    struct tael_part_set open = slot->sent;
    tael_part_set_subtract(&open, &slot->server_has);
    uint32_t on_the_way = tael_part_set_count(&open);
    while (on_the_way < share) {
        const uint32_t part = tael_part_set_first_in_neither(&slot->sent, &slot->server_has, parts);
        if (part == parts) return;
        send_part(sim, client, slot, part);
        on_the_way++;
    }
}

static void send_empty(struct sim *sim, struct sim_client *client, struct sim_slot *slot, uint8_t kind) {
    struct tael_datagram header = header_of(sim, client, slot);
    header.kind = kind;
    header.flags = 0;
    header.body_size = 0;
    header.part_units = 1;
    sim_to_server(sim, &client->endpoint, &header, NULL, 0);
}

static void send_have(struct sim *sim, struct sim_client *client, struct sim_slot *slot) {
    struct tael_datagram header = header_of(sim, client, slot);
    struct tael_datagram_have have = {.window = client->window,
                                      .parts = (uint16_t)tael_datagram_parts(slot->reply_size, slot->reply_units)};
    memcpy(have.bits, &slot->reply_has, sizeof have.bits);
    header.kind = TAEL_DATAGRAM_HAVE_REPLY;
    header.flags = 0;
    header.body_size = sizeof have;
    header.part_units = 2;
    slot->reply_unsaid = 0;
    sim_to_server(sim, &client->endpoint, &header, &have, sizeof have);
}

static void send_hello(struct sim *sim, struct sim_client *client) {
    const struct tael_datagram header = {.ledger = RIG_LEDGER,
                                         .client = client->id,
                                         .body_size = sizeof(struct tael_datagram_hello),
                                         .kind = TAEL_DATAGRAM_HELLO,
                                         .part_units = 1};
    struct tael_datagram_hello hello = {.datagram_max = client->datagram_max, .window = client->window};
    memcpy(hello.cookie, client->cookie, sizeof hello.cookie);
    client->hello_sent_ns = sim->rig.now_ns;
    client->hello_due_ns = sim->rig.now_ns + PAUSE_MIN_NS;
    sim_to_server(sim, &client->endpoint, &header, &hello, sizeof hello);
}

/* --- a slot's life --- */

static void patience(struct sim *sim, struct sim_slot *slot, uint64_t pause_ns) {
    slot->pause_ns = pause_ns;
    slot->due_ns = sim->rig.now_ns + pause_ns + test_random_below(&sim->random, pause_ns / 4 + 1);
}

static void slot_begin(struct sim *sim, struct sim_client *client, struct sim_slot *slot) {
    if (client->registered) {
        slot->request = sim_request_of(index_of(sim, client), (uint32_t)(slot - client->slots), slot->number);
        sim_body_fill(&slot->request, slot->body);
    } else {
        slot->request = (struct sim_request){.body_size = sizeof(struct tael_datagram_register)};
        memset(slot->body, 0, slot->request.body_size);
        slot->body[0] = SIM_SLOTS_MAX;
    }
    tael_part_set_clear(&slot->server_has);
    tael_part_set_clear(&slot->sent);
    tael_part_set_clear(&slot->reply_has);
    slot->replying = false;
    patience(sim, slot, PAUSE_MIN_NS);
    send_more(sim, client, slot);
}

static bool slot_done(const struct sim_client *client, const struct sim_slot *slot) {
    return slot->number > client->requests;
}

static void slot_ask(struct sim *sim, struct sim_client *client, struct sim_slot *slot) {
    patience(sim, slot, slot->pause_ns < PAUSE_MAX_NS ? 2 * slot->pause_ns : PAUSE_MAX_NS);
    if (slot->replying) {
        send_have(sim, client, slot);
    } else if (parts_of(sim, client, slot) > 1) {
        send_empty(sim, client, slot, TAEL_DATAGRAM_POLL);
    } else {
        send_part(sim, client, slot, 0);
    }
}

static void slot_answered(struct sim *sim, struct sim_client *client, struct sim_slot *slot) {
    sim->answered++;
    if (!client->registered) {
        memcpy(&client->token, slot->reply, sizeof client->token);
        TAEL_ASSERT(client->token != 0);
        client->registered = true;
        for (uint32_t i = 0; i < client->slot_count; i++) {
            client->slots[i].number = 1;
            slot_begin(sim, client, &client->slots[i]);
        }
        return;
    }
    TAEL_ASSERT(slot->reply_size == slot->request.reply_size);
    for (uint32_t i = 0; i < slot->reply_size; i++) TAEL_ASSERT(slot->reply[i] == rig_byte(slot->reply_op, i));
    slot->number++;
    slot->due_ns = UINT64_MAX;
    if (!slot_done(client, slot)) slot_begin(sim, client, slot);
}

/* --- receiving --- */

static void take_reply(struct sim *sim, struct sim_client *client, struct sim_slot *slot,
                       const struct tael_datagram_view *view) {
    const struct tael_datagram *header = &view->header;
    if (!slot->replying || slot->reply_op != header->op || slot->reply_size != header->body_size) {
        tael_part_set_clear(&slot->reply_has);
        slot->replying = true;
        slot->reply_op = header->op;
        slot->reply_size = header->body_size;
        slot->reply_units = header->part_units;
        slot->reply_unsaid = 0;
    }
    TAEL_ASSERT(header->part_units == slot->reply_units);
    if (tael_part_set_has(&slot->reply_has, header->part)) return;
    tael_part_set_add(&slot->reply_has, header->part);
    memcpy(slot->reply + (size_t)header->part * header->part_units * TAEL_PART_UNIT, view->part, view->part_size);
    slot->reply_unsaid++;
    patience(sim, slot, PAUSE_MIN_NS);
    const bool whole = tael_part_set_count(&slot->reply_has) == view->part_count;
    if (view->part_count > 1 && (whole || slot->reply_unsaid >= client->window / 4u)) send_have(sim, client, slot);
    if (whole) slot_answered(sim, client, slot);
}

/* The server tells what it has of the request. */
static void take_have(struct sim *sim, struct sim_client *client, struct sim_slot *slot,
                      const struct tael_datagram_view *view) {
    struct tael_datagram_have have;
    memcpy(&have, view->part, sizeof have);
    struct tael_part_set said;
    memcpy(&said, have.bits, sizeof said);
    struct tael_part_set more = said;
    tael_part_set_subtract(&more, &slot->server_has);
    const bool is_more = tael_part_set_count(&more) > 0;
    slot->server_has = said;
    client->server_window = have.window;
    /* After silence, or where it tells nothing new, what is missing is lost. */
    if (!is_more || slot->pause_ns > PAUSE_MIN_NS) slot->sent = said;
    if (is_more) patience(sim, slot, PAUSE_MIN_NS);
    send_more(sim, client, slot);
}

static void take_notice(struct sim *sim, struct sim_slot *slot, const struct tael_datagram_view *view) {
    struct tael_datagram_notice notice;
    memcpy(&notice, view->part, sizeof notice);
    switch (notice.code) {
    case TAEL_NOTICE_EXECUTING:
        break;
    case TAEL_NOTICE_UNSEEN: /* also of a read whose reply was given up half way: it runs again */
    case TAEL_NOTICE_BUSY_TRANSFERS:
    case TAEL_NOTICE_BUSY_PARTS:
    case TAEL_NOTICE_BUSY_QUEUE:
        TAEL_ASSERT((notice.wait_ms > 0) == (notice.code != TAEL_NOTICE_UNSEEN));
        slot->replying = false;
        tael_part_set_clear(&slot->server_has);
        tael_part_set_clear(&slot->sent);
        slot->due_ns = sim->rig.now_ns + notice.wait_ms * RIG_MS;
        break;
    default:
        TAEL_UNREACHABLE("a notice that no client here deserves");
    }
}

static void take_cookie(struct sim *sim, struct sim_client *client, const struct tael_datagram_view *view) {
    /* Everything that is on the way gets a cookie now: one hello is enough. */
    const bool again = memcmp(client->cookie, view->part, sizeof client->cookie) == 0;
    if (!client->welcome && again) return;
    memcpy(client->cookie, view->part, sizeof client->cookie);
    client->welcome = false;
    client->hello_due_ns = client->hello_sent_ns + RIG_MS * 10;
    if (client->hello_due_ns <= sim->rig.now_ns) send_hello(sim, client);
}

static void take_welcome(struct sim *sim, struct sim_client *client, const struct tael_datagram_view *view) {
    struct tael_datagram_welcome welcome;
    memcpy(&welcome, view->part, sizeof welcome);
    if (client->welcome) return;
    client->welcome = true;
    client->hello_due_ns = UINT64_MAX;
    client->server_window = welcome.window;
    if (!client->registered) {
        slot_begin(sim, client, &client->slots[0]);
        return;
    }
    for (uint32_t i = 0; i < client->slot_count; i++) {
        if (!slot_done(client, &client->slots[i])) client->slots[i].due_ns = sim->rig.now_ns;
    }
}

void sim_client_receive(struct sim *sim, struct sim_client *client, const uint8_t *bytes, uint32_t size) {
    struct tael_datagram_view view;
    if (tael_datagram_check(bytes, size, TAEL_DATAGRAM_FROM_SERVER, RIG_LEDGER, &view) != TAEL_DATAGRAM_VERDICT_ok) {
        return;
    }
    if (view.header.kind == TAEL_DATAGRAM_COOKIE) {
        take_cookie(sim, client, &view);
        return;
    }
    if (view.header.kind == TAEL_DATAGRAM_WELCOME) {
        take_welcome(sim, client, &view);
        return;
    }
    if (!client->welcome || view.header.slot >= client->slot_count || view.header.token != client->token) return;
    struct sim_slot *slot = &client->slots[view.header.slot];
    if (slot_done(client, slot) || view.header.request != slot->number) return;
    switch (view.header.kind) {
    case TAEL_DATAGRAM_REPLY:
        take_reply(sim, client, slot, &view);
        return;
    case TAEL_DATAGRAM_HAVE_REQUEST:
        take_have(sim, client, slot, &view);
        return;
    default:
        take_notice(sim, slot, &view);
    }
}

/* --- time --- */

void sim_client_turn(struct sim *sim, struct sim_client *client) {
    if (!client->welcome) {
        if (sim->rig.now_ns >= client->hello_due_ns) send_hello(sim, client);
        return;
    }
    const uint32_t count = client->registered ? client->slot_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_slot *slot = &client->slots[i];
        if (slot_done(client, slot) || sim->rig.now_ns < slot->due_ns) continue;
        if (tael_part_set_count(&slot->sent) == 0 && tael_part_set_count(&slot->server_has) == 0) {
            patience(sim, slot, PAUSE_MIN_NS);
            send_more(sim, client, slot);
        } else {
            slot_ask(sim, client, slot);
        }
    }
}

uint64_t sim_client_due_ns(const struct sim_client *client) {
    if (!client->welcome) return client->hello_due_ns;
    uint64_t due = UINT64_MAX;
    const uint32_t count = client->registered ? client->slot_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        if (!slot_done(client, &client->slots[i]) && client->slots[i].due_ns < due) due = client->slots[i].due_ns;
    }
    return due;
}

bool sim_client_done(const struct sim_client *client) {
    if (!client->registered) return false;
    for (uint32_t i = 0; i < client->slot_count; i++) {
        if (!slot_done(client, &client->slots[i])) return false;
    }
    return true;
}

void sim_client_start(struct sim *sim, uint32_t index) {
    static const uint16_t datagram_sizes[] = {1472, 1472, 2000, 8972};
    struct sim_client *client = &sim->clients[index];
    *client = (struct sim_client){
        .endpoint = rig_endpoint(index * 7),
        .id = 1000 + index,
        .datagram_max = datagram_sizes[test_random_below(&sim->random, 4)],
        .window = (uint16_t)test_random_between(&sim->random, 4, 100),
        .slot_count = (uint32_t)test_random_between(&sim->random, 1, SIM_SLOTS_MAX),
        .requests = (uint32_t)test_random_between(&sim->random, 1, 12),
        .hello_due_ns = sim->rig.now_ns + test_random_below(&sim->random, 100 * RIG_MS),
    };
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        client->slots[i].body = malloc(SIM_BODY_MAX);
        client->slots[i].reply = malloc(SIM_BODY_MAX);
        TAEL_ASSERT(client->slots[i].body != NULL);
        TAEL_ASSERT(client->slots[i].reply != NULL);
    }
}

void sim_client_stop(struct sim_client *client) {
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        free(client->slots[i].body);
        free(client->slots[i].reply);
    }
}
