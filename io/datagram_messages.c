/* Invariants:
 *  1. A message is either free or lent; it comes back through `released`, exactly once.
 *  2. A lent one has at most one of: a packet buffer, an assembly, a copied body. */
#include "io/datagram_messages.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/completion.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

enum { TURN_RELEASED_MAX = 1024 };

/* Room for a body; what stands in a free one is the way to the next. */
struct body {
    struct body *next;
};

struct lent {
    struct tael_message message;
    void *buffer;
    struct tael_datagram_assembly *assembly;
    uint8_t *body;
    bool body_is_large;
    struct lent *next_free;
};

struct tael_datagram_messages {
    struct tael_datagram_messages_options options;
    struct tael_datagram_peers *peers;
    struct tael_datagram_reassembly *reassembly;
    const struct tael_datagram_sender *sender;
    struct tael_link *link;
    struct lent *free;
    uint32_t lent;
    struct body *small;
    struct body *large;
};

/* --- memory --- */

size_t tael_datagram_messages_size_bytes(const struct tael_datagram_messages_options *options) {
    return tael_arena_share(sizeof(struct tael_datagram_messages)) +
           tael_arena_share(options->messages_max * sizeof(struct lent)) +
           tael_arena_share((size_t)options->small_bodies * TAEL_COPIED_BODY_SMALL) +
           tael_arena_share((size_t)options->large_bodies * TAEL_COPIED_BODY_LARGE);
}

static struct body *bodies_init(struct tael_arena *arena, uint32_t count, uint32_t size) {
    uint8_t *memory = tael_arena_take(arena, (size_t)count * size);
    struct body *first = NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct body *body = (struct body *)(void *)(memory + (size_t)i * size);
        body->next = first;
        first = body;
    }
    return first;
}

struct tael_datagram_messages *
tael_datagram_messages_init(struct tael_arena *arena, const struct tael_datagram_messages_options *options,
                            struct tael_datagram_peers *peers, struct tael_datagram_reassembly *reassembly,
                            const struct tael_datagram_sender *sender, struct tael_link *link) {
    TAEL_ASSERT(options->messages_max > 0);
    TAEL_ASSERT(options->per_peer_max > 0);
    TAEL_ASSERT(link->released.capacity >= options->messages_max);
    struct tael_datagram_messages *messages = tael_arena_take(arena, sizeof *messages);
    *messages = (struct tael_datagram_messages){
        .options = *options, .peers = peers, .reassembly = reassembly, .sender = sender, .link = link};
    struct lent *all = tael_arena_take(arena, options->messages_max * sizeof *all);
    for (uint32_t i = options->messages_max; i-- > 0;) {
        all[i].next_free = messages->free;
        messages->free = &all[i];
    }
    messages->small = bodies_init(arena, options->small_bodies, TAEL_COPIED_BODY_SMALL);
    messages->large = bodies_init(arena, options->large_bodies, TAEL_COPIED_BODY_LARGE);
    return messages;
}

/* --- bodies that are copied --- */

/* The sequencer takes creates' bodies in parts, as they came, and all others in one. */
static bool is_copied(const struct tael_datagram *header) {
    return tael_operation_info(header->operation).kind != TAEL_OPERATION_CREATE;
}

/* Bytes of the trailer that a body lacks. False: its size is none that a body of one batch has. */
static bool trailer_size(const struct tael_datagram *header, uint32_t *size) {
    const struct tael_operation_info info = tael_operation_info(header->operation);
    *size = 0;
    if ((header->flags & TAEL_DATAGRAM_ONE_BATCH) == 0 || !info.multi_batch) return true;
    if (header->body_size % info.event_size != 0 || header->body_size / info.event_size > UINT16_MAX) return false;
    *size = tael_multi_batch_trailer_size(1, info.event_size);
    return true;
}

static enum tael_datagram_loan body_take(struct tael_datagram_messages *messages, struct tael_datagram_peer *peer,
                                         uint32_t size, struct lent *lent) {
    if (size > TAEL_COPIED_BODY_LARGE) return TAEL_LOAN_SIZE;
    const bool is_large = size > TAEL_COPIED_BODY_SMALL;
    const uint32_t share = messages->options.large_bodies < 4 ? 1 : messages->options.large_bodies / 4;
    struct body **chain = is_large ? &messages->large : &messages->small;
    if (is_large && peer->large_bodies >= share) return TAEL_LOAN_NO_BODY;
    if (*chain == NULL) return TAEL_LOAN_NO_BODY;
    lent->body = (uint8_t *)*chain;
    lent->body_is_large = is_large;
    *chain = (*chain)->next;
    if (is_large) peer->large_bodies++;
    return TAEL_LOAN_MADE;
}

