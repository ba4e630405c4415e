/* The transfers of the load generator: which accounts, which flags.
 *
 *  1. Every transfer is meant to be created: its accounts exist, it settles what is pending, no chain is open at the end
 *     of a batch.
 *  2. What a batch posts or voids was made pending by an earlier batch of the same stream. So a stream's batches are sent
 *     one after the other, each after the reply to the one before.
 *  3. The same seed gives the same accounts, amounts and flags; only the upper half of the ids, `run`, is anew each time.
 *
 * Pure but for the memory of the picks and of the streams. A mix is read-only once made, so each stream may be on its
 * own thread. */
#ifndef TAEL_BENCH_MIX_H
#define TAEL_BENCH_MIX_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>

enum tael_mix_choice {
    TAEL_MIX_UNIFORM, /* two accounts at random */
    TAEL_MIX_HOT, /* a share of the transfers credits the first account */
    TAEL_MIX_ZIPF, /* account number k with a probability that falls with k^theta */
};

struct tael_mix_options {
    uint64_t accounts; /* two at least */
    uint64_t seed;
    uint64_t run; /* upper half of all transfers' ids */
    uint32_t ledger;
    uint32_t streams;
    uint32_t batch; /* events in the largest batch */
    enum tael_mix_choice choice;
    uint32_t hot_percent; /* of all transfers */
    uint32_t theta_percent; /* 99 is a theta of 0.99 */
    uint32_t pending_percent; /* of all transfers, up to 50: as many settle those */
    uint32_t void_percent; /* of those that settle; the rest posts */
    uint32_t chain_percent; /* of all transfers: in linked chains */
    uint32_t chain_length; /* two at least, and no more than a batch */
    bool history; /* the accounts keep it */
};

struct tael_mix {
    struct tael_mix_options options;
    uint32_t *picks; /* accounts drawn in advance, where drawing is dear; NULL where it isn't */
    uint32_t picks_count;
};

/* What changes as a stream goes on. To make the last batch again, put the state before it back. */
struct tael_mix_state {
    uint64_t random;
    uint64_t made; /* transfers; the lower half of the last id, within the stream */
    uint64_t pick;
    uint64_t pending_made; /* all of them */
    uint64_t pending_settled;
    uint64_t pending_due; /* in hundredths of a transfer */
    uint64_t settle_due;
    uint64_t void_due; /* in hundredths of a settlement */
    uint64_t chain_due;
};

struct tael_mix_stream {
    struct tael_mix_state state;
    uint64_t id_base; /* lower half of the stream's ids, before the first */
    uint64_t *pending; /* of the last made pending, their lower halves; a ring */
    uint64_t pending_mask;
};

/* 0 or -ENOMEM. Options are in their ranges. For Zipf it takes a second or so. */
int tael_mix_init(struct tael_mix *mix, const struct tael_mix_options *options);
void tael_mix_free(struct tael_mix *mix);

/* Stream `index` of options.streams. 0 or -ENOMEM. */
int tael_mix_stream_init(const struct tael_mix *mix, uint32_t index, struct tael_mix_stream *stream);
void tael_mix_stream_free(struct tael_mix_stream *stream);

/* Writes the next batch, `count` events, up to options.batch. */
void tael_mix_fill(const struct tael_mix *mix, struct tael_mix_stream *stream, struct tael_transfer *events,
                   uint32_t count);

/* Account `index`, 0 .. options.accounts - 1. The same in every run with the same ledger and history. */
struct tael_account tael_mix_account(const struct tael_mix_options *options, uint64_t index);

#endif
