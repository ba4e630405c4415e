#include "datagram_model.h"

#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "io/datagram.h"
#include "io/part_set.h"

enum { PEERS_MAX = 64, SESSIONS_MAX = 64 };

struct peer {
    bool is_there;
    uint64_t name;
    uint32_t datagram_max, window;
};

/* A request that is being put together or executed, and the last one's reply. */
struct model_slot {
    uint32_t number; /* of the last one that was executed */
    uint64_t checksums; /* what tells that request from others */
    /* Being put together. */
    bool is_begun, is_waiting;
    struct tael_datagram header;
    uint32_t parts;
    struct tael_part_set set;
    uint64_t set_checksums;
    uint32_t told;
    uint8_t *body;
    /* Kept. */
    bool is_kept;
    uint8_t operation; /* of it */
    uint64_t op;
    uint32_t reply_size;
    uint8_t *reply;
    uint32_t sent_to;
    struct tael_part_set had;
};

struct model_session {
    tael_u128 client; /* 0: none */
    uint64_t token;
    uint32_t slots_count;
    uint64_t peer;
    struct model_slot slots[TAEL_SLOTS_MAX];
};

struct datagram_model {
    struct datagram_model_options options;
    struct datagram_model_counters counters;
    uint64_t epoch; /* of the cookies */
    uint64_t op;
    uint64_t tokens;
    struct peer peers[PEERS_MAX];
    uint32_t peer_next;
    struct model_session sessions[SESSIONS_MAX];
    uint32_t session_next;
    uint8_t scratch[TAEL_DATAGRAM_SIZE_MAX];
};

/* --- sending --- */

static struct tael_datagram header_of(const struct datagram_model *model, const struct tael_datagram *about,
                                      uint8_t kind, uint32_t size) {
    return (struct tael_datagram){.token = about->token,
                                  .ledger = model->options.ledger,
                                  .request = about->request,
                                  .body_size = size,
                                  .slot = about->slot,
                                  .kind = kind,
                                  .operation = about->operation,
                                  .part_units = 2};
}

static void body_send(struct datagram_model *model, uint64_t peer, const struct tael_datagram *header, const void *part,
                      uint32_t size) {
    if (size > 0) memcpy(model->scratch + TAEL_DATAGRAM_HEADER_SIZE, part, size);
    const uint32_t sealed = tael_datagram_seal(model->scratch, header, size);
    model->options.send(model->options.context, peer, model->scratch, sealed);
}

static void notice_send(struct datagram_model *model, uint64_t peer, const struct tael_datagram *about,
                        const struct tael_datagram_notice *notice) {
    const struct tael_datagram header = header_of(model, about, TAEL_DATAGRAM_NOTICE, sizeof *notice);
    model->counters.notices++;
    body_send(model, peer, &header, notice, sizeof *notice);
}

static void code_send(struct datagram_model *model, uint64_t peer, const struct tael_datagram *about, uint16_t code) {
    notice_send(model, peer, about, &(struct tael_datagram_notice){.code = code});
}

static void have_send(struct datagram_model *model, uint64_t peer, struct model_slot *slot) {
    struct tael_datagram_have have = {.window = (uint16_t)model->options.window, .parts = (uint16_t)slot->parts};
    memcpy(have.bits, &slot->set, sizeof have.bits);
    const struct tael_datagram header = header_of(model, &slot->header, TAEL_DATAGRAM_HAVE_REQUEST, sizeof have);
    slot->told = tael_part_set_count(&slot->set);
    model->counters.haves++;
    body_send(model, peer, &header, &have, sizeof have);
}

/* --- addresses --- */

static struct peer *peer_find(struct datagram_model *model, uint64_t name) {
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (model->peers[i].is_there && model->peers[i].name == name) return &model->peers[i];
    }
    return NULL;
}

static void cookie_make(const struct datagram_model *model, uint64_t peer, uint8_t cookie[16]) {
    const uint64_t words[2] = {(peer + 1) * 0x9E3779B97F4A7C15u ^ model->epoch, ~peer};
    memcpy(cookie, words, 16);
}

