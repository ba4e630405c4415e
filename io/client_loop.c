/* The client library's thread; see client_internal.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <tael/multi_batch.h>

#include "io/client_internal.h"

#define NS_PER_MS 1000000ull
#define REOPEN_AFTER_NS TAEL_NS_PER_S /* after the server refused a session */
enum { EVENTS_PER_WAKE = 64 };

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Relaxed: one writer, and a number by itself. */
static void count(_Atomic uint64_t *counter, uint64_t by) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static void list_push(struct tael_client_lanes *list, uint32_t lane) { list->lanes[list->count++] = lane; }
static uint32_t list_pop(struct tael_client_lanes *list) { return list->lanes[--list->count]; }

static uint32_t lane_index(const struct tael_client *client, const struct tael_client_lane *lane) {
    return (uint32_t)(lane - client->lanes);
}

/* --- completing --- */

__attribute__((format(printf, 2, 3))) static void why_set(struct tael_client *client, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->why, sizeof client->why, format, arguments);
    va_end(arguments);
}

/* Calls the completion of a part whose slot is free. */
static void part_complete(struct tael_client *client, const struct tael_client_part *part,
                          struct tael_client_result result) {
    count(&client->submits, 1);
    result.why = result.status == 0 ? "" : client->why;
    part->completion(part->context, &result);
}

/* Frees the slots of the parts that are left. With them the lane has nothing of the queue any more. */
static void slots_release(struct tael_client *client, const struct tael_client_lane *lane) {
    tael_client_lock(client);
    for (uint32_t i = 0; i < lane->parts_count; i++) {
        if (lane->parts[i].slot != TAEL_CLIENT_SLOT_NONE)
            tael_client_queue_release(&client->queue, lane->parts[i].slot);
    }
    if (client->waiters > 0) pthread_cond_broadcast(&client->room);
    tael_client_unlock(client);
}

/* Completes all that is left of a lane's request with one error, whose reason stands in client->why. */
static void lane_fail(struct tael_client *client, struct tael_client_lane *lane, int status) {
    slots_release(client, lane);
    for (uint32_t i = 0; i < lane->parts_count; i++) {
        const struct tael_client_part *part = &lane->parts[i];
        if (part->slot != TAEL_CLIENT_SLOT_NONE) {
            part_complete(client, part, (struct tael_client_result){.status = status});
        }
    }
    lane->parts_count = 0;
    lane->parts_live = 0;
}

/* The session of a lane without parts is idle or closed: puts the lane where it belongs. */
static void lane_file(struct tael_client *client, struct tael_client_lane *lane) {
    TAEL_ASSERT(lane->parts_live == 0);
    lane->parts_count = 0;
    const bool is_idle = lane->link->phase == TAEL_CLIENT_IDLE;
    TAEL_ASSERT(is_idle || lane->link->phase == TAEL_CLIENT_CLOSED);
    list_push(is_idle ? &client->idle : &client->closed, lane_index(client, lane));
}

/* The reply's results, part by part, as a multi-batch body says it or as the only batch of a bare one. */
static bool reply_decode(const struct tael_client_lane *lane, const struct tael_client_answer *answer,
                         struct tael_multi_batch *out) {
    const struct tael_operation_info info = tael_operation_info(lane->operation);
    const uint32_t body_size = answer->body_size;
    if (!info.multi_batch) {
        *out = (struct tael_multi_batch){.payload = answer->body, .element_count = body_size / info.result_size};
        return body_size % info.result_size == 0;
    }
    if (tael_multi_batch_decode(answer->body, body_size, info.result_size, out) != TAEL_MULTI_BATCH_OK) return false;
    if (out->batch_count != lane->parts_count) return false;
    if (info.kind != TAEL_OPERATION_CREATE || tael_operation_is_sparse(lane->operation)) return true;
    for (uint32_t i = 0; i < lane->parts_count; i++) {
        if (tael_multi_batch_count(out, i) != lane->parts[i].event_count) return false;
    }
    return true;
}

