/* A slot's request on its way, and its reply on the way back; see datagram_client_internal.h. */
#include <string.h>

#include <tael/assert.h>

#include "io/datagram_client_internal.h"

/* A part sent so many before one that has arrived, and not there itself, is taken for lost: networks reorder a little. */
#define REORDERED_MAX 8u
/* After so many silences in succession with half a reply there, any other reply replaces it: what came may have been none. */
#define SILENCES_MAX 3u
#define HAVE_UNITS 2u /* so that it is one part */
#define NS_PER_MS 1000000ull

static_assert(sizeof(struct tael_datagram_have) <= (size_t)HAVE_UNITS * TAEL_PART_UNIT, "HAVE is one part");

static uint64_t bit_of(const struct tael_datagram_slot *slot) { return (uint64_t)1 << slot->index; }

static void timer_set(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    slot->timer_ns = now_ns + tael_datagram_pace_pause_ns(&client->pace, slot->tries);
    tael_datagram_client_due(client, slot->timer_ns);
}

/* --- what is where --- */

/* The slot's sets were changed: brings the counts up to date. */
static void sets_count(struct tael_datagram_client *client, struct tael_datagram_slot *slot) {
    struct tael_part_set unhad = slot->sent;
    tael_part_set_subtract(&unhad, &slot->had);
    tael_part_set_subtract(&slot->on_way, &slot->had);
    TAEL_ASSERT(client->unhad >= slot->unhad_count);
    TAEL_ASSERT(client->on_way >= slot->on_way_count);
    client->unhad -= slot->unhad_count;
    client->on_way -= slot->on_way_count;
    slot->unhad_count = tael_part_set_count(&unhad);
    slot->on_way_count = tael_part_set_count(&slot->on_way);
    client->unhad += slot->unhad_count;
    client->on_way += slot->on_way_count;
}

static void sets_clear(struct tael_datagram_client *client, struct tael_datagram_slot *slot) {
    tael_part_set_clear(&slot->sent);
    tael_part_set_clear(&slot->on_way);
    tael_part_set_clear(&slot->had);
    sets_count(client, slot);
}

void tael_datagram_slot_begin(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                              const struct tael_datagram_client_request *request, uint64_t now_ns) {
    TAEL_ASSERT(slot->state == TAEL_DATAGRAM_SLOT_FREE);
    TAEL_ASSERT(request->body_size <= TAEL_BODY_SIZE_MAX);
    slot->state = TAEL_DATAGRAM_SLOT_IN_FLIGHT;
    slot->header = (struct tael_datagram){.token = client->token,
                                          .ledger = client->options.ledger,
                                          .client = client->id,
                                          .request = slot->number,
                                          .body_size = request->body_size,
                                          .slot = (uint8_t)slot->index,
                                          .flags = request->flags,
                                          .kind = TAEL_DATAGRAM_REQUEST,
                                          .operation = request->operation,
                                          .part_units = (uint8_t)client->part_units};
    slot->body = request->body;
    slot->parts = tael_datagram_parts(request->body_size, client->part_units);
    slot->sent_to = slot->repeats = slot->tries = 0;
    slot->busy = 0;
    slot->is_asked = false;
    slot->reply.parts = slot->reply.count = slot->reply.told = 0;
    slot->reply.is_gone = false;
    sets_clear(client, slot);
    client->sending |= bit_of(slot);
    timer_set(client, slot, now_ns);
}

void tael_datagram_slot_end(struct tael_datagram_client *client, struct tael_datagram_slot *slot) {
    slot->state = TAEL_DATAGRAM_SLOT_FREE;
    slot->timer_ns = TAEL_DATAGRAM_NEVER;
    slot->busy = 0;
    client->sending &= ~bit_of(slot);
    sets_clear(client, slot);
}

void tael_datagram_slot_restart(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    slot->state = TAEL_DATAGRAM_SLOT_IN_FLIGHT;
    slot->busy = 0;
    slot->is_asked = false;
    sets_clear(client, slot);
    client->sending |= bit_of(slot);
    timer_set(client, slot, now_ns);
}

void tael_datagram_slot_whole(struct tael_datagram_client *client, struct tael_datagram_slot *slot) {
    slot->is_asked = false;
    tael_part_set_fill(&slot->had, slot->parts);
    sets_count(client, slot);
    client->sending &= ~bit_of(slot);
}

