/* The ledger's insides, shared by its rules, reads and digest and by nobody else. */
#ifndef TAEL_ENGINE_LEDGER_STATE_H
#define TAEL_ENGINE_LEDGER_STATE_H

#include "engine/account_list.h"
#include "engine/account_table.h"
#include "engine/audit.h"
#include "engine/expiry_queue.h"
#include "engine/history.h"
#include "engine/id_index.h"
#include "engine/journal.h"
#include "engine/ledger.h"

struct tael_ledger {
    struct tael_account_table accounts;
    struct tael_id_index index; /* of transfers and burnt ids */
    struct tael_journal journal;
    struct tael_history history;
    struct tael_expiry_queue expiries;
    struct tael_account_lists lists;
    struct tael_audit audit;
    uint64_t op; /* last applied */
    uint64_t timestamp; /* of that op */
};

/* An index value says whether it stands for a transfer (its position) or a burnt id (its place among those). */
#define TAEL_INDEX_BURNT (1ull << (TAEL_INDEX_VALUE_BITS - 1))

/* What an id is. */
enum tael_id_state { TAEL_ID_FREE, TAEL_ID_TRANSFER, TAEL_ID_BURNT };

/* Looks an id up by its hash. `position` is set for a transfer only; after TAEL_ID_FREE the probe is where to enter it. */
static inline enum tael_id_state tael_ledger_find_transfer(const struct tael_ledger *ledger, tael_u128 id,
                                                           uint64_t hash, struct tael_index_probe *probe,
                                                           uint64_t *position) {
    *probe = tael_index_probe_begin(&ledger->index, hash);
    uint64_t value;
    while (tael_index_probe_next(&ledger->index, probe, &value)) {
        if (value & TAEL_INDEX_BURNT) {
            if (ledger->journal.burnt[value & ~TAEL_INDEX_BURNT] == id) return TAEL_ID_BURNT;
        } else if (tael_journal_body(&ledger->journal, value)->id == id) {
            *position = value;
            return TAEL_ID_TRANSFER;
        }
    }
    return TAEL_ID_FREE;
}

/* The position of the transfer that an id with this hash nearly always is, without a look at it. False where there is none. */
static inline bool tael_ledger_guess_transfer(const struct tael_ledger *ledger, uint64_t hash, uint64_t *position) {
    struct tael_index_probe probe = tael_index_probe_begin(&ledger->index, hash);
    return tael_index_probe_next(&ledger->index, &probe, position) && *position < ledger->journal.count;
}

static inline uint64_t tael_ledger_hash(const struct tael_ledger *ledger, tael_u128 id) {
    return tael_hash_id(&ledger->accounts.hash, id);
}

/* Transfers of a sub-batch that is not imported: all of it, or a part that begins and ends with a whole chain. */
struct tael_ledger_part {
    const struct tael_request *request;
    const struct tael_transfer *events;
    uint32_t count;
    uint32_t index_first; /* of its first event in the request */
    uint64_t timestamp_first; /* of its first event */
    bool ends_batch;
};
/* Applies them, one after the other, as a part of tael_ledger_apply. Writes the exceptions; returns how many. */
uint32_t tael_ledger_apply_part(struct tael_ledger *ledger, const struct tael_ledger_part *part,
                                struct tael_exception *exceptions);
/* Ends requests that stand one behind the other and were applied in parts. */
void tael_ledger_requests_end(struct tael_ledger *ledger, const struct tael_request *first,
                              const struct tael_request *last);

/* When a pending transfer expires, in ns; 0 where it never does. Its timeout was checked not to overflow. */
static inline uint64_t tael_transfer_expires_at(const struct tael_transfer *transfer) {
    return transfer->timeout == 0 ? 0 : transfer->timestamp + transfer->timeout * TAEL_NS_PER_S;
}

/* The change event of the transfer at `position`; with `expiry` not NULL, that of its expiry instead. */
void tael_ledger_change_event(const struct tael_ledger *ledger, uint64_t position,
                              const struct tael_expiry_entry *expiry, struct tael_change_event *out);

#endif
