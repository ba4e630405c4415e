#include "engine/step.h"

#include <immintrin.h>

#include <tael/status.h>

size_t tael_step_size_bytes(uint32_t worker_count) {
    return tael_arena_share(sizeof(struct tael_step)) +
           tael_arena_share(worker_count * sizeof(struct tael_step_boxes)) +
           tael_arena_share(worker_count * sizeof(struct tael_step_claims));
}

struct tael_step *tael_step_init(struct tael_arena *arena, struct tael_ledger *ledger, uint32_t worker_count) {
    TAEL_ASSERT(worker_count > 0);
    TAEL_ASSERT(worker_count <= TAEL_WORKERS_MAX);
    TAEL_ASSERT(worker_count == ledger->index.partition_count);
    struct tael_step *step = tael_arena_take(arena, sizeof *step);
    step->ledger = ledger;
    step->worker_count = worker_count;
    step->boxes = tael_arena_take(arena, worker_count * sizeof *step->boxes);
    step->claims = tael_arena_take(arena, worker_count * sizeof *step->claims);
    return step;
}

void tael_step_begin(struct tael_step *step) {
    step->count = 0;
    step->segment_count = 0;
    step->failed_count = 0;
    step->resolves = false;
    step->irregular = false;
    for (uint32_t i = 0; i < step->worker_count; i++) step->workers[i] = (struct tael_step_worker){0};
}

void tael_step_add(struct tael_step *step, const struct tael_ledger_part *part, uint32_t request) {
    TAEL_ASSERT(part->count > 0);
    TAEL_ASSERT(step->count + part->count <= TAEL_STEP_EVENTS_MAX);
    step->segments[step->segment_count++] =
        (struct tael_step_segment){.part = *part, .first = step->count, .request = request};
    step->count += part->count;
}

void tael_step_place(struct tael_step *step) { step->base = step->ledger->journal.count; }

struct tael_step_worker tael_step_findings(const struct tael_step *step) {
    struct tael_step_worker all = {0};
    for (uint32_t i = 0; i < step->worker_count; i++) {
        const struct tael_step_worker *one = &step->workers[i];
        all.listed += one->listed;
        all.resolves += one->resolves;
        all.unsafe_accounts += one->unsafe_accounts;
        all.asks += one->asks;
        all.timeouts |= one->timeouts;
        all.sequential |= one->sequential;
    }
    if (all.asks > TAEL_STEP_ASK_MAX) tael_step_give_up(&all, TAEL_SEQUENTIAL_amount_balancing);
    return all;
}

static inline __m256i bytes_at(const uint8_t *bytes, uint32_t first) {
    return _mm256_load_si256((const __m256i *)(const void *)(bytes + first));
}

/* Of the 32 bits that stand for the events from `first` on, those that are for events of the step. */
static inline uint32_t there(const struct tael_step *step, uint32_t first, uint32_t bits) {
    return step->count - first < 32 ? bits & ((1u << (step->count - first)) - 1) : bits;
}

/* Which of the 32 owners from `first` on are `wanted`, as bits. */
static inline uint32_t matches_at(const struct tael_step *step, const uint8_t *owners, uint32_t first, __m256i wanted) {
    const __m256i matches = _mm256_cmpeq_epi8(bytes_at(owners, first), wanted);
    return there(step, first, (uint32_t)_mm256_movemask_epi8(matches));
}

uint32_t tael_step_select(const struct tael_step *step, const uint8_t *owners, uint32_t worker,
                          uint16_t out[static TAEL_STEP_EVENTS_MAX]) {
    const __m256i wanted = _mm256_set1_epi8((char)worker);
    uint32_t count = 0;
    for (uint32_t first = 0; first < step->count; first += 32) {
        for (uint32_t matches = matches_at(step, owners, first, wanted); matches != 0; matches &= matches - 1) {
            out[count++] = (uint16_t)(first + (uint32_t)__builtin_ctz(matches));
        }
    }
    return count;
}

uint32_t tael_step_select_listed(const struct tael_step *step, uint16_t out[static TAEL_STEP_EVENTS_MAX]) {
    const __m256i listed = _mm256_set1_epi8(TAEL_STEP_LISTED);
    uint32_t count = 0;
    for (uint32_t first = 0; first < step->count; first += 32) {
        __m256i marks = _mm256_and_si256(bytes_at(step->kind, first), listed);
        marks = _mm256_or_si256(marks, bytes_at(step->listed_id, first));
        marks = _mm256_or_si256(marks, bytes_at(step->listed_half[TAEL_STEP_DEBIT], first));
        marks = _mm256_or_si256(marks, bytes_at(step->listed_half[TAEL_STEP_CREDIT], first));
        const __m256i unmarked = _mm256_cmpeq_epi8(marks, _mm256_setzero_si256());
        uint32_t matches = there(step, first, ~(uint32_t)_mm256_movemask_epi8(unmarked));
        for (; matches != 0; matches &= matches - 1)
            out[count++] = (uint16_t)(first + (uint32_t)__builtin_ctz(matches));
    }
    return count;
}

