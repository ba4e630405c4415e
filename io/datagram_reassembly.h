/* Puts requests together from their parts, in the packet buffers in which they arrived.
 *
 * An assembly is one session's in one slot at one peer. Room for all its parts is set aside when the first one comes: of all there is,
 * and of the quarter of it that one peer may take; who gets no room is told so, and nothing of it is kept. An assembly goes on as
 * long as new parts come, and is given up a second after the last one, or ten after the first. One that is whole is lent to the
 * sequencer with its buffers until that has taken what it needs; while there is no way to lend it, it waits.
 *
 * Memory: for each power of two up to TAEL_PARTS_MAX there are as many assemblies of so many parts as can have room set aside at
 * once, so one is always there, and nothing is ever fragmented.
 *
 * Owned by one thread. Pure; no allocation after init. */
#ifndef TAEL_IO_DATAGRAM_REASSEMBLY_H
#define TAEL_IO_DATAGRAM_REASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/link.h>

#include "io/datagram_peers.h"
#include "io/datagram_sender.h"
#include "io/part_set.h"

/* Without a new part, and in all. */
#define TAEL_ASSEMBLY_IDLE_NS TAEL_NS_PER_S
#define TAEL_ASSEMBLY_AGE_NS (10 * TAEL_NS_PER_S)

enum tael_datagram_assembly_state {
    TAEL_ASSEMBLY_FREE = 0,
    TAEL_ASSEMBLY_PARTIAL, /* some parts are there */
    TAEL_ASSEMBLY_WHOLE, /* all are: to be lent, or given up */
    TAEL_ASSEMBLY_LENT, /* the sequencer reads them */
};

struct tael_datagram_assembly {
    struct tael_datagram header; /* of all its parts; checksum and part are 0 */
    tael_connection connection;
    uint8_t state; /* enum tael_datagram_assembly_state */
    uint8_t size_class; /* room for 2^size_class parts */
    bool findable; /* not superseded */
    uint32_t part_count;
    uint32_t arrived;
    uint32_t unsaid; /* of those, since the client was last told */
    struct tael_part_set there;
    struct tael_part *parts;
    void **buffers;
    uint64_t *checksums; /* of the parts' datagrams */
    uint64_t begun_ns;
    uint64_t heard_ns; /* the last new part */
    struct tael_datagram_assembly *next; /* in its chain, or free */
    struct tael_list said; /* among its peer's `unsaid` */
    struct tael_list idle; /* by heard_ns, while it is not lent */
    struct tael_list age; /* by begun_ns, likewise */
    struct tael_list waiting; /* whole, and not lent yet */
};

struct tael_datagram_reassembly;

struct tael_datagram_reassembly_options {
    uint32_t parts_max; /* packet buffers that may be kept; at least four times TAEL_PARTS_MAX */
    uint16_t window; /* parts that a client lets be on the way; a peer is told what is there after each quarter of it */
    uint64_t seed; /* random */
};

size_t tael_datagram_reassembly_size_bytes(const struct tael_datagram_reassembly_options *options);
struct tael_datagram_reassembly *tael_datagram_reassembly_init(struct tael_arena *arena,
                                                               const struct tael_datagram_reassembly_options *options,
                                                               struct tael_datagram_peers *peers,
                                                               const struct tael_datagram_sender *sender);

/* A part of a request of several has come from `peer`. True: `buffer` is kept. Once all parts are there, the assembly waits to
 * be lent. */
bool tael_datagram_reassembly_take(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                                   const struct tael_datagram_view *view, void *buffer, uint64_t now_ns);

/* The assembly of the request that `header` is about; NULL when there is none. */
struct tael_datagram_assembly *tael_datagram_reassembly_find(struct tael_datagram_reassembly *reassembly,
                                                             const struct tael_datagram_peer *peer,
                                                             const struct tael_datagram *header);

/* A request of one part with this header has come: what is half there of an older one in its slot is given up. */
void tael_datagram_reassembly_newer(struct tael_datagram_reassembly *reassembly, const struct tael_datagram_peer *peer,
                                    const struct tael_datagram *header);

/* Tells the client which parts are there. */
void tael_datagram_reassembly_tell(struct tael_datagram_reassembly *reassembly, struct tael_datagram_peer *peer,
                                   struct tael_datagram_assembly *assembly);

/* The one that has been waiting longest to be lent; NULL when none is. */
struct tael_datagram_assembly *tael_datagram_reassembly_waiting(struct tael_datagram_reassembly *reassembly);

/* It goes on waiting, behind the others. */
void tael_datagram_reassembly_wait(struct tael_datagram_reassembly *reassembly,
                                   struct tael_datagram_assembly *assembly);

/* What tells the whole request from another one: XXH3-64 of its datagrams' checksums. */
uint64_t tael_datagram_reassembly_identity(const struct tael_datagram_assembly *assembly);

/* It is lent from now on, until it is freed. */
void tael_datagram_reassembly_lend(struct tael_datagram_assembly *assembly);

/* Gives back its buffers, and forgets it. */
void tael_datagram_reassembly_free(struct tael_datagram_reassembly *reassembly,
                                   struct tael_datagram_assembly *assembly);

/* Gives up what is too old, a bounded number: how many. */
uint32_t tael_datagram_reassembly_expire(struct tael_datagram_reassembly *reassembly, uint64_t now_ns);
/* When the next one will be; UINT64_MAX: none. */
uint64_t tael_datagram_reassembly_deadline_ns(const struct tael_datagram_reassembly *reassembly);

/* Gives up all that is not lent. */
void tael_datagram_reassembly_close(struct tael_datagram_reassembly *reassembly);

/* Packet buffers that are set aside or kept. */
uint32_t tael_datagram_reassembly_parts(const struct tael_datagram_reassembly *reassembly);

#endif