static void cookie_send(struct datagram_model *model, uint64_t peer) {
    struct tael_datagram_cookie cookie = {0};
    const struct tael_datagram none = {0};
    const struct tael_datagram header = header_of(model, &none, TAEL_DATAGRAM_COOKIE, sizeof cookie);
    cookie_make(model, peer, cookie.cookie);
    model->counters.cookies++;
    body_send(model, peer, &header, &cookie, sizeof cookie);
}

static void hello_take(struct datagram_model *model, uint64_t name, const struct tael_datagram_view *view) {
    struct tael_datagram_hello hello;
    uint8_t cookie[16];
    memcpy(&hello, view->part, sizeof hello);
    TAEL_ASSERT(hello.datagram_max >= TAEL_DATAGRAM_SIZE_ETHERNET && hello.window > 0);
    model->counters.hellos++;
    struct peer *peer = peer_find(model, name);
    cookie_make(model, name, cookie);
    if (peer == NULL && memcmp(cookie, hello.cookie, 16) != 0) {
        cookie_send(model, name);
        return;
    }
    if (peer == NULL) peer = &model->peers[model->peer_next++ % PEERS_MAX];
    *peer = (struct peer){true, name, hello.datagram_max, hello.window};
    const struct tael_datagram_welcome welcome = {.datagram_max = (uint16_t)model->options.datagram_max,
                                                  .window = (uint16_t)model->options.window,
                                                  .slots_max = (uint16_t)model->options.slots_max};
    const struct tael_datagram none = {0};
    const struct tael_datagram header = header_of(model, &none, TAEL_DATAGRAM_WELCOME, sizeof welcome);
    body_send(model, name, &header, &welcome, sizeof welcome);
}

/* --- replies --- */

static void reply_part_send(struct datagram_model *model, const struct peer *peer, const struct model_session *session,
                            const struct model_slot *slot, uint32_t part, uint32_t units) {
    struct tael_datagram header = {.token = slot->number == 0 ? 0 : session->token,
                                   .ledger = model->options.ledger,
                                   .op = slot->op,
                                   .timestamp = slot->op * 10,
                                   .request = slot->number,
                                   .body_size = slot->reply_size,
                                   .part = (uint16_t)part,
                                   .slot = (uint8_t)(slot - session->slots),
                                   .kind = TAEL_DATAGRAM_REPLY,
                                   .operation = slot->operation,
                                   .part_units = (uint8_t)units};
    body_send(model, peer->name, &header, slot->reply + (size_t)part * units * TAEL_PART_UNIT,
              tael_datagram_part_size(slot->reply_size, units, part));
}

static uint32_t units_for(const struct datagram_model *model, const struct peer *peer) {
    const uint32_t max =
        peer->datagram_max < model->options.datagram_max ? peer->datagram_max : model->options.datagram_max;
    return tael_datagram_part_units(max);
}

/* New parts, as far as the client's window lets; and those missing below, with `is_again`. */
static void reply_send(struct datagram_model *model, const struct peer *peer, const struct model_session *session,
                       struct model_slot *slot, bool is_again) {
    const uint32_t units = units_for(model, peer);
    const uint32_t parts = tael_datagram_parts(slot->reply_size, units);
    uint32_t window = peer->window;
    for (uint32_t part = 0; part < parts && window > 0; part++) {
        if (tael_part_set_has(&slot->had, part)) continue;
        window--;
        if (part < slot->sent_to && !is_again) continue;
        if (part >= slot->sent_to) slot->sent_to = part + 1;
        reply_part_send(model, peer, session, slot, part, units);
    }
}

static void reply_again(struct datagram_model *model, const struct peer *peer, const struct model_session *session,
                        struct model_slot *slot) {
    model->counters.replies_again++;
    slot->sent_to = 0;
    tael_part_set_clear(&slot->had);
    reply_send(model, peer, session, slot, true);
}

/* --- requests --- */

static void slot_forget(struct model_slot *slot) {
    slot->is_begun = slot->is_waiting = false;
    slot->told = 0;
    slot->set_checksums = 0;
    tael_part_set_clear(&slot->set);
}

