/* Reader of ACH files; see ach.h.
 *
 * Bytes are gathered into lines, lines are checked as records of 94 characters, records drive a small state machine: file
 * header (1), batches of header (5), entries (6) with addenda (7) and control (8), file control (9), filler. A record that
 * stands in the wrong place is reported and then taken as if it were right, so that one missing record is one problem. */
#include "cli/ach.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <tael/assert.h>

#define HASH_MODULUS 10000000000ull /* ten digits */

/* Code, direction in the totals, kind. The tens say which kind of account (checking, savings, general ledger, loan). */
/* clang-format off */
#define CODES_OF_ACCOUNT(X, tens)                                                          \
    X(tens + 1, false, RETURN)  X(tens + 2, false, PAYMENT) X(tens + 3, false, PRENOTE)    \
    X(tens + 4, false, REMITTANCE)                                                         \
    X(tens + 6, true, RETURN)   X(tens + 7, true, PAYMENT)  X(tens + 8, true, PRENOTE)     \
    X(tens + 9, true, REMITTANCE)
#define CODE_TABLE(X)                                                                      \
    CODES_OF_ACCOUNT(X, 20)                                                                \
    CODES_OF_ACCOUNT(X, 30)                                                                \
    CODES_OF_ACCOUNT(X, 40)                                                                \
    /* Loan accounts: debits only to take back a credit. */                                \
    X(51, false, RETURN) X(52, false, PAYMENT) X(53, false, PRENOTE) X(54, false, REMITTANCE) \
    X(55, true, PAYMENT) X(56, true, RETURN)
/* clang-format on */

enum code_kind { CODE_UNKNOWN = 0, CODE_PAYMENT, CODE_PRENOTE, CODE_REMITTANCE, CODE_RETURN };

static const uint8_t code_kinds[100] = {
#define X(code, is_debit, kind) [code] = CODE_##kind,
    CODE_TABLE(X)
#undef X
};

enum state {
    STATE_START, /* a file header must come */
    STATE_FILE, /* a batch or the file's control */
    STATE_BATCH, /* an entry */
    STATE_ENTRY, /* addenda, an entry or the batch's control */
    STATE_END, /* filler and blank lines */
    STATES
};

struct tael_ach {
    struct tael_ach_events events;
    XXH3_state_t *content;
    enum state state;
    bool is_file_wrong;
    bool is_unlined; /* records without line ends */
    bool has_bytes;

    char line[TAEL_ACH_RECORD_SIZE + 1];
    size_t line_size; /* as it came, even when longer than `line` keeps */
    uint64_t line_number; /* of the line being gathered, from 1 */
    bool has_return; /* a CR came last: part of the line end when an LF follows */

    struct tael_ach_batch batch;
    bool is_batch_wrong;
    struct tael_ach_totals batch_totals;
    uint32_t batches;

    struct tael_ach_entry entry;
    bool has_entry;
    bool says_addenda;
    uint32_t sequences[3]; /* addenda of type 05, 17, 18 so far */
    uint8_t return_addenda; /* 0, 98 or 99 */
    char return_reason[3];
    char return_bank[8];

    struct tael_ach_totals totals; /* of all entries */
    struct tael_ach_totals controls; /* of all batch controls; entries counts entries and addenda */
    uint64_t records;
};

static const char *const reason_names[TAEL_ACH_REASONS] = {
#define X(name, text) #name,
    TAEL_ACH_REASON_TABLE(X)
#undef X
};
static const char *const reason_texts[TAEL_ACH_REASONS] = {
#define X(name, text) text,
    TAEL_ACH_REASON_TABLE(X)
#undef X
};
const char *tael_ach_reason_name(enum tael_ach_reason reason) { return reason_names[reason]; }
const char *tael_ach_reason_text(enum tael_ach_reason reason) { return reason_texts[reason]; }

/* --- problems and fields --- */

__attribute__((format(printf, 4, 5))) static void problem(struct tael_ach *ach, enum tael_ach_level level,
                                                          uint64_t line, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (level == TAEL_ACH_FILE_WRONG) ach->is_file_wrong = true;
    if (level == TAEL_ACH_BATCH_WRONG) ach->is_batch_wrong = true;
    if (ach->events.problem != NULL) ach->events.problem(ach->events.context, level, line, text);
}

