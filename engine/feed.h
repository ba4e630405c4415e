/* Cuts requests that stand one behind the other into parts: events of one sub-batch each, whole chains, no more than there is room for. Pure. */
#ifndef TAEL_ENGINE_FEED_H
#define TAEL_ENGINE_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/request.h>

#include "engine/ledger_state.h"

/* Where the next event stands. */
struct tael_feed {
    const struct tael_request *request;
    uint32_t number; /* of the request, from 0 */
    uint32_t left; /* requests, this one included */
    uint32_t batch; /* sub-batch of the request */
    uint32_t event; /* in the sub-batch */
    uint32_t index; /* of the sub-batch's first event in the request */
};

/* At the first event of `count` create_transfers requests. */
struct tael_feed tael_feed_begin(const struct tael_request *first, uint32_t count);
static inline bool tael_feed_is_empty(const struct tael_feed *feed) { return feed->left == 0; }

/* Takes what comes next, at most `room` events, and tells the number of its request. False, and nothing taken, at the end or where the next
 * chain has no room. */
bool tael_feed_take(struct tael_feed *feed, uint32_t room, struct tael_ledger_part *part, uint32_t *request);
/* Takes the next chain, however long it is; a single event is one too. Not at the end. */
void tael_feed_take_chain(struct tael_feed *feed, struct tael_ledger_part *part, uint32_t *request);

#endif