void tael_datagram_slot_wait(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint16_t busy,
                             uint32_t wait_ms, uint64_t now_ns) {
    slot->busy = busy;
    if (slot->state == TAEL_DATAGRAM_SLOT_BUSY) return; /* another copy's notice */
    slot->state = TAEL_DATAGRAM_SLOT_BUSY;
    slot->tries = 0;
    slot->is_asked = false;
    sets_clear(client, slot);
    client->sending &= ~bit_of(slot);
    slot->timer_ns = now_ns + tael_datagram_pace_spread_ns(&client->pace, (wait_ms == 0 ? 1 : wait_ms) * NS_PER_MS);
    tael_datagram_client_due(client, slot->timer_ns);
}

/* --- sending --- */

static bool part_send(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint32_t part,
                      uint64_t now_ns) {
    const uint32_t units = slot->header.part_units;
    struct tael_datagram header = slot->header;
    header.part = (uint16_t)part;
    const uint8_t *bytes = slot->body == NULL ? NULL : slot->body + (size_t)part * units * TAEL_PART_UNIT;
    if (!tael_datagram_client_transmit(client, &header, bytes,
                                       tael_datagram_part_size(header.body_size, units, part))) {
        return false;
    }
    if (part < slot->sent_to) {
        slot->repeats++;
        client->counters.repeats++;
    } else {
        slot->sent_to = part + 1;
    }
    if (!tael_part_set_has(&slot->sent, part)) slot->unhad_count++, client->unhad++;
    tael_part_set_add(&slot->sent, part);
    tael_part_set_add(&slot->on_way, part);
    slot->on_way_count++;
    client->on_way++;
    slot->order[part] = ++client->order;
    slot->sent_ns = now_ns;
    return true;
}

static void question_ask(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns);

/* Whether the slot, which may not send more, would learn nothing by itself of what it sent: the server tells what it has each
 * time that a quarter of its window has arrived, and so many are not on the way. Once a round trip: otherwise answers that
 * the network repeats would make for ever more questions. */
static bool must_ask(const struct tael_datagram_client *client, const struct tael_datagram_slot *slot,
                     uint64_t now_ns) {
    return slot->parts > 1 && slot->unhad_count > 0 && slot->unhad_count < (client->server_window + 3) / 4 &&
           now_ns - slot->asked_ns >= client->pace.shortest_ns;
}

enum sending { SENDING_DONE, SENDING_WINDOW, SENDING_STOPPED };

/* WINDOW: the server takes no more new parts; STOPPED: nothing more can be sent at all. */
static enum sending slot_send(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    bool has_sent = false;
    enum sending outcome = SENDING_DONE;
    for (;;) {
        const uint32_t part = tael_part_set_first_in_neither(&slot->had, &slot->on_way, slot->parts);
        if (part == slot->parts) break;
        outcome = SENDING_STOPPED;
        if (client->on_way >= client->pace.window) break;
        outcome = SENDING_WINDOW;
        if (!tael_part_set_has(&slot->sent, part) && client->unhad >= client->server_window) break;
        outcome = SENDING_STOPPED;
        if (!part_send(client, slot, part, now_ns)) break;
        outcome = SENDING_DONE;
        has_sent = true;
    }
    if (has_sent) timer_set(client, slot, now_ns);
    if (outcome == SENDING_DONE) {
        client->sending &= ~bit_of(slot);
    } else if (must_ask(client, slot, now_ns)) {
        question_ask(client, slot, now_ns);
    }
    return outcome;
}

void tael_datagram_slots_send(struct tael_datagram_client *client, uint64_t now_ns) {
    if (!client->is_welcome || client->sending == 0) return;
    const uint32_t count = client->options.slots;
    bool is_first = true;
    for (uint32_t i = 0; i < count && client->sending != 0; i++) {
        struct tael_datagram_slot *slot = &client->slots[(client->turn + i) % count];
        if ((client->sending & bit_of(slot)) == 0) continue;
        const enum sending outcome = slot_send(client, slot, now_ns);
        /* Who has begun goes on first: the server sets room aside for whole requests. */
        if (outcome != SENDING_DONE && is_first) {
            client->turn = slot->index;
            is_first = false;
        }
        if (outcome == SENDING_STOPPED) return;
    }
}