#define FILE_PROBLEM(ach, ...) problem(ach, TAEL_ACH_FILE_WRONG, (ach)->line_number, __VA_ARGS__)
#define BATCH_PROBLEM(ach, ...) problem(ach, TAEL_ACH_BATCH_WRONG, (ach)->line_number, __VA_ARGS__)

static const char *columns(const struct tael_ach *ach, int from) { return ach->line + from - 1; }

static bool is_blank(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != ' ') return false;
    }
    return true;
}

static bool digits_read(const char *bytes, size_t size, uint64_t *out) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < '0' || bytes[i] > '9') return false;
        number = number * 10 + (uint64_t)(bytes[i] - '0');
    }
    *out = number;
    return true;
}

/* The number in columns from..to; reported, and 0, when it isn't digits. */
static uint64_t number_field(struct tael_ach *ach, const char *name, int from, int to) {
    uint64_t number = 0;
    TAEL_ASSERT(to - from < 19);
    if (!digits_read(columns(ach, from), (size_t)(to - from + 1), &number)) {
        FILE_PROBLEM(ach, "%s (columns %d-%d) must be digits, but is '%.*s'", name, from, to, to - from + 1,
                     columns(ach, from));
    }
    return number;
}

static void number_or_blank_field(struct tael_ach *ach, const char *name, int from, int to) {
    if (!is_blank(columns(ach, from), (size_t)(to - from + 1))) number_field(ach, name, from, to);
}

static void constant_field(struct tael_ach *ach, const char *name, int from, const char *wanted) {
    const size_t size = strlen(wanted);
    if (memcmp(columns(ach, from), wanted, size) == 0) return;
    FILE_PROBLEM(ach, "%s (columns %d-%d) must be '%s', but is '%.*s'", name, from, from + (int)size - 1, wanted,
                 (int)size, columns(ach, from));
}

/* Compares a control with what was counted. */
static void control_match(struct tael_ach *ach, const char *name, uint64_t control, uint64_t counted) {
    if (control == counted) return;
    BATCH_PROBLEM(ach, "the control of the batch at line %llu says %s %llu, but its entries come to %llu",
                  (unsigned long long)ach->batch.line, name, (unsigned long long)control, (unsigned long long)counted);
}

static void control_match_text(struct tael_ach *ach, const char *name, const char *control, const char *header,
                               size_t size) {
    if (memcmp(control, header, size) == 0) return;
    BATCH_PROBLEM(ach, "the control of the batch at line %llu has %s '%.*s', but its header '%.*s'",
                  (unsigned long long)ach->batch.line, name, (int)size, control, (int)size, header);
}

/* The ninth digit of a routing number, from the first eight: weights 3, 7, 1. */
static char routing_check_digit(const char digits[8]) {
    static const int weights[8] = {3, 7, 1, 3, 7, 1, 3, 7};
    int sum = 0;
    for (int i = 0; i < 8; i++) sum += weights[i] * (digits[i] - '0');
    return (char)('0' + (10 - sum % 10) % 10);
}

/* --- entries --- */

static enum tael_ach_disposition reject(struct tael_ach *ach, enum tael_ach_reason reason) {
    ach->entry.reason = reason;
    return TAEL_ACH_REJECTED;
}

/* An entry whose addenda say that it comes back: type 99, or 98 where only a notice does. */
static enum tael_ach_disposition return_judge(struct tael_ach *ach) {
    struct tael_ach_entry *entry = &ach->entry;
    uint64_t number;
    if (ach->return_addenda == 0) return reject(ach, TAEL_ACH_REASON_return_without_addenda);
    if (ach->return_addenda == 98) {
        return entry->amount_cents == 0 ? TAEL_ACH_NOTICE : reject(ach, TAEL_ACH_REASON_amount_not_zero);
    }
    if (ach->return_reason[0] != 'R' || !digits_read(ach->return_reason + 1, 2, &number)) {
        return reject(ach, TAEL_ACH_REASON_return_reason);
    }
    if (number >= 61 && number <= 77) return reject(ach, TAEL_ACH_REASON_return_disputed);
    if (entry->amount_cents == 0) return TAEL_ACH_NOTICE;
    if (!digits_read(ach->return_bank, 8, &number)) return reject(ach, TAEL_ACH_REASON_return_bank);
    memcpy(entry->routing, ach->return_bank, 8);
    entry->routing[8] = routing_check_digit(entry->routing);
    return TAEL_ACH_POST_RETURN;
}

