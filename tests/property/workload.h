/* Random requests of a few clients' sessions, and reads, for a ledger, from a seed: built to reach every rule, with the model as the map of what is
 * there. The same seed and the same options give the same requests.
 *
 * The workload also plays the sequencer: it numbers requests, gives them timestamps by a clock of its own and issues
 * pulses, mostly when one is due, at times late, at times for nothing. */
#ifndef TAEL_TESTS_WORKLOAD_H
#define TAEL_TESTS_WORKLOAD_H

#include "tests/model/model.h"
#include "tests/support/random.h"

#define WORKLOAD_RECENT 64
#define WORKLOAD_CLIENTS 8
#define WORKLOAD_SLOTS_MAX 3 /* of a session by datagram; a session in four is by frames */

/* What kind of ledger a run has; drawn from the seed. */
struct workload_profile {
    uint32_t accounts_max;
    uint32_t transfers_max;
    uint32_t hash_bits;
    uint32_t accounts_wanted;
    uint32_t ledgers;
    uint32_t limited_percent; /* of accounts */
    uint32_t amounts; /* 0 tiny, 1 middling, 2 around 2^64, 3 up to 2^128 */
    uint32_t wide_percent; /* of events may move amounts that do not fit a step; others are cut */
    uint32_t broken_percent; /* of events get a random flaw */
    uint32_t linked_percent;
    uint32_t imported_percent; /* of batches */
    uint32_t events_max; /* of a usual request */
    uint64_t clock_start;
    uint64_t clock_step_max; /* ns between requests */
};

struct workload_client {
    tael_u128 id;
    uint64_t session;
    uint16_t slots; /* 0: by frames */
    uint32_t request; /* the number of its last, over all slots */
};

struct workload {
    struct test_random random;
    struct workload_profile profile;
    const struct tael_model *model;
    uint64_t op;
    uint64_t timestamp;
    uint64_t clock;
    uint64_t id_next;
    struct tael_transfer recent[WORKLOAD_RECENT]; /* as sent, not as stored */
    uint32_t recent_count;
    struct tael_account recent_accounts[WORKLOAD_RECENT];
    uint32_t recent_account_count;
    struct workload_client clients[WORKLOAD_CLIENTS]; /* that have a session */
    uint32_t client_count;
    uint64_t import_cursor; /* where the next imported timestamp goes */
};

void workload_init(struct workload *workload, uint64_t seed, uint32_t events, const struct tael_model *model);
/* Of most runs a ledger whose events workers can apply together: in three of four seeds few amounts or none are too large for that, and in four of
 * five no account is taken for another by its hash. */
void workload_suit_steps(struct workload *workload, uint64_t seed);

/* Builds the next request; `request` has room for the largest. False when the ledger has no room for more. */
bool workload_request(struct workload *workload, struct tael_request *request);

/* Builds the body of a random read, of at most `body_capacity` bytes, and returns its size. `batches_max`: how many
 * filters a framed one may have. */
uint32_t workload_read(struct workload *workload, uint8_t *operation, void *body, uint32_t batches_max);

/* The same for a lookup of at most `ids_max` ids: some repeated, stretches of them there, missing, or both, in one sub-batch or
 * in many, some of them empty. */
uint32_t workload_lookup(struct workload *workload, uint8_t *operation, void *body, uint32_t ids_max);

/* A read's; and a lookup's of at most WORKLOAD_LOOKUP_IDS ids. */
#define WORKLOAD_READ_BODY_MAX 16384
#define WORKLOAD_LOOKUP_IDS 600

#endif
