/* Clients of a simulated server, and what they know: real datagram clients, each request of which is noted with its outcome. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "tests/sim/server_sim_parts.h"

#define GIVE_UP_MAX_NS (400 * MS)
#define EVENTS_SOME 400 /* several parts */
#define LOOKUPS_MAX 20
#define CLOSE_TURNS 2000

/* --- requests --- */

/* Names the request, in all of its events. */
static uint64_t tag_of(const struct run *run, const struct asked *asked) { return 1 + (uint64_t)(asked - run->asked); }

static tael_u128 event_id(uint64_t tag, uint32_t index) { return tael_u128_make(tag, index + 1); }

static struct asked *asked_new(struct run *run, const struct sim_client *client, uint32_t slot, uint8_t operation) {
    TAEL_ASSERT(run->asked_count < REQUESTS_MAX);
    struct asked *asked = &run->asked[run->asked_count++];
    *asked = (struct asked){.operation = operation,
                            .is_read = tael_operation_info(operation).kind == TAEL_OPERATION_READ,
                            .client = client->id,
                            .slot = slot,
                            .op_floor = run->op_shown};
    run->result->requests++;
    return asked;
}

/* The events that stand in the slot's body, now and then without the trailer, where they are one batch anyway. */
static void request_send(struct run *run, struct sim_client *client, uint32_t index, struct asked *asked,
                         uint32_t events) {
    struct sim_slot *slot = &client->slots[index];
    const uint32_t event_size = tael_operation_info(asked->operation).event_size;
    const uint32_t payload_size = events * event_size;
    const uint16_t counts[1] = {(uint16_t)events};
    const uint32_t size = tael_multi_batch_encode(slot->body, payload_size, counts, 1, event_size);
    const bool is_one_batch = chance(run, 2);
    asked->events = events;
    asked->events_hash = sim_hash(slot->body, payload_size);
    if (asked->is_read) {
        asked->body = malloc(size);
        TAEL_ASSERT(asked->body != NULL);
        memcpy(asked->body, slot->body, size);
        asked->body_size = size;
    }
    slot->asked = asked;
    slot->give_up_ns = !run->is_settling && chance(run, 12) ? run->now_ns + below(run, GIVE_UP_MAX_NS) : UINT64_MAX;
    const struct tael_datagram_client_request request = {.body = slot->body,
                                                         .body_size = is_one_batch ? payload_size : size,
                                                         .operation = asked->operation,
                                                         .flags = is_one_batch ? TAEL_DATAGRAM_ONE_BATCH : 0};
    tael_datagram_client_request(client->datagram, index, &request, run->now_ns);
}

static void accounts_create(struct run *run, struct sim_client *client, uint32_t index) {
    struct asked *asked = asked_new(
        run, client, index, chance(run, 3) ? TAEL_OPERATION_create_accounts_sparse : TAEL_OPERATION_create_accounts);
    struct tael_account *accounts = (struct tael_account *)(void *)client->slots[index].body;
    const uint32_t events = 1 + (uint32_t)below(run, 6);
    memset(accounts, 0, events * sizeof *accounts);
    for (uint32_t i = 0; i < events; i++) {
        accounts[i].id = event_id(tag_of(run, asked), i);
        accounts[i].user_data_64 = tag_of(run, asked);
        accounts[i].ledger = accounts[i].code = 1;
    }
    request_send(run, client, index, asked, events);
}

/* Single ones mostly, as clients of this protocol would. */
static uint32_t transfers_draw(struct run *run) {
    if (chance(run, 40)) return TAEL_EVENTS_MAX;
    if (chance(run, 4)) return 1 + (uint32_t)below(run, EVENTS_SOME);
    return 1;
}

/* Among accounts that are there, so that each one is created. In its user data stands which they are. */
static void transfer_make(struct run *run, uint64_t tag, uint32_t index, uint32_t accounts,
                          struct tael_transfer *transfer) {
    const uint32_t debit = (uint32_t)below(run, accounts);
    const uint32_t credit = (debit + 1 + (uint32_t)below(run, accounts - 1)) % accounts;
    *transfer = (struct tael_transfer){
        .id = event_id(tag, index),
        .debit_account_id = run->accounts[debit].id,
        .credit_account_id = run->accounts[credit].id,
        .amount = below(run, 1000),
        .user_data_64 = tag,
        .user_data_32 = debit << 16 | credit,
        .ledger = 1,
        .code = 1,
    };
}