static void registered(struct datagram_model *model, struct model_session *session, struct model_slot *slot) {
    struct tael_datagram_register wish;
    memcpy(&wish, slot->body, sizeof wish);
    TAEL_ASSERT(wish.slots >= 1);
    session->token = ++model->tokens * 0x9E3779B97F4A7C15u | 1;
    session->slots_count = wish.slots < model->options.slots_max ? wish.slots : model->options.slots_max;
    const struct tael_datagram_registered reply = {.token = session->token, .slots = (uint16_t)session->slots_count};
    memcpy(slot->reply, &reply, sizeof reply);
    slot->reply_size = sizeof reply;
    model->counters.registers++;
}

static struct datagram_model_request request_of(const struct model_slot *slot) {
    return (struct datagram_model_request){.client = slot->header.client,
                                           .number = slot->header.request,
                                           .slot = slot->header.slot,
                                           .operation = slot->header.operation,
                                           .flags = slot->header.flags,
                                           .body = slot->body,
                                           .body_size = slot->header.body_size};
}

/* The request is there as a whole. */
static void execute(struct datagram_model *model, struct model_session *session, struct model_slot *slot,
                    bool is_answered) {
    const struct datagram_model_request request = request_of(slot);
    slot->op = ++model->op;
    slot->operation = request.operation;
    if (request.operation == TAEL_OPERATION_register) {
        registered(model, session, slot);
    } else {
        slot->reply_size = model->options.execute(model->options.context, &request, slot->reply);
        model->counters.executions++;
    }
    slot->number = request.number;
    slot->checksums = slot->set_checksums;
    slot->is_kept = true;
    slot->sent_to = 0;
    tael_part_set_clear(&slot->had);
    slot_forget(slot);
    const struct peer *peer = peer_find(model, session->peer);
    if (is_answered && peer != NULL) reply_send(model, peer, session, slot, true);
}

static void session_forget(struct model_session *session) {
    for (uint32_t i = 0; i < TAEL_SLOTS_MAX; i++) {
        free(session->slots[i].body);
        free(session->slots[i].reply);
    }
    memset(session, 0, sizeof *session);
}

static void whole_judge(struct datagram_model *model, struct model_session *session, struct model_slot *slot) {
    const struct datagram_model_request request = request_of(slot);
    struct tael_datagram_notice notice = {0};
    enum datagram_model_verdict verdict = DATAGRAM_MODEL_EXECUTE;
    if (model->options.judge != NULL) verdict = model->options.judge(model->options.context, &request, &notice);
    const struct tael_datagram header = slot->header;
    const uint64_t peer = session->peer;
    switch (verdict) {
    case DATAGRAM_MODEL_EXECUTE:
        execute(model, session, slot, true);
        return;
    case DATAGRAM_MODEL_LATER:
        slot->is_waiting = true;
        model->counters.waiting++;
        return;
    case DATAGRAM_MODEL_MUTE:
        execute(model, session, slot, false);
        return;
    case DATAGRAM_MODEL_RESTART:
        execute(model, session, slot, false);
        datagram_model_restart(model);
        return;
    case DATAGRAM_MODEL_NOTICE:
        slot_forget(slot);
        notice_send(model, peer, &header, &notice);
        return;
    case DATAGRAM_MODEL_FORGET:
        session_forget(session);
        code_send(model, peer, &header, TAEL_NOTICE_NO_SESSION);
        return;
    case DATAGRAM_MODEL_IGNORE:
        slot_forget(slot);
        return;
    }
}

/* All datagrams of one request agree; what differs begins anew, as after another's deadline. */
static bool is_same_request(const struct tael_datagram *a, const struct tael_datagram *b) {
    return a->request == b->request && a->operation == b->operation && a->body_size == b->body_size &&
           a->part_units == b->part_units && a->flags == b->flags && a->token == b->token;
}

static void slot_begin(struct model_slot *slot, const struct tael_datagram_view *view) {
    slot_forget(slot);
    if (slot->body == NULL) slot->body = malloc(TAEL_BODY_SIZE_MAX);
    if (slot->reply == NULL) slot->reply = malloc(TAEL_BODY_SIZE_MAX);
    TAEL_ASSERT(slot->body != NULL && slot->reply != NULL);
    slot->is_begun = true;
    slot->header = view->header;
    slot->parts = view->part_count;
}