static void body_give_back(struct tael_datagram_messages *messages, struct tael_datagram_peer *peer,
                           struct lent *lent) {
    if (lent->body == NULL) return;
    struct body **chain = lent->body_is_large ? &messages->large : &messages->small;
    struct body *body = (struct body *)(void *)lent->body;
    body->next = *chain;
    *chain = body;
    if (!lent->body_is_large || peer == NULL) return;
    TAEL_ASSERT(peer->large_bodies > 0);
    peer->large_bodies--;
}

/* Copies parts into a body of their own, and adds the trailer where there is none. */
static enum tael_datagram_loan body_copy(struct tael_datagram_messages *messages, struct tael_datagram_peer *peer,
                                         const struct tael_datagram *header, const struct tael_part *parts,
                                         uint32_t part_count, struct lent *lent) {
    uint32_t trailer;
    if (!trailer_size(header, &trailer)) return TAEL_LOAN_SIZE;
    const enum tael_datagram_loan loan = body_take(messages, peer, header->body_size + trailer, lent);
    if (loan != TAEL_LOAN_MADE) return loan;
    uint32_t size = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        memcpy(lent->body + size, parts[i].data, parts[i].size);
        size += parts[i].size;
    }
    TAEL_ASSERT(size == header->body_size);
    if (trailer > 0) {
        const uint32_t event_size = tael_operation_info(header->operation).event_size;
        const uint16_t count = (uint16_t)(size / event_size);
        size = tael_multi_batch_encode(lent->body, size, &count, 1, event_size);
    }
    struct tael_message *message = &lent->message;
    message->is_one_batch = false;
    message->body_size = size;
    message->whole = (struct tael_part){.data = lent->body, .size = size};
    message->parts = &message->whole;
    message->part_count = size > 0 ? 1 : 0;
    return TAEL_LOAN_MADE;
}

/* --- lending --- */

/* A message, filled with what the header says; NULL and why not. Only push takes it out of the chain. */
static struct lent *prepare(struct tael_datagram_messages *messages, const struct tael_datagram_peer *peer,
                            const struct tael_datagram *header, enum tael_message_kind kind,
                            enum tael_datagram_loan *why) {
    struct lent *lent = messages->free;
    *why = peer->messages >= messages->options.per_peer_max ? TAEL_LOAN_NO_SHARE : TAEL_LOAN_NO_MESSAGE;
    if (lent == NULL || peer->messages >= messages->options.per_peer_max) return NULL;
    lent->buffer = NULL;
    lent->assembly = NULL;
    lent->body = NULL;
    lent->message = (struct tael_message){
        .client = header->client,
        .checksum = header->checksum,
        .token = header->token,
        .connection = tael_datagram_peers_handle(messages->peers, peer),
        .request = header->request,
        .slot = header->slot,
        .operation = header->operation,
        .kind = (uint8_t)kind,
        .is_one_batch = (header->flags & TAEL_DATAGRAM_ONE_BATCH) != 0,
    };
    return lent;
}

/* A token for a session that does not exist yet. */
static uint64_t token_draw(struct tael_datagram_messages *messages) {
    uint64_t token = messages->options.random(messages->options.random_context);
    return token != 0 ? token : 1;
}

/* Hands it over. False: there is no room, and nothing was done. */
static bool push(struct tael_datagram_messages *messages, struct tael_datagram_peer *peer, struct lent *lent) {
    struct lent *next = lent->next_free;
    if (lent->message.token == 0) lent->message.token = token_draw(messages);
    if (!tael_ring_push(&messages->link->requests, &lent->message)) {
        body_give_back(messages, peer, lent);
        return false;
    }
    messages->free = next;
    messages->lent++;
    peer->messages++;
    return true;
}