static void transfers_create(struct run *run, struct sim_client *client, uint32_t index) {
    struct asked *asked = asked_new(
        run, client, index, chance(run, 3) ? TAEL_OPERATION_create_transfers_sparse : TAEL_OPERATION_create_transfers);
    struct tael_transfer *transfers = (struct tael_transfer *)(void *)client->slots[index].body;
    const uint32_t events = transfers_draw(run);
    const uint32_t accounts = events == TAEL_EVENTS_MAX ? 2 : run->account_count;
    for (uint32_t i = 0; i < events; i++) transfer_make(run, tag_of(run, asked), i, accounts, &transfers[i]);
    request_send(run, client, index, asked, events);
}

static void accounts_look_up(struct run *run, struct sim_client *client, uint32_t index, uint32_t count) {
    struct asked *asked = asked_new(run, client, index, TAEL_OPERATION_lookup_accounts);
    tael_u128 *ids = (tael_u128 *)(void *)client->slots[index].body;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = run->accounts[count == run->account_count ? i : below(run, run->account_count)].id;
    }
    request_send(run, client, index, asked, count);
}

/* Transfers of some request, whatever became of it. */
static void transfers_look_up(struct run *run, struct sim_client *client, uint32_t index) {
    struct asked *asked = asked_new(run, client, index, TAEL_OPERATION_lookup_transfers);
    tael_u128 *ids = (tael_u128 *)(void *)client->slots[index].body;
    const uint32_t count = 1 + (uint32_t)below(run, LOOKUPS_MAX);
    const uint64_t tag = 1 + below(run, run->asked_count);
    for (uint32_t i = 0; i < count; i++) ids[i] = event_id(tag, i);
    request_send(run, client, index, asked, count);
}

/* The server finds that the size is wrong, and executes nothing. */
static void nonsense_ask(struct run *run, struct sim_client *client, uint32_t index) {
    struct asked *asked = asked_new(run, client, index, TAEL_OPERATION_create_transfers);
    struct sim_slot *slot = &client->slots[index];
    memset(slot->body, 1, 200);
    slot->asked = asked;
    slot->give_up_ns = UINT64_MAX;
    const struct tael_datagram_client_request request = {
        .body = slot->body, .body_size = 129 + (uint32_t)below(run, 70), .operation = asked->operation};
    tael_datagram_client_request(client->datagram, index, &request, run->now_ns);
}

/* --- the end: what became of it? --- */

static void outcome_look_up(struct run *run, struct sim_client *client, uint32_t index, struct asked *unknown) {
    const bool is_transfers = unknown->operation == TAEL_OPERATION_create_transfers ||
                              unknown->operation == TAEL_OPERATION_create_transfers_sparse;
    struct asked *asked =
        asked_new(run, client, index, is_transfers ? TAEL_OPERATION_lookup_transfers : TAEL_OPERATION_lookup_accounts);
    tael_u128 *ids = (tael_u128 *)(void *)client->slots[index].body;
    for (uint32_t i = 0; i < unknown->events; i++) ids[i] = event_id(tag_of(run, unknown), i);
    asked->resolves = unknown;
    request_send(run, client, index, asked, unknown->events);
}

static bool is_any_in_flight(const struct run *run) {
    for (uint32_t i = 0; i < run->client_count; i++) {
        for (uint32_t j = 0; j < SLOTS_MAX; j++) {
            if (run->clients[i].slots[j].asked != NULL) return true;
        }
    }
    return false;
}

static void resolve_next(struct run *run, struct sim_client *client, uint32_t index) {
    while (run->resolved < run->asked_count) {
        struct asked *asked = &run->asked[run->resolved++];
        if (asked->outcome != UNKNOWN || asked->is_read || asked->is_looked_up) continue;
        asked->is_looked_up = true;
        outcome_look_up(run, client, index, asked);
        return;
    }
    if (is_any_in_flight(run) || run->accounts_checked || run->account_count == 0) return;
    run->accounts_asked = &run->asked[run->asked_count];
    accounts_look_up(run, client, index, run->account_count);
}

/* The session ended meanwhile: it is to be looked up again. */
static void resolve_again(struct run *run, struct asked *asked) {
    asked->is_looked_up = false;
    const uint32_t index = (uint32_t)(asked - run->asked);
    if (index < run->resolved) run->resolved = index;
}

/* --- a client's turn --- */

static void session_open(struct run *run, struct sim_client *client) {
    client->id = tael_u128_make(1, ++run->id_last);
    client->endpoint = client->opened_at = net_endpoint_new(run); /* an address of its own */
    run->endpoints[client->endpoint].client = client->id;
    run->transmitting = client;
    tael_datagram_client_open(client->datagram, client->id, run->now_ns);
}

