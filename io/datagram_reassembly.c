/* Invariants:
 *  1. `parts` is the sum of part_count over all assemblies that are not free, and never above parts_max.
 *  2. An assembly is findable exactly while it stands in a chain; for a peer, session and slot there is one at most.
 *  3. `idle` and `age` hold the PARTIAL and the WHOLE ones, `waiting` the WHOLE ones. */
#include "io/datagram_reassembly.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/assert.h>
#include <tael/bits.h>
#include <tael/completion.h>

enum {
    CLASSES = 11, /* 2^0 (not used) to 2^10 parts */
    TURN_EXPIRED_MAX = 64, /* assemblies given up in one turn */
    SWEPT_MAX = 64, /* assemblies looked at when room is short */
    BUSY_WAIT_MS = 20,
};
/* So long after a request was refused its other parts are passed over in silence. */
#define REFUSED_NS (TAEL_NS_PER_S / 200)
/* Between looks at whose peers are gone. */
#define SWEEP_NS (TAEL_NS_PER_S / 1000)
static_assert(1u << (CLASSES - 1) == TAEL_PARTS_MAX, "the largest request has a class");

struct tael_datagram_reassembly {
    struct tael_datagram_reassembly_options options;
    struct tael_datagram_peers *peers;
    const struct tael_datagram_sender *sender;
    uint32_t parts;
    uint64_t swept_ns;
    struct tael_datagram_assembly *free[CLASSES];
    struct tael_datagram_assembly **chains;
    uint32_t mask;
    struct tael_list idle;
    struct tael_list age;
    struct tael_list waiting;
};

/* --- memory --- */

/* The least that has all these parts. */
static uint32_t class_of(uint32_t part_count) {
    TAEL_ASSERT(part_count >= 2);
    return 32 - (uint32_t)__builtin_clz(part_count - 1);
}

/* As many as can be in use at once: each has more than half of its parts. */
static uint32_t class_count(const struct tael_datagram_reassembly_options *options, uint32_t size_class) {
    return options->parts_max / ((1u << (size_class - 1)) + 1);
}

static uint32_t chains_count(const struct tael_datagram_reassembly_options *options) {
    return tael_power_of_two(options->parts_max / 2);
}

size_t tael_datagram_reassembly_size_bytes(const struct tael_datagram_reassembly_options *options) {
    size_t size = tael_arena_share(sizeof(struct tael_datagram_reassembly)) +
                  tael_arena_share(chains_count(options) * sizeof(struct tael_datagram_assembly *));
    for (uint32_t i = 1; i < CLASSES; i++) {
        const size_t count = class_count(options, i);
        const size_t parts = count << i;
        size += tael_arena_share(count * sizeof(struct tael_datagram_assembly)) +
                tael_arena_share(parts * sizeof(struct tael_part)) + tael_arena_share(parts * sizeof(void *)) +
                tael_arena_share(parts * sizeof(uint64_t));
    }
    return size;
}

static void class_init(struct tael_datagram_reassembly *reassembly, struct tael_arena *arena, uint32_t size_class) {
    const size_t count = class_count(&reassembly->options, size_class);
    const size_t each = (size_t)1 << size_class;
    struct tael_datagram_assembly *assemblies = tael_arena_take(arena, count * sizeof *assemblies);
    struct tael_part *parts = tael_arena_take(arena, count * each * sizeof *parts);
    void **buffers = tael_arena_take(arena, count * each * sizeof *buffers);
    uint64_t *checksums = tael_arena_take(arena, count * each * sizeof *checksums);
    for (size_t i = 0; i < count; i++) {
        assemblies[i] = (struct tael_datagram_assembly){
            .size_class = (uint8_t)size_class,
            .parts = parts + i * each,
            .buffers = buffers + i * each,
            .checksums = checksums + i * each,
            .next = i + 1 < count ? &assemblies[i + 1] : NULL,
        };
        tael_list_init(&assemblies[i].said);
        tael_list_init(&assemblies[i].idle);
        tael_list_init(&assemblies[i].age);
        tael_list_init(&assemblies[i].waiting);
    }
    reassembly->free[size_class] = count > 0 ? assemblies : NULL;
}

