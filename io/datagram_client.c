/* The session of a datagram client; see datagram_client.h. */
#include "io/datagram_client.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/operation.h>

#include "io/datagram_client_internal.h"

/* A cookie that has just been answered comes again only late or twice, not because the server has forgotten us. */
#define COOKIE_STALE_NS TAEL_NS_PER_S
#define ALIGNMENT 64u

/* --- memory --- */

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static bool options_are_sound(const struct tael_datagram_client_options *options) {
    return options->slots >= 1 && options->slots <= TAEL_SLOTS_MAX &&
           options->datagram_max >= TAEL_DATAGRAM_SIZE_ETHERNET && options->datagram_max <= TAEL_DATAGRAM_SIZE_MAX &&
           options->reply_window >= 1 && options->reply_window <= TAEL_PARTS_MAX && options->request_window >= 1 &&
           options->request_window <= UINT16_MAX;
}

size_t tael_datagram_client_size_bytes(const struct tael_datagram_client_options *options) {
    if (!options_are_sound(options)) return 0;
    return aligned(sizeof(struct tael_datagram_client)) +
           options->slots * (aligned(sizeof(struct tael_datagram_slot)) + aligned(TAEL_BODY_SIZE_MAX));
}

static void slot_init(struct tael_datagram_slot *slot, uint32_t index, uint8_t *reply_body) {
    memset(slot, 0, sizeof *slot);
    slot->index = index;
    slot->timer_ns = TAEL_DATAGRAM_NEVER;
    slot->reply.body = reply_body;
}

struct tael_datagram_client *tael_datagram_client_init(void *memory,
                                                       const struct tael_datagram_client_options *options) {
    TAEL_ASSERT(options_are_sound(options));
    TAEL_ASSERT((uintptr_t)memory % ALIGNMENT == 0);
    struct tael_datagram_client *client = memory;
    memset(client, 0, sizeof *client);
    client->options = *options;
    client->deadline_ns = TAEL_DATAGRAM_NEVER;
    client->slots = (struct tael_datagram_slot *)((uint8_t *)memory + aligned(sizeof *client));
    uint8_t *bodies = (uint8_t *)client->slots + options->slots * aligned(sizeof *client->slots);
    for (uint32_t i = 0; i < options->slots; i++) {
        slot_init(&client->slots[i], i, bodies + i * aligned(TAEL_BODY_SIZE_MAX));
    }
    return client;
}

/* --- sending --- */

void tael_datagram_client_due(struct tael_datagram_client *client, uint64_t at_ns) {
    if (at_ns < client->deadline_ns) client->deadline_ns = at_ns;
}

bool tael_datagram_client_transmit(struct tael_datagram_client *client, const struct tael_datagram *header,
                                   const void *part, uint32_t part_size) {
    const struct tael_datagram_carrier *carrier = &client->options.carrier;
    const uint32_t size = TAEL_DATAGRAM_HEADER_SIZE + part_size;
    uint8_t *datagram =
        carrier->transmit_begin(carrier->context, size < TAEL_DATAGRAM_SIZE_MIN ? TAEL_DATAGRAM_SIZE_MIN : size);
    if (datagram == NULL) return false;
    if (part_size > 0) memcpy(datagram + TAEL_DATAGRAM_HEADER_SIZE, part, part_size);
    const uint32_t sealed = tael_datagram_seal(datagram, header, part_size);
    carrier->transmit_end(carrier->context, datagram, sealed);
    client->counters.datagrams++;
    return true;
}

/* --- hello --- */