static void slot_done(struct sim_slot *slot, enum outcome outcome) {
    slot->asked->outcome = outcome;
    slot->asked = NULL;
}

/* The request is given up: what is known of it then. */
static void slot_abandon(struct run *run, struct sim_client *client, uint32_t index) {
    const bool is_certain = tael_datagram_client_is_certain(client->datagram, index);
    run->result->unsent += is_certain;
    run->result->unknown += !is_certain;
    slot_done(&client->slots[index], is_certain ? UNSENT : UNKNOWN);
}

static void session_close(struct run *run, struct sim_client *client) {
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (client->slots[i].asked != NULL) slot_abandon(run, client, i);
    }
    tael_datagram_client_close(client->datagram);
    run->result->closed++;
    session_open(run, client);
}

static void request_next(struct run *run, struct sim_client *client, uint32_t index) {
    if (run->account_count < 2 || (run->account_count < ACCOUNTS_MAX - 20 && chance(run, 8))) {
        accounts_create(run, client, index);
        return;
    }
    switch (below(run, 8)) {
    case 0:
        accounts_look_up(run, client, index, 1 + (uint32_t)below(run, LOOKUPS_MAX));
        return;
    case 1:
        if (chance(run, 8)) {
            nonsense_ask(run, client, index);
        } else {
            transfers_look_up(run, client, index);
        }
        return;
    default:
        transfers_create(run, client, index);
        return;
    }
}

static void slot_turn(struct run *run, struct sim_client *client, uint32_t index) {
    const struct sim_slot *slot = &client->slots[index];
    if (slot->asked != NULL) {
        if (slot->give_up_ns > run->now_ns || run->is_settling) return;
        slot_abandon(run, client, index);
        tael_datagram_client_give_up(client->datagram, index);
    } else if (run->is_resolving) {
        resolve_next(run, client, index);
    } else if (!run->is_settling && run->asked_count < run->requests && chance(run, 4)) {
        request_next(run, client, index);
    }
}

static void client_turn(struct run *run, struct sim_client *client) {
    run->transmitting = client;
    if (run->now_ns >= tael_datagram_client_deadline_ns(client->datagram) || chance(run, 4)) {
        tael_datagram_client_tick(client->datagram, run->now_ns);
    }
    if (tael_datagram_client_phase(client->datagram) != TAEL_DATAGRAM_CLIENT_OPEN) return;
    if (!run->is_settling && chance(run, CLOSE_TURNS * run->calm)) {
        session_close(run, client);
        return;
    }
    if (!run->is_settling && chance(run, CLOSE_TURNS * run->calm)) {
        client->endpoint = net_endpoint_new(run);
        run->result->roamed++;
    }
    const uint32_t slots = tael_datagram_client_slots(client->datagram);
    for (uint32_t i = 0; i < slots && !sim_failed(run); i++) slot_turn(run, client, i);
}

void clients_turn(struct run *run) {
    for (uint32_t i = 0; i < run->client_count; i++) client_turn(run, &run->clients[i]);
}

uint64_t clients_next_ns(const struct run *run) {
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < run->client_count; i++) {
        const struct sim_client *client = &run->clients[i];
        const uint64_t deadline = tael_datagram_client_deadline_ns(client->datagram);
        if (deadline < next) next = deadline;
        for (uint32_t j = 0; j < SLOTS_MAX; j++) {
            if (client->slots[j].asked != NULL && client->slots[j].give_up_ns < next) {
                next = client->slots[j].give_up_ns;
            }
        }
    }
    return next;
}

bool clients_done(const struct run *run) {
    if (is_any_in_flight(run)) return false;
    if (!run->is_resolving) return true;
    return run->resolved == run->asked_count && (run->accounts_checked || run->account_count == 0);
}

/* --- answers --- */

static void transfer_counts(struct run *run, const struct tael_transfer *transfer) {
    struct known_account *debit = &run->accounts[transfer->user_data_32 >> 16];
    struct known_account *credit = &run->accounts[transfer->user_data_32 & 0xFFFF];
    TAEL_ASSERT(debit->id == transfer->debit_account_id);
    TAEL_ASSERT(credit->id == transfer->credit_account_id);
    debit->debits += transfer->amount;
    credit->credits += transfer->amount;
}

static void event_counts(struct run *run, const struct asked *asked, const uint8_t *event) {
    if (asked->operation == TAEL_OPERATION_create_transfers ||
        asked->operation == TAEL_OPERATION_create_transfers_sparse) {
        transfer_counts(run, (const struct tael_transfer *)(const void *)event);
    } else if (run->account_count < ACCOUNTS_MAX) {
        run->accounts[run->account_count++].id = ((const struct tael_account *)(const void *)event)->id;
    }
}

