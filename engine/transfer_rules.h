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

#define TAEL_TRANSFER_RESOLVES (TAEL_TRANSFER_FLAG_post_pending_transfer | TAEL_TRANSFER_FLAG_void_pending_transfer)

struct tael_step;
struct tael_leg;

/* False for one that is refused before its id is looked up. */
static inline bool tael_transfer_may_have_id(const struct tael_transfer *t) {
    return (t->flags & ~TAEL_TRANSFER_FLAGS_DEFINED) == 0 && t->id != 0 && t->id != TAEL_U128_MAX;
}

/* What speaks against it by itself, once its id was found to be free: of plain and pending ones, of posts and voids. */
uint32_t tael_transfer_check_fields(const struct tael_transfer *t);
uint32_t tael_transfer_check_resolver(const struct tael_transfer *t);
bool tael_transfer_timeout_overflows(const struct tael_transfer *t, uint64_t timestamp);

/* What becomes of a post or void that is sound by itself, going by its pending transfer. */
enum tael_transfer_outlook {
    TAEL_OUTLOOK_FAILS, /* whatever others do with the pending transfer */
    TAEL_OUTLOOK_PASSES, /* if its accounts aren't closed and nobody else resolves it */
    TAEL_OUTLOOK_UNCERTAIN, /* it takes the exact state of both accounts to tell, or changes what they let pass */
};
/* `amount` is what it moves, where it does not fail. */
enum tael_transfer_outlook tael_transfer_outlook(const struct tael_transfer *t, const struct tael_transfer *pending,
                                                 enum tael_pending_status status, uint64_t timestamp,
                                                 tael_u128 *amount);
/* Writes the body of a post or void. */
void tael_transfer_write_resolver(struct tael_transfer *body, const struct tael_transfer *t,
                                  const struct tael_transfer *pending, tael_u128 amount, uint64_t timestamp);

/* The same for an event whose id, and perhaps accounts, another worker has looked up (engine/relay.h). */
void tael_transfer_hash_in_leg(const struct tael_leg *leg, uint32_t event, const struct tael_transfer *transfer,
                               struct tael_transfer_ahead *ahead);
void tael_transfer_fetch_transfers_in_leg(const struct tael_leg *leg, uint32_t event,
                                          const struct tael_transfer *transfer);
void tael_transfer_fetch_accounts_in_leg(const struct tael_leg *leg, uint32_t event,
                                         const struct tael_transfer *transfer, struct tael_transfer_ahead *ahead);

/* Creates the transfer or says why not. The checks that events share (linked, imported, timestamps) were made before.
 * `timestamp` is the event's own; on success, and for `exists`, it becomes the transfer's. */
uint32_t tael_transfer_create(struct tael_ledger *ledger, const struct tael_transfer *transfer,
                              const struct tael_transfer_ahead *ahead, uint64_t *timestamp);

/* Takes the youngest transfer back, when its chain fails. */
void tael_transfer_take_back(struct tael_ledger *ledger);

/* The same two for an event in the residue of a step, all events before it being decided: see engine/step.h. */
uint32_t tael_transfer_create_in_step(struct tael_step *step, uint32_t event, uint64_t *timestamp);
void tael_transfer_take_back_in_step(struct tael_step *step, uint32_t event);

/* The same for an event of a leg, all events before it being decided (engine/relay.h); and what is noted where it fails, burning its id
 * or not. */
uint32_t tael_transfer_create_in_leg(struct tael_leg *leg, uint32_t event, const struct tael_transfer *transfer,
                                     const struct tael_transfer_ahead *ahead, uint64_t *timestamp);
void tael_transfer_take_back_in_leg(struct tael_leg *leg, uint32_t event);
void tael_transfer_fail_in_leg(struct tael_leg *leg, uint32_t event, bool burns);

/* Burns an id that failed transiently and is free: every later use of it gives 68. */
void tael_transfer_burn(struct tael_ledger *ledger, tael_u128 id);

/* Once it is certain that the transfer at `position` stays: enters its expiry, if it has one. */
void tael_transfer_settle(struct tael_ledger *ledger, uint64_t position);

/* Expires what is pending and due at `due` (ns), at most TAEL_EXPIRIES_MAX, with the timestamps from `timestamp_first` on. */
void tael_transfers_expire(struct tael_ledger *ledger, uint64_t due, uint64_t timestamp_first);

#endif
