#include "engine/reads.h"

#include <tael/assert.h>

#include "engine/sessions.h"

size_t tael_reads_size_bytes(uint32_t reads_max) { return tael_arena_share(reads_max * sizeof(struct tael_read)); }

void tael_reads_init(struct tael_reads *reads, struct tael_arena *arena, uint32_t reads_max,
                     struct tael_worker_link *worker, struct tael_reply_pools *replies) {
    TAEL_ASSERT(reads_max > 0);
    *reads = (struct tael_reads){.worker = worker, .replies = replies};
    struct tael_read *places = tael_arena_take(arena, reads_max * sizeof(struct tael_read));
    for (uint32_t i = 0; i < reads_max; i++) {
        places[i].next = reads->free;
        reads->free = &places[i];
    }
}

static void push(struct tael_read_queue *queue, struct tael_read *read) {
    read->next = NULL;
    if (queue->first == NULL) {
        queue->first = read;
    } else {
        queue->last->next = read;
    }
    queue->last = read;
}

static struct tael_read *pop(struct tael_read_queue *queue) {
    struct tael_read *read = queue->first;
    queue->first = read->next;
    return read;
}

struct tael_read *tael_reads_begin(struct tael_reads *reads, struct tael_message *message, uint32_t link,
                                   uint32_t session_index, uint32_t reply_size_max) {
    struct tael_read *read = reads->free;
    if (read == NULL) return NULL;
    reads->free = read->next;
    reads->in_flight++;
    *read = (struct tael_read){
        .job = {.body = message->parts->data, .body_size = message->body_size, .operation = message->operation},
        .message = message,
        .message_link = link,
        .reply_size_max = reply_size_max,
        .session_index = session_index,
        .client = message->client,
        .checksum = message->checksum,
        .request = message->request,
        .token = message->token,
        .slot = message->slot,
    };
    tael_read_readdress(read, message, link);
    push(&reads->waiting[tael_reply_pool_for(reply_size_max)], read);
    return read;
}

void tael_read_readdress(struct tael_read *read, const struct tael_message *message, uint32_t link) {
    TAEL_ASSERT(message->request == read->request);
    read->connection = message->connection;
    read->link = link;
    read->release = message->release;
}

uint32_t tael_reads_lend(struct tael_reads *reads) {
    uint32_t lent = 0;
    for (uint32_t i = 0; i < TAEL_REPLY_POOLS; i++) {
        struct tael_read_queue *queue = &reads->waiting[i];
        while (queue->first != NULL) {
            struct tael_reply *reply = tael_reply_take(reads->replies, queue->first->reply_size_max,
                                                       tael_reply_reserve(reads->replies, (enum tael_reply_pool)i));
            if (reply == NULL) break;
            struct tael_read *read = pop(queue);
            read->reply = reply;
            read->job.reply_body = reply->frame + 1;
            const bool pushed = tael_ring_push(&reads->worker->reads, &read->job);
            TAEL_ASSERT(pushed);
            lent++;
        }
    }
    return lent;
}

struct tael_read *tael_reads_collect(struct tael_reads *reads) {
    struct tael_read_job *job = tael_ring_pop(&reads->worker->reads_done);
    if (job == NULL) return NULL;
    struct tael_read *read = (struct tael_read *)(void *)job; /* its first member */
    TAEL_ASSERT(job->op > 0);
    TAEL_ASSERT(job->reply_size <= read->reply_size_max);
    push(&reads->done, read);
    return read;
}

/* The reply stands at the op and timestamp that the read shows. Its context is unique as its request's checksum is. */
static void reply_describe(const struct tael_read *read) {
    read->reply->frame->reply = (struct tael_frame_reply){
        .request_checksum = read->checksum,
        .context = read->checksum ^ tael_session_context(read->job.op, read->job.timestamp),
        .client = read->client,
        .op = read->job.op,
        .commit = read->job.op,
        .timestamp = read->job.timestamp,
        .request = read->request,
        .operation = read->job.operation,
    };
}

struct tael_read *tael_reads_take_durable(struct tael_reads *reads, uint64_t durable) {
    struct tael_read_queue taken = {0};
    struct tael_read_queue left = {0};
    while (reads->done.first != NULL) {
        struct tael_read *read = pop(&reads->done);
        if (read->job.op > durable) {
            push(&left, read);
            continue;
        }
        reply_describe(read);
        push(&taken, read);
    }
    reads->done = left;
    return taken.first;
}

void tael_reads_end(struct tael_reads *reads, struct tael_read *read) {
    TAEL_ASSERT(reads->in_flight > 0);
    read->next = reads->free;
    reads->free = read;
    reads->in_flight--;
}