static void lane_answered(struct tael_client *client, struct tael_client_lane *lane) {
    const struct tael_operation_info info = tael_operation_info(lane->operation);
    const struct tael_client_answer answer = lane->link->operations->answer(lane->link);
    struct tael_multi_batch results;
    if (!reply_decode(lane, &answer, &results)) {
        why_set(client, "the body of the server's reply to %s is wrong", info.name);
        lane->link->operations->end(lane->link);
        lane_fail(client, lane, -EPROTO);
        lane_file(client, lane);
        return;
    }
    count(&client->requests, 1);
    slots_release(client, lane);
    const uint8_t *place = results.payload;
    for (uint32_t i = 0; i < lane->parts_count; i++) {
        const uint32_t batch = info.multi_batch ? tael_multi_batch_count(&results, i) : results.element_count;
        const struct tael_client_result result = {
            .count = batch, .results = place, .op = answer.op, .timestamp = answer.timestamp};
        if (lane->parts[i].slot != TAEL_CLIENT_SLOT_NONE) part_complete(client, &lane->parts[i], result);
        place += (size_t)batch * info.result_size;
    }
    lane->parts_live = 0;
    lane->link->operations->release(lane->link);
    lane_file(client, lane);
}

/* --- sending --- */

static void lane_send(struct tael_client *client, struct tael_client_lane *lane) {
    const struct tael_operation_info info = tael_operation_info(lane->operation);
    uint8_t *body = lane->link->operations->body(lane->link);
    uint16_t counts[TAEL_CLIENT_PARTS_MAX];
    uint32_t size = 0;
    uint64_t deadline_ns = TAEL_CLIENT_NEVER;
    for (uint32_t i = 0; i < lane->parts_count; i++) {
        /* Not changed by anybody while the slot is in flight. */
        const struct tael_client_slot *slot = &client->queue.slots[lane->parts[i].slot];
        const struct tael_client_submit *submit = &slot->submit;
        deadline_ns = earlier(deadline_ns, slot->deadline_ns);
        const uint32_t events_size = submit->event_count * info.event_size;
        counts[i] = (uint16_t)submit->event_count;
        if (events_size > 0) memcpy(body + size, submit->events, events_size);
        size += events_size;
    }
    const bool is_one_batch =
        lane->link->operations->takes_one_batch && info.multi_batch && lane->parts_count == 1 && size > 0;
    if (info.multi_batch && !is_one_batch) {
        size = tael_multi_batch_encode(body, size, counts, lane->parts_count, info.event_size);
    }
    lane->link->operations->request(lane->link, lane->operation, size, is_one_batch, deadline_ns, tael_client_now_ns());
}

/* Gives what waits to idle sessions. Called and returns with the mutex held. */
static void submits_assign(struct tael_client *client) {
    while (client->queue.waiting > 0 && client->idle.count > 0) {
        struct tael_client_lane *lane = &client->lanes[list_pop(&client->idle)];
        if (lane->link->phase != TAEL_CLIENT_IDLE) { /* its session has ended meanwhile */
            list_push(&client->closed, lane_index(client, lane));
            continue;
        }
        lane->parts_count =
            tael_client_queue_pick(&client->queue, client->lanes_count == 1, lane_index(client, lane), lane->parts);
        lane->parts_live = lane->parts_count;
        lane->operation = client->queue.slots[lane->parts[0].slot].submit.operation;
        tael_client_unlock(client);
        lane_send(client, lane);
        tael_client_lock(client);
    }
}

static void lane_opened(struct tael_client *client, struct tael_client_lane *lane) {
    client->opening--;
    lane->is_opening = false;
    lane_file(client, lane);
    tael_client_lock(client);
    client->opened++;
    client->is_refused = false;
    pthread_cond_broadcast(&client->changed);
    tael_client_unlock(client);
}

static void lane_open(struct tael_client *client, struct tael_client_lane *lane) {
    const uint64_t now = tael_client_now_ns();
    lane->open_until_ns = now + client->connect_timeout_ns;
    lane->is_opening = true;
    client->opening++;
    lane->link->operations->open(lane->link, now);
    if (lane->link->phase == TAEL_CLIENT_IDLE) lane_opened(client, lane);
}

