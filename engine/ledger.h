/* The ledger: accounts and transfers, and the only code that moves money.
 *
 * Pure and deterministic: the same start and the same requests give the same bytes. No clock, no I/O, no randomness, no
 * allocation after init. Owned by one worker thread.
 *
 * The caller (sequencer, or recovery) guarantees, and the ledger asserts: ops rise by one, timestamps rise, and there is
 * room for the worst case of every request (see struct tael_ledger_usage). */
#ifndef TAEL_ENGINE_LEDGER_H
#define TAEL_ENGINE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/record.h>
#include <tael/request.h>

struct tael_ledger;

struct tael_ledger_options {
    uint64_t accounts_max;
    uint64_t transfers_max; /* transfers and burnt ids together */
    tael_u128 hash_key; /* random, made at format: ids are chosen by clients */
    uint32_t workers; /* that apply steps together (engine/step.h); 0 and 1: one */
    /* Tests only: keep this many of the hash's bits (0 keeps all), so that different ids collide. */
    uint32_t hash_bits;
};

/* Bytes of arena that `tael_ledger_init` takes. */
size_t tael_ledger_size_bytes(const struct tael_ledger_options *options);
struct tael_ledger *tael_ledger_init(struct tael_arena *arena, const struct tael_ledger_options *options);

/* One line a module, for the budget printed at start: name and bytes. `index` counts from 0; false past the last. */
bool tael_ledger_budget(const struct tael_ledger_options *options, uint32_t index, const char **name,
                        size_t *size_bytes);

/* Applies a sequenced request of kind CREATE, or a pulse. Other operations only move the op and the timestamp forward.
 * Writes the exceptions (see struct tael_exception), in order, and returns their number, at most request->event_count;
 * `exceptions` must have room for that many. A pulse has none. */
uint32_t tael_ledger_apply(struct tael_ledger *ledger, const struct tael_request *request,
                           struct tael_exception *exceptions);

/* Hints that `request` is applied soon: called for it with 3, 2 and then 1 steps left, with other requests applied in between. For
 * small requests, which leave no time to look ahead within themselves; nothing for others. */
void tael_ledger_look_ahead(const struct tael_ledger *ledger, const struct tael_request *request, uint32_t steps_left);

/* What the ledger holds, for admission: a request with N events of accounts is admitted only while
 * accounts + N <= accounts_max, with N events of transfers only while transfers + N <= transfers_max. */
struct tael_ledger_usage {
    uint64_t accounts;
    uint64_t transfers; /* transfers and burnt ids */
    uint64_t op; /* last op applied */
    uint64_t timestamp; /* of the last op */
    uint64_t expiry_next; /* the earliest expiry of a transfer that is still pending; UINT64_MAX where there is none */
};
struct tael_ledger_usage tael_ledger_usage(const struct tael_ledger *ledger);

/* Work that is done behind: extends the lists of transfers by account by at most `budget` transfers. Returns how many. */
uint32_t tael_ledger_index_behind(struct tael_ledger *ledger, uint32_t budget);

/* A digest of accounts, transfers, pending status, burnt ids, history and the last timestamp, independent of table order.
 * docs/digest.md defines it. Takes time proportional to the ledger: for tools and tests. */
tael_u128 tael_ledger_digest(const struct tael_ledger *ledger);

/* Double entry, recomputed from the balances of all accounts: per ledger, debits equal credits, pending and posted. For
 * tools and tests: no trial balance may be under way. */
bool tael_ledger_balanced(struct tael_ledger *ledger);

#endif