enum tael_datagram_loan tael_datagram_messages_lend(struct tael_datagram_messages *messages,
                                                    struct tael_datagram_peer *peer,
                                                    const struct tael_datagram_view *view, void *buffer, bool *kept) {
    const struct tael_datagram *header = &view->header;
    enum tael_datagram_loan loan;
    *kept = false;
    struct lent *lent = prepare(messages, peer, header, TAEL_MESSAGE_REQUEST, &loan);
    if (lent == NULL) return loan;
    struct tael_message *message = &lent->message;
    message->whole = (struct tael_part){.data = view->part, .size = view->part_size};
    if (is_copied(header)) {
        loan = body_copy(messages, peer, header, &message->whole, 1, lent);
        if (loan != TAEL_LOAN_MADE) return loan;
    } else if (header->body_size > 0) {
        message->body_size = header->body_size;
        message->parts = &message->whole;
        message->part_count = 1;
        lent->buffer = buffer;
    }
    if (!push(messages, peer, lent)) return TAEL_LOAN_NO_MESSAGE;
    messages->sender->counters->requests++;
    *kept = lent->buffer != NULL;
    return TAEL_LOAN_MADE;
}

enum tael_datagram_loan tael_datagram_messages_lend_assembly(struct tael_datagram_messages *messages,
                                                             struct tael_datagram_peer *peer,
                                                             struct tael_datagram_assembly *assembly) {
    const struct tael_datagram *header = &assembly->header;
    const bool copied = is_copied(header);
    enum tael_datagram_loan loan;
    struct lent *lent = prepare(messages, peer, header, TAEL_MESSAGE_REQUEST, &loan);
    if (lent == NULL) return loan;
    struct tael_message *message = &lent->message;
    message->checksum = tael_datagram_reassembly_identity(assembly);
    if (copied) {
        loan = body_copy(messages, peer, header, assembly->parts, assembly->part_count, lent);
        if (loan != TAEL_LOAN_MADE) return loan;
    } else {
        message->body_size = header->body_size;
        message->parts = assembly->parts;
        message->part_count = assembly->part_count;
        lent->assembly = assembly;
    }
    if (!push(messages, peer, lent)) return TAEL_LOAN_NO_MESSAGE;
    messages->sender->counters->requests++;
    if (copied) {
        tael_datagram_reassembly_free(messages->reassembly, assembly);
    } else {
        tael_datagram_reassembly_lend(assembly);
    }
    return TAEL_LOAN_MADE;
}

enum tael_datagram_loan tael_datagram_messages_lend_poll(struct tael_datagram_messages *messages,
                                                         struct tael_datagram_peer *peer,
                                                         const struct tael_datagram *header) {
    enum tael_datagram_loan loan;
    TAEL_ASSERT(header->token != 0);
    struct lent *lent = prepare(messages, peer, header, TAEL_MESSAGE_POLL, &loan);
    if (lent == NULL) return loan;
    /* The question's own tell nothing about the request. */
    lent->message.checksum = 0;
    lent->message.is_one_batch = false;
    if (!push(messages, peer, lent)) return TAEL_LOAN_NO_MESSAGE;
    messages->sender->counters->polls++;
    return TAEL_LOAN_MADE;
}

/* --- taking back --- */

static void take_back(struct tael_datagram_messages *messages, struct lent *lent) {
    const struct tael_carrier *carrier = &messages->sender->carrier;
    struct tael_datagram_peer *peer = tael_datagram_peers_get(messages->peers, lent->message.connection);
    if (peer != NULL) {
        TAEL_ASSERT(peer->messages > 0);
        peer->messages--;
    }
    if (lent->buffer != NULL) carrier->release(carrier->context, lent->buffer);
    if (lent->assembly != NULL) tael_datagram_reassembly_free(messages->reassembly, lent->assembly);
    body_give_back(messages, peer, lent);
    lent->next_free = messages->free;
    messages->free = lent;
    TAEL_ASSERT(messages->lent > 0);
    messages->lent--;
}

uint32_t tael_datagram_messages_take_back(struct tael_datagram_messages *messages) {
    uint32_t count = 0;
    struct tael_message *message;
    while (count < TURN_RELEASED_MAX && (message = tael_ring_pop(&messages->link->released)) != NULL) {
        take_back(messages, TAEL_CONTAINER_OF(message, struct lent, message));
        count++;
    }
    return count;
}

uint32_t tael_datagram_messages_lent(const struct tael_datagram_messages *messages) { return messages->lent; }
