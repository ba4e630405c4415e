/* The events that were listed, in their order, by the rules of events one after the other. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <immintrin.h>

#include <tael/status.h>

enum { DISTANCE = 8 };

/* A chain under way; all of it is listed. */
struct chain {
    bool open;
    bool broken;
    uint32_t start;
};

static bool is_linked(const struct tael_step *step, uint32_t event) {
    return (step->kind[event] & TAEL_STEP_LINKED) != 0;
}

/* A chain any of whose events is listed is listed whole. */
static void chains_list(struct tael_step *step) {
    uint32_t start = 0;
    bool listed = false;
    for (uint32_t event = 0; event < step->count; event++) {
        listed |= tael_step_is_listed(step, event);
        if (is_linked(step, event)) continue;
        for (uint32_t i = start; listed && i <= event; i++) {
            if (!tael_step_is_listed(step, i)) tael_step_list(step, i, TAEL_LISTED_chain);
        }
        start = event + 1;
        listed = false;
    }
    TAEL_ASSERT(start == step->count); /* a step ends with a whole chain */
}

static enum tael_listed first(enum tael_listed why, uint8_t other) {
    return other != TAEL_LISTED_NOT && (why == TAEL_LISTED_NOT || other < why) ? (enum tael_listed)other : why;
}

/* The first of the reasons for which an event is listed. */
static enum tael_listed why_listed(const struct tael_step *step, uint32_t event) {
    enum tael_listed why = step->kind[event] & TAEL_STEP_LISTED ? step->why[event] : TAEL_LISTED_NOT;
    why = first(why, step->listed_id[event]);
    why = first(why, step->listed_half[TAEL_STEP_DEBIT][event]);
    why = first(why, step->listed_half[TAEL_STEP_CREDIT][event]);
    TAEL_ASSERT(why > TAEL_LISTED_NOT);
    TAEL_ASSERT(why < TAEL_LISTED_REASONS);
    return why;
}

static void event_failed(struct tael_step *step, uint32_t event, uint32_t status) {
    TAEL_ASSERT(step->failed_count == 0 || step->failed[step->failed_count - 1] < event);
    TAEL_ASSERT(status != 0);
    TAEL_ASSERT(status <= UINT8_MAX);
    step->refusal[event] = (uint8_t)status;
    step->failed[step->failed_count++] = (uint16_t)event;
}

/* Takes the chain's events so far back, youngest first, and marks them as failed with it. */
static void chain_break(struct tael_step *step, struct chain *chain, uint32_t event) {
    chain->broken = true;
    for (uint32_t i = event; i > chain->start; i--) tael_transfer_take_back_in_step(step, i - 1);
    for (uint32_t i = chain->start; i < event; i++) event_failed(step, i, TAEL_TRANSFER_linked_event_failed);
}

/* Burns the id of an event that failed transiently: its claim, or the one it takes over, becomes that of a burnt id. */
static void burn(struct tael_step *step, uint32_t event) {
    const tael_u128 id = step->event[event]->id;
    uint64_t position;
    uint32_t claim;
    const enum tael_id_state state = tael_step_find_transfer(step, event, id, step->id_hash[event], &position, &claim);
    TAEL_ASSERT(state == TAEL_ID_FREE);
    TAEL_ASSERT(claim != UINT32_MAX);
    if (claim != event) step->heir[claim] = (uint16_t)event;
    step->burnt[event] = (uint32_t)tael_journal_burn(&step->ledger->journal, id);
}

static void event_decide(struct tael_step *step, struct chain *chain, uint32_t event) {
    const uint32_t at_once = step->refusal[event]; /* 0: nothing to say against it yet */
    uint32_t status = at_once;
    step->refusal[event] = 0;
    if (is_linked(step, event) && !chain->open) *chain = (struct chain){.open = true, .start = event};
    if (at_once != TAEL_TRANSFER_linked_event_chain_open) {
        if (chain->broken) {
            status = TAEL_TRANSFER_linked_event_failed;
        } else if (at_once == 0) {
            step->ledger->journal.count = tael_step_position(step, event);
            status = tael_transfer_create_in_step(step, event, &step->timestamp[event]);
        }
    }
    if (status != TAEL_STATUS_CREATED) {
        if (chain->open && !chain->broken) chain_break(step, chain, event);
        if (tael_transfer_status_is_transient(status)) burn(step, event);
        event_failed(step, event, status);
    }
    if (chain->open && !is_linked(step, event)) *chain = (struct chain){0};
}

/* What a failed assertion names. `segment` is that of an event before it. */
static const struct tael_step_segment *panic_tell(const struct tael_step_segment *segment, uint32_t event) {
    while (event >= segment->first + segment->part.count) segment++;
    tael_panic_context.op = segment->part.request->op;
    tael_panic_context.event_index = segment->part.index_first + (event - segment->first);
    tael_panic_context.state = segment->part.request;
    return segment;
}

/* Fetches what a listed event is decided by, all but its pending transfer: in part it was others' in the pass before, and is in their caches.
 * 0.6 to 0.8 of the time without this; 0.4 for those whose id nobody has looked up. */
static void look_ahead(const struct tael_step *step, uint32_t event) {
    const struct tael_ledger *ledger = step->ledger;
    const struct tael_account_line *lines = ledger->accounts.lines;
    const bool has_hash = (step->kind[event] & TAEL_STEP_CLAIMS) != 0;
    const uint64_t hash = has_hash ? step->id_hash[event] : tael_ledger_hash(ledger, step->event[event]->id);
    __builtin_prefetch(ledger->index.buckets[tael_id_index_home(&ledger->index, hash)]);
    __builtin_prefetch(&lines[step->number[TAEL_STEP_DEBIT][event]], 1);
    __builtin_prefetch(&lines[step->number[TAEL_STEP_CREDIT][event]], 1);
    __builtin_prefetch(&ledger->history.transfers[step->base + event - step->failed_count], 1);
}

uint32_t tael_step_residue(struct tael_step *step, uint64_t listed[static TAEL_LISTED_REASONS]) {
    const struct tael_step_segment *segment = step->segments;
    struct chain chain = {0};
    uint16_t events[TAEL_STEP_EVENTS_MAX];
    step->irregular = true;
    if (tael_step_is_linked(step)) chains_list(step);
    const uint32_t count = tael_step_select_listed(step, events);
    for (uint32_t i = 0; i < count && i < DISTANCE; i++) look_ahead(step, events[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + DISTANCE < count) look_ahead(step, events[i + DISTANCE]);
        segment = panic_tell(segment, events[i]);
        listed[why_listed(step, events[i])]++;
        event_decide(step, &chain, events[i]);
    }
    TAEL_ASSERT(!chain.open);
    step->ledger->journal.count = step->base; /* until the step is committed */
    _mm_sfence(); /* bodies and history were written past the caches */
    return count;
}