static void part_take(struct datagram_model *model, struct model_session *session, struct model_slot *slot,
                      const struct tael_datagram_view *view) {
    if (slot->is_begun && view->header.request < slot->header.request) {
        code_send(model, session->peer, &view->header, TAEL_NOTICE_TOO_OLD);
        return;
    }
    if (!slot->is_begun || view->header.request > slot->header.request) {
        if (slot->is_waiting) model->counters.waiting--;
        slot_begin(slot, view);
    }
    TAEL_ASSERT(is_same_request(&slot->header, &view->header));
    if (slot->is_waiting || tael_part_set_has(&slot->set, view->header.part)) return;
    tael_part_set_add(&slot->set, view->header.part);
    slot->set_checksums += view->header.checksum;
    const size_t offset = (size_t)view->header.part * view->header.part_units * TAEL_PART_UNIT;
    if (view->part_size > 0) memcpy(slot->body + offset, view->part, view->part_size);
    const uint32_t count = tael_part_set_count(&slot->set);
    if (count == slot->parts) {
        whole_judge(model, session, slot);
    } else if (count - slot->told >= (model->options.window + 3) / 4) {
        have_send(model, session->peer, slot);
    }
}

static void request_take(struct datagram_model *model, const struct peer *peer, struct model_session *session,
                         const struct tael_datagram_view *view) {
    struct model_slot *slot = &session->slots[view->header.slot];
    session->peer = peer->name;
    if (view->header.request < slot->number) {
        code_send(model, peer->name, &view->header, TAEL_NOTICE_TOO_OLD);
        return;
    }
    if (!slot->is_kept || view->header.request > slot->number) {
        part_take(model, session, slot, view);
        return;
    }
    /* Executed: a part of the same is answered by its reply, once all of it was sent again or where it is one. */
    if (view->part_count == 1 && view->header.checksum != slot->checksums) {
        code_send(model, peer->name, &view->header, TAEL_NOTICE_OTHER);
    } else if (view->header.part + 1u == view->part_count) {
        const bool is_read = tael_operation_info(slot->operation).kind == TAEL_OPERATION_READ;
        if (is_read) {
            slot->is_kept = false;
            slot->number--;
            part_take(model, session, slot, view);
        } else {
            reply_again(model, peer, session, slot);
        }
    }
}

static void poll_take(struct datagram_model *model, const struct peer *peer, struct model_session *session,
                      const struct tael_datagram_view *view) {
    struct model_slot *slot = &session->slots[view->header.slot];
    model->counters.polls++;
    if (slot->is_kept && slot->number == view->header.request) {
        reply_again(model, peer, session, slot);
    } else if (!slot->is_begun || slot->header.request != view->header.request) {
        code_send(model, peer->name, &view->header, TAEL_NOTICE_UNSEEN);
    } else if (slot->is_waiting) {
        code_send(model, peer->name, &view->header, TAEL_NOTICE_EXECUTING);
    } else {
        have_send(model, peer->name, slot);
    }
}

static void reply_have_take(struct datagram_model *model, const struct peer *peer, struct model_session *session,
                            struct model_slot *slot, const struct tael_datagram_view *view) {
    struct tael_datagram_have have;
    struct tael_part_set set;
    memcpy(&have, view->part, sizeof have);
    memcpy(&set, have.bits, sizeof set);
    if (!slot->is_kept || slot->number != view->header.request) {
        poll_take(model, peer, session, view);
        return;
    }
    if (have.parts != tael_datagram_parts(slot->reply_size, units_for(model, peer))) {
        reply_again(model, peer, session, slot);
        return;
    }
    struct tael_part_set fresh = set;
    tael_part_set_subtract(&fresh, &slot->had);
    const bool is_again = tael_part_set_count(&fresh) == 0;
    slot->had = set; /* not united: it may have been of an earlier execution of a read, whose op it doesn't name */
    if (slot->sent_to == 0) slot->sent_to = have.parts; /* of another life */
    reply_send(model, peer, session, slot, is_again);
}

static struct model_session *session_find(struct datagram_model *model, tael_u128 client) {
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        if (model->sessions[i].client == client) return &model->sessions[i];
    }
    return NULL;
}

