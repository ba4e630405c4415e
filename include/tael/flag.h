/* Flags of accounts, transfers and filters. One row each: bit, name. The rows generate the enums, the masks of what is
 * defined, and the names. */
#ifndef TAEL_FLAG_H
#define TAEL_FLAG_H

#include <stdint.h>

#define TAEL_ACCOUNT_FLAG_TABLE(X)                                                                                     \
    X(0, linked)                                                                                                       \
    X(1, debits_must_not_exceed_credits)                                                                               \
    X(2, credits_must_not_exceed_debits)                                                                               \
    X(3, history)                                                                                                      \
    X(4, imported)                                                                                                     \
    X(5, closed)

#define TAEL_TRANSFER_FLAG_TABLE(X)                                                                                    \
    X(0, linked)                                                                                                       \
    X(1, pending)                                                                                                      \
    X(2, post_pending_transfer)                                                                                        \
    X(3, void_pending_transfer)                                                                                        \
    X(4, balancing_debit)                                                                                              \
    X(5, balancing_credit)                                                                                             \
    X(6, closing_debit)                                                                                                \
    X(7, closing_credit)                                                                                               \
    X(8, imported)

#define TAEL_ACCOUNT_FILTER_FLAG_TABLE(X)                                                                              \
    X(0, debits)                                                                                                       \
    X(1, credits)                                                                                                      \
    X(2, reversed)

#define TAEL_QUERY_FILTER_FLAG_TABLE(X) X(0, reversed)

#define TAEL_FLAG_MASK_BIT(bit, name) | (1u << (bit))

enum tael_account_flag {
#define X(bit, name) TAEL_ACCOUNT_FLAG_##name = 1u << (bit),
    TAEL_ACCOUNT_FLAG_TABLE(X)
#undef X
        TAEL_ACCOUNT_FLAGS_DEFINED = 0 TAEL_ACCOUNT_FLAG_TABLE(TAEL_FLAG_MASK_BIT),
};

enum tael_transfer_flag {
#define X(bit, name) TAEL_TRANSFER_FLAG_##name = 1u << (bit),
    TAEL_TRANSFER_FLAG_TABLE(X)
#undef X
        TAEL_TRANSFER_FLAGS_DEFINED = 0 TAEL_TRANSFER_FLAG_TABLE(TAEL_FLAG_MASK_BIT),
};

enum tael_account_filter_flag {
#define X(bit, name) TAEL_ACCOUNT_FILTER_FLAG_##name = 1u << (bit),
    TAEL_ACCOUNT_FILTER_FLAG_TABLE(X)
#undef X
        TAEL_ACCOUNT_FILTER_FLAGS_DEFINED = 0 TAEL_ACCOUNT_FILTER_FLAG_TABLE(TAEL_FLAG_MASK_BIT),
};

enum tael_query_filter_flag {
#define X(bit, name) TAEL_QUERY_FILTER_FLAG_##name = 1u << (bit),
    TAEL_QUERY_FILTER_FLAG_TABLE(X)
#undef X
        TAEL_QUERY_FILTER_FLAGS_DEFINED = 0 TAEL_QUERY_FILTER_FLAG_TABLE(TAEL_FLAG_MASK_BIT),
};

#endif