static void hello_send(struct tael_datagram_client *client, uint64_t now_ns) {
    struct tael_datagram_hello hello = {.datagram_max = (uint16_t)client->options.datagram_max,
                                        .window = (uint16_t)client->options.reply_window};
    memcpy(hello.cookie, client->cookie, sizeof hello.cookie);
    const struct tael_datagram header = {.token = client->token,
                                         .ledger = client->options.ledger,
                                         .client = client->id,
                                         .body_size = sizeof hello,
                                         .kind = TAEL_DATAGRAM_HELLO,
                                         .part_units = 1};
    if (tael_datagram_client_transmit(client, &header, &hello, sizeof hello)) client->counters.hellos++;
    client->hello_sent_ns = now_ns;
    client->hello_ns = now_ns + tael_datagram_pace_pause_ns(&client->pace, client->hello_tries);
    tael_datagram_client_due(client, client->hello_ns);
}

/* Any datagram from an address that the server doesn't know is answered by a cookie. */
static void cookie_take(struct tael_datagram_client *client, const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_cookie cookie;
    memcpy(&cookie, view->part, sizeof cookie);
    const bool is_known = memcmp(client->cookie, cookie.cookie, sizeof cookie.cookie) == 0;
    /* While it greets with that cookie already, it's an answer to what was sent before. */
    if (is_known && (!client->is_welcome || now_ns - client->welcome_ns < COOKIE_STALE_NS)) {
        client->counters.strays++;
        return;
    }
    if (!client->is_welcome && client->hello_tries == 0) {
        tael_datagram_pace_measured(&client->pace, now_ns - client->hello_sent_ns);
    }
    memcpy(client->cookie, cookie.cookie, sizeof client->cookie);
    if (client->is_welcome) client->counters.greetings++;
    client->is_welcome = false;
    client->hello_tries = 0;
    hello_send(client, now_ns);
}

static void register_begin(struct tael_datagram_client *client, uint64_t now_ns) {
    const uint32_t wished = client->options.slots < client->slots_max ? client->options.slots : client->slots_max;
    client->registration = (struct tael_datagram_register){.slots = (uint16_t)wished};
    const struct tael_datagram_client_request request = {
        .body = &client->registration, .body_size = sizeof client->registration, .operation = TAEL_OPERATION_register};
    tael_datagram_slot_begin(client, &client->slots[0], &request, now_ns);
}

/* What was in flight may never have arrived, and what the server had of it is gone where it has forgotten us. */
static void all_restart(struct tael_datagram_client *client, uint64_t now_ns) {
    for (uint32_t i = 0; i < client->options.slots; i++) {
        struct tael_datagram_slot *slot = &client->slots[i];
        if (slot->state == TAEL_DATAGRAM_SLOT_IN_FLIGHT) {
            slot->tries = 0;
            tael_datagram_slot_restart(client, slot, now_ns);
        } else {
            tael_datagram_client_due(client, slot->timer_ns);
        }
    }
}

static void welcome_take(struct tael_datagram_client *client, const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_welcome welcome;
    memcpy(&welcome, view->part, sizeof welcome);
    if (client->is_welcome || welcome.datagram_max < TAEL_DATAGRAM_SIZE_ETHERNET || welcome.slots_max == 0) {
        client->counters.strays++;
        return;
    }
    if (client->hello_tries == 0) tael_datagram_pace_measured(&client->pace, now_ns - client->hello_sent_ns);
    const uint32_t datagram_max =
        welcome.datagram_max < client->options.datagram_max ? welcome.datagram_max : client->options.datagram_max;
    client->part_units = tael_datagram_part_units(datagram_max);
    client->server_window = welcome.window;
    client->slots_max = welcome.slots_max;
    client->is_welcome = true;
    client->welcome_ns = now_ns;
    if (client->phase == TAEL_DATAGRAM_CLIENT_OPENING && client->slots[0].state == TAEL_DATAGRAM_SLOT_FREE) {
        register_begin(client, now_ns);
    } else {
        all_restart(client, now_ns);
    }
}

/* --- the owner's wishes --- */

