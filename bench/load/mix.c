/* See mix.h. */
#include "bench/load/mix.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/u128.h>

#define ACCOUNT_ID_HIGH 0x626e6368ull /* "bnch", before the ledger */
#define ACCOUNT_ID_HISTORY (1ull << 63) /* of the lower half */
#define ACCOUNT_CODE 10
#define TRANSFER_CODE 1
#define STREAM_SHIFT 40 /* ids of a stream: a trillion */
#define PICKS_MAX (1u << 24) /* 64 MiB. A longer run meets the same accounts again, in other pairs */
#define WHOLE 100u /* percent */

/* splitmix64: passes the usual tests, three multiplications, any seed will do. */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 0 .. bound - 1. Scaled, not divided: a fraction of the cost. */
static uint64_t random_below(uint64_t *state, uint64_t bound) {
    return tael_u128_high((tael_u128)random_next(state) * bound);
}

/* 0 <= x < 1 */
static double random_unit(uint64_t *state) { return (double)(random_next(state) >> 11) * 0x1p-53; }

/* --- Zipf --- */

/* Draws k of 1 .. n with a probability in proportion to k^-theta, exactly and without a table, by rejection from the area
 * under x^-theta: W. Hoermann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
 * distributions", ACM TOMACS 6 (1996). */
struct zipf {
    double theta;
    double n;
    double area_first; /* where the areas of all k begin */
    double area_last; /* and end */
    double always; /* so near above x, k is taken without a look at its area */
};

/* The area under x^-theta from 1 to x, and back. */
static double zipf_area(const struct zipf *zipf, double x) {
    const double power = 1 - zipf->theta;
    return fabs(power) < 1e-9 ? log(x) : (pow(x, power) - 1) / power;
}

static double zipf_area_inverse(const struct zipf *zipf, double area) {
    const double power = 1 - zipf->theta;
    return fabs(power) < 1e-9 ? exp(area) : pow(1 + area * power, 1 / power);
}

static struct zipf zipf_make(double theta, uint64_t n) {
    struct zipf zipf = {.theta = theta, .n = (double)n};
    zipf.area_first = zipf_area(&zipf, 1.5) - 1;
    zipf.area_last = zipf_area(&zipf, zipf.n + 0.5);
    zipf.always = 2 - zipf_area_inverse(&zipf, zipf_area(&zipf, 2.5) - pow(2, -theta));
    return zipf;
}

static uint64_t zipf_draw(const struct zipf *zipf, uint64_t *random) {
    for (;;) {
        const double area = zipf->area_last + random_unit(random) * (zipf->area_first - zipf->area_last);
        const double x = zipf_area_inverse(zipf, area);
        double k = floor(x + 0.5);
        if (k < 1) k = 1;
        if (k > zipf->n) k = zipf->n;
        if (k - x <= zipf->always) return (uint64_t)k;
        if (area >= zipf_area(zipf, k + 0.5) - pow(k, -zipf->theta)) return (uint64_t)k;
    }
}

static int picks_make(struct tael_mix *mix) {
    const struct zipf zipf = zipf_make((double)mix->options.theta_percent / WHOLE, mix->options.accounts);
    uint64_t random = mix->options.seed;
    mix->picks = malloc(PICKS_MAX * sizeof *mix->picks);
    if (mix->picks == NULL) return -ENOMEM;
    mix->picks_count = PICKS_MAX;
    for (uint32_t i = 0; i < PICKS_MAX; i++) mix->picks[i] = (uint32_t)(zipf_draw(&zipf, &random) - 1);
    return 0;
}

/* --- mix and streams --- */

int tael_mix_init(struct tael_mix *mix, const struct tael_mix_options *options) {
    TAEL_ASSERT(options->accounts >= 2);
    TAEL_ASSERT(options->batch > 0);
    TAEL_ASSERT(2 * options->pending_percent + options->chain_percent <= WHOLE);
    TAEL_ASSERT(options->chain_percent == 0 || (options->chain_length >= 2 && options->chain_length <= options->batch));
    *mix = (struct tael_mix){.options = *options};
    return options->choice == TAEL_MIX_ZIPF ? picks_make(mix) : 0;
}

void tael_mix_free(struct tael_mix *mix) {
    free(mix->picks);
    mix->picks = NULL;
}

int tael_mix_stream_init(const struct tael_mix *mix, uint32_t index, struct tael_mix_stream *stream) {
    const struct tael_mix_options *options = &mix->options;
    TAEL_ASSERT(index < options->streams);
    uint64_t size = 8;
    /* What is pending is about a batch's share, and a chain's length more: settlements wait for a chain to end. */
    while (size < 4 * ((uint64_t)options->batch + options->chain_length)) size *= 2;
    *stream = (struct tael_mix_stream){.id_base = (uint64_t)index << STREAM_SHIFT, .pending_mask = size - 1};
    uint64_t random = options->seed + index;
    stream->state.random = random_next(&random);
    stream->state.pick = (uint64_t)mix->picks_count * index / options->streams;
    if (options->pending_percent == 0) return 0;
    stream->pending = malloc(size * sizeof *stream->pending);
    return stream->pending == NULL ? -ENOMEM : 0;
}

void tael_mix_stream_free(struct tael_mix_stream *stream) {
    free(stream->pending);
    stream->pending = NULL;
}

static tael_u128 account_id(const struct tael_mix_options *options, uint64_t index) {
    return tael_u128_make(ACCOUNT_ID_HIGH << 32 | options->ledger,
                          (options->history ? ACCOUNT_ID_HISTORY : 0) | (index + 1));
}