struct tael_datagram_reassembly *tael_datagram_reassembly_init(struct tael_arena *arena,
                                                               const struct tael_datagram_reassembly_options *options,
                                                               struct tael_datagram_peers *peers,
                                                               const struct tael_datagram_sender *sender) {
    TAEL_ASSERT(options->parts_max >=
                4 * TAEL_PARTS_MAX); /* so that any request has room, once nothing else is there */
    TAEL_ASSERT(options->window >= 4);
    struct tael_datagram_reassembly *reassembly = tael_arena_take(arena, sizeof *reassembly);
    reassembly->options = *options;
    reassembly->peers = peers;
    reassembly->sender = sender;
    reassembly->mask = chains_count(options) - 1;
    reassembly->chains = tael_arena_take(arena, chains_count(options) * sizeof(struct tael_datagram_assembly *));
    tael_list_init(&reassembly->idle);
    tael_list_init(&reassembly->age);
    tael_list_init(&reassembly->waiting);
    for (uint32_t i = 1; i < CLASSES; i++) class_init(reassembly, arena, i);
    return reassembly;
}

/* --- finding --- */

static struct tael_datagram_assembly **chain_of(struct tael_datagram_reassembly *reassembly, tael_connection connection,
                                                const struct tael_datagram *header) {
    const uint64_t key[5] = {connection, tael_u128_low(header->client), tael_u128_high(header->client), header->token,
                             header->slot};
    return &reassembly
                ->chains[(uint32_t)XXH3_64bits_withSeed(key, sizeof key, reassembly->options.seed) & reassembly->mask];
}

/* What stands in this session's slot at this peer: named by all that a stranger cannot guess. */
static struct tael_datagram_assembly *slot_find(struct tael_datagram_reassembly *reassembly, tael_connection connection,
                                                const struct tael_datagram *header) {
    struct tael_datagram_assembly *assembly = *chain_of(reassembly, connection, header);
    for (; assembly != NULL; assembly = assembly->next) {
        const struct tael_datagram *own = &assembly->header;
        const bool same_session = own->client == header->client && own->token == header->token;
        if (assembly->connection == connection && same_session && own->slot == header->slot) return assembly;
    }
    return NULL;
}

struct tael_datagram_assembly *tael_datagram_reassembly_find(struct tael_datagram_reassembly *reassembly,
                                                             const struct tael_datagram_peer *peer,
                                                             const struct tael_datagram *header) {
    if (peer->parts == 0) return NULL;
    const tael_connection connection = tael_datagram_peers_handle(reassembly->peers, peer);
    struct tael_datagram_assembly *assembly = slot_find(reassembly, connection, header);
    return assembly != NULL && assembly->header.request == header->request ? assembly : NULL;
}

/* --- beginning and end --- */

/* Another request takes its place; if it is lent, it lives on until it comes back. */
static void supersede(struct tael_datagram_reassembly *reassembly, struct tael_datagram_assembly *assembly) {
    TAEL_ASSERT(assembly->findable);
    struct tael_datagram_assembly **link = chain_of(reassembly, assembly->connection, &assembly->header);
    while (*link != assembly) link = &(*link)->next;
    *link = assembly->next;
    assembly->next = NULL;
    assembly->findable = false;
}

/* Its parts no longer count among those that the client has to be told of. */
static void said(struct tael_datagram_peer *peer, struct tael_datagram_assembly *assembly) {
    tael_list_remove(&assembly->said);
    if (peer != NULL) {
        TAEL_ASSERT(peer->parts_unsaid >= assembly->unsaid);
        peer->parts_unsaid -= assembly->unsaid;
    }
    assembly->unsaid = 0;
}