/* Opens as many sessions as there are submits for which there is none. Called and returns with the mutex held. */
static void sessions_open(struct tael_client *client) {
    while (client->closed.count > 0 && client->opening < client->queue.waiting &&
           tael_client_now_ns() >= client->reopen_ns) {
        struct tael_client_lane *lane = &client->lanes[list_pop(&client->closed)];
        tael_client_unlock(client);
        lane_open(client, lane);
        tael_client_lock(client);
    }
}

/* --- deadlines --- */

const char *tael_client_sessions_trouble(const struct tael_client *client) {
    if (client->is_refused) return client->refused_why;
    for (uint32_t i = 0; i < client->lanes_count; i++) {
        const struct tael_client_link *link = client->lanes[i].link;
        const char *why = link->operations->why(link);
        if (link->phase != TAEL_CLIENT_IDLE && why[0] != '\0') return why;
    }
    return "all sessions are busy";
}

/* The status of a submit whose time is over, with the reason in client->why. */
static int expired_status(struct tael_client *client, const struct tael_client_slot *slot,
                          const struct tael_client_lane *lane) {
    char address[TAEL_ADDRESS_TEXT_SIZE];
    char trouble[TAEL_CLIENT_WHY_SIZE / 2 + 32];
    const double seconds = (double)slot->submit.timeout_ns / (double)TAEL_NS_PER_S;
    snprintf(trouble, sizeof trouble, "%s",
             lane == NULL ? tael_client_sessions_trouble(client) : lane->link->operations->trouble(lane->link));
    tael_address_format(&client->wire.address, address);
    if (lane == NULL || !lane->link->operations->was_sent(lane->link)) {
        why_set(client, "nothing could be sent to %s within %.3g s (%s)", address, seconds, trouble);
        return -EHOSTUNREACH;
    }
    if (lane->link->operations->is_certain(lane->link)) {
        why_set(client, "%s was asked for %.3g s without effect: %s", address, seconds, trouble);
        return -EBUSY;
    }
    why_set(client, "no reply from %s within %.3g s (%s)", address, seconds, trouble);
    return -ETIMEDOUT;
}

/* Completes a submit whose time is over. Called and returns with the mutex held, but not held throughout. */
static void slot_expire(struct tael_client *client, uint32_t index) {
    const struct tael_client_slot *slot = &client->queue.slots[index];
    struct tael_client_lane *lane = NULL;
    const struct tael_client_part part = {
        .slot = index, .completion = slot->submit.completion, .context = slot->submit.context};
    if (slot->state == TAEL_CLIENT_SLOT_WAITING) {
        tael_client_queue_remove(&client->queue, index);
    } else {
        lane = &client->lanes[slot->lane];
        lane->parts[slot->part].slot = TAEL_CLIENT_SLOT_NONE;
        lane->parts_live--;
        lane->has_expired = true;
    }
    const int status = expired_status(client, slot, lane);
    tael_client_queue_release(&client->queue, index);
    if (client->waiters > 0) pthread_cond_broadcast(&client->room);
    tael_client_unlock(client);
    part_complete(client, &part, (struct tael_client_result){.status = status});
    tael_client_lock(client);
}

/* What becomes of a lane some of whose submits ended by their deadline. Called with the mutex held. Where it is certain that nothing
 * was executed, those that are left go back to the queue: their request would execute the others too. */
static void lane_expired(struct tael_client *client, struct tael_client_lane *lane) {
    lane->has_expired = false;
    if (lane->link->operations->is_certain(lane->link)) {
        tael_client_queue_put_back(&client->queue, lane->parts, lane->parts_count);
        lane->link->operations->withdraw(lane->link);
    } else if (lane->parts_live == 0) {
        lane->link->operations->end(lane->link);
    } else {
        return;
    }
    lane->parts_live = 0;
    lane_file(client, lane);
}

