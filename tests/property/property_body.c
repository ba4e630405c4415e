/* A create's body in parts against the same body in one piece.
 *
 * Bodies of all sizes, with trailers that are right and trailers that are damaged, and bodies of one batch without a trailer, are
 * cut at random places. The verdict is that of the decoder for bodies in one piece, and the bytes that reach the block are
 * the events and the counts, put together here by hand.
 *
 *     property_body [--seed S] [--runs N]
 *
 * Run r uses seed S + r, which a failure prints. With TAEL_TEST_LONG set there are 25 times as many runs. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/request.h>

#include "engine/body.h"
#include "tests/support/cut.h"

#define RUNS_DEFAULT 4000
#define RUNS_LONG 25
#define BODY_MAX (TAEL_BODY_SIZE_MAX + TAEL_RECORD_SIZE)

static uint8_t body[BODY_MAX];
static uint8_t scratch[TAEL_TRAILER_SIZE_MAX];
static uint8_t expected[BODY_MAX];
static uint8_t copied[BODY_MAX];
static uint16_t counts[TAEL_BATCHES_MAX];

/* What came of all runs: each must have been reached. */
static struct {
    uint64_t taken;
    uint64_t bad_size;
    uint64_t bad_body;
    uint64_t gathered; /* trailers that lay in several parts */
} reached;

static uint32_t batches_draw(struct test_random *random) {
    static const uint32_t bounds[] = {1, 4, 200, TAEL_BATCHES_MAX};
    return 1 + (uint32_t)test_random_below(random, bounds[test_random_below(random, 4)]);
}

/* Events in random batches, now and then more than a request may have. Returns the body's size. */
static uint32_t body_make(struct test_random *random) {
    const uint32_t batch_count = batches_draw(random);
    const uint32_t room = (BODY_MAX - tael_multi_batch_trailer_size(batch_count, TAEL_RECORD_SIZE)) / TAEL_RECORD_SIZE;
    const uint32_t events_max = test_random_once_in(random, 20) ? room : 100;
    const uint32_t events = (uint32_t)test_random_below(random, (events_max < room ? events_max : room) + 1);
    memset(counts, 0, batch_count * sizeof counts[0]);
    for (uint32_t i = 0; i < events; i++) counts[test_random_below(random, batch_count)]++;
    test_random_bytes(random, body, (size_t)events * TAEL_RECORD_SIZE);
    return tael_multi_batch_encode(body, events * TAEL_RECORD_SIZE, counts, batch_count, TAEL_RECORD_SIZE);
}

/* Damages it, more often near its end, or changes its size. Returns the size. */
static uint32_t body_damage(struct test_random *random, uint32_t size) {
    if (test_random_once_in(random, 4)) return (uint32_t)test_random_below(random, size + 1);
    const uint32_t near = size < 300 ? size : 300;
    const uint32_t span = test_random_once_in(random, 2) ? 8 : near;
    body[size - 1 - test_random_below(random, span)] ^= (uint8_t)(1u << test_random_below(random, 8));
    return size;
}

/* By the decoder for bodies in one piece; the bytes that must stand in the block in `expected`. */
static enum tael_eviction_reason verdict(uint32_t size, bool is_one_batch, uint32_t *payload_size) {
    struct tael_multi_batch batches = {.element_count = size / TAEL_RECORD_SIZE, .batch_count = 1};
    if (is_one_batch) {
        if (size % TAEL_RECORD_SIZE != 0) return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    } else {
        const enum tael_multi_batch_error error = tael_multi_batch_decode(body, size, TAEL_RECORD_SIZE, &batches);
        if (error == TAEL_MULTI_BATCH_BAD_SIZE) return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
        if (error == TAEL_MULTI_BATCH_BAD_TRAILER) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    }
    if (batches.element_count > TAEL_EVENTS_MAX) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    const uint32_t events_size = batches.element_count * TAEL_RECORD_SIZE;
    memcpy(expected, body, events_size);
    for (uint32_t i = 0; batches.batch_count > 1 && i < batches.batch_count; i++) {
        const uint32_t count = tael_multi_batch_count(&batches, i);
        expected[events_size + 2 * i] = (uint8_t)count;
        expected[events_size + 2 * i + 1] = (uint8_t)(count >> 8);
    }
    *payload_size = tael_request_payload_size(batches.element_count, batches.batch_count);
    return 0;
}

static void check_taken(const struct tael_body *in_parts, uint32_t payload_size) {
    const struct tael_multi_batch *batches = &in_parts->batches;
    TAEL_ASSERT(tael_request_payload_size(batches->element_count, batches->batch_count) == payload_size);
    memset(copied, 0xAA, payload_size + 1);
    tael_body_copy(in_parts, copied);
    TAEL_ASSERT(memcmp(copied, expected, payload_size) == 0);
    TAEL_ASSERT(copied[payload_size] == 0xAA);
    reached.taken++;
    if (batches->counts_end >= scratch && batches->counts_end < scratch + sizeof scratch) reached.gathered++;
}

static void run(uint64_t seed) {
    struct test_random random = {.state = seed};
    uint32_t size = body_make(&random);
    if (test_random_once_in(&random, 3)) size = body_damage(&random, size);
    const bool is_one_batch = test_random_once_in(&random, 5);
    struct cut cut;
    cut_make(&cut, &random, body, size);
    const struct tael_message message = {
        .body_size = size, .part_count = cut.part_count, .parts = cut.parts, .is_one_batch = is_one_batch};
    uint32_t payload_size = 0;
    const enum tael_eviction_reason whole = verdict(size, is_one_batch, &payload_size);
    struct tael_body in_parts;
    TAEL_ASSERT(tael_body_check(&message, scratch, &in_parts) == whole);
    if (whole == 0) check_taken(&in_parts, payload_size);
    if (whole == TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE) reached.bad_size++;
    if (whole == TAEL_EVICTION_INVALID_REQUEST_BODY) reached.bad_body++;
    cut_free(&cut);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"runs", required_argument, NULL, 'r'}, {0}};
    uint64_t seed = 1;
    uint64_t runs = RUNS_DEFAULT * (getenv("TAEL_TEST_LONG") != NULL ? RUNS_LONG : 1);
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's') seed = strtoull(optarg, NULL, 10);
        if (option == 'r') runs = strtoull(optarg, NULL, 10);
        if (option == '?') return 2;
    }
    for (uint64_t i = 0; i < runs; i++) {
        tael_panic_context.op = seed + i; /* printed by an assertion that fails */
        run(seed + i);
    }
    printf("%llu bodies in parts: %llu taken (%llu trailers gathered), %llu of a wrong size, %llu wrong otherwise\n",
           (unsigned long long)runs, (unsigned long long)reached.taken, (unsigned long long)reached.gathered,
           (unsigned long long)reached.bad_size, (unsigned long long)reached.bad_body);
    const bool all = reached.taken > 0 && reached.gathered > 0 && reached.bad_size > 0 && reached.bad_body > 0;
    return runs >= RUNS_DEFAULT && !all ? 1 : 0;
}