static enum tael_ach_disposition entry_judge(struct tael_ach *ach) {
    const struct tael_ach_entry *entry = &ach->entry;
    const enum code_kind kind = code_kinds[entry->code];
    if (kind == CODE_UNKNOWN) return reject(ach, TAEL_ACH_REASON_unknown_code);
    if (routing_check_digit(entry->routing) != entry->routing[8]) return reject(ach, TAEL_ACH_REASON_check_digit);
    if (entry->account_size == 0) return reject(ach, TAEL_ACH_REASON_account_blank);
    if (kind == CODE_RETURN) return return_judge(ach);
    if (ach->return_addenda != 0) return reject(ach, TAEL_ACH_REASON_addenda_of_return);
    if (kind == CODE_PAYMENT) {
        return entry->amount_cents == 0 ? reject(ach, TAEL_ACH_REASON_amount_zero) : TAEL_ACH_POST;
    }
    if (entry->amount_cents != 0) return reject(ach, TAEL_ACH_REASON_amount_not_zero);
    return kind == CODE_PRENOTE ? TAEL_ACH_PRENOTE : TAEL_ACH_REMITTANCE;
}

/* The entry's last addenda has been read: what follows isn't its own. */
static void entry_finish(struct tael_ach *ach) {
    if (!ach->has_entry) return;
    struct tael_ach_entry *entry = &ach->entry;
    ach->has_entry = false;
    if (ach->says_addenda != (entry->addenda > 0)) {
        problem(ach, TAEL_ACH_BATCH_WRONG, entry->line,
                ach->says_addenda ? "the entry says that addenda follow (column 79), but none do"
                                  : "the entry says that no addenda follow (column 79), but they do");
    }
    entry->disposition = entry_judge(ach);
    if (ach->events.entry != NULL) ach->events.entry(ach->events.context, &ach->batch, entry);
}

/* Digits 1 to 4 at the end are credits and 5 to 9 debits, for codes that aren't known too: so senders count them. */
static bool code_is_debit(uint8_t code) { return code % 10 >= 5; }

static void totals_add(struct tael_ach_totals *totals, const struct tael_ach_entry *entry, uint64_t bank) {
    totals->entries++;
    totals->hash += bank;
    if (entry->is_debit) {
        totals->debits_cents += entry->amount_cents;
    } else {
        totals->credits_cents += entry->amount_cents;
    }
}

static void account_read(struct tael_ach *ach) {
    const bool is_iat = memcmp(ach->batch.entry_class, "IAT", 3) == 0;
    const char *from = is_iat ? columns(ach, 40) : columns(ach, 13);
    const char *to = is_iat ? columns(ach, 75) : columns(ach, 30);
    while (from < to && *from == ' ') from++;
    while (to > from && to[-1] == ' ') to--;
    ach->entry.account_size = (uint8_t)(to - from);
    memcpy(ach->entry.account, from, ach->entry.account_size);
}

/* Stops a service class of one direction from holding the other. */
static void service_class_check(struct tael_ach *ach) {
    const bool is_debit = ach->entry.is_debit;
    if (ach->entry.amount_cents == 0) return;
    if ((ach->batch.service_class == 220 && is_debit) || (ach->batch.service_class == 225 && !is_debit)) {
        BATCH_PROBLEM(ach, "a %s in a batch of service class %u, which holds %s only", is_debit ? "debit" : "credit",
                      ach->batch.service_class, is_debit ? "credits" : "debits");
    }
}

static void entry_record(struct tael_ach *ach) {
    entry_finish(ach);
    ach->entry = (struct tael_ach_entry){
        .ordinal = ach->totals.entries + 1,
        .line = ach->line_number,
        .code = (uint8_t)number_field(ach, "the transaction code", 2, 3),
        .amount_cents = number_field(ach, "the amount", 30, 39),
        .trace = number_field(ach, "the trace number", 80, 94),
    };
    ach->entry.is_debit = code_is_debit(ach->entry.code);
    const uint64_t bank = number_field(ach, "the receiver's bank", 4, 11);
    number_field(ach, "the check digit", 12, 12);
    memcpy(ach->entry.routing, columns(ach, 4), TAEL_ACH_ROUTING_SIZE);
    account_read(ach);
    const char indicator = *columns(ach, 79);
    if (indicator != '0' && indicator != '1') {
        FILE_PROBLEM(ach, "the addenda indicator (column 79) must be 0 or 1, but is '%c'", indicator);
    }
    ach->says_addenda = indicator == '1';
    ach->has_entry = true;
    ach->return_addenda = 0;
    memset(ach->sequences, 0, sizeof ach->sequences);
    service_class_check(ach);
    totals_add(&ach->batch_totals, &ach->entry, bank);
    totals_add(&ach->totals, &ach->entry, bank);
}

