/* Why an event of a step is listed for the residue, and why a step is not applied together at all (engine/step.h): two closed sets,
 * each reason counted where it is found. docs/concurrency.md says what a listed event costs. */
#ifndef TAEL_ENGINE_STEP_REASON_H
#define TAEL_ENGINE_STEP_REASON_H

/* An event is often listed for several reasons. The one that counts is the first in this order: what it fails for whatever others do;
 * what events before it may have done with its id or its pending transfer; what makes its account unsafe by itself; another
 * event that does; its chain. */
#define TAEL_LISTED_TABLE(X)                                                                                           \
    X(refused, "refused for their flags, fields or timestamp")                                                         \
    X(account_unknown, "of an account that does not exist")                                                            \
    X(account_ledger, "of another ledger than their accounts")                                                         \
    X(pending_unfit, "post or void what is not pending, or not so much, or another's")                                 \
    X(id_taken, "an id that is taken, perhaps in the same step")                                                       \
    X(pending_unknown, "post or void what the same step creates, or nobody has")                                       \
    X(closed, "on a closed account")                                                                                   \
    X(balancing, "move as much as there is")                                                                           \
    X(closing, "close an account, or resolve what closed one")                                                         \
    X(expiry, "resolve what has just expired, or expire beyond all time")                                              \
    X(contested, "post or void what an event before does too")                                                         \
    X(limit, "on an account whose limit may not hold")                                                                 \
    X(beside_balancing, "on an account with a balancing event")                                                        \
    X(beside_closing, "on an account that is closed or reopened")                                                      \
    X(beside_expiry, "on an account of such an expiry")                                                                \
    X(beside_contested, "on an account of a contested pending transfer")                                               \
    X(beside_limit, "on an account whose limit may not hold for others")                                               \
    X(chain, "of a chain with one of these")

enum tael_listed {
    TAEL_LISTED_NOT,
#define X(name, text) TAEL_LISTED_##name,
    TAEL_LISTED_TABLE(X)
#undef X
        TAEL_LISTED_REASONS,
};

/* What is found in one pass counts by the first in this order; a later pass is not made then. */
#define TAEL_SEQUENTIAL_TABLE(X)                                                                                       \
    X(amount, "an amount of 2^48 and more")                                                                            \
    X(amount_balancing, "too many balancing events of 2^48 and more, or of too large accounts")                        \
    X(amount_pending, "2^48 and more was pending")                                                                     \
    X(account_wide, "an account with balances of more than 64 bits")                                                   \
    X(account_balance, "an account with a balance of 2^62 and more")                                                   \
    X(account_twin, "an account whose fingerprint is another's")

enum tael_sequential {
#define X(name, text) TAEL_SEQUENTIAL_##name,
    TAEL_SEQUENTIAL_TABLE(X)
#undef X
        TAEL_SEQUENTIAL_REASONS,
};

#endif
