#include "engine/feed.h"

#include <tael/flag.h>

/* Stands at an event, or at the end. */
static void settle(struct tael_feed *feed) {
    while (feed->left > 0) {
        while (feed->batch < feed->request->batch_count) {
            const uint32_t count = tael_request_batch_events(feed->request, feed->batch);
            if (feed->event < count) return;
            feed->index += count;
            feed->event = 0;
            feed->batch++;
        }
        TAEL_ASSERT(feed->index == feed->request->event_count);
        feed->left--;
        feed->number++;
        if (feed->left > 0) feed->request = tael_request_next(feed->request);
        feed->batch = 0;
        feed->index = 0;
    }
}

/* The events from here to the end of the sub-batch. */
static struct tael_ledger_part part_left(const struct tael_feed *feed) {
    const struct tael_transfer *events = tael_request_payload(feed->request);
    const uint32_t index = feed->index + feed->event;
    return (struct tael_ledger_part){
        .request = feed->request,
        .events = events + index,
        .count = tael_request_batch_events(feed->request, feed->batch) - feed->event,
        .index_first = index,
        .timestamp_first = feed->request->timestamp - feed->request->event_count + 1 + index,
        .ends_batch = true,
    };
}

static bool is_linked(const struct tael_transfer *t) { return (t->flags & TAEL_TRANSFER_FLAG_linked) != 0; }

/* Shortens a part to `room` events at the most and to whole chains. */
static void part_cut(struct tael_ledger_part *part, uint32_t room) {
    if (part->count <= room) return;
    part->ends_batch = false;
    part->count = room;
    while (part->count > 0 && is_linked(&part->events[part->count - 1])) part->count--;
}

/* Shortens a part to the chain that it begins with. */
static void part_cut_chain(struct tael_ledger_part *part) {
    uint32_t count = 1;
    while (count < part->count && is_linked(&part->events[count - 1])) count++;
    part->ends_batch = part->ends_batch && count == part->count;
    part->count = count;
}

struct tael_feed tael_feed_begin(const struct tael_request *first, uint32_t count) {
    struct tael_feed feed = {.request = first, .left = count};
    settle(&feed);
    return feed;
}

static void pass_over(struct tael_feed *feed, const struct tael_ledger_part *part, uint32_t *request) {
    *request = feed->number;
    feed->event += part->count;
    settle(feed);
}

bool tael_feed_take(struct tael_feed *feed, uint32_t room, struct tael_ledger_part *part, uint32_t *request) {
    if (tael_feed_is_empty(feed)) return false;
    *part = part_left(feed);
    part_cut(part, room);
    if (part->count == 0) return false;
    pass_over(feed, part, request);
    return true;
}

void tael_feed_take_chain(struct tael_feed *feed, struct tael_ledger_part *part, uint32_t *request) {
    TAEL_ASSERT(!tael_feed_is_empty(feed));
    *part = part_left(feed);
    part_cut_chain(part);
    pass_over(feed, part, request);
}