void tael_datagram_client_open(struct tael_datagram_client *client, tael_u128 id, uint64_t now_ns) {
    TAEL_ASSERT(client->phase == TAEL_DATAGRAM_CLIENT_CLOSED);
    TAEL_ASSERT(id != 0);
    const struct tael_datagram_client_options *options = &client->options;
    client->pace = (struct tael_datagram_pace){.pause_min_ns = options->pause_min_ns == 0 ? TAEL_DATAGRAM_PAUSE_MIN_NS
                                                                                          : options->pause_min_ns,
                                               .window = options->request_window,
                                               .window_max = options->request_window,
                                               .random = options->random,
                                               .random_context = options->random_context};
    client->phase = TAEL_DATAGRAM_CLIENT_OPENING;
    client->id = id;
    client->hello_tries = 0;
    client->deadline_ns = TAEL_DATAGRAM_NEVER;
    hello_send(client, now_ns);
}

void tael_datagram_client_close(struct tael_datagram_client *client) {
    for (uint32_t i = 0; i < client->options.slots; i++) {
        struct tael_datagram_slot *slot = &client->slots[i];
        if (slot->state != TAEL_DATAGRAM_SLOT_FREE) tael_datagram_slot_end(client, slot);
        slot->number = 0;
    }
    client->phase = TAEL_DATAGRAM_CLIENT_CLOSED;
    client->token = 0;
    client->is_welcome = client->was_heard = false;
    client->hint = 0;
    client->turn = client->slots_count = 0;
    client->deadline_ns = TAEL_DATAGRAM_NEVER;
    memset(client->cookie, 0, sizeof client->cookie);
}

enum tael_datagram_client_phase tael_datagram_client_phase(const struct tael_datagram_client *client) {
    return client->phase;
}

uint32_t tael_datagram_client_slots(const struct tael_datagram_client *client) { return client->slots_count; }

bool tael_datagram_client_is_spent(const struct tael_datagram_client *client, uint32_t slot) {
    TAEL_ASSERT(slot < client->slots_count);
    return client->slots[slot].number == UINT32_MAX;
}

bool tael_datagram_client_is_in_flight(const struct tael_datagram_client *client, uint32_t slot) {
    TAEL_ASSERT(slot < client->options.slots);
    return client->slots[slot].state != TAEL_DATAGRAM_SLOT_FREE;
}

bool tael_datagram_client_is_free(const struct tael_datagram_client *client, uint32_t slot) {
    return slot < client->slots_count && client->slots[slot].state == TAEL_DATAGRAM_SLOT_FREE &&
           !tael_datagram_client_is_spent(client, slot);
}

void tael_datagram_client_request(struct tael_datagram_client *client, uint32_t slot,
                                  const struct tael_datagram_client_request *request, uint64_t now_ns) {
    TAEL_ASSERT(client->phase == TAEL_DATAGRAM_CLIENT_OPEN);
    TAEL_ASSERT(tael_datagram_client_is_free(client, slot));
    client->slots[slot].number++;
    tael_datagram_slot_begin(client, &client->slots[slot], request, now_ns);
    tael_datagram_slots_send(client, now_ns);
}

void tael_datagram_client_give_up(struct tael_datagram_client *client, uint32_t slot) {
    TAEL_ASSERT(client->phase == TAEL_DATAGRAM_CLIENT_OPEN);
    TAEL_ASSERT(client->slots[slot].state != TAEL_DATAGRAM_SLOT_FREE);
    tael_datagram_slot_end(client, &client->slots[slot]);
}

bool tael_datagram_client_is_certain(const struct tael_datagram_client *client, uint32_t slot) {
    TAEL_ASSERT(slot < client->options.slots);
    return client->slots[slot].sent_to < client->slots[slot].parts;
}

uint16_t tael_datagram_client_busy(const struct tael_datagram_client *client, uint32_t slot) {
    TAEL_ASSERT(slot < client->options.slots);
    return client->slots[slot].busy;
}