void tael_datagram_reassembly_free(struct tael_datagram_reassembly *reassembly,
                                   struct tael_datagram_assembly *assembly) {
    const struct tael_carrier *carrier = &reassembly->sender->carrier;
    struct tael_datagram_peer *peer = tael_datagram_peers_get(reassembly->peers, assembly->connection);
    TAEL_ASSERT(assembly->state != TAEL_ASSEMBLY_FREE);
    if (assembly->findable) supersede(reassembly, assembly);
    said(peer, assembly);
    for (uint32_t i = 0; i < assembly->part_count; i++) {
        if (tael_part_set_has(&assembly->there, i)) carrier->release(carrier->context, assembly->buffers[i]);
    }
    tael_list_remove(&assembly->idle);
    tael_list_remove(&assembly->age);
    tael_list_remove(&assembly->waiting);
    TAEL_ASSERT(reassembly->parts >= assembly->part_count);
    reassembly->parts -= assembly->part_count;
    if (peer != NULL) {
        TAEL_ASSERT(peer->parts >= assembly->part_count);
        peer->parts -= assembly->part_count;
    }
    assembly->state = TAEL_ASSEMBLY_FREE;
    assembly->next = reassembly->free[assembly->size_class];
    reassembly->free[assembly->size_class] = assembly;
}

void tael_datagram_reassembly_lend(struct tael_datagram_assembly *assembly) {
    TAEL_ASSERT(assembly->state == TAEL_ASSEMBLY_WHOLE);
    assembly->state = TAEL_ASSEMBLY_LENT;
    tael_list_remove(&assembly->idle);
    tael_list_remove(&assembly->age);
    tael_list_remove(&assembly->waiting);
}

static struct tael_datagram common_header(const struct tael_datagram_view *view) {
    struct tael_datagram header = view->header;
    header.checksum = 0;
    header.part = 0;
    return header;
}

/* Gives up what nobody can complete any more, since its peer is forgotten. */
static void sweep(struct tael_datagram_reassembly *reassembly, uint64_t now_ns) {
    if (now_ns - reassembly->swept_ns < SWEEP_NS) return;
    reassembly->swept_ns = now_ns;
    struct tael_list *link = reassembly->idle.next;
    for (uint32_t i = 0; i < SWEPT_MAX && link != &reassembly->idle; i++) {
        struct tael_datagram_assembly *assembly = TAEL_CONTAINER_OF(link, struct tael_datagram_assembly, idle);
        link = link->next;
        if (tael_datagram_peers_get(reassembly->peers, assembly->connection) != NULL) continue;
        reassembly->sender->counters->assemblies_expired++;
        tael_datagram_reassembly_free(reassembly, assembly);
    }
}

/* Sets room aside for a request; NULL when there is none. */
static struct tael_datagram_assembly *begin(struct tael_datagram_reassembly *reassembly,
                                            struct tael_datagram_peer *peer, const struct tael_datagram_view *view,
                                            uint64_t now_ns) {
    if (view->part_count > reassembly->options.parts_max - reassembly->parts) sweep(reassembly, now_ns);
    const uint32_t room = reassembly->options.parts_max - reassembly->parts;
    const uint32_t peers_room = reassembly->options.parts_max / 4 - peer->parts;
    if (view->part_count > room || view->part_count > peers_room) return NULL;
    const uint32_t size_class = class_of(view->part_count);
    struct tael_datagram_assembly *assembly = reassembly->free[size_class];
    TAEL_ASSERT(assembly != NULL); /* there are as many as there can be room for */
    reassembly->free[size_class] = assembly->next;
    reassembly->parts += view->part_count;
    peer->parts += view->part_count;
    assembly->header = common_header(view);
    assembly->connection = tael_datagram_peers_handle(reassembly->peers, peer);
    assembly->state = TAEL_ASSEMBLY_PARTIAL;
    assembly->findable = true;
    assembly->part_count = view->part_count;
    assembly->arrived = 0;
    assembly->unsaid = 0;
    tael_part_set_clear(&assembly->there);
    assembly->begun_ns = now_ns;
    tael_list_append(&reassembly->age, &assembly->age);
    struct tael_datagram_assembly **chain = chain_of(reassembly, assembly->connection, &assembly->header);
    assembly->next = *chain;
    *chain = assembly;
    return assembly;
}

/* --- telling --- */

void tael_datagram_reassembly_tell(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                                   struct tael_datagram_assembly *assembly) {
    struct tael_datagram_have have = {.window = reassembly->options.window, .parts = (uint16_t)assembly->part_count};
    memcpy(have.bits, &assembly->there, sizeof have.bits);
    said(peer, assembly);
    reassembly->sender->counters->haves++;
    (void)tael_datagram_answer(reassembly->sender, &peer->endpoint, &assembly->header, TAEL_DATAGRAM_HAVE_REQUEST,
                               &have, sizeof have);
}

