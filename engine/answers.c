#include <string.h>

#include <tael/assert.h>

#include "engine/sequencer_state.h"

static void send_reply(struct tael_sequencer *sequencer, struct tael_reply *reply, enum tael_frame_command command,
                       uint32_t body_size, uint32_t link, tael_connection connection, uint32_t release) {
    struct tael_frame *frame = reply->frame;
    frame->cluster = sequencer->options.cluster;
    frame->size = TAEL_FRAME_HEADER_SIZE + body_size;
    frame->release = release;
    frame->command = (uint8_t)command;
    reply->connection = connection;
    const bool pushed = tael_ring_push(&sequencer->links[link].replies, reply);
    TAEL_ASSERT(pushed);
}

/* Says to which datagram this is the answer; to a frame its own frame says it. A register had no token yet. */
static void name(struct tael_reply *reply, uint8_t operation, uint64_t token, uint16_t slot, uint32_t request) {
    reply->token = operation == TAEL_OPERATION_register ? 0 : token;
    reply->slot = slot;
    reply->request = request;
}

bool tael_answer_kept(struct tael_sequencer *sequencer, uint32_t index) {
    const struct tael_session *session = tael_sessions_at(sequencer->sessions, index);
    const struct tael_flight *flight = &sequencer->flights[index];
    struct tael_reply *reply = tael_reply_take(&sequencer->replies, tael_sessions_reply_size_max(session), 0);
    if (reply == NULL) return false;
    const uint32_t body_size = tael_sessions_reply_encode(sequencer->sessions, index, reply->frame + 1);
    reply->frame->reply = (struct tael_frame_reply){
        .request_checksum = session->checksum,
        .context = tael_session_context(session->op, session->timestamp),
        .client = session->client,
        .op = session->op,
        .commit = session->op,
        .timestamp = session->timestamp,
        .request = session->request,
        .operation = session->operation,
    };
    name(reply, session->operation, session->token, session->slot, session->request);
    send_reply(sequencer, reply, TAEL_COMMAND_REPLY, body_size, flight->link, flight->connection, flight->release);
    return true;
}

void tael_answer_read(struct tael_sequencer *sequencer, const struct tael_read *read) {
    name(read->reply, read->job.operation, read->token, read->slot, read->request);
    send_reply(sequencer, read->reply, TAEL_COMMAND_REPLY, read->job.reply_size, read->link, read->connection,
               read->release);
}

/* Every message is looked at only while a small buffer is free, so a short frame always has one. */
static struct tael_reply *take_short(struct tael_sequencer *sequencer) {
    struct tael_reply *reply = tael_reply_take(&sequencer->replies, 0, 0);
    TAEL_ASSERT(reply != NULL);
    return reply;
}

void tael_answer_notice(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                        enum tael_datagram_notice_code code, uint16_t wait_ms) {
    TAEL_ASSERT(tael_message_is_datagram(message));
    struct tael_reply *reply = take_short(sequencer);
    reply->frame->reply.operation = message->operation;
    reply->notice = (uint16_t)code;
    reply->wait_ms = wait_ms;
    name(reply, message->operation, message->token, message->slot, message->request);
    send_reply(sequencer, reply, TAEL_COMMAND_REPLY, 0, link, message->connection, 0);
    sequencer->counters.notices_sent++;
}

void tael_answer_refusal(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                         enum tael_eviction_reason reason) {
    if (tael_message_is_datagram(message)) {
        tael_answer_notice(sequencer, link, message, (enum tael_datagram_notice_code)reason, 0);
        return;
    }
    struct tael_reply *reply = take_short(sequencer);
    reply->frame->eviction.client = message->client;
    reply->frame->eviction.reason = (uint8_t)reason;
    send_reply(sequencer, reply, TAEL_COMMAND_EVICTION, 0, link, message->connection, message->release);
    sequencer->counters.evictions_sent++;
}

void tael_answer_busy(struct tael_sequencer *sequencer, uint32_t link, const struct tael_message *message,
                      uint32_t capabilities, enum tael_busy_reason reason) {
    if (tael_message_is_datagram(message)) {
        tael_answer_notice(sequencer, link, message, TAEL_NOTICE_BUSY + reason, TAEL_BUSY_WAIT_MS);
        return;
    }
    if ((capabilities & TAEL_CAPABILITY_BUSY) == 0) return;
    struct tael_reply *reply = take_short(sequencer);
    reply->frame->busy = (struct tael_frame_busy){
        .request_checksum = message->checksum,
        .client = message->client,
        .request = message->request,
        .reason = (uint32_t)reason,
        .wait_ms = TAEL_BUSY_WAIT_MS,
    };
    send_reply(sequencer, reply, TAEL_COMMAND_BUSY, 0, link, message->connection, message->release);
    sequencer->counters.busy_sent++;
}
