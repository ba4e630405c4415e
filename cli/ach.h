/* Reader of ACH files in the NACHA format: bytes in, entries out. docs/ach.md says what becomes of each kind of entry.
 *
 * 1. Bytes may come in pieces of any size; what comes out doesn't depend on how they were cut.
 * 2. Everything in a file is input: it is reported, never asserted. After a problem the reader goes on, to find the next.
 * 3. An entry is handed out when all its addenda have been read, a batch's end after all its entries; whether a batch's
 *    control matches is known only then. So a caller who may post nothing of a wrong batch reads the file twice.
 * 4. The key depends on the records from file header to file control alone, not on line ends, filler or compression.
 *
 * Pure apart from the memory of tael_ach_new. Columns are counted from 1, as in the NACHA rules. */
#ifndef TAEL_CLI_ACH_H
#define TAEL_CLI_ACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/u128.h>

enum {
    TAEL_ACH_RECORD_SIZE = 94,
    TAEL_ACH_ACCOUNT_SIZE_MAX = 35,
    TAEL_ACH_COMPANY_SIZE = 10,
    TAEL_ACH_ROUTING_SIZE = 9
};

/* What becomes of an entry. All but POST move no money. */
enum tael_ach_disposition {
    TAEL_ACH_POST, /* a payment */
    TAEL_ACH_POST_RETURN, /* the undoing of an earlier payment */
    TAEL_ACH_PRENOTE, /* a test of account numbers, amount zero */
    TAEL_ACH_REMITTANCE, /* amount zero by its code: words only */
    TAEL_ACH_NOTICE, /* a notification of change, or a returned prenote */
    TAEL_ACH_REJECTED, /* see tael_ach_reason */
    TAEL_ACH_DISPOSITIONS
};

/* clang-format off */
#define TAEL_ACH_REASON_TABLE(X)                                                                              \
    X(none,                  "")                                                                              \
    X(unknown_code,          "the transaction code is unknown")                                               \
    X(check_digit,           "the routing number's check digit is wrong")                                     \
    X(account_blank,         "the account number is blank")                                                   \
    X(amount_zero,           "the amount is zero, but the code is one of a payment")                          \
    X(amount_not_zero,       "the amount is not zero, but the code or the addenda is one without a payment")  \
    X(return_without_addenda, "the code is one of a return, but addenda of type 98 or 99 are missing")        \
    X(addenda_of_return,     "addenda of type 98 or 99, but the code is none of a return")                    \
    X(return_disputed,       "a dishonored or contested return: its direction must be settled by people")     \
    X(return_reason,         "the return's reason is no R and two digits")                                    \
    X(return_bank,           "the return's addenda don't name the original receiver's bank")
/* clang-format on */

enum tael_ach_reason {
#define X(name, text) TAEL_ACH_REASON_##name,
    TAEL_ACH_REASON_TABLE(X)
#undef X
        TAEL_ACH_REASONS
};

struct tael_ach_batch {
    uint32_t index; /* in the file, from 0 */
    uint64_t line; /* of its header */
    uint32_t number; /* as the header has it */
    uint16_t service_class; /* 200, 220 or 225 */
    char company_id[TAEL_ACH_COMPANY_SIZE]; /* as it stands, with its blanks */
    char entry_class[3]; /* PPD, CCD, IAT ... */
    char originating_bank[8];
};

struct tael_ach_entry {
    uint64_t ordinal; /* in the file, from 1, over entries of all kinds */
    uint64_t line;
    enum tael_ach_disposition disposition;
    enum tael_ach_reason reason;
    uint8_t code; /* transaction code */
    bool is_debit; /* takes from the receiver; a return of it gives back */
    uint64_t amount_cents;
    uint64_t trace; /* trace number */
    uint64_t original_trace; /* of a return: the returned entry's; else 0 */
    char routing
        [TAEL_ACH_ROUTING_SIZE]; /* the receiver's bank, with check digit; of a return: the original receiver's */
    char account[TAEL_ACH_ACCOUNT_SIZE_MAX]; /* without blanks around it, not terminated */
    uint8_t account_size;
    uint32_t addenda;
};

struct tael_ach_totals {
    uint64_t entries;
    uint64_t addenda;
    uint64_t debits_cents;
    uint64_t credits_cents;
    uint64_t hash; /* sum of the receivers' bank numbers, without check digit; compared modulo 10^10 */
};

enum tael_ach_level {
    TAEL_ACH_FILE_WRONG, /* nothing of the file may be posted */
    TAEL_ACH_BATCH_WRONG, /* nothing of this batch may be posted */
};

/* Calls back while bytes are fed. Any may be NULL. Texts and structs are valid during the call. */
struct tael_ach_events {
    void *context;
    void (*entry)(void *context, const struct tael_ach_batch *batch, const struct tael_ach_entry *entry);
    void (*batch_end)(void *context, const struct tael_ach_batch *batch, bool is_matched,
                      const struct tael_ach_totals *totals);
    void (*problem)(void *context, enum tael_ach_level level, uint64_t line, const char *text);
};

struct tael_ach;

struct tael_ach *tael_ach_new(const struct tael_ach_events *events); /* NULL: no memory */
void tael_ach_free(struct tael_ach *ach); /* NULL is fine */

void tael_ach_feed(struct tael_ach *ach, const void *bytes, size_t size);

/* The end of the file. True when there was no problem that makes the whole file wrong. */
bool tael_ach_finish(struct tael_ach *ach);

/* After tael_ach_finish. */
struct tael_ach_totals tael_ach_totals(const struct tael_ach *ach);
tael_u128 tael_ach_key(const struct tael_ach *ach); /* of the file's content */

const char *tael_ach_reason_text(enum tael_ach_reason reason);
const char *tael_ach_reason_name(enum tael_ach_reason reason);

/* Ids, all neither 0 nor max. A receiver is its bank, its account number and the ledger; a settlement account is the
 * originating company and the ledger; a transfer is the file's content and the entry's ordinal in it. */
tael_u128 tael_ach_receiver_id(const struct tael_ach_entry *entry, uint32_t ledger);
tael_u128 tael_ach_settlement_id(const struct tael_ach_batch *batch, uint32_t ledger);
tael_u128 tael_ach_transfer_id(tael_u128 key, uint64_t ordinal);

#endif