/* Addenda of these types are numbered from 1 within their entry, in columns 84-87. */
static void addenda_sequence_check(struct tael_ach *ach, uint32_t *sequence) {
    const uint64_t number = number_field(ach, "the addenda's sequence number", 84, 87);
    if (number == ++*sequence || *sequence > 9999) return;
    BATCH_PROBLEM(ach, "the addenda's sequence number (columns 84-87) must be %u, but is %llu", *sequence,
                  (unsigned long long)number);
}

/* The last seven digits of the entry's trace number. */
static void addenda_entry_check(struct tael_ach *ach) {
    const uint64_t number = number_field(ach, "the entry's sequence number", 88, 94);
    if (number == ach->entry.trace % 10000000) return;
    BATCH_PROBLEM(ach, "addenda for entry %07llu (columns 88-94) follow entry %07llu", (unsigned long long)number,
                  (unsigned long long)(ach->entry.trace % 10000000));
}

static void addenda_return_read(struct tael_ach *ach, uint8_t type) {
    ach->return_addenda = type;
    memcpy(ach->return_reason, columns(ach, 4), sizeof ach->return_reason);
    memcpy(ach->return_bank, columns(ach, 28), sizeof ach->return_bank);
    uint64_t original = 0;
    ach->entry.original_trace = digits_read(columns(ach, 7), 15, &original) ? original : 0;
}

static void addenda_record(struct tael_ach *ach) {
    const uint64_t type = number_field(ach, "the addenda type", 2, 3);
    ach->entry.addenda++;
    ach->batch_totals.addenda++;
    ach->totals.addenda++;
    if (type == 98 || type == 99) {
        addenda_return_read(ach, (uint8_t)type);
    } else if (type == 2) {
        number_field(ach, "the trace number", 80, 94);
    } else if (type == 5 || (type >= 10 && type <= 18)) {
        if (type == 5) addenda_sequence_check(ach, &ach->sequences[0]);
        if (type >= 17) addenda_sequence_check(ach, &ach->sequences[type - 16]);
        addenda_entry_check(ach);
    } else {
        BATCH_PROBLEM(ach, "addenda of unknown type %02llu", (unsigned long long)type);
    }
}

/* --- file and batch records --- */

static void file_header_record(struct tael_ach *ach) {
    number_field(ach, "the priority code", 2, 3);
    number_field(ach, "the creation date", 24, 29);
    number_or_blank_field(ach, "the creation time", 30, 33);
    constant_field(ach, "the record size", 35, "094");
    constant_field(ach, "the blocking factor", 38, "10");
    constant_field(ach, "the format code", 40, "1");
}

static void batch_header_record(struct tael_ach *ach) {
    const uint64_t service_class = number_field(ach, "the service class", 2, 4);
    if (service_class == 280 || memcmp(columns(ach, 51), "ADV", 3) == 0) {
        FILE_PROBLEM(ach, "accounting advices (ADV, service class 280) are no payments and can't be loaded");
    } else if (service_class != 200 && service_class != 220 && service_class != 225) {
        FILE_PROBLEM(ach, "the service class (columns 2-4) must be 200, 220 or 225, but is %03llu",
                     (unsigned long long)service_class);
    }
    number_or_blank_field(ach, "the effective date", 70, 75);
    number_field(ach, "the originating bank", 80, 87);
    ach->batch = (struct tael_ach_batch){
        .index = ach->batches++,
        .line = ach->line_number,
        .service_class = (uint16_t)service_class,
        .number = (uint32_t)number_field(ach, "the batch number", 88, 94),
    };
    memcpy(ach->batch.company_id, columns(ach, 41), sizeof ach->batch.company_id);
    memcpy(ach->batch.entry_class, columns(ach, 51), sizeof ach->batch.entry_class);
    memcpy(ach->batch.originating_bank, columns(ach, 80), sizeof ach->batch.originating_bank);
    if (is_blank(ach->batch.company_id, TAEL_ACH_COMPANY_SIZE)) {
        BATCH_PROBLEM(ach, "the company identification (columns 41-50) is blank");
    }
    ach->batch_totals = (struct tael_ach_totals){0};
}