/* Every assembly here has an unsaid part, so there are no more than a quarter of the window. */
static void tell_all(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer) {
    struct tael_list *link;
    while ((link = tael_list_first(&peer->unsaid)) != NULL) {
        tael_datagram_reassembly_tell(reassembly, peer, TAEL_CONTAINER_OF(link, struct tael_datagram_assembly, said));
    }
    TAEL_ASSERT(peer->parts_unsaid == 0);
}

/* --- parts --- */

static void part_keep(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                      struct tael_datagram_assembly *assembly, const struct tael_datagram_view *view, void *buffer,
                      uint64_t now_ns) {
    const uint32_t part = view->header.part;
    assembly->parts[part] = (struct tael_part){.data = view->part, .size = view->part_size};
    assembly->buffers[part] = buffer;
    assembly->checksums[part] = view->header.checksum;
    tael_part_set_add(&assembly->there, part);
    assembly->arrived++;
    assembly->heard_ns = now_ns;
    tael_list_append(&reassembly->idle, &assembly->idle);
    if (assembly->unsaid == 0) tael_list_append(&peer->unsaid, &assembly->said);
    assembly->unsaid++;
    peer->parts_unsaid++;
    reassembly->sender->counters->parts++;
    if (assembly->arrived == assembly->part_count) {
        reassembly->sender->counters->assembled++;
        assembly->state = TAEL_ASSEMBLY_WHOLE;
        tael_list_append(&reassembly->waiting, &assembly->waiting);
    }
    if (peer->parts_unsaid >= reassembly->options.window / 4) tell_all(reassembly, peer);
}

/* Once for all parts that were sent together. */
static void refuse(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                   const struct tael_datagram *header, uint64_t now_ns) {
    const bool same = peer->refused_request == header->request && peer->refused_slot == header->slot;
    if (same && peer->refused_ns != 0 && now_ns - peer->refused_ns < REFUSED_NS) return;
    peer->refused_ns = now_ns;
    peer->refused_request = header->request;
    peer->refused_slot = header->slot;
    reassembly->sender->counters->busy_parts++;
    (void)tael_datagram_notify(reassembly->sender, &peer->endpoint, header, TAEL_NOTICE_BUSY_PARTS, BUSY_WAIT_MS);
}

/* The assembly that a part belongs to, begun where there is none; NULL: it is not wanted. */
static struct tael_datagram_assembly *assembly_for(struct tael_datagram_reassembly *reassembly,
                                                   struct tael_datagram_peer *peer,
                                                   const struct tael_datagram_view *view, uint64_t now_ns) {
    struct tael_datagram_counters *counters = reassembly->sender->counters;
    const tael_connection connection = tael_datagram_peers_handle(reassembly->peers, peer);
    struct tael_datagram_assembly *assembly = slot_find(reassembly, connection, &view->header);
    if (assembly != NULL && view->header.request < assembly->header.request) {
        counters->parts_old++;
        return NULL;
    }
    if (assembly != NULL && view->header.request > assembly->header.request) {
        tael_datagram_reassembly_newer(reassembly, peer, &view->header);
        assembly = NULL;
    }
    if (assembly == NULL) {
        assembly = begin(reassembly, peer, view, now_ns);
        if (assembly == NULL) refuse(reassembly, peer, &view->header, now_ns);
        return assembly;
    }
    const struct tael_datagram header = common_header(view);
    if (memcmp(&header, &assembly->header, sizeof header) == 0) return assembly;
    counters->parts_disagreeing++;
    return NULL;
}

bool tael_datagram_reassembly_take(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                                   const struct tael_datagram_view *view, void *buffer, uint64_t now_ns) {
    TAEL_ASSERT(view->part_count > 1);
    struct tael_datagram_assembly *assembly = assembly_for(reassembly, peer, view, now_ns);
    if (assembly == NULL) return false;
    if (tael_part_set_has(&assembly->there, view->header.part)) {
        reassembly->sender->counters->parts_repeated++;
        return false;
    }
    part_keep(reassembly, peer, assembly, view, buffer, now_ns);
    return true;
}