static void deadlines_keep(struct tael_client *client, uint64_t now) {
    tael_client_lock(client);
    if (now >= client->queue.deadline_ns) {
        uint32_t index = tael_client_queue_expired(&client->queue, 0, now);
        while (index != TAEL_CLIENT_SLOT_NONE) {
            slot_expire(client, index);
            index = tael_client_queue_expired(&client->queue, index + 1, now);
        }
        for (uint32_t i = 0; i < client->lanes_count; i++) {
            if (client->lanes[i].has_expired) lane_expired(client, &client->lanes[i]);
        }
    }
    tael_client_unlock(client);
}

/* --- events --- */

/* The server refused the session: not at once again. */
static void lane_refused(struct tael_client *client, struct tael_client_lane *lane) {
    client->opening--;
    lane->is_opening = false;
    client->reopen_ns = tael_client_now_ns() + REOPEN_AFTER_NS;
    lane_file(client, lane);
    tael_client_lock(client);
    client->is_refused = true;
    snprintf(client->refused_why, sizeof client->refused_why, "%s", lane->link->operations->eviction(lane->link));
    pthread_cond_broadcast(&client->changed);
    tael_client_unlock(client);
}

void tael_client_event_take(void *context, struct tael_client_link *link, enum tael_client_event event) {
    struct tael_client *client = context;
    struct tael_client_lane *lane = &client->lanes[link->lane];
    switch (event) {
    case TAEL_CLIENT_EVENT_NONE:
        break;
    case TAEL_CLIENT_EVENT_OPENED:
        lane_opened(client, lane);
        break;
    case TAEL_CLIENT_EVENT_ANSWERED:
        lane_answered(client, lane);
        break;
    case TAEL_CLIENT_EVENT_REFUSED:
        why_set(client, "the server refused the request: %s", lane->link->operations->eviction(lane->link));
        lane_fail(client, lane, -EINVAL);
        lane_file(client, lane);
        break;
    case TAEL_CLIENT_EVENT_EVICTED:
        why_set(client, "the server ended the session: %s", lane->link->operations->eviction(lane->link));
        if (lane->is_opening) {
            lane_refused(client, lane);
        } else {
            lane_fail(client, lane, -ECONNABORTED);
            lane_file(client, lane);
        }
        break;
    }
}

/* Sessions that nobody needs any more are not asked for for ever. */
static void opening_end(struct tael_client *client, uint64_t now) {
    tael_client_lock(client);
    const bool is_needed = client->queue.waiting > 0;
    tael_client_unlock(client);
    for (uint32_t i = 0; i < client->lanes_count && !is_needed; i++) {
        struct tael_client_lane *lane = &client->lanes[i];
        if (!lane->is_opening || now < lane->open_until_ns) continue;
        client->opening--;
        lane->is_opening = false;
        lane->link->operations->end(lane->link);
        lane_file(client, lane);
    }
}

static void timers_tick(struct tael_client *client, uint64_t now) {
    if (now < client->wire.timer_ns) return;
    if (client->opening > 0) opening_end(client, now);
    client->wire.timer_ns = TAEL_CLIENT_NEVER;
    for (uint32_t i = 0; i < client->links.sources_count; i++) {
        struct tael_client_source *source = client->links.sources[i];
        if (source->timer_ns <= now) source->operations->tick(source, now);
        client->wire.timer_ns = earlier(client->wire.timer_ns, source->timer_ns);
    }
}

static void sources_flush(struct tael_client *client) {
    for (uint32_t i = 0; i < client->links.sources_count; i++) {
        struct tael_client_source *source = client->links.sources[i];
        if (source->operations->flush == NULL) return;
        source->operations->flush(source, tael_client_now_ns());
    }
}

static void wake_took(const struct tael_client *client) {
    uint64_t times;
    const ssize_t size = read(client->wake_fd, &times, sizeof times);
    TAEL_ASSERT(size == (ssize_t)sizeof times || errno == EAGAIN);
}

/* --- the thread --- */