/* All events are valid and new, so each was created, unless it was there before: executed twice. */
static void create_answered(struct run *run, const struct sim_slot *slot, const struct tael_multi_batch *results) {
    const struct asked *asked = slot->asked;
    if (tael_operation_is_sparse(asked->operation)) {
        if (results->element_count != 0) sim_fail(run, "a new event failed");
    } else {
        const struct tael_create_result *result = (const struct tael_create_result *)(const void *)results->payload;
        if (results->element_count != asked->events) sim_fail(run, "not one result for each event");
        for (uint32_t i = 0; i < results->element_count; i++) {
            if (result[i].status != TAEL_STATUS_CREATED) sim_fail(run, "a new event has status %u", result[i].status);
        }
    }
    if (sim_failed(run)) return;
    for (uint32_t i = 0; i < asked->events; i++) event_counts(run, asked, slot->body + (size_t)i * TAEL_RECORD_SIZE);
}

static void outcome_answered(struct run *run, const struct asked *asked, const struct tael_multi_batch *results) {
    asked->resolves->found = results->element_count;
    run->result->unknown_executed += results->element_count > 0;
    if (results->element_count != 0 && results->element_count != asked->resolves->events) {
        sim_fail(run, "a request is there in part");
    }
    if (asked->operation != TAEL_OPERATION_lookup_transfers) return;
    for (uint32_t i = 0; i < results->element_count; i++) {
        transfer_counts(run, (const struct tael_transfer *)(const void *)results->payload + i);
    }
}

/* In the end: the balances are the sums of what clients know as created. */
static void accounts_check(struct run *run, const struct tael_multi_batch *results) {
    const struct tael_account *accounts = (const struct tael_account *)(const void *)results->payload;
    if (results->element_count != run->account_count) sim_fail(run, "not all accounts are there in the end");
    for (uint32_t i = 0; i < run->account_count && !sim_failed(run); i++) {
        const struct known_account *known = &run->accounts[i];
        const bool is_same = accounts[i].id == known->id && accounts[i].debits_posted == known->debits &&
                             accounts[i].credits_posted == known->credits;
        if (!is_same) sim_fail(run, "account %u has not the balance that clients know", i);
    }
    run->accounts_checked = true;
}

/* The order of things is that of their ops. */
static void op_check(struct run *run, const struct asked *asked) {
    if (asked->is_read ? asked->op < asked->op_floor : asked->op <= asked->op_floor) {
        sim_fail(run, "an answer shows op %llu, op %llu was known when its request was sent",
                 (unsigned long long)asked->op, (unsigned long long)asked->op_floor);
    }
    if (asked->op > run->op_shown) run->op_shown = asked->op;
}

static void answered(struct run *run, struct sim_client *client, uint32_t index) {
    struct sim_slot *slot = &client->slots[index];
    struct asked *asked = slot->asked;
    const struct tael_datagram_client_answer answer = tael_datagram_client_answer(client->datagram, index);
    struct tael_multi_batch results;
    asked->op = answer.op;
    asked->timestamp = answer.timestamp;
    asked->answer_hash = sim_hash(answer.body, answer.body_size);
    op_check(run, asked);
    if (tael_multi_batch_decode(answer.body, answer.body_size, tael_operation_info(asked->operation).result_size,
                                &results) != TAEL_MULTI_BATCH_OK) {
        sim_fail(run, "an answer's body is no multi-batch body");
        return;
    }
    if (!asked->is_read) create_answered(run, slot, &results);
    if (asked->resolves != NULL) outcome_answered(run, asked, &results);
    if (asked == run->accounts_asked) accounts_check(run, &results);
    run->result->answered++;
    run->result->reads += asked->is_read;
    run->result->largest += asked->events == TAEL_EVENTS_MAX;
    run->result->events += asked->events;
    slot_done(slot, ANSWERED);
}

/* --- what else a client is told --- */

/* Answers to a register don't say to whose: who sends one that it overheard, as from where another opens its session, has that one
 * take a token which is not its own, or believe that there will be none. All that it does then is refused. */
static bool is_misled(const struct run *run, const struct sim_client *client) {
    return run->endpoints[client->opened_at].heard_another;
}

