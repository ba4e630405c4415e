/* The model of a sequencer: what docs/datagram-protocol.md says of a slot's numbers, and what goes on behind. Messages are released
 * before or after their replies, both at random times. */
#include <string.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>

#include "tests/sim/datagram_sim.h"

static struct sim_task *task_new(struct sim *sim, uint64_t later_max_ns) {
    TAEL_ASSERT(sim->task_count < SIM_TASKS_MAX);
    struct sim_task *task = &sim->tasks[sim->task_count++];
    *task = (struct sim_task){.due_ns = sim->rig.now_ns + test_random_below(&sim->random, later_max_ns)};
    return task;
}

static void release_later(struct sim *sim, struct tael_message *message) { task_new(sim, RIG_MS)->release = message; }

static struct sim_task *answer_later(struct sim *sim, const struct tael_message *message) {
    /* Mostly as fast as a disk; now and then a client loses patience. */
    struct sim_task *task = task_new(sim, test_random_once_in(&sim->random, 20) ? 200 * RIG_MS : RIG_MS);
    task->names = *message;
    return task;
}

static void notice_later(struct sim *sim, const struct tael_message *message, enum tael_datagram_notice_code code) {
    answer_later(sim, message)->notice = (uint16_t)code;
}

/* All bytes of a body are those that its client's request has. */
static void body_check(struct sim *sim, const struct tael_message *message, const struct sim_request *request) {
    uint8_t *expected = sim->scratch;
    uint32_t at = 0;
    sim_body_fill(request, expected);
    const uint32_t trailer = request->is_read ? 16 : 0;
    TAEL_ASSERT(message->body_size == request->body_size + trailer);
    TAEL_ASSERT(message->is_one_batch == !request->is_read);
    if (request->is_read) {
        TAEL_ASSERT(message->part_count == 1);
        TAEL_ASSERT((uintptr_t)message->parts[0].data % 16 == 0);
        TAEL_ASSERT(tael_multi_batch_u16(message->parts[0].data + message->body_size - 2) == 1);
    }
    for (uint32_t i = 0; i < message->part_count; i++) {
        const uint32_t left = request->body_size - at;
        const uint32_t size = message->parts[i].size < left ? message->parts[i].size : left;
        TAEL_ASSERT(memcmp(message->parts[i].data, expected + at, size) == 0);
        at += size;
    }
    TAEL_ASSERT(at == request->body_size);
}

/* --- requests --- */

static void take_register(struct sim *sim, struct sim_session *session, const struct tael_message *message) {
    TAEL_ASSERT(message->request == 0);
    if (!session->open) {
        session->open = true;
        session->token = message->token;
        session->register_checksum = message->checksum;
    }
    TAEL_ASSERT(session->register_checksum == message->checksum);
    struct sim_task *task = answer_later(sim, message);
    task->names.token = session->token;
    task->op = 1;
    task->reply_size = sizeof(struct tael_datagram_registered);
}

static void kept_reply(struct sim *sim, const struct tael_message *message, struct sim_kept *kept) {
    struct sim_task *task = answer_later(sim, message);
    task->op = kept->op;
    task->reply_size = kept->reply_size;
    task->kept = kept;
}

/* What was there before under this number, or later ones. True: that is the answer. */
static bool take_known(struct sim *sim, const struct tael_message *message, struct sim_kept *kept) {
    if (!kept->any || message->request > kept->last) return false;
    if (message->request < kept->last) {
        notice_later(sim, message, TAEL_NOTICE_TOO_OLD);
    } else if (kept->answered) {
        kept_reply(sim, message, kept);
    } else if (message->kind == TAEL_MESSAGE_POLL) {
        notice_later(sim, message, TAEL_NOTICE_EXECUTING);
    }
    return true;
}

static void execute(struct sim *sim, uint32_t client, const struct tael_message *message, struct sim_kept *kept) {
    const struct sim_request request = sim_request_of(client, message->slot, message->request);
    body_check(sim, message, &request);
    struct sim_task *task = answer_later(sim, message);
    task->op = ++sim->op;
    task->reply_size = request.reply_size;
    if (request.is_read) return;
    uint32_t *executed = &sim->executed[client][message->slot][message->request];
    TAEL_ASSERT(*executed == 0);
    (*executed)++;
    *kept = (struct sim_kept){.last = message->request,
                              .any = true,
                              .checksum = message->checksum,
                              .op = task->op,
                              .reply_size = request.reply_size};
    task->kept = kept;
}

static void take(struct sim *sim, const struct tael_message *message) {
    TAEL_ASSERT(message->client >= 1000);
    TAEL_ASSERT(message->client < 1000 + sim->client_count);
    TAEL_ASSERT(message->token != 0);
    const uint32_t client = (uint32_t)(message->client - 1000);
    struct sim_session *session = &sim->sessions[client];
    if (message->kind == TAEL_MESSAGE_REQUEST && message->operation == TAEL_OPERATION_register) {
        take_register(sim, session, message);
        return;
    }
    TAEL_ASSERT(session->open);
    TAEL_ASSERT(message->token == session->token);
    TAEL_ASSERT(message->slot < SIM_SLOTS_MAX);
    struct sim_kept *kept = &session->kept[message->slot];
    if (take_known(sim, message, kept)) {
        TAEL_ASSERT(message->kind == TAEL_MESSAGE_POLL || message->request != kept->last ||
                    message->checksum == kept->checksum);
        return;
    }
    if (message->kind == TAEL_MESSAGE_POLL) {
        notice_later(sim, message, TAEL_NOTICE_UNSEEN);
    } else if (test_random_percent(&sim->random, sim->busy)) {
        notice_later(sim, message, TAEL_NOTICE_BUSY_TRANSFERS);
    } else {
        execute(sim, client, message, kept);
    }
}

/* --- time --- */

/* False: it has to be tried again. */
static bool task_do(struct sim *sim, struct sim_task *task) {
    if (task->release != NULL) {
        rig_release(&sim->rig, task->release);
        return true;
    }
    if (task->notice != 0) {
        const bool waits = task->notice >= TAEL_NOTICE_BUSY && task->notice < TAEL_NOTICE_TOO_OLD;
        return rig_notice(&sim->rig, &task->names, task->notice, waits ? 50 : 0);
    }
    if (!rig_reply(&sim->rig, &task->names, task->reply_size, task->op)) return false;
    if (task->kept != NULL && task->kept->op == task->op) task->kept->answered = true;
    return true;
}

void sim_sequencer_turn(struct sim *sim) {
    struct tael_message *message;
    while (sim->task_count + 2 <= SIM_TASKS_MAX && (message = tael_ring_pop(&sim->rig.link.requests)) != NULL) {
        take(sim, message);
        release_later(sim, message);
    }
    for (uint32_t i = 0; i < sim->task_count;) {
        if (sim->tasks[i].due_ns > sim->rig.now_ns || !task_do(sim, &sim->tasks[i])) {
            i++;
            continue;
        }
        sim->tasks[i] = sim->tasks[--sim->task_count];
    }
}

uint64_t sim_sequencer_due_ns(const struct sim *sim) {
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < sim->task_count; i++) {
        if (sim->tasks[i].due_ns < due) due = sim->tasks[i].due_ns;
    }
    return due;
}