static void batch_end(struct tael_ach *ach) {
    entry_finish(ach);
    if (ach->events.batch_end != NULL) {
        ach->events.batch_end(ach->events.context, &ach->batch, !ach->is_batch_wrong, &ach->batch_totals);
    }
    ach->is_batch_wrong = false;
}

static void batch_control_record(struct tael_ach *ach) {
    const struct tael_ach_totals *totals = &ach->batch_totals;
    const uint64_t service_class = number_field(ach, "the service class", 2, 4);
    const struct tael_ach_totals control = {
        .entries = number_field(ach, "the count of entries and addenda", 5, 10),
        .hash = number_field(ach, "the entry hash", 11, 20),
        .debits_cents = number_field(ach, "the sum of debits", 21, 32),
        .credits_cents = number_field(ach, "the sum of credits", 33, 44),
    };
    number_field(ach, "the originating bank", 80, 87);
    number_field(ach, "the batch number", 88, 94);
    entry_finish(ach);
    control_match(ach, "count of entries and addenda", control.entries, totals->entries + totals->addenda);
    control_match(ach, "entry hash", control.hash, totals->hash % HASH_MODULUS);
    control_match(ach, "debits in cents", control.debits_cents, totals->debits_cents);
    control_match(ach, "credits in cents", control.credits_cents, totals->credits_cents);
    if (service_class != ach->batch.service_class) {
        BATCH_PROBLEM(ach, "the batch at line %llu begins with service class %u and ends with %llu",
                      (unsigned long long)ach->batch.line, ach->batch.service_class, (unsigned long long)service_class);
    }
    control_match_text(ach, "company", columns(ach, 45), ach->batch.company_id, TAEL_ACH_COMPANY_SIZE);
    control_match_text(ach, "originating bank", columns(ach, 80), ach->batch.originating_bank, 8);
    char number[16];
    snprintf(number, sizeof number, "%07u", ach->batch.number);
    control_match_text(ach, "number", columns(ach, 88), number, 7);
    ach->controls.entries += control.entries;
    ach->controls.hash += control.hash;
    ach->controls.debits_cents += control.debits_cents;
    ach->controls.credits_cents += control.credits_cents;
    batch_end(ach);
}

/* The file's control may match the batches' controls or the entries. Where a batch is damaged the two differ, and one of
 * them being right tells that the damage stays within that batch. */
static void file_control_match(struct tael_ach *ach, const char *name, uint64_t control, uint64_t batches,
                               uint64_t entries) {
    if (control == batches || control == entries) return;
    FILE_PROBLEM(ach, "the file's control says %s %llu, but the batches' controls come to %llu and the entries to %llu",
                 name, (unsigned long long)control, (unsigned long long)batches, (unsigned long long)entries);
}

static void file_count_match(struct tael_ach *ach, const char *name, uint64_t control, uint64_t counted) {
    if (control == counted) return;
    FILE_PROBLEM(ach, "the file's control says %llu %s, but there are %llu", (unsigned long long)control, name,
                 (unsigned long long)counted);
}

static void file_control_record(struct tael_ach *ach) {
    const struct tael_ach_totals *totals = &ach->totals, *controls = &ach->controls;
    file_count_match(ach, "batches", number_field(ach, "the count of batches", 2, 7), ach->batches);
    file_count_match(ach, "blocks of ten records", number_field(ach, "the count of blocks", 8, 13),
                     (ach->records + 9) / 10);
    file_control_match(ach, "entries and addenda", number_field(ach, "the count of entries and addenda", 14, 21),
                       controls->entries, totals->entries + totals->addenda);
    file_control_match(ach, "entry hash", number_field(ach, "the entry hash", 22, 31), controls->hash % HASH_MODULUS,
                       totals->hash % HASH_MODULUS);
    file_control_match(ach, "debits in cents", number_field(ach, "the sum of debits", 32, 43), controls->debits_cents,
                       totals->debits_cents);
    file_control_match(ach, "credits in cents", number_field(ach, "the sum of credits", 44, 55),
                       controls->credits_cents, totals->credits_cents);
}

/* --- the order of records --- */