struct tael_account tael_mix_account(const struct tael_mix_options *options, uint64_t index) {
    TAEL_ASSERT(index < options->accounts);
    return (struct tael_account){
        .id = account_id(options, index),
        .ledger = options->ledger,
        .code = ACCOUNT_CODE,
        .flags = options->history ? TAEL_ACCOUNT_FLAG_history : 0,
    };
}

/* --- transfers --- */

static uint64_t account_pick(const struct tael_mix *mix, struct tael_mix_state *state) {
    if (mix->picks == NULL) return random_below(&state->random, mix->options.accounts);
    const uint64_t pick = mix->picks[state->pick];
    state->pick = state->pick + 1 == mix->picks_count ? 0 : state->pick + 1;
    return pick;
}

static tael_u128 id_next(const struct tael_mix *mix, struct tael_mix_stream *stream) {
    return tael_u128_make(mix->options.run, stream->id_base + ++stream->state.made);
}

static void plain_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *event,
                       uint16_t flags) {
    const struct tael_mix_options *options = &mix->options;
    struct tael_mix_state *state = &stream->state;
    const uint64_t debit = account_pick(mix, state);
    uint64_t credit = account_pick(mix, state);
    if (options->choice == TAEL_MIX_HOT && random_below(&state->random, WHOLE) < options->hot_percent) credit = 0;
    /* Nobody pays himself. A merchant's share is as good as whole without the payments by the merchant. */
    if (credit == debit) credit = debit + 1 == options->accounts ? 0 : debit + 1;
    *event = (struct tael_transfer){
        .id = id_next(mix, stream),
        .debit_account_id = account_id(options, debit),
        .credit_account_id = account_id(options, credit),
        .amount = 1 + (debit & 0xff),
        .ledger = options->ledger,
        .code = TRANSFER_CODE,
        .flags = flags,
    };
}

static void pending_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *event) {
    struct tael_mix_state *state = &stream->state;
    plain_fill(mix, stream, event, TAEL_TRANSFER_FLAG_pending);
    stream->pending[state->pending_made++ & stream->pending_mask] = tael_u128_low(event->id);
}

/* The one that has been pending longest. */
static void settlement_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *event) {
    struct tael_mix_state *state = &stream->state;
    const uint64_t pending = stream->pending[state->pending_settled++ & stream->pending_mask];
    state->void_due += mix->options.void_percent;
    const bool is_void = state->void_due >= WHOLE;
    if (is_void) state->void_due -= WHOLE;
    *event = (struct tael_transfer){
        .id = id_next(mix, stream),
        .pending_id = tael_u128_make(mix->options.run, pending),
        .amount = is_void ? 0 : TAEL_U128_MAX, /* all of it, either way */
        .flags = is_void ? TAEL_TRANSFER_FLAG_void_pending_transfer : TAEL_TRANSFER_FLAG_post_pending_transfer,
    };
}

/* Each kind becomes due bit by bit, so its share is exact over a few events, not only on average. */
static void due_add(const struct tael_mix_options *options, struct tael_mix_state *state, uint32_t events) {
    state->pending_due += (uint64_t)events * options->pending_percent;
    state->settle_due += (uint64_t)events * options->pending_percent;
    state->chain_due += (uint64_t)events * options->chain_percent;
}

static void chain_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *events) {
    const uint32_t length = mix->options.chain_length;
    for (uint32_t i = 0; i < length; i++) {
        plain_fill(mix, stream, &events[i], i + 1 < length ? TAEL_TRANSFER_FLAG_linked : 0);
    }
    stream->state.chain_due -= (uint64_t)length * WHOLE;
    due_add(&mix->options, &stream->state, length - 1);
}

/* Returns how many events it wrote, of the `room` that is left. `before` is the state when the batch began. */
static uint32_t unit_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *events,
                          uint32_t room, const struct tael_mix_state *before) {
    const struct tael_mix_options *options = &mix->options;
    struct tael_mix_state *state = &stream->state;
    due_add(options, state, 1);
    if (state->settle_due >= WHOLE && state->pending_settled < before->pending_made) {
        state->settle_due -= WHOLE;
        settlement_fill(mix, stream, events);
        return 1;
    }
    /* Nothing to settle yet: that isn't made up for later, or all would come at once. */
    if (state->settle_due >= 2 * WHOLE && state->pending_settled >= before->pending_made) state->settle_due = WHOLE;
    /* The ring keeps what was pending when the batch began, so that the batch can be made again. */
    if (state->pending_due >= WHOLE && state->pending_made - before->pending_settled <= stream->pending_mask) {
        state->pending_due -= WHOLE;
        pending_fill(mix, stream, events);
        return 1;
    }
    if (options->chain_percent > 0 && room >= options->chain_length &&
        state->chain_due >= (uint64_t)options->chain_length * WHOLE) {
        chain_fill(mix, stream, events);
        return options->chain_length;
    }
    plain_fill(mix, stream, events, 0);
    return 1;
}

void tael_mix_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *events,
                   uint32_t count) {
    TAEL_ASSERT(count <= mix->options.batch);
    if (mix->options.pending_percent == 0 && mix->options.chain_percent == 0) {
        for (uint32_t i = 0; i < count; i++) plain_fill(mix, stream, &events[i], 0);
        return;
    }
    const struct tael_mix_state before = stream->state;
    for (uint32_t i = 0; i < count;) i += unit_fill(mix, stream, &events[i], count - i, &before);
}