/* A question about the request, or what is there of its reply. */
static bool question_send(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                          enum tael_datagram_kind kind, const struct tael_datagram_have *have) {
    struct tael_datagram header = slot->header;
    header.kind = (uint8_t)kind;
    header.flags = 0;
    header.part = 0;
    header.body_size = have == NULL ? 0 : sizeof *have;
    header.part_units = have == NULL ? 1 : HAVE_UNITS;
    return tael_datagram_client_transmit(client, &header, have, header.body_size);
}

static bool have_send(struct tael_datagram_client *client, struct tael_datagram_slot *slot) {
    struct tael_datagram_reply *reply = &slot->reply;
    struct tael_datagram_have have = {.window = (uint16_t)client->options.reply_window,
                                      .parts = (uint16_t)reply->parts};
    memcpy(have.bits, &reply->set, sizeof have.bits);
    if (!question_send(client, slot, TAEL_DATAGRAM_HAVE_REPLY, &have)) return false;
    reply->told = reply->count;
    return true;
}

/* --- what the server has --- */

/* Parts on the way that others have overtaken by far are lost. */
static bool lost_find(struct tael_datagram_slot *slot, uint32_t latest) {
    bool is_any = false;
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) {
        uint64_t left = slot->on_way.words[i];
        for (; left != 0; left &= left - 1) {
            const uint32_t part = i * 64 + (uint32_t)__builtin_ctzll(left);
            if ((int32_t)(latest - slot->order[part]) <= (int32_t)REORDERED_MAX) continue;
            tael_part_set_remove(&slot->on_way, part);
            is_any = true;
        }
    }
    return is_any;
}

/* The latest order among the parts that are new in the set; `latest` where there is none. */
static uint32_t latest_new(const struct tael_datagram_slot *slot, const struct tael_part_set *set, uint32_t latest) {
    bool is_any = false;
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) {
        uint64_t fresh = set->words[i] & slot->on_way.words[i];
        for (; fresh != 0; fresh &= fresh - 1) {
            const uint32_t order = slot->order[i * 64 + (uint32_t)__builtin_ctzll(fresh)];
            if (!is_any || (int32_t)(order - latest) > 0) latest = order;
            is_any = true;
        }
    }
    return latest;
}

/* Whether the server is asked for the rest of a reply, and not about the request. */
static bool reply_is_coming(const struct tael_datagram_slot *slot) {
    return slot->reply.parts != 0 && !slot->reply.is_gone;
}

void tael_datagram_slot_had(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                            const struct tael_datagram_have *have, uint64_t now_ns) {
    client->server_window = have->window;
    const bool is_all = slot->is_asked;
    if (slot->state == TAEL_DATAGRAM_SLOT_BUSY || (reply_is_coming(slot) && !is_all)) return;
    struct tael_part_set set;
    memcpy(&set, have->bits, sizeof set);
    tael_part_set_limit(&set, slot->sent_to); /* it can't have what was never sent */
    slot->is_asked = false;
    const uint32_t before = tael_part_set_count(&slot->had);
    const uint32_t latest = latest_new(slot, &set, client->order - UINT32_MAX / 2);
    if (is_all) { /* it may have thrown away what it had; and what was sent before has arrived or is lost */
        tael_part_set_clear(&slot->had);
        tael_part_set_clear(&slot->on_way);
    }
    tael_part_set_unite(&slot->had, &set);
    tael_part_set_subtract(&slot->on_way, &slot->had);
    bool is_lost = lost_find(slot, latest);
    sets_count(client, slot);
    if (is_all && slot->unhad_count > 0) { /* so it isn't there, nor on its way */
        is_lost = true;
        slot->sent = slot->had;
        sets_count(client, slot);
    }
    if (is_lost) {
        client->counters.losses++;
        tael_datagram_pace_lost(&client->pace, client->server_window, now_ns);
    } else if (tael_part_set_count(&slot->had) > before) {
        tael_datagram_pace_arrived(&client->pace, now_ns);
    }
    client->sending |= bit_of(slot);
    slot->tries = 0;
    timer_set(client, slot, now_ns);
}

/* --- the reply --- */