struct tael_datagram_client_answer tael_datagram_client_answer(const struct tael_datagram_client *client,
                                                               uint32_t slot) {
    TAEL_ASSERT(slot < client->slots_count);
    const struct tael_datagram_reply *reply = &client->slots[slot].reply;
    TAEL_ASSERT(reply->parts != 0 && reply->count == reply->parts);
    return (struct tael_datagram_client_answer){.op = reply->op,
                                                .timestamp = reply->timestamp,
                                                .body = reply->body,
                                                .body_size = reply->size,
                                                .is_scratch = reply->is_scratch};
}

uint64_t tael_datagram_client_deadline_ns(const struct tael_datagram_client *client) { return client->deadline_ns; }

uint16_t tael_datagram_client_hint(const struct tael_datagram_client *client) { return client->hint; }

bool tael_datagram_client_was_heard(const struct tael_datagram_client *client) { return client->was_heard; }

const struct tael_datagram_client_counters *tael_datagram_client_counters(const struct tael_datagram_client *client) {
    return &client->counters;
}

/* --- what comes in --- */

static const struct tael_datagram_client_event nothing = {.happening = TAEL_DATAGRAM_CLIENT_NOTHING};

static struct tael_datagram_client_event event_of(enum tael_datagram_client_happening happening, uint32_t slot,
                                                  uint16_t notice) {
    return (struct tael_datagram_client_event){.happening = happening, .slot = slot, .notice = notice};
}

/* The request in flight that the datagram is about; NULL: none. A register has token 0, as the client then has. */
static struct tael_datagram_slot *slot_of(struct tael_datagram_client *client, const struct tael_datagram *header) {
    if (header->token != client->token || header->slot >= client->options.slots) return NULL;
    struct tael_datagram_slot *slot = &client->slots[header->slot];
    if (slot->state == TAEL_DATAGRAM_SLOT_FREE || header->request != slot->number) return NULL;
    return header->operation == slot->header.operation ? slot : NULL;
}

static struct tael_datagram_client_event registered(struct tael_datagram_client *client) {
    struct tael_datagram_slot *slot = &client->slots[0];
    struct tael_datagram_registered registered;
    memcpy(&registered, slot->reply.body, sizeof registered);
    client->token = registered.token;
    client->slots_count = registered.slots;
    client->phase = TAEL_DATAGRAM_CLIENT_OPEN;
    return event_of(TAEL_DATAGRAM_CLIENT_OPENED, 0, 0);
}

/* Looked at before it is taken: what opens a session must be right as a whole. */
static bool is_register_reply(const struct tael_datagram_client *client, const struct tael_datagram_view *view) {
    struct tael_datagram_registered registered;
    if (view->part_count != 1 || view->part_size != sizeof registered || view->header.op == 0) return false;
    memcpy(&registered, view->part, sizeof registered);
    return registered.token != 0 && registered.slots >= 1 && registered.slots <= client->registration.slots;
}

static struct tael_datagram_client_event reply_take(struct tael_datagram_client *client,
                                                    struct tael_datagram_slot *slot,
                                                    const struct tael_datagram_view *view, uint64_t now_ns) {
    const bool is_opening = client->phase == TAEL_DATAGRAM_CLIENT_OPENING;
    if (is_opening && !is_register_reply(client, view)) {
        client->counters.strays++;
        return nothing;
    }
    if (!tael_datagram_slot_reply(client, slot, view, now_ns)) return nothing;
    return is_opening ? registered(client) : event_of(TAEL_DATAGRAM_CLIENT_ANSWERED, slot->index, 0);
}

static struct tael_datagram_client_event session_ended(struct tael_datagram_client *client, uint16_t code) {
    tael_datagram_client_close(client);
    return event_of(TAEL_DATAGRAM_CLIENT_ENDED, 0, code);
}

static struct tael_datagram_client_event busy_take(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                                                   const struct tael_datagram_notice *notice, uint64_t now_ns) {
    client->counters.busy++;
    tael_datagram_slot_wait(client, slot, notice->code, notice->wait_ms, now_ns);
    return event_of(TAEL_DATAGRAM_CLIENT_BUSY, slot->index, notice->code);
}