static const struct record_kind {
    const char *name;
    void (*read)(struct tael_ach *ach);
    enum state next;
    bool may_stand[STATES]; /* in order of enum state; STATE_END takes none */
} record_kinds[10] = {
    ['1' - '0'] = {"a file header (1)", file_header_record, STATE_FILE, {true, false, false, false, false}},
    ['5' - '0'] = {"a batch header (5)", batch_header_record, STATE_BATCH, {false, true, false, false, false}},
    ['6' - '0'] = {"an entry (6)", entry_record, STATE_ENTRY, {false, false, true, true, false}},
    ['7' - '0'] = {"addenda (7)", addenda_record, STATE_ENTRY, {false, false, false, true, false}},
    ['8' - '0'] = {"a batch control (8)", batch_control_record, STATE_FILE, {false, false, false, true, false}},
    ['9' - '0'] = {"a file control (9)", file_control_record, STATE_END, {false, true, false, false, false}},
};

static const char *const state_expects[STATES] = {
    "a file must begin with its header (1)",        "a batch header (5) or the file control (9) must come here",
    "an entry (6) must come behind a batch header", "an entry (6), addenda (7) or a batch control (8) must come here",
    "only filler may follow the file control",
};

static bool is_filler(const char *line) {
    for (int i = 0; i < TAEL_ACH_RECORD_SIZE; i++) {
        if (line[i] != '9') return false;
    }
    return true;
}

static const struct record_kind *record_kind(char type) {
    if (type < '0' || type > '9' || record_kinds[type - '0'].name == NULL) return NULL;
    return &record_kinds[type - '0'];
}

static void record_read(struct tael_ach *ach) {
    const struct record_kind *kind = record_kind(ach->line[0]);
    const bool filler = is_filler(ach->line);
    if (filler && ach->state == STATE_END) return;
    ach->records++;
    XXH3_128bits_update(ach->content, ach->line, TAEL_ACH_RECORD_SIZE);
    if (kind == NULL) {
        FILE_PROBLEM(ach, "there is no record type '%c'; %s", ach->line[0], state_expects[ach->state]);
        return;
    }
    if (filler) {
        FILE_PROBLEM(ach, "%s, not filler", state_expects[ach->state]);
        return;
    }
    if (!kind->may_stand[ach->state]) {
        FILE_PROBLEM(ach, "%s, not %s", state_expects[ach->state], kind->name);
        const bool was_in_batch = ach->state == STATE_BATCH || ach->state == STATE_ENTRY;
        if (was_in_batch && kind->next != STATE_ENTRY && kind->read != batch_control_record) batch_end(ach);
    }
    kind->read(ach);
    ach->state = kind->next;
}

/* The first byte that no record may hold: they are printable ASCII. 0 when there is none. */
static int unprintable_column(const char *line) {
    for (int i = 0; i < TAEL_ACH_RECORD_SIZE; i++) {
        if (line[i] < ' ' || line[i] > '~') return i + 1;
    }
    return 0;
}

static void line_read(struct tael_ach *ach) {
    const size_t size = ach->line_size;
    const size_t kept = size < TAEL_ACH_RECORD_SIZE ? size : TAEL_ACH_RECORD_SIZE;
    if (is_blank(ach->line, kept) && size <= TAEL_ACH_RECORD_SIZE) {
        if (ach->state != STATE_END) FILE_PROBLEM(ach, "a blank line; %s", state_expects[ach->state]);
        return;
    }
    if (size != TAEL_ACH_RECORD_SIZE) {
        FILE_PROBLEM(ach, "the line has %zu characters, but a record has 94", size);
        /* Enough to go on with, so that what follows is judged in its place. */
        memset(ach->line + kept, ' ', TAEL_ACH_RECORD_SIZE - kept);
    }
    const int column = unprintable_column(ach->line);
    if (column != 0) {
        FILE_PROBLEM(ach, "column %d holds byte 0x%02x, which is no printable ASCII", column,
                     (unsigned char)ach->line[column - 1]);
        for (int i = 0; i < TAEL_ACH_RECORD_SIZE; i++) {
            if (ach->line[i] < ' ' || ach->line[i] > '~') ach->line[i] = '?';
        }
    }
    record_read(ach);
}

static void line_end(struct tael_ach *ach) {
    line_read(ach);
    ach->line_size = 0;
    ach->line_number++;
}

static void line_add(struct tael_ach *ach, char byte) {
    if (ach->line_size < TAEL_ACH_RECORD_SIZE) ach->line[ach->line_size] = byte;
    ach->line_size++;
}

