/* The reader of ACH files, by files: each row is a file beside this one, what becomes of its entries, and the first problem that
 * is found, with its line. Then rules that hold for all of them: how the bytes are cut and packed changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ach.h"
#include "cli/ach_file.h"
#include "cli/id_set.h"

enum { FILE_SIZE_MAX = 64 << 10, ENTRIES_MAX = 32 };

/* Everything that came out of one reading. */
struct reading {
    bool is_sound;
    bool is_whole; /* of a packed file */
    uint64_t dispositions[TAEL_ACH_DISPOSITIONS];
    uint64_t problems;
    uint64_t first_line;
    char first_text[256];
    uint64_t batches_matched, batches_wrong;
    struct tael_ach_totals totals;
    tael_u128 key;
    struct tael_ach_entry entries[ENTRIES_MAX];
    struct tael_ach_batch batches[ENTRIES_MAX]; /* of each entry */
    uint64_t entries_count;
};

static void on_entry(void *context, const struct tael_ach_batch *batch, const struct tael_ach_entry *entry) {
    struct reading *reading = context;
    reading->dispositions[entry->disposition]++;
    if (reading->entries_count == ENTRIES_MAX) return;
    reading->batches[reading->entries_count] = *batch;
    reading->entries[reading->entries_count++] = *entry;
}

static void on_batch_end(void *context, const struct tael_ach_batch *batch, bool is_matched,
                         const struct tael_ach_totals *totals) {
    struct reading *reading = context;
    (void)batch;
    (void)totals;
    if (is_matched) reading->batches_matched++;
    if (!is_matched) reading->batches_wrong++;
}

static void on_problem(void *context, enum tael_ach_level level, uint64_t line, const char *text) {
    struct reading *reading = context;
    (void)level;
    if (reading->problems++ > 0) return;
    reading->first_line = line;
    snprintf(reading->first_text, sizeof reading->first_text, "%s", text);
}

static struct tael_ach *reader(struct reading *reading) {
    memset(reading, 0, sizeof *reading);
    const struct tael_ach_events events = {
        .context = reading, .entry = on_entry, .batch_end = on_batch_end, .problem = on_problem};
    struct tael_ach *ach = tael_ach_new(&events);
    assert_non_null(ach);
    return ach;
}

static void finish(struct reading *reading, struct tael_ach *ach) {
    reading->is_sound = tael_ach_finish(ach);
    reading->totals = tael_ach_totals(ach);
    reading->key = tael_ach_key(ach);
    tael_ach_free(ach);
}

static int file_open(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", ACH_FILES, name);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) fail_msg("%s is missing", path);
    return file;
}

static struct reading file_read(const char *name) {
    struct reading reading;
    char why[128];
    struct tael_ach *ach = reader(&reading);
    const int file = file_open(name);
    const bool is_whole = tael_ach_file_feed(file, ach, NULL, why);
    close(file);
    finish(&reading, ach);
    reading.is_whole = is_whole;
    return reading;
}

