/* The rules of create_transfer: plain, pending, post and void; the order of their checks, and what they change. Source: the
 * ledger's semantics, "Order of checks" (docs/rules.md). Pure; owned by one worker. */
#ifndef TAEL_ENGINE_TRANSFER_RULES_H
#define TAEL_ENGINE_TRANSFER_RULES_H

#include <tael/status.h>

#include "engine/ledger_state.h"

/* What is worked out about an event ahead of its turn, in four steps, each when the lines that the one before fetches have come.
 * Only hints: what they lead to is confirmed when it is the event's turn. */
struct tael_transfer_ahead {
    uint64_t id_hash;
    uint64_t debit_hash; /* of a post or void: that of the pending transfer's id */
    uint64_t credit_hash;
    struct tael_account_line *debit; /* the lines that are guessed; NULL: none */
    struct tael_account_line *credit;
};

/* First works out the hashes. */
void tael_transfer_hash(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                        struct tael_transfer_ahead *ahead);
/* Fetches the buckets of the indexes where its accounts, or the transfer that it posts or voids, are found. */
void tael_transfer_fetch_buckets(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                 const struct tael_transfer_ahead *ahead);
/* Fetches the bucket of its own id, and the transfer that it posts or voids. */
void tael_transfer_fetch_transfers(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                   const struct tael_transfer_ahead *ahead);
/* Fetches the accounts' lines. */
void tael_transfer_fetch_accounts(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                                  struct tael_transfer_ahead *ahead);

/* Creates the transfer or says why not. The checks that events share (linked, imported, timestamps) were made before.
 * `timestamp` is the event's own; on success, and for `exists`, it becomes the transfer's. */
uint32_t tael_transfer_create(struct tael_ledger *ledger, const struct tael_transfer *transfer,
                              const struct tael_transfer_ahead *ahead, uint64_t *timestamp);

/* Takes the youngest transfer back, when its chain fails. */
void tael_transfer_take_back(struct tael_ledger *ledger);

/* Burns an id that failed transiently and is free: every later use of it gives 68. */
void tael_transfer_burn(struct tael_ledger *ledger, tael_u128 id);

/* Once it is certain that the transfer at `position` stays: enters its expiry, if it has one. */
void tael_transfer_settle(struct tael_ledger *ledger, uint64_t position);

/* Expires what is pending and due at `due` (ns), at most TAEL_EXPIRIES_MAX, with the timestamps from `timestamp_first` on. */
void tael_transfers_expire(struct tael_ledger *ledger, uint64_t due, uint64_t timestamp_first);

#endif
