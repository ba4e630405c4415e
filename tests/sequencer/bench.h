/* A sequencer on the bench: sessions, worker and sequencer wired together, with net and log played by the test.
 *
 * Messages go in with bench_send, replies come out of bench_reply, closed blocks pile up in `written`, in order, and the
 * test says when they are durable. Time stands still until the test moves it. */
#ifndef TAEL_TEST_BENCH_H
#define TAEL_TEST_BENCH_H

#include "engine/replay.h"
#include "engine/sequencer.h"
#include "engine/sessions.h"
#include "engine/worker.h"
#include "tests/sequencer/fake_ledger.h"

#define BENCH_MESSAGES 256
#define BENCH_CLUSTER 7
#define BENCH_CONNECTION 1000 /* of client n: this + n */
#define BENCH_RELEASE 0x1108

struct bench_options {
    uint32_t sessions_max;
    uint32_t reply_chunks; /* 0: what goes with sessions_max */
    uint64_t accounts_max;
    uint64_t transfers_max;
    uint32_t blocks_max;
    uint32_t replies_small;
    uint32_t replies_large;
    uint32_t reads_max;
    uint64_t skipped_op; /* 0 none */
    bool acknowledges_early;
};

/* A message that net received, with room for the largest body. */
struct bench_message {
    struct tael_message message; /* first: what the rings carry */
    struct tael_frame *frame;
    uint8_t *body;
    bool lent;
};

struct bench {
    void *memory;
    struct tael_arena arena;
    struct tael_replay replay;
    struct tael_sessions *sessions;
    struct tael_worker *worker;
    struct tael_sequencer *sequencer;
    struct tael_link link;
    struct tael_sequencer_input input;
    struct bench_message *messages;
    uint8_t *frames; /* one largest message each */
    tael_u128 checksum_last;
    /* The log: blocks taken so far, each on a sector. */
    uint8_t *written;
    size_t written_size;
    uint64_t written_op; /* last op in it */
    uint64_t written_sequence;
    bool log_stalled; /* takes nothing */
    uint32_t log_size_min; /* bytes of the smallest block that it takes */
    bool durable_held; /* takes, but announces nothing */
    bool worker_stalled;
};

/* What a client says; zero fields get sensible values in bench_send. */
struct bench_request {
    tael_u128 client;
    uint64_t session;
    uint32_t request;
    uint8_t operation;
    tael_u128 parent;
    tael_u128 checksum; /* 0: a new one each time */
    tael_connection connection; /* 0: the client's own */
    uint32_t release; /* 0: BENCH_RELEASE */
    const void *body;
    uint32_t body_size;
    /* By datagram, where there is a token. */
    uint64_t token;
    uint16_t slot;
    uint8_t kind; /* enum tael_message_kind */
    bool is_one_batch;
    const struct tael_part *parts; /* in place of the body; they outlive the message */
    uint32_t part_count;
};

void bench_open(struct bench *bench, const struct bench_options *options);
void bench_close(struct bench *bench);

/* Puts a message in net's ring and returns its checksum. */
tael_u128 bench_send(struct bench *bench, const struct bench_request *request);
/* Turns of sequencer, log and worker until none has work. */
void bench_run(struct bench *bench);
/* The next reply that was sent, NULL if none; the test hands it back with bench_sent. */
struct tael_reply *bench_reply(struct bench *bench);
void bench_sent(struct bench *bench, struct tael_reply *reply);
/* Messages that the sequencer has not given back. */
uint32_t bench_lent(struct bench *bench);

/* A create's body: `events` of 128 B and the trailer for the counts. Returns its size. */
uint32_t bench_body(uint8_t *body, const struct tael_transfer *events, const uint16_t *counts, uint32_t batch_count);

/* Applies what was written to another bench, freshly opened, as recovery does, and starts its sequencer. */
void bench_replay(const struct bench *from, struct bench *to);

#endif