static struct tael_datagram_client_event notice_take(struct tael_datagram_client *client,
                                                     struct tael_datagram_slot *slot,
                                                     const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_notice notice;
    memcpy(&notice, view->part, sizeof notice);
    if (notice.code >= TAEL_NOTICE_BUSY && notice.code < TAEL_NOTICE_TOO_OLD) {
        return busy_take(client, slot, &notice, now_ns);
    }
    switch (notice.code) {
    case TAEL_NOTICE_NO_SESSION:
    case TAEL_NOTICE_TOO_OLD:
    case TAEL_NOTICE_OTHER: /* somebody else speaks for this session, or the server's memory is not ours */
        return session_ended(client, notice.code);
    case TAEL_NOTICE_OPERATION:
    case TAEL_NOTICE_BODY:
    case TAEL_NOTICE_BODY_SIZE:
        if (client->phase == TAEL_DATAGRAM_CLIENT_OPENING) return session_ended(client, notice.code);
        tael_datagram_slot_end(client, slot);
        return event_of(TAEL_DATAGRAM_CLIENT_REFUSED, slot->index, notice.code);
    case TAEL_NOTICE_EXECUTING:
        if (slot->state == TAEL_DATAGRAM_SLOT_IN_FLIGHT) tael_datagram_slot_whole(client, slot);
        return nothing;
    case TAEL_NOTICE_UNSEEN: /* an answer to a question; one that nobody asked would have all sent again each time */
        if (slot->is_asked) {
            slot->reply.is_gone = true;
            tael_datagram_slot_restart(client, slot, now_ns);
        }
        return nothing;
    default:
        client->counters.strays++;
        return nothing;
    }
}

/* About a request in flight, or it is dropped. */
static struct tael_datagram_client_event about_slot(struct tael_datagram_client *client,
                                                    const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_slot *slot = slot_of(client, &view->header);
    struct tael_datagram_have have;
    if (slot == NULL) {
        client->counters.strays++;
        return nothing;
    }
    client->was_heard = true;
    switch (view->header.kind) {
    case TAEL_DATAGRAM_REPLY:
        return reply_take(client, slot, view, now_ns);
    case TAEL_DATAGRAM_NOTICE:
        return notice_take(client, slot, view, now_ns);
    default:
        TAEL_ASSERT(view->header.kind == TAEL_DATAGRAM_HAVE_REQUEST);
        memcpy(&have, view->part, sizeof have);
        if (have.parts == slot->parts) {
            tael_datagram_slot_had(client, slot, &have, now_ns);
        } else {
            client->counters.strays++;
        }
        return nothing;
    }
}

static struct tael_datagram_client_event sound_take(struct tael_datagram_client *client,
                                                    const struct tael_datagram_view *view, uint64_t now_ns) {
    if (view->header.kind == TAEL_DATAGRAM_COOKIE || view->header.kind == TAEL_DATAGRAM_WELCOME) {
        client->was_heard = true;
        if (view->header.kind == TAEL_DATAGRAM_COOKIE) cookie_take(client, view, now_ns);
        if (view->header.kind == TAEL_DATAGRAM_WELCOME) welcome_take(client, view, now_ns);
        return nothing;
    }
    return about_slot(client, view, now_ns);
}

/* Notices about ledger and version come with the server's own: no check lets them in, and nothing happens for them. */
static void hint_take(struct tael_datagram_client *client, enum tael_datagram_verdict verdict) {
    if (client->phase != TAEL_DATAGRAM_CLIENT_OPENING) return;
    if (verdict == TAEL_DATAGRAM_VERDICT_ledger) client->hint = TAEL_NOTICE_LEDGER;
    if (verdict == TAEL_DATAGRAM_VERDICT_version) client->hint = TAEL_NOTICE_VERSION;
}