bool tael_step_is_linked(const struct tael_step *step) {
    const __m256i linked = _mm256_set1_epi8(TAEL_STEP_LINKED);
    uint32_t found = 0;
    for (uint32_t first = 0; first < step->count; first += 32) {
        const __m256i marks = _mm256_and_si256(bytes_at(step->kind, first), linked);
        found |= there(step, first, (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(marks, linked)));
    }
    return found != 0;
}

uint32_t tael_step_select_halves(const struct tael_step *step, uint32_t worker,
                                 uint16_t out[static 2 * TAEL_STEP_EVENTS_MAX]) {
    const __m256i wanted = _mm256_set1_epi8((char)worker);
    uint32_t count = 0;
    for (uint32_t first = 0; first < step->count; first += 32) {
        const uint64_t debits = matches_at(step, step->owner[TAEL_STEP_DEBIT], first, wanted);
        const uint64_t credits = matches_at(step, step->owner[TAEL_STEP_CREDIT], first, wanted);
        /* Debits at the even bits, credits at the odd ones. */
        uint64_t matches = _pdep_u64(debits, 0x5555555555555555ull) | _pdep_u64(credits, 0xaaaaaaaaaaaaaaaaull);
        for (; matches != 0; matches &= matches - 1) {
            out[count++] = (uint16_t)(2 * first + (uint32_t)__builtin_ctzll(matches));
        }
    }
    return count;
}

/* Writes the transfer of an event that is not listed where an event of the residue is about to read it: past the caches, as
 * tael_step_write_body has it, it would have to come back from memory. */
static void write_to_be_read(struct tael_step *step, uint32_t event, uint64_t position) {
    struct tael_transfer *body = &step->ledger->journal.bodies[position];
    TAEL_ASSERT(position < step->ledger->journal.count_max);
    if (step->kind[event] & TAEL_STEP_RESOLVE) {
        tael_step_write_body(step, event, position);
    } else {
        *body = *step->event[event]; /* the amount too: what is balancing is listed */
        body->timestamp = step->timestamp[event];
    }
    tael_step_write_trace(step, event, position);
    step->kind[event] |= TAEL_STEP_WRITTEN;
}

enum tael_id_state tael_step_find_transfer(struct tael_step *step, uint32_t event, tael_u128 id, uint64_t hash,
                                           uint64_t *position, uint32_t *claim) {
    const struct tael_ledger *ledger = step->ledger;
    struct tael_index_probe probe = tael_index_probe_begin(&ledger->index, hash);
    uint64_t value;
    *claim = UINT32_MAX;
    while (tael_index_probe_next(&ledger->index, &probe, &value)) {
        if (value & TAEL_INDEX_BURNT) {
            if (ledger->journal.burnt[value & ~TAEL_INDEX_BURNT] == id) return TAEL_ID_BURNT;
        } else if (value < step->base) {
            if (ledger->journal.bodies[value].id == id) {
                *position = value;
                return TAEL_ID_TRANSFER;
            }
        } else {
            const uint32_t claimant = (uint32_t)(value - step->base);
            if (step->event[claimant]->id != id) continue;
            const uint32_t holder = tael_step_holder(step, claimant);
            if (holder > event) return TAEL_ID_FREE; /* not yet */
            *claim = claimant;
            if (holder == event) return TAEL_ID_FREE;
            if (tael_step_is_created(step, holder)) {
                *position = tael_step_position(step, holder);
                if ((step->kind[holder] & TAEL_STEP_WRITTEN) == 0) write_to_be_read(step, holder, *position);
                return TAEL_ID_TRANSFER;
            }
            return tael_transfer_status_is_transient(step->refusal[holder]) ? TAEL_ID_BURNT : TAEL_ID_FREE;
        }
    }
    return TAEL_ID_FREE;
}

void tael_step_commit(struct tael_step *step) {
    struct tael_ledger *ledger = step->ledger;
    struct tael_journal *journal = &ledger->journal;
    const uint32_t created = step->count - step->failed_count;
    const bool timeouts = tael_step_findings(step).timeouts;
    TAEL_ASSERT(step->base + created <= journal->count_max);
    journal->count = step->base + created;
    ledger->index.count += created;
    if (created > 0) {
        uint32_t last = step->count - 1;
        while (!tael_step_is_created(step, last)) last--;
        TAEL_ASSERT(step->timestamp[last] > journal->timestamp_last);
        journal->timestamp_last = step->timestamp[last];
    }
    for (uint32_t i = 0; i < step->failed_count; i++) {
        if (tael_transfer_status_is_transient(step->refusal[step->failed[i]])) ledger->index.count++;
    }
    TAEL_ASSERT(ledger->index.count <= ledger->index.count_max);
    if (!timeouts) return;
    uint64_t position = step->base;
    for (uint32_t i = 0; i < step->count; i++) {
        if (!tael_step_is_created(step, i)) continue;
        const uint64_t timeout_ns = step->event[i]->timeout * TAEL_NS_PER_S;
        if (timeout_ns != 0) {
            tael_expiry_queue_push(&ledger->expiries, (struct tael_expiry){
                                                          .expires_at = step->timestamp[i] + timeout_ns,
                                                          .position = position,
                                                      });
        }
        position++;
    }
}