void tael_datagram_reassembly_newer(struct tael_datagram_reassembly *reassembly, const struct tael_datagram_peer *peer,
                                    const struct tael_datagram *header) {
    if (peer->parts == 0) return;
    struct tael_datagram_assembly *assembly =
        slot_find(reassembly, tael_datagram_peers_handle(reassembly->peers, peer), header);
    if (assembly == NULL || assembly->header.request >= header->request) return;
    if (assembly->state == TAEL_ASSEMBLY_LENT) {
        supersede(reassembly, assembly);
    } else {
        reassembly->sender->counters->assemblies_replaced++;
        tael_datagram_reassembly_free(reassembly, assembly);
    }
}

struct tael_datagram_assembly *tael_datagram_reassembly_waiting(struct tael_datagram_reassembly *reassembly) {
    struct tael_list *link = tael_list_first(&reassembly->waiting);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_datagram_assembly, waiting);
}

void tael_datagram_reassembly_wait(struct tael_datagram_reassembly *reassembly,
                                   struct tael_datagram_assembly *assembly) {
    TAEL_ASSERT(assembly->state == TAEL_ASSEMBLY_WHOLE);
    tael_list_append(&reassembly->waiting, &assembly->waiting);
}

uint64_t tael_datagram_reassembly_identity(const struct tael_datagram_assembly *assembly) {
    TAEL_ASSERT(assembly->arrived == assembly->part_count);
    return XXH3_64bits(assembly->checksums, assembly->part_count * sizeof(uint64_t));
}

/* --- time --- */

static struct tael_datagram_assembly *first_idle(const struct tael_datagram_reassembly *reassembly) {
    struct tael_list *link = tael_list_first(&reassembly->idle);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_datagram_assembly, idle);
}

static struct tael_datagram_assembly *first_begun(const struct tael_datagram_reassembly *reassembly) {
    struct tael_list *link = tael_list_first(&reassembly->age);
    return link == NULL ? NULL : TAEL_CONTAINER_OF(link, struct tael_datagram_assembly, age);
}

/* The one whose time is over; NULL when there is none. */
static struct tael_datagram_assembly *expired(const struct tael_datagram_reassembly *reassembly, uint64_t now_ns) {
    struct tael_datagram_assembly *assembly = first_idle(reassembly);
    if (assembly == NULL) return NULL;
    if (now_ns - assembly->heard_ns >= TAEL_ASSEMBLY_IDLE_NS) return assembly;
    assembly = first_begun(reassembly);
    return now_ns - assembly->begun_ns >= TAEL_ASSEMBLY_AGE_NS ? assembly : NULL;
}

uint32_t tael_datagram_reassembly_expire(struct tael_datagram_reassembly *reassembly, uint64_t now_ns) {
    uint32_t count = 0;
    struct tael_datagram_assembly *assembly;
    while (count < TURN_EXPIRED_MAX && (assembly = expired(reassembly, now_ns)) != NULL) {
        reassembly->sender->counters->assemblies_expired++;
        tael_datagram_reassembly_free(reassembly, assembly);
        count++;
    }
    return count;
}

uint64_t tael_datagram_reassembly_deadline_ns(const struct tael_datagram_reassembly *reassembly) {
    const struct tael_datagram_assembly *idle = first_idle(reassembly);
    if (idle == NULL) return UINT64_MAX;
    const uint64_t idle_ns = idle->heard_ns + TAEL_ASSEMBLY_IDLE_NS;
    const uint64_t age_ns = first_begun(reassembly)->begun_ns + TAEL_ASSEMBLY_AGE_NS;
    return idle_ns < age_ns ? idle_ns : age_ns;
}

void tael_datagram_reassembly_close(struct tael_datagram_reassembly *reassembly) {
    struct tael_datagram_assembly *assembly;
    while ((assembly = first_begun(reassembly)) != NULL) tael_datagram_reassembly_free(reassembly, assembly);
}

uint32_t tael_datagram_reassembly_parts(const struct tael_datagram_reassembly *reassembly) { return reassembly->parts; }
