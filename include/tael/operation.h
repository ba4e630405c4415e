/* Operations: one row each, in order of number.
 *
 * kind says who may send it and what becomes of it:
 *   SESSION   opens a session; logged
 *   CREATE    changes the ledger; logged
 *   READ      answered beside the log, leaves no trace
 *   INTERNAL  made by the sequencer only; logged; a client that sends one gets eviction 4
 * event and result are sizes in bytes of one element of the request's and the reply's body. FRAMED bodies are
 * multi-batch (include/tael/multi_batch.h), BARE ones are elements back to back. filters: the body's elements are filters,
 * exactly one a sub-batch.
 * Numbers below 200 are TigerBeetle's; 200 and above are Tael's own. */
#ifndef TAEL_OPERATION_H
#define TAEL_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
/*    number  name                     kind      event  result  framing  filters */
#define TAEL_OPERATION_TABLE(X)                                             \
    X(2,   register,                SESSION,  256,   64,     BARE,    false) \
    X(128, pulse,                   INTERNAL, 0,     0,      BARE,    false) \
    X(137, get_change_events,       READ,     64,    384,    BARE,    true)  \
    X(138, create_accounts_sparse,  CREATE,   128,   8,      FRAMED,  false) \
    X(139, create_transfers_sparse, CREATE,   128,   8,      FRAMED,  false) \
    X(140, lookup_accounts,         READ,     16,    128,    FRAMED,  false) \
    X(141, lookup_transfers,        READ,     16,    128,    FRAMED,  false) \
    X(142, get_account_transfers,   READ,     128,   128,    FRAMED,  true)  \
    X(143, get_account_balances,    READ,     128,   128,    FRAMED,  true)  \
    X(144, query_accounts,          READ,     64,    128,    FRAMED,  true)  \
    X(145, query_transfers,         READ,     64,    128,    FRAMED,  true)  \
    X(146, create_accounts,         CREATE,   128,   16,     FRAMED,  false) \
    X(147, create_transfers,        CREATE,   128,   16,     FRAMED,  false) \
    X(200, trial_balance,           READ,     128,   256,    BARE,    true)  \
    X(240, evict,                   INTERNAL, 0,     0,      BARE,    false)
/* clang-format on */

enum tael_operation {
#define X(number, name, kind, event, result, framing, filters) TAEL_OPERATION_##name = number,
    TAEL_OPERATION_TABLE(X)
#undef X
};

enum tael_operation_kind {
    TAEL_OPERATION_UNKNOWN = 0,
    TAEL_OPERATION_SESSION,
    TAEL_OPERATION_CREATE,
    TAEL_OPERATION_READ,
    TAEL_OPERATION_INTERNAL,
};

struct tael_operation_info {
    const char *name; /* NULL for a number that is no operation */
    enum tael_operation_kind kind;
    uint32_t event_size;
    uint32_t result_size;
    bool multi_batch;
    bool filters;
};

#define TAEL_OPERATION_IS_FRAMED true
#define TAEL_OPERATION_IS_BARE false

/* What an operation number means; kind TAEL_OPERATION_UNKNOWN where it means nothing. Without compound literals, for
 * C++. */
static inline struct tael_operation_info tael_operation_info(uint8_t number) {
    switch (number) {
#define X(number, name, kind, event, result, framing, filters)                                                         \
    case number: {                                                                                                     \
        const struct tael_operation_info info = {#name,  TAEL_OPERATION_##kind,       event,                           \
                                                 result, TAEL_OPERATION_IS_##framing, filters};                        \
        return info;                                                                                                   \
    }
        TAEL_OPERATION_TABLE(X)
#undef X
    default: {
        const struct tael_operation_info none = {NULL, TAEL_OPERATION_UNKNOWN, 0, 0, false, false};
        return none;
    }
    }
}

/* True for the operations whose events are accounts; false for those whose events are transfers. Only for CREATE. */
static inline bool tael_operation_creates_accounts(uint8_t number) {
    return number == TAEL_OPERATION_create_accounts || number == TAEL_OPERATION_create_accounts_sparse;
}

/* True for the operations that answer with failures only. Only for CREATE. */
static inline bool tael_operation_is_sparse(uint8_t number) {
    return number == TAEL_OPERATION_create_accounts_sparse || number == TAEL_OPERATION_create_transfers_sparse;
}

#endif