static void register_take(struct datagram_model *model, const struct peer *peer,
                          const struct tael_datagram_view *view) {
    TAEL_ASSERT(view->header.token == 0 && view->header.slot == 0);
    TAEL_ASSERT(view->header.body_size == sizeof(struct tael_datagram_register));
    struct model_session *session = session_find(model, view->header.client);
    if (session == NULL) {
        session = &model->sessions[model->session_next++ % SESSIONS_MAX];
        session_forget(session);
        session->client = view->header.client;
    }
    session->peer = peer->name;
    struct model_slot *slot = &session->slots[0];
    if (slot->is_kept && slot->number == 0) {
        reply_again(model, peer, session, slot);
    } else if (!slot->is_kept) {
        part_take(model, session, slot, view);
    }
}

static void known_take(struct datagram_model *model, const struct peer *peer, const struct tael_datagram_view *view) {
    const struct tael_datagram *header = &view->header;
    if (header->kind == TAEL_DATAGRAM_REQUEST && header->operation == TAEL_OPERATION_register) {
        register_take(model, peer, view);
        return;
    }
    struct model_session *session = session_find(model, header->client);
    if (session == NULL || session->token != header->token || header->slot >= session->slots_count ||
        header->token == 0) {
        code_send(model, peer->name, header, TAEL_NOTICE_NO_SESSION);
    } else if (header->kind == TAEL_DATAGRAM_REQUEST) {
        request_take(model, peer, session, view);
    } else if (header->kind == TAEL_DATAGRAM_POLL) {
        poll_take(model, peer, session, view);
    } else {
        TAEL_ASSERT(header->kind == TAEL_DATAGRAM_HAVE_REPLY);
        reply_have_take(model, peer, session, &session->slots[header->slot], view);
    }
}

void datagram_model_receive(struct datagram_model *model, uint64_t name, const void *datagram, uint32_t size,
                            bool is_whole) {
    struct tael_datagram_view view;
    const enum tael_datagram_verdict verdict =
        tael_datagram_check(datagram, size, TAEL_DATAGRAM_FROM_CLIENT, model->options.ledger, &view);
    TAEL_ASSERT(verdict == TAEL_DATAGRAM_VERDICT_ok || !is_whole);
    if (verdict != TAEL_DATAGRAM_VERDICT_ok) return;
    TAEL_ASSERT(size <= model->options.datagram_max);
    if (view.header.kind == TAEL_DATAGRAM_HELLO) {
        hello_take(model, name, &view);
        return;
    }
    const struct peer *peer = peer_find(model, name);
    if (peer == NULL) {
        cookie_send(model, name);
    } else {
        known_take(model, peer, &view);
    }
}

/* --- what the test does --- */

struct datagram_model *datagram_model_new(const struct datagram_model_options *options) {
    struct datagram_model *model = calloc(1, sizeof *model);
    TAEL_ASSERT(model != NULL);
    model->options = *options;
    model->epoch = 1;
    return model;
}

void datagram_model_free(struct datagram_model *model) {
    datagram_model_forget_sessions(model);
    free(model);
}

void datagram_model_execute(struct datagram_model *model) {
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        for (uint32_t k = 0; k < TAEL_SLOTS_MAX; k++) {
            struct model_slot *slot = &model->sessions[i].slots[k];
            if (!slot->is_waiting) continue;
            model->counters.waiting--;
            execute(model, &model->sessions[i], slot, true);
        }
    }
}

void datagram_model_forget_addresses(struct datagram_model *model) {
    memset(model->peers, 0, sizeof model->peers);
    model->epoch++;
}

void datagram_model_restart(struct datagram_model *model) {
    datagram_model_forget_addresses(model);
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        for (uint32_t k = 0; k < TAEL_SLOTS_MAX; k++) {
            struct model_slot *slot = &model->sessions[i].slots[k];
            slot_forget(slot);
            if (slot->is_kept && tael_operation_info(slot->operation).kind == TAEL_OPERATION_READ) {
                slot->is_kept = false; /* reads leave no trace */
                slot->number--;
            }
        }
    }
    model->counters.waiting = 0;
}

void datagram_model_forget_sessions(struct datagram_model *model) {
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) session_forget(&model->sessions[i]);
    model->counters.waiting = 0;
}

void datagram_model_window(struct datagram_model *model, uint32_t window) { model->options.window = window; }

struct datagram_model_counters datagram_model_counters(const struct datagram_model *model) {
    return model->counters;
}