/* Waits for the next thing to do. */
static void events_await(struct tael_client *client, uint64_t until_ns) {
    struct epoll_event events[EVENTS_PER_WAKE];
    const uint64_t before = tael_client_now_ns();
    int timeout_ms = -1;
    if (until_ns <= before) {
        timeout_ms = 0;
    } else if (until_ns != TAEL_CLIENT_NEVER) {
        const uint64_t left_ms = (until_ns - before + NS_PER_MS - 1) / NS_PER_MS;
        timeout_ms = left_ms > 60000 ? 60000 : (int)left_ms;
    }
    const int ready = epoll_wait(client->wire.epoll, events, EVENTS_PER_WAKE, timeout_ms);
    TAEL_ASSERT(ready >= 0 || errno == EINTR);
    tael_client_lock(client);
    client->asleep_until_ns = 0;
    tael_client_unlock(client);
    const uint64_t now = tael_client_now_ns();
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr == NULL) {
            wake_took(client);
        } else {
            struct tael_client_source *source = events[i].data.ptr;
            source->operations->ready(source, events[i].events, now);
        }
    }
}

/* Does what can be done at once; returns the time until which there is nothing else. False: the client is at its end. */
static bool work_assign(struct tael_client *client, uint64_t *until_ns) {
    tael_client_lock(client);
    submits_assign(client);
    sessions_open(client);
    const bool goes_on = !client->is_closing || (client->queue.taken > 0 && tael_client_now_ns() < client->close_at_ns);
    uint64_t until = earlier(client->wire.timer_ns, client->queue.deadline_ns);
    if (client->opening < client->queue.waiting && client->closed.count > 0) until = earlier(until, client->reopen_ns);
    if (client->is_closing) until = earlier(until, client->close_at_ns);
    client->asleep_until_ns = until;
    client->wants_submits = client->idle.count > 0 || client->closed.count > 0;
    tael_client_unlock(client);
    *until_ns = until;
    return goes_on;
}

/* Completes everything that is left when the client is closed. */
static void rest_fail(struct tael_client *client) {
    for (uint32_t i = 0; i < client->lanes_count; i++) {
        struct tael_client_lane *lane = &client->lanes[i];
        if (lane->parts_live == 0) continue;
        const bool is_certain = lane->link->operations->is_certain(lane->link);
        why_set(client, "the client was closed (%s)", lane->link->operations->trouble(lane->link));
        lane_fail(client, lane, is_certain ? -ECANCELED : -ESHUTDOWN);
    }
    tael_client_lock(client);
    while (client->queue.waiting > 0) {
        struct tael_client_lane *lane = &client->lanes[0];
        lane->parts_count = tael_client_queue_pick(&client->queue, false, 0, lane->parts);
        tael_client_unlock(client);
        why_set(client, "the client was closed before this was sent");
        lane_fail(client, lane, -ECANCELED);
        tael_client_lock(client);
    }
    tael_client_unlock(client);
}

void *tael_client_loop(void *argument) {
    struct tael_client *client = argument;
    uint64_t until_ns = 0;
    for (uint32_t i = client->lanes_count; i-- > 0;) lane_open(client, &client->lanes[i]);
    while (work_assign(client, &until_ns)) {
        sources_flush(client);
        events_await(client, earlier(until_ns, client->wire.timer_ns));
        const uint64_t now = tael_client_now_ns();
        deadlines_keep(client, now); /* first: nothing is sent once more when its time is over */
        timers_tick(client, now);
    }
    rest_fail(client);
    return NULL;
}

/* --- waking --- */

void tael_client_wake(struct tael_client *client, uint64_t deadline_ns) {
    if (client->asleep_until_ns == 0) return;
    if (!client->wants_submits && deadline_ns >= client->asleep_until_ns) return;
    client->asleep_until_ns = 0;
    const uint64_t once = 1;
    const ssize_t size = write(client->wake_fd, &once, sizeof once);
    TAEL_ASSERT(size == (ssize_t)sizeof once);
}