static void byte_read(struct tael_ach *ach, char byte) {
    if (byte == '\n') {
        ach->has_return = false;
        if (!ach->is_unlined || ach->line_size > 0) line_end(ach);
        return;
    }
    if (ach->has_return) line_add(ach, '\r'); /* it was no line end */
    ach->has_return = byte == '\r';
    if (ach->has_return) return;
    /* A file header with the next record right behind it: a file of records without line ends. */
    if (ach->line_size == TAEL_ACH_RECORD_SIZE) {
        if (ach->line_number == 1 && ach->line[0] == '1' && (byte == '5' || byte == '9')) ach->is_unlined = true;
        if (ach->is_unlined) line_end(ach);
    }
    line_add(ach, byte);
}

/* --- the whole file --- */

struct tael_ach *tael_ach_new(const struct tael_ach_events *events) {
    struct tael_ach *ach = calloc(1, sizeof *ach);
    if (ach == NULL) return NULL;
    ach->events = *events;
    ach->line_number = 1;
    ach->content = XXH3_createState();
    if (ach->content != NULL) {
        XXH3_128bits_reset(ach->content);
        return ach;
    }
    free(ach);
    return NULL;
}

void tael_ach_free(struct tael_ach *ach) {
    if (ach == NULL) return;
    XXH3_freeState(ach->content);
    free(ach);
}

void tael_ach_feed(struct tael_ach *ach, const void *bytes, size_t size) {
    if (size > 0) ach->has_bytes = true;
    for (size_t i = 0; i < size; i++) byte_read(ach, ((const char *)bytes)[i]);
}

bool tael_ach_finish(struct tael_ach *ach) {
    if (ach->line_size > 0) line_end(ach);
    if (!ach->has_bytes) {
        FILE_PROBLEM(ach, "the file is empty");
    } else if (ach->state != STATE_END) {
        FILE_PROBLEM(ach, "the file ends without its control (9): it is not whole");
        if (ach->state != STATE_START && ach->state != STATE_FILE) batch_end(ach);
    }
    return !ach->is_file_wrong;
}

struct tael_ach_totals tael_ach_totals(const struct tael_ach *ach) {
    return ach->totals;
}

/* --- ids --- */

/* Each kind of id hashes with a seed of its own, so that none can meet one of another kind. */
enum { SEED_RECEIVER = 1, SEED_SETTLEMENT = 2, SEED_TRANSFER = 3 };

static tael_u128 u128_of(XXH128_hash_t hash) { return tael_u128_make(hash.high64, hash.low64); }

static tael_u128 id_of(const void *bytes, size_t size, uint64_t seed) {
    const tael_u128 id = u128_of(XXH3_128bits_withSeed(bytes, size, seed));
    return id == 0 || id == TAEL_U128_MAX ? 1 : id;
}

tael_u128 tael_ach_key(const struct tael_ach *ach) { return u128_of(XXH3_128bits_digest(ach->content)); }

tael_u128 tael_ach_receiver_id(const struct tael_ach_entry *entry, uint32_t ledger) {
    char bytes[sizeof ledger + TAEL_ACH_ROUTING_SIZE + TAEL_ACH_ACCOUNT_SIZE_MAX];
    memcpy(bytes, &ledger, sizeof ledger);
    memcpy(bytes + sizeof ledger, entry->routing, TAEL_ACH_ROUTING_SIZE);
    memcpy(bytes + sizeof ledger + TAEL_ACH_ROUTING_SIZE, entry->account, entry->account_size);
    return id_of(bytes, sizeof ledger + TAEL_ACH_ROUTING_SIZE + entry->account_size, SEED_RECEIVER);
}

tael_u128 tael_ach_settlement_id(const struct tael_ach_batch *batch, uint32_t ledger) {
    char bytes[sizeof ledger + TAEL_ACH_COMPANY_SIZE];
    memcpy(bytes, &ledger, sizeof ledger);
    memcpy(bytes + sizeof ledger, batch->company_id, TAEL_ACH_COMPANY_SIZE);
    return id_of(bytes, sizeof bytes, SEED_SETTLEMENT);
}

tael_u128 tael_ach_transfer_id(tael_u128 key, uint64_t ordinal) {
    char bytes[sizeof key + sizeof ordinal];
    memcpy(bytes, &key, sizeof key);
    memcpy(bytes + sizeof key, &ordinal, sizeof ordinal);
    return id_of(bytes, sizeof bytes, SEED_TRANSFER);
}