static void test_each_file_gives_its_entries_or_its_problem(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool is_sound;
        uint64_t posts, returns, prenotes, remittances, notices, rejected;
        uint64_t batches_wrong;
        uint64_t line; /* 0: no problem */
        const char *text;
    } rows[] = {
        {"payments.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments_crlf.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments_blank_tail.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments_no_filler.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments_no_last_newline.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments_unlined.ach", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"payments.ach.gz", true, 4, 0, 0, 0, 0, 0, 0, 0, ""},
        {"two_batches.ach", true, 8, 0, 0, 0, 0, 0, 0, 0, ""},
        {"no_batches.ach", true, 0, 0, 0, 0, 0, 0, 0, 0, ""},
        {"codes.ach", true, 8, 0, 0, 0, 0, 0, 0, 0, ""},
        {"iat.ach", true, 1, 0, 0, 0, 0, 0, 0, 0, ""},
        /* Entries that move no money, or not as they say. */
        {"prenotes.ach", true, 1, 0, 7, 0, 0, 1, 0, 0, ""},
        {"remittance.ach", true, 0, 0, 0, 2, 0, 1, 0, 0, ""},
        {"returns.ach", true, 0, 4, 0, 0, 0, 0, 0, 0, ""},
        {"returns_odd.ach", true, 0, 0, 0, 0, 1, 6, 0, 0, ""},
        {"notices.ach", true, 0, 0, 0, 0, 2, 1, 0, 0, ""},
        {"unknown_codes.ach", true, 1, 0, 0, 0, 0, 7, 0, 0, ""},
        {"rejected_entries.ach", true, 1, 0, 0, 0, 0, 4, 0, 0, ""},
        {"addenda.ach", true, 3, 0, 0, 0, 0, 0, 0, 0, ""},
        /* Batches that are wrong, alone. */
        {"addenda_sequence.ach", true, 2, 0, 0, 0, 0, 0, 1, 5, "must be 2, but is 3"},
        {"addenda_stranger.ach", true, 1, 0, 0, 0, 0, 0, 1, 4, "follow entry 0000001"},
        {"addenda_missing.ach", true, 2, 0, 0, 0, 0, 0, 1, 3, "but none do"},
        {"addenda_unsaid.ach", true, 1, 0, 0, 0, 0, 0, 1, 3, "but they do"},
        {"addenda_unknown_type.ach", true, 1, 0, 0, 0, 0, 0, 1, 4, "unknown type 06"},
        {"batch_count.ach", true, 8, 0, 0, 0, 0, 0, 1, 7, "count of entries and addenda 5"},
        {"batch_hash.ach", true, 8, 0, 0, 0, 0, 0, 1, 7, "entry hash 1,"},
        {"batch_debits.ach", true, 8, 0, 0, 0, 0, 0, 1, 13, "debits in cents 2502"},
        {"batch_credits.ach", true, 8, 0, 0, 0, 0, 0, 1, 7, "credits in cents 150100"},
        {"batch_credits_file_by_entries.ach", true, 8, 0, 0, 0, 0, 0, 1, 7, "credits in cents 150100"},
        {"batch_number.ach", true, 8, 0, 0, 0, 0, 0, 1, 13, "number '0000009'"},
        {"batch_company.ach", true, 8, 0, 0, 0, 0, 0, 1, 13, "company 'OTHERCOMP '"},
        {"batch_service_class.ach", true, 4, 0, 0, 0, 0, 0, 2, 4, "a debit in a batch of service class 220"},
        /* Files that are wrong as a whole. */
        {"file_credits.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "credits in cents 1,"},
        {"file_debits.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "debits in cents 1,"},
        {"file_hash.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "entry hash 1,"},
        {"file_count.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "entries and addenda 9,"},
        {"file_batches.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "3 batches, but there are 2"},
        {"file_blocks.ach", false, 8, 0, 0, 0, 0, 0, 0, 14, "7 blocks of ten records, but there are 2"},
        {"short_line.ach", false, 4, 0, 0, 0, 0, 0, 0, 4, "has 93 characters"},
        {"long_line.ach", false, 4, 0, 0, 0, 0, 0, 0, 4, "has 95 characters"},
        {"long_first_line.ach", false, 4, 0, 0, 0, 0, 0, 0, 1, "has 96 characters"},
        {"one_long_line.ach", false, 0, 0, 0, 0, 0, 0, 0, 1, "has 5000 characters"},
        {"blank_line.ach", false, 4, 0, 0, 0, 0, 0, 0, 4, "a blank line"},
        {"letters_in_amount.ach", false, 3, 0, 0, 0, 0, 1, 1, 3, "the amount (columns 30-39) must be digits"},
        {"letters_in_trace.ach", false, 4, 0, 0, 0, 0, 0, 0, 3, "the trace number (columns 80-94)"},
        {"unprintable.ach", false, 4, 0, 0, 0, 0, 0, 0, 3, "column 58 holds byte 0xc9"},
        {"unknown_record.ach", false, 3, 0, 0, 0, 0, 0, 1, 4, "no record type '4'"},
        {"indicator.ach", false, 4, 0, 0, 0, 0, 0, 0, 3, "column 79"},
        {"no_file_header.ach", false, 4, 0, 0, 0, 0, 0, 0, 1, "must begin with its header"},
        {"two_file_headers.ach", false, 4, 0, 0, 0, 0, 0, 0, 2, "not a file header (1)"},
        {"no_batch_header.ach", false, 4, 0, 0, 0, 0, 0, 1, 2, "not an entry (6)"},
        {"no_batch_control.ach", false, 4, 0, 0, 0, 0, 0, 0, 7, "not a file control (9)"},
        {"no_file_control.ach", false, 4, 0, 0, 0, 0, 0, 0, 8, "ends without its control"},
        {"filler_for_control.ach", false, 4, 0, 0, 0, 0, 0, 0, 8, "not filler"},
        {"cut.ach", false, 2, 0, 0, 0, 0, 0, 0, 5, "ends without its control"},
        {"behind_control.ach", false, 5, 0, 0, 0, 0, 0, 0, 11, "only filler may follow"},
        {"two_files.ach", false, 8, 0, 0, 0, 0, 0, 0, 11, "only filler may follow"},
        {"empty_batch.ach", false, 0, 0, 0, 0, 0, 0, 1, 3, "not a batch control (8)"},
        {"addenda_first.ach", false, 4, 0, 0, 0, 0, 0, 1, 3, "not addenda (7)"},
        {"record_size.ach", false, 4, 0, 0, 0, 0, 0, 0, 1, "must be '094', but is '080'"},
        {"service_class.ach", false, 1, 0, 0, 0, 0, 0, 0, 2, "200, 220 or 225"},
        {"advice.ach", false, 0, 0, 0, 0, 0, 1, 0, 2, "accounting advices"},
        {"empty.ach", false, 0, 0, 0, 0, 0, 0, 0, 1, "the file is empty"},
        {"not_ach.ach", false, 0, 0, 0, 0, 0, 0, 0, 1, "has 31 characters"},
    };
    unsigned failures = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct reading reading = file_read(rows[i].file);
        const uint64_t *dispositions = reading.dispositions;
        const bool is_right =
            reading.is_whole && reading.is_sound == rows[i].is_sound && dispositions[TAEL_ACH_POST] == rows[i].posts &&
            dispositions[TAEL_ACH_POST_RETURN] == rows[i].returns &&
            dispositions[TAEL_ACH_PRENOTE] == rows[i].prenotes &&
            dispositions[TAEL_ACH_REMITTANCE] == rows[i].remittances &&
            dispositions[TAEL_ACH_NOTICE] == rows[i].notices && dispositions[TAEL_ACH_REJECTED] == rows[i].rejected &&
            reading.batches_wrong == rows[i].batches_wrong && (reading.problems > 0) == (rows[i].line > 0) &&
            reading.first_line == rows[i].line && strstr(reading.first_text, rows[i].text) != NULL;
        if (is_right) continue;
        failures++;
        print_error(
            "%s: sound %d, posts %llu, returns %llu, prenotes %llu, remittances %llu, notices %llu, rejected "
            "%llu, batches wrong %llu, line %llu: %s\n",
            rows[i].file, reading.is_sound, (unsigned long long)dispositions[TAEL_ACH_POST],
            (unsigned long long)dispositions[TAEL_ACH_POST_RETURN], (unsigned long long)dispositions[TAEL_ACH_PRENOTE],
            (unsigned long long)dispositions[TAEL_ACH_REMITTANCE], (unsigned long long)dispositions[TAEL_ACH_NOTICE],
            (unsigned long long)dispositions[TAEL_ACH_REJECTED], (unsigned long long)reading.batches_wrong,
            (unsigned long long)reading.first_line, reading.first_text);
    }
    assert_int_equal(failures, 0);
}

static void test_line_ends_filler_and_packing_change_neither_key_nor_entries(void **state) {
    (void)state;
    static const char *const same[] = {"payments_crlf.ach",      "payments_blank_tail.ach",
                                       "payments_no_filler.ach", "payments_no_last_newline.ach",
                                       "payments_unlined.ach",   "payments.ach.gz"};
    const struct reading plain = file_read("payments.ach");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        const struct reading other = file_read(same[i]);
        if (other.key != plain.key) fail_msg("%s has another key", same[i]);
        assert_memory_equal(other.entries, plain.entries, sizeof plain.entries);
    }
    assert_true(file_read("two_batches.ach").key != plain.key);
    assert_true(file_read("returns.ach").key != plain.key);
}

static void test_how_bytes_are_cut_changes_nothing(void **state) {
    (void)state;
    static const char *const files[] = {"payments_crlf.ach", "payments_unlined.ach", "returns_odd.ach", "two_files.ach",
                                        "short_line.ach"};
    static char bytes[FILE_SIZE_MAX];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct reading whole = file_read(files[i]);
        const int file = file_open(files[i]);
        const ssize_t size = read(file, bytes, sizeof bytes);
        close(file);
        assert_true(size > 0);
        for (size_t piece = 1; piece < 200; piece += 31) {
            struct reading cut;
            struct tael_ach *ach = reader(&cut);
            for (size_t at = 0; at < (size_t)size; at += piece) {
                tael_ach_feed(ach, bytes + at, (size_t)size - at < piece ? (size_t)size - at : piece);
            }
            finish(&cut, ach);
            cut.is_whole = whole.is_whole;
            assert_memory_equal(&cut, &whole, sizeof whole);
        }
    }
}

static void test_damaged_packing_is_said(void **state) {
    (void)state;
    static const struct {
        const char *file;
        const char *text;
    } rows[] = {{"payments_truncated.ach.gz", "not whole"}, {"payments_damaged.ach.gz", "damaged"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reading reading;
        char why[128] = "";
        struct tael_ach *ach = reader(&reading);
        const int file = file_open(rows[i].file);
        assert_false(tael_ach_file_feed(file, ach, NULL, why));
        close(file);
        tael_ach_free(ach);
        assert_non_null(strstr(why, rows[i].text));
    }
}

static void test_a_pipe_is_refused(void **state) {
    (void)state;
    struct reading reading;
    int ends[2];
    char why[128] = "";
    assert_int_equal(pipe(ends), 0);
    struct tael_ach *ach = reader(&reading);
    assert_false(tael_ach_file_feed(ends[0], ach, NULL, why));
    assert_non_null(strstr(why, "pipe"));
    tael_ach_free(ach);
    close(ends[0]);
    close(ends[1]);
}

static void test_a_return_finds_the_accounts_of_what_it_returns(void **state) {
    (void)state;
    const struct reading payments = file_read("payments.ach");
    const struct reading returns = file_read("returns.ach");
    assert_int_equal(returns.entries_count, payments.entries_count);
    for (size_t i = 0; i < payments.entries_count; i++) {
        const struct tael_ach_entry *payment = &payments.entries[i], *undone = &returns.entries[i];
        assert_true(tael_ach_receiver_id(payment, 840) == tael_ach_receiver_id(undone, 840));
        assert_true(tael_ach_settlement_id(&payments.batches[i], 840) ==
                    tael_ach_settlement_id(&returns.batches[i], 840));
        assert_int_equal(payment->amount_cents, undone->amount_cents);
        assert_int_equal(payment->is_debit, undone->is_debit);
        assert_int_equal(payment->trace, undone->original_trace);
    }
}

static void test_ids_differ_by_all_that_they_are_made_of(void **state) {
    (void)state;
    const struct reading reading = file_read("two_batches.ach");
    struct tael_id_set ids = {0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tael_id_set_add(&ids, tael_ach_receiver_id(&reading.entries[i], 840)), 1);
        assert_int_equal(tael_id_set_add(&ids, tael_ach_receiver_id(&reading.entries[i], 978)), 1);
        /* The second batch pays the same receivers. */
        assert_int_equal(tael_id_set_add(&ids, tael_ach_receiver_id(&reading.entries[i + 4], 840)), 0);
    }
    assert_int_equal(tael_id_set_add(&ids, tael_ach_settlement_id(&reading.batches[0], 840)), 1);
    assert_int_equal(tael_id_set_add(&ids, tael_ach_settlement_id(&reading.batches[4], 840)), 0);
    for (uint64_t ordinal = 1; ordinal < 10000; ordinal++) {
        assert_int_equal(tael_id_set_add(&ids, tael_ach_transfer_id(reading.key, ordinal)), 1);
        assert_int_equal(tael_id_set_add(&ids, tael_ach_transfer_id(reading.key ^ 1, ordinal)), 1);
    }
    tael_id_set_free(&ids);
}

/* What an entry's ids are made of is a promise: a load after an upgrade must find what was posted before it. */
static void test_ids_are_frozen(void **state) {
    (void)state;
    const struct reading reading = file_read("payments.ach");
    const tael_u128 ids[] = {reading.key, tael_ach_transfer_id(reading.key, 1),
                             tael_ach_receiver_id(&reading.entries[0], 840),
                             tael_ach_settlement_id(&reading.batches[0], 840)};
    static const uint64_t wanted[][2] = {
        {0xff97d8df7c28ac4b, 0x261a15bb87a4922c},
        {0x29d82eb7c2466675, 0xedaa6af1b7818f58},
        {0xfe428f7974aba8bb, 0x40c4370ed2679d80},
        {0x2367e7c211ee88bb, 0xd08cc0bc08235913},
    };
    for (size_t i = 0; i < 4; i++) {
        if (ids[i] == tael_u128_make(wanted[i][0], wanted[i][1])) continue;
        fail_msg("id %zu is {0x%016llx, 0x%016llx}", i, (unsigned long long)tael_u128_high(ids[i]),
                 (unsigned long long)tael_u128_low(ids[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_file_gives_its_entries_or_its_problem),
        cmocka_unit_test(test_line_ends_filler_and_packing_change_neither_key_nor_entries),
        cmocka_unit_test(test_how_bytes_are_cut_changes_nothing),
        cmocka_unit_test(test_damaged_packing_is_said),
        cmocka_unit_test(test_a_pipe_is_refused),
        cmocka_unit_test(test_a_return_finds_the_accounts_of_what_it_returns),
        cmocka_unit_test(test_ids_differ_by_all_that_they_are_made_of),
        cmocka_unit_test(test_ids_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