struct tael_datagram_client_event tael_datagram_client_receive(struct tael_datagram_client *client,
                                                               const void *datagram, size_t size, uint64_t now_ns) {
    struct tael_datagram_view view;
    const enum tael_datagram_verdict verdict =
        tael_datagram_check(datagram, size, TAEL_DATAGRAM_FROM_SERVER, client->options.ledger, &view);
    client->counters.verdicts[verdict]++;
    if (verdict != TAEL_DATAGRAM_VERDICT_ok) {
        hint_take(client, verdict);
        return nothing;
    }
    if (client->phase == TAEL_DATAGRAM_CLIENT_CLOSED) {
        client->counters.strays++;
        return nothing;
    }
    const struct tael_datagram_client_event event = sound_take(client, &view, now_ns);
    tael_datagram_slots_send(client, now_ns);
    return event;
}

/* --- time --- */

/* Requests don't go to where we are not known: their timers wait until we are. */
static void hello_due(struct tael_datagram_client *client, uint64_t now_ns) {
    if (client->hello_ns <= now_ns) {
        client->hello_tries++;
        hello_send(client, now_ns);
    } else {
        tael_datagram_client_due(client, client->hello_ns);
    }
}

static void slots_due(struct tael_datagram_client *client, uint64_t now_ns) {
    for (uint32_t i = 0; i < client->options.slots; i++) {
        struct tael_datagram_slot *slot = &client->slots[i];
        if (slot->state == TAEL_DATAGRAM_SLOT_FREE) continue;
        if (slot->timer_ns <= now_ns) tael_datagram_slot_due(client, slot, now_ns);
        tael_datagram_client_due(client, slot->timer_ns);
    }
}

void tael_datagram_client_tick(struct tael_datagram_client *client, uint64_t now_ns) {
    if (client->phase == TAEL_DATAGRAM_CLIENT_CLOSED) return;
    if (now_ns >= client->deadline_ns) {
        client->deadline_ns = TAEL_DATAGRAM_NEVER;
        if (client->is_welcome) {
            slots_due(client, now_ns);
        } else {
            hello_due(client, now_ns);
        }
    }
    tael_datagram_slots_send(client, now_ns);
}

/* --- texts --- */

const char *tael_datagram_notice_text(uint16_t code) {
    switch (code) {
    case TAEL_NOTICE_NO_SESSION:
        return "it doesn't know the session (it was the oldest when there were too many, or this is another ledger)";
    case TAEL_NOTICE_OPERATION:
        return "it has no such operation";
    case TAEL_NOTICE_BODY:
        return "the request's body is wrong";
    case TAEL_NOTICE_BODY_SIZE:
        return "the size of the request's body is wrong";
    case TAEL_NOTICE_BUSY_ACCOUNTS:
        return "there is no room for more accounts; 'tael start --accounts-max' raises the limit";
    case TAEL_NOTICE_BUSY_TRANSFERS:
        return "there is no room for more transfers; 'tael start --transfers-max' raises the limit";
    case TAEL_NOTICE_BUSY_DISK:
        return "there is no room on its disk";
    case TAEL_NOTICE_BUSY_SESSIONS:
        return "there is no room for the reply";
    case TAEL_NOTICE_BUSY_PARTS:
        return "it has no buffers for the parts of so large a request";
    case TAEL_NOTICE_BUSY_QUEUE:
        return "more requests wait already than it lets wait";
    case TAEL_NOTICE_TOO_OLD:
        return "it has executed a later request in that slot";
    case TAEL_NOTICE_OTHER:
        return "it has executed another request under that number";
    case TAEL_NOTICE_EXECUTING:
        return "it executes the request";
    case TAEL_NOTICE_UNSEEN:
        return "it has not seen the request";
    case TAEL_NOTICE_LEDGER:
        return "another ledger is served there";
    case TAEL_NOTICE_VERSION:
        return "another version of the protocol is spoken there";
    default:
        return "it doesn't say why";
    }
}