static void session_ended(struct run *run, struct sim_client *client, uint16_t notice, bool was_open) {
    if (is_misled(run, client)) {
        run->result->misled++;
    } else if (notice != TAEL_NOTICE_NO_SESSION) {
        sim_fail(run, "a session ended: %s", tael_datagram_notice_text(notice));
        return;
    } else if (was_open) {
        TAEL_ASSERT(run->ended_count < ENDED_MAX);
        run->ended[run->ended_count++] = client->id;
    }
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        const struct asked *asked = client->slots[i].asked;
        if (asked == NULL) continue;
        if (asked->resolves != NULL) resolve_again(run, asked->resolves);
        slot_done(&client->slots[i], UNKNOWN);
        run->result->unknown++;
    }
    run->result->evicted++;
    session_open(run, client);
}

static void refused(struct run *run, struct sim_client *client, uint32_t index, uint16_t notice) {
    const struct asked *asked = client->slots[index].asked;
    if (notice != TAEL_NOTICE_BODY_SIZE || asked->events != 0) {
        sim_fail(run, "a request was refused: %s", tael_datagram_notice_text(notice));
        return;
    }
    run->result->refused++;
    slot_done(&client->slots[index], REFUSED);
}

static void event_take(struct run *run, struct sim_client *client, struct tael_datagram_client_event event,
                       bool was_open) {
    switch (event.happening) {
    case TAEL_DATAGRAM_CLIENT_ANSWERED:
        answered(run, client, event.slot);
        return;
    case TAEL_DATAGRAM_CLIENT_REFUSED:
        refused(run, client, event.slot, event.notice);
        return;
    case TAEL_DATAGRAM_CLIENT_ENDED:
        session_ended(run, client, event.notice, was_open);
        return;
    case TAEL_DATAGRAM_CLIENT_BUSY:
        run->result->busy++;
        return;
    case TAEL_DATAGRAM_CLIENT_OPENED:
    case TAEL_DATAGRAM_CLIENT_NOTHING:
        return;
    }
}

bool client_receive(struct run *run, uint32_t endpoint, const uint8_t *bytes, uint32_t size) {
    for (uint32_t i = 0; i < run->client_count; i++) {
        struct sim_client *client = &run->clients[i];
        if (client->endpoint != endpoint) continue;
        const bool was_open = tael_datagram_client_phase(client->datagram) == TAEL_DATAGRAM_CLIENT_OPEN;
        run->transmitting = client;
        event_take(run, client, tael_datagram_client_receive(client->datagram, bytes, size, run->now_ns), was_open);
        return true;
    }
    return false;
}

/* --- a life --- */

static void *transmit_begin(void *context, uint32_t size_max) {
    struct run *run = context;
    TAEL_ASSERT(size_max <= sizeof run->scratch);
    return !run->is_settling && chance(run, 200) ? NULL : run->scratch;
}

static void transmit_end(void *context, void *datagram, uint32_t size) {
    struct run *run = context;
    net_send(run, run->transmitting->endpoint, datagram, size);
}

static void client_start(struct run *run, struct sim_client *client) {
    static const uint32_t datagram_sizes[] = {1472, 1472, 2000, 8972};
    const struct tael_datagram_client_options options = {
        .ledger = LEDGER,
        .slots = 1 + (uint32_t)below(run, SLOTS_MAX),
        .datagram_max = datagram_sizes[below(run, 4)],
        .reply_window = 4 + (uint32_t)below(run, 100),
        .request_window = 16 + (uint32_t)below(run, 500),
        .carrier = {.context = run, .transmit_begin = transmit_begin, .transmit_end = transmit_end},
        .random = sim_random,
        .random_context = run,
    };
    client->memory = aligned_alloc(64, tael_datagram_client_size_bytes(&options));
    TAEL_ASSERT(client->memory != NULL);
    client->datagram = tael_datagram_client_init(client->memory, &options);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        client->slots[i].body = aligned_alloc(64, TAEL_BODY_SIZE_MAX);
        TAEL_ASSERT(client->slots[i].body != NULL);
    }
    session_open(run, client);
}

void clients_start(struct run *run) {
    run->client_count = 1 + (uint32_t)below(run, CLIENTS_MAX);
    run->requests = 60 + (uint32_t)below(run, 200);
    for (uint32_t i = 0; i < run->client_count; i++) client_start(run, &run->clients[i]);
}

void clients_stop(struct run *run) {
    for (uint32_t i = 0; i < run->client_count; i++) {
        run->result->greetings += tael_datagram_client_counters(run->clients[i].datagram)->greetings;
        for (uint32_t j = 0; j < SLOTS_MAX; j++) free(run->clients[i].slots[j].body);
        free(run->clients[i].memory);
    }
    for (uint32_t i = 0; i < run->asked_count; i++) free(run->asked[i].body);
}
