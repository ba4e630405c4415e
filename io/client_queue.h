/* The submits of a client that are not completed yet, and which of them go together in one request.
 *
 * Each submit has a slot from the time that it is taken until it is completed. Those that wait stand in order, by
 * operation. `tael_client_queue_pick` takes the oldest and those of its operation behind it that fit into the same
 * request: as its parts, each a sub-batch of its own.
 *
 * 1. A slot is free, waiting, or a part of one request; nothing is allocated after init.
 * 2. A request's body and the largest reply that it can have fit into a message.
 *
 * Pure but for the memory. Whoever owns it holds a lock: any thread pushes, one picks and frees. */
#ifndef TAEL_IO_CLIENT_QUEUE_H
#define TAEL_IO_CLIENT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/client.h>
#include <tael/limits.h>

#define TAEL_CLIENT_SLOT_NONE UINT32_MAX
#define TAEL_CLIENT_PARTS_MAX TAEL_EVENTS_MAX /* submits in one request */
#define TAEL_CLIENT_OPERATIONS_MAX 16

enum tael_client_slot_state { TAEL_CLIENT_SLOT_FREE, TAEL_CLIENT_SLOT_WAITING, TAEL_CLIENT_SLOT_SENT };

struct tael_client_slot {
    struct tael_client_submit submit; /* with its timeout filled in */
    uint64_t deadline_ns;
    uint64_t ticket; /* counts the submits */
    uint32_t results_max; /* that its events can have */
    uint32_t next, previous; /* among those of its operation that wait; next also among the free */
    uint32_t lane, part; /* where it was sent: the owner's, written by it */
    enum tael_client_slot_state state;
};

/* A submit as a part of a request. Completion and context are copies: the slot is free again when they are called. */
struct tael_client_part {
    uint32_t slot; /* TAEL_CLIENT_SLOT_NONE: completed before its time, by its deadline */
    uint32_t event_count;
    tael_client_completion completion;
    void *context;
};

struct tael_client_fifo {
    uint32_t first, last;
};

struct tael_client_queue {
    struct tael_client_slot *slots;
    uint32_t slots_max;
    uint32_t free; /* first */
    uint32_t taken; /* slots that are not free */
    uint32_t waiting;
    uint64_t ticket; /* of the next submit */
    uint64_t deadline_ns; /* no slot's deadline is earlier */
    struct tael_client_fifo fifos[TAEL_CLIENT_OPERATIONS_MAX];
};

/* -ENOMEM: nothing is taken. */
int tael_client_queue_init(struct tael_client_queue *queue, uint32_t slots_max);
void tael_client_queue_free(struct tael_client_queue *queue);

/* Whether a submit can be a request: 0, -EINVAL or -EMSGSIZE, as tael_client_submit says; and how many results it can have. */
int tael_client_submit_check(const struct tael_client_submit *submit, uint32_t *results_max);

/* Takes a checked submit, whose timeout is filled in; false when there is no free slot. */
bool tael_client_queue_push(struct tael_client_queue *queue, const struct tael_client_submit *submit,
                            uint32_t results_max, uint64_t deadline_ns);

/* Takes what goes together in the next request, in the order of its submits. There must be something waiting. With
 * `in_order` no submit overtakes another one. Returns the number of parts. */
uint32_t tael_client_queue_pick(struct tael_client_queue *queue, bool in_order, uint32_t lane,
                                struct tael_client_part parts[static TAEL_CLIENT_PARTS_MAX]);

/* Puts the parts of a request that was not executed back where they were taken from. */
void tael_client_queue_put_back(struct tael_client_queue *queue, const struct tael_client_part *parts, uint32_t count);

/* Takes a waiting submit out, which keeps its slot. */
void tael_client_queue_remove(struct tael_client_queue *queue, uint32_t slot);

void tael_client_queue_release(struct tael_client_queue *queue, uint32_t slot);

/* The first slot from `from` on, in no order, that is not free and whose deadline has come; TAEL_CLIENT_SLOT_NONE after the last.
 * A round that begins with 0 and goes on behind each slot it got brings deadline_ns up to date. */
uint32_t tael_client_queue_expired(struct tael_client_queue *queue, uint32_t from, uint64_t now_ns);

#endif
