/* The rules of create_transfer: plain, pending, post and void; the order of their checks, and what they change. Source: the
 * ledger's semantics, "Order of checks" (docs/rules.md). Pure; owned by one worker. */
#ifndef TAEL_ENGINE_TRANSFER_RULES_H
#define TAEL_ENGINE_TRANSFER_RULES_H

#include <tael/status.h>

#include "engine/ledger_state.h"

/* What is worked out about an event ahead of its turn: its hashes, whose lines are being fetched meanwhile. */
struct tael_transfer_ahead {
    uint64_t id_hash;
    uint64_t debit_home;
    uint64_t credit_home;
    uint64_t pending_hash; /* of a post or void */
};

/* First, as early as possible: works out the hashes and fetches the lines they lead to. */
void tael_transfer_look_ahead(const struct tael_ledger *ledger, const struct tael_transfer *transfer,
                              struct tael_transfer_ahead *ahead);

/* Then, for a post or void, some events before its turn: fetches the pending transfer; and, closer, its accounts. Hints. */
void tael_transfer_fetch_pending(const struct tael_ledger *ledger, const struct tael_transfer_ahead *ahead);
void tael_transfer_fetch_pending_accounts(const struct tael_ledger *ledger, const struct tael_transfer_ahead *ahead);

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