/* Whether the part is of the reply that is being put together; of a later one, that begins anew. */
static bool reply_agree(struct tael_datagram_reply *reply, const struct tael_datagram_view *view) {
    const struct tael_datagram *header = &view->header;
    if (reply->parts != 0) {
        const bool is_earlier =
            header->op < reply->op || (header->op == reply->op && header->timestamp < reply->timestamp);
        if (is_earlier && !reply->is_doubtful) return false;
        const bool is_same = header->op == reply->op && header->timestamp == reply->timestamp &&
                             header->body_size == reply->size && header->part_units == reply->part_units;
        if (is_same) return true;
    }
    reply->op = header->op;
    reply->timestamp = header->timestamp;
    reply->size = header->body_size;
    reply->part_units = header->part_units;
    reply->parts = view->part_count;
    reply->count = reply->told = 0;
    reply->is_doubtful = false;
    reply->is_scratch = (header->flags & TAEL_DATAGRAM_SCRATCH) != 0;
    tael_part_set_clear(&reply->set);
    return true;
}

bool tael_datagram_slot_reply(struct tael_datagram_client *client, struct tael_datagram_slot *slot,
                              const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_reply *reply = &slot->reply;
    if (!reply_agree(reply, view) || tael_part_set_has(&reply->set, view->header.part)) {
        client->counters.strays++;
        return false;
    }
    const size_t offset = (size_t)view->header.part * reply->part_units * TAEL_PART_UNIT;
    TAEL_ASSERT(offset + view->part_size <= TAEL_BODY_SIZE_MAX);
    if (view->part_size > 0) memcpy(reply->body + offset, view->part, view->part_size);
    tael_part_set_add(&reply->set, view->header.part);
    reply->is_gone = false;
    if (++reply->count == 1 && slot->repeats == 0) {
        tael_datagram_pace_measured(&client->pace, now_ns - slot->sent_ns);
    }
    slot->repeats++; /* the round trip is measured once */
    tael_datagram_pace_arrived(&client->pace, now_ns);
    if (reply->count == reply->parts) {
        if (reply->parts > 1) have_send(client, slot); /* where it is lost, the server waits a second and lets go */
        tael_datagram_slot_end(client, slot);
        return true;
    }
    slot->state = TAEL_DATAGRAM_SLOT_IN_FLIGHT;
    slot->busy = 0;
    tael_datagram_slot_whole(client, slot);
    slot->tries = 0;
    timer_set(client, slot, now_ns);
    if (reply->count - reply->told >= (client->options.reply_window + 3) / 4) have_send(client, slot);
    return false;
}

/* --- time --- */

/* Asks, and sends nothing more of the request before the answer. */
static void question_ask(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    slot->reply.is_doubtful = slot->tries > SILENCES_MAX;
    const bool is_sent =
        reply_is_coming(slot) ? have_send(client, slot) : question_send(client, slot, TAEL_DATAGRAM_POLL, NULL);
    if (!is_sent) return;
    slot->is_asked = true;
    slot->asked_ns = now_ns;
    slot->repeats++;
    client->sending &= ~bit_of(slot);
    client->counters.polls++;
}

/* Nothing has come for long enough. Whatever the congestion window says, one datagram goes out: otherwise a slot might wait for the
 * others for ever. */
static void slot_silent(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    slot->tries++;
    client->counters.losses++;
    tael_datagram_pace_lost(&client->pace, client->server_window, now_ns);
    tael_part_set_clear(&slot->on_way); /* arrived or lost */
    if (slot->parts == 1 && !reply_is_coming(slot)) tael_part_set_clear(&slot->had);
    sets_count(client, slot);
    if (slot->parts > 1 || reply_is_coming(slot)) {
        question_ask(client, slot, now_ns);
        return;
    }
    if (!part_send(client, slot, 0, now_ns)) client->sending |= bit_of(slot);
}

void tael_datagram_slot_due(struct tael_datagram_client *client, struct tael_datagram_slot *slot, uint64_t now_ns) {
    if (slot->state == TAEL_DATAGRAM_SLOT_BUSY) {
        tael_datagram_slot_restart(client, slot, now_ns);
        return;
    }
    const bool waits_for_window = (client->sending & bit_of(slot)) != 0 && tael_part_set_count(&slot->sent) == 0;
    if (!waits_for_window) {
        slot_silent(client, slot, now_ns);
    } else if (client->unhad == 0 && client->server_window == 0) {
        client->server_window = 1; /* nobody else asks whether it has opened again */
    }
    timer_set(client, slot, now_ns);
}
