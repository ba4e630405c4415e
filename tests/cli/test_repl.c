/* The language of `tael repl` and what it shows: rows of statements and the events they mean, rows of mistakes and the place
 * and text of their errors, records written out and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/status.h>

#include "cli/repl_parse.h"
#include "cli/repl_print.h"

static unsigned char events[TAEL_EVENTS_MAX * TAEL_REPL_EVENT_SIZE_MAX];

static struct tael_repl_statement parse(const char *text) {
    struct tael_repl_statement statement;
    struct tael_repl_error error;
    if (!tael_repl_parse(text, strlen(text), events, &statement, &error)) {
        fail_msg("'%s': %zu: %s", text, error.begin, error.text);
    }
    return statement;
}

/* The statement must be one of that operation, with these events. */
static void expect_events(const char *text, uint8_t operation, const void *wanted, uint32_t count) {
    const struct tael_repl_statement statement = parse(text);
    assert_int_equal(statement.verb, TAEL_REPL_REQUEST);
    assert_int_equal(statement.request->operation, operation);
    assert_int_equal(statement.count, count);
    assert_memory_equal(events, wanted, count * tael_operation_info(operation).event_size);
}

static void test_accounts_have_the_fields_given_and_zeros(void **state) {
    (void)state;
    const struct tael_account accounts[] = {
        {.id = 1, .ledger = 700, .code = 10, .flags = TAEL_ACCOUNT_FLAG_history},
        {.id = TAEL_U128_MAX - 1,
         .ledger = 0xff,
         .code = UINT16_MAX,
         .user_data_128 = 1000000,
         .user_data_64 = UINT64_MAX,
         .user_data_32 = UINT32_MAX,
         .flags = TAEL_ACCOUNT_FLAG_linked | TAEL_ACCOUNT_FLAG_imported,
         .timestamp = 5},
    };
    expect_events("create_accounts id=1 ledger=700 code=10 flags=history,"
                  "id=0xffffffffffffffff_ffffffffffffffFe user_data_128=1_000_000\n ledger=0XFF code =\t65535 "
                  "user_data_64= 18446744073709551615 user_data_32=-0 flags = linked| imported timestamp=5;",
                  TAEL_OPERATION_create_accounts, accounts, 2);
}

static void test_transfers_have_the_fields_given_and_zeros(void **state) {
    (void)state;
    const struct tael_transfer transfers[] = {
        {.id = 10,
         .debit_account_id = 1,
         .credit_account_id = 2,
         .amount = 10,
         .ledger = 700,
         .code = 10,
         .flags = TAEL_TRANSFER_FLAG_pending | TAEL_TRANSFER_FLAG_linked,
         .timeout = 5},
        {.id = 11, .pending_id = 10, .amount = TAEL_U128_MAX, .flags = TAEL_TRANSFER_FLAG_post_pending_transfer},
    };
    expect_events("create_transfers id=10 debit_account_id=1 credit_account_id=2 amount=10 ledger=700 code=10 "
                  "flags=pending|linked timeout=5, id=11 pending_id=10 amount=-0 flags=post_pending_transfer",
                  TAEL_OPERATION_create_transfers, transfers, 2);
}

static void test_lookups_are_ids(void **state) {
    (void)state;
    const tael_u128 ids[] = {1, 2, 1};
    expect_events("lookup_accounts id=1, id=2,id=1;", TAEL_OPERATION_lookup_accounts, ids, 3);
    expect_events(" \n lookup_transfers\nid\n=\n0x1 ,id=0_2, id=00001 ;", TAEL_OPERATION_lookup_transfers, ids, 3);
}

static void test_filters_ask_for_all_unless_told(void **state) {
    (void)state;
    struct tael_account_filter account = {.account_id = 1,
                                          .limit = TAEL_EVENTS_MAX,
                                          .flags = TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits};
    expect_events("get_account_transfers account_id=1;", TAEL_OPERATION_get_account_transfers, &account, 1);
    account.flags = TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_reversed;
    account.limit = 10;
    account.timestamp_min = 3;
    account.code = 7;
    expect_events("get_account_balances account_id=1 flags=debits|reversed limit=10 timestamp_min=3 code=7;",
                  TAEL_OPERATION_get_account_balances, &account, 1);

    struct tael_query_filter query = {.limit = TAEL_EVENTS_MAX};
    expect_events("query_accounts;", TAEL_OPERATION_query_accounts, &query, 1);
    query.ledger = 700;
    query.timestamp_min = 9;
    query.timestamp_max = 9;
    query.flags = TAEL_QUERY_FILTER_FLAG_reversed;
    expect_events("query_transfers ledger=700 timestamp_max=9 timestamp_min=9 flags=reversed;",
                  TAEL_OPERATION_query_transfers, &query, 1);

    const struct tael_change_events_filter changes = {.limit = TAEL_CHANGE_EVENTS_MAX, .timestamp_min = 8};
    expect_events("get_change_events timestamp_min=8;", TAEL_OPERATION_get_change_events, &changes, 1);
    const struct tael_trial_balance_filter balance = {.ledger_min = 5};
    expect_events("trial_balance ledger_min=5;", TAEL_OPERATION_trial_balance, &balance, 1);
}

static void test_some_statements_are_no_requests(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum tael_repl_verb verb;
        uint8_t operation; /* 0: none */
    } rows[] = {
        {";", TAEL_REPL_NOTHING, 0},  {" \n\t ", TAEL_REPL_NOTHING, 0},
        {"help;", TAEL_REPL_HELP, 0}, {"help query_accounts ;", TAEL_REPL_HELP, TAEL_OPERATION_query_accounts},
        {"quit;", TAEL_REPL_QUIT, 0}, {" exit ;", TAEL_REPL_QUIT, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct tael_repl_statement statement = parse(rows[i].text);
        assert_int_equal(statement.verb, rows[i].verb);
        assert_ptr_equal(statement.request, tael_repl_request_of(rows[i].operation));
    }
}

/* What an error must point at is marked by ^ before and after it. */
static void test_errors_point_at_the_place(void **state) {
    (void)state;
    static const struct {
        const char *marked;
        const char *text; /* a part of it */
    } rows[] = {
        {"^create_account^ id=1;", "expected one of create_accounts, "},
        {"^=^;", "trial_balance, help, quit"},
        {"^lookup_accountsX^ id=1;", "expected one of"},
        {"help ^me^;", "expected one of"},
        {"help query_accounts ^n^ow;", "expected ';'"},
        {"quit ^n^ow;", "expected ';' behind quit"},
        {"lookup_accounts^^;", "expected a field of a lookup: id"},
        {"lookup_accounts^^", "expected a field of a lookup: id"},
        {"lookup_accounts ^,^ id=1;", "expected a field of a lookup"},
        {"lookup_accounts id=1, ^^;", "expected a field of a lookup"},
        {"lookup_accounts id=1 ^)^;", "expected a field of a lookup"},
        {"lookup_accounts ^id2^=1;", "expected a field of a lookup"},
        {"lookup_accounts ^\xc3\xa9^=1;", "expected a field of a lookup"},
        {"lookup_accounts id^^;", "expected '=' and a value for id"},
        {"lookup_accounts id ^1^;", "expected '=' and a value for id"},
        {"lookup_accounts id=^^;", "expected a number for id"},
        {"lookup_accounts id=^,^id=1;", "expected a number for id"},
        {"lookup_accounts id=^one^;", "expected a number for id"},
        {"lookup_accounts id=^12ab^;", "expected a number for id"},
        {"lookup_accounts id=^0x^;", "expected a number for id"},
        {"lookup_accounts id=^0x_1^;", "expected a number for id"},
        {"lookup_accounts id=^_1^;", "expected a number for id"},
        {"lookup_accounts id=^-^;", "expected a number for id"},
        {"lookup_accounts id=^- 1^;", "expected a number for id"},
        {"lookup_accounts id=^340282366920938463463374607431768211456^;", "too large: id has 128 bits"},
        {"lookup_accounts id=^0x100000000000000000000000000000000^;", "too large: id has 128 bits"},
        {"create_accounts id=1 ledger=^4294967296^;", "too large: ledger is 4294967295 at most"},
        {"create_accounts id=1 code=^-65536^;", "too large: code is 65535 at most"},
        {"create_accounts id=1 ^debits_posted^=1;", "can't be given"},
        {"create_accounts id=1 ^id^=1;", "id is given twice"},
        {"create_accounts id=1, ^ledger=1 code=2^ , id=2;", "id is missing"},
        {"create_accounts id=1 flags=history|^^;", "linked, debits_must_not_exceed_credits"},
        {"create_accounts id=1 flags=^8^;", "expected one or more of these"},
        {"create_accounts id=1 flags=^pending^;", "expected one or more of these"},
        {"get_account_transfers^^;", "expected a field of an account filter"},
        {"get_account_transfers ^limit=1^;", "account_id is missing"},
        {"get_account_transfers account_id=1 limit=^0^;", "a limit of 1 or more"},
        {"get_account_transfers account_id=1 flags=^reversed^;", "expected debits, credits or both"},
        {"get_account_transfers account_id=1^,^ account_id=2;", "takes one filter"},
        {"query_accounts timestamp_max=^4^ timestamp_min=5;", "a timestamp_max that is not below timestamp_min"},
        {"trial_balance ledger_min=2 ledger_max=^1^;", "a ledger_max that is not below ledger_min"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        const char *begin = strchr(rows[i].marked, '^'), *end = strchr(begin + 1, '^');
        snprintf(text, sizeof text, "%.*s%.*s%s", (int)(begin - rows[i].marked), rows[i].marked, (int)(end - begin - 1),
                 begin + 1, end + 1);
        struct tael_repl_statement statement = {.count = 77};
        struct tael_repl_error error;
        if (tael_repl_parse(text, strlen(text), events, &statement, &error)) fail_msg("'%s' was read", text);
        if (error.begin != (size_t)(begin - rows[i].marked) || error.end != (size_t)(end - 1 - rows[i].marked) ||
            strstr(error.text, rows[i].text) == NULL) {
            fail_msg("'%s': %zu to %zu: %s", rows[i].marked, error.begin, error.end, error.text);
        }
        assert_int_equal(statement.count, 77);
    }
}

static void test_a_statement_ends_with_a_semicolon(void **state) {
    (void)state;
    assert_int_equal(tael_repl_statement_size("", 0), 0);
    assert_int_equal(tael_repl_statement_size("help", 4), 0);
    assert_int_equal(tael_repl_statement_size("help;", 4), 0);
    assert_int_equal(tael_repl_statement_size("help;", 5), 5);
    assert_int_equal(tael_repl_statement_size(" ; ;", 4), 2);
}

/* As many ids, from 1 on; to be freed. */
static char *lookup_of(uint32_t count) {
    char *text = malloc(32 + (size_t)count * 16);
    assert_non_null(text);
    size_t size = (size_t)sprintf(text, "lookup_accounts id=1");
    for (uint32_t i = 2; i <= count; i++) size += (size_t)sprintf(text + size, ", id=%" PRIu32, i);
    return text;
}

static void test_a_statement_holds_as_many_events_as_a_request(void **state) {
    (void)state;
    char *most = lookup_of(TAEL_EVENTS_MAX), *more = lookup_of(TAEL_EVENTS_MAX + 1);
    struct tael_repl_statement statement;
    struct tael_repl_error error;
    assert_int_equal(parse(most).count, TAEL_EVENTS_MAX);
    assert_false(tael_repl_parse(more, strlen(more), events, &statement, &error));
    assert_int_equal(error.begin, strlen(most));
    assert_non_null(strstr(error.text, "8189 events at most"));
    free(most);
    free(more);
}

/* --- what is shown --- */

static char *output;
static size_t output_size;

static FILE *output_open(void) {
    output = NULL;
    FILE *out = open_memstream(&output, &output_size);
    assert_non_null(out);
    return out;
}

static void expect_output(FILE *out, const char *wanted) {
    assert_int_equal(fclose(out), 0);
    assert_string_equal(output, wanted);
    free(output);
}

static void expect_error_shown(const char *text, size_t begin, size_t end, const char *wanted) {
    const struct tael_repl_error error = {.begin = begin, .end = end};
    FILE *out = output_open();
    tael_repl_error_print(out, text, strlen(text), &error);
    expect_output(out, wanted);
}

static void test_an_error_is_marked_in_its_line(void **state) {
    (void)state;
    expect_error_shown("ab cd", 3, 5, "  ab cd\n     ^~\n");
    expect_error_shown("ab cd", 5, 5, "  ab cd\n       ^\n");
    expect_error_shown("ab\ncd ef\ngh", 6, 8, "  cd ef\n     ^~\n");
    expect_error_shown("ab\ncd", 1, 5, "  ab\n   ^\n");
    expect_error_shown("\xc3\xa9\t\xe2\x82\xac x", 3, 6, "  \xc3\xa9 \xe2\x82\xac x\n    ^\n");
    expect_error_shown("a\x1b[2Jb", 5, 6, "  a [2Jb\n       ^\n");
    expect_error_shown("", 0, 0, "  \n  ^\n");
}

static void test_of_a_long_line_the_part_around_the_error_is_shown(void **state) {
    (void)state;
    char text[301];
    memset(text, 'a', 300);
    text[150] = 'X';
    text[300] = '\0';
    char wanted[256];
    char around[64];
    memset(around, 'a', 60);
    snprintf(wanted, sizeof wanted, "  ...%.60sX%.39s...\n%*s^\n", around, around, 2 + 3 + 60, "");
    expect_error_shown(text, 150, 151, wanted);
}

static void test_places_have_lines_and_columns(void **state) {
    (void)state;
    const char *text = "a\n\xc3\xa9"
                       "b\nc";
    struct tael_repl_place place = tael_repl_place_find(text, strlen(text), 4, 1);
    assert_int_equal(place.line, 2);
    assert_int_equal(place.column, 2);
    assert_int_equal(place.line_begin, 2);
    assert_int_equal(place.line_end, 5);
    place = tael_repl_place_find(text, strlen(text), strlen(text), 10);
    assert_int_equal(place.line, 12);
    assert_int_equal(place.column, 2);
}

static struct tael_repl_answer answer_of(const char *text, const void *results, uint32_t results_count) {
    const struct tael_repl_statement statement = parse(text);
    return (struct tael_repl_answer){.request = statement.request,
                                     .events = events,
                                     .events_count = statement.count,
                                     .results = results,
                                     .results_count = results_count,
                                     .op = 7,
                                     .timestamp = 8};
}

static void expect_answer(const struct tael_repl_answer *answer, const char *wanted) {
    FILE *out = output_open();
    assert_int_equal(tael_repl_answer_print(out, answer), 0);
    expect_output(out, wanted);
}

static void expect_json(const struct tael_repl_answer *answer, const char *wanted) {
    json_t *object = tael_repl_answer_json(answer);
    char *text = json_dumps(object, 0);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(object);
}

static void test_creates_show_each_status(void **state) {
    (void)state;
    const struct tael_create_result results[] = {
        {.timestamp = 5, .status = TAEL_STATUS_CREATED},
        {.timestamp = 6, .status = TAEL_TRANSFER_exists},
        {.timestamp = 7, .status = 999},
    };
    const struct tael_repl_answer answer = answer_of("create_transfers id=1, id=1000, id=3;", results, 3);
    expect_answer(&answer, "  id  status\n"
                           "   1  created\n"
                           "1000  exists: the same transfer exists already\n"
                           "   3  999: a status unknown to this program\n"
                           "1 created, 2 not (op 7)\n");
    expect_json(&answer, "{\"operation\": \"create_transfers\", \"op\": 7, \"timestamp\": \"8\", \"results\": ["
                         "{\"id\": \"1\", \"status\": \"created\", \"text\": \"created\", \"timestamp\": \"5\"}, "
                         "{\"id\": \"1000\", \"status\": \"exists\", \"text\": \"the same transfer exists already\", "
                         "\"timestamp\": \"6\"}, "
                         "{\"id\": \"3\", \"status\": \"999\", \"text\": \"a status unknown to this program\", "
                         "\"timestamp\": \"7\"}]}");
}

static void test_of_many_creates_the_failures_are_shown(void **state) {
    (void)state;
    enum { COUNT = 21 };
    struct tael_create_result results[COUNT];
    for (int i = 0; i < COUNT; i++) results[i] = (struct tael_create_result){.status = TAEL_STATUS_CREATED};
    char *text = lookup_of(COUNT);
    char statement[512];
    snprintf(statement, sizeof statement, "create%s", text + strlen("lookup"));
    free(text);
    struct tael_repl_answer answer = answer_of(statement, results, COUNT);
    expect_answer(&answer, "21 created, 0 not (op 7)\n");
    results[20].status = TAEL_ACCOUNT_code_must_not_be_zero;
    expect_answer(&answer, "id  status\n21  code_must_not_be_zero: code must not be zero\n20 created, 1 not (op 7)\n");
    answer.results_count--;
    FILE *out = output_open();
    assert_int_equal(tael_repl_answer_print(out, &answer), -EPROTO);
    expect_output(out, "");
    assert_null(tael_repl_answer_json(&answer));
}

static void test_lookups_show_what_is_there_and_what_is_not(void **state) {
    (void)state;
    const struct tael_account account = {.id = 2,
                                         .debits_posted = TAEL_U128_MAX,
                                         .ledger = 700,
                                         .code = 10,
                                         .flags = TAEL_ACCOUNT_FLAG_history | TAEL_ACCOUNT_FLAG_closed | 1u << 9,
                                         .timestamp = 1700000000123456789};
    const struct tael_repl_answer answer = answer_of("lookup_accounts id=1, id=2, id=3;", &account, 1);
    expect_answer(&answer, "id:              2\n"
                           "debits_pending:  0\n"
                           "debits_posted:   340282366920938463463374607431768211455\n"
                           "credits_pending: 0\n"
                           "credits_posted:  0\n"
                           "ledger:          700\n"
                           "code:            10\n"
                           "flags:           history|closed|0x200\n"
                           "timestamp:       1700000000123456789 (2023-11-14 22:13:20.123456789 UTC)\n"
                           "\n"
                           "1 account (op 7)\n"
                           "not found: 1\n"
                           "not found: 3\n");
    expect_json(&answer,
                "{\"operation\": \"lookup_accounts\", \"op\": 7, \"timestamp\": \"8\", \"results\": [{\"id\": \"2\", "
                "\"debits_pending\": \"0\", \"debits_posted\": \"340282366920938463463374607431768211455\", "
                "\"credits_pending\": \"0\", \"credits_posted\": \"0\", \"user_data_128\": \"0\", "
                "\"user_data_64\": \"0\", \"user_data_32\": 0, \"ledger\": 700, \"code\": 10, "
                "\"flags\": [\"history\", \"closed\", \"0x200\"], \"timestamp\": \"1700000000123456789\"}], "
                "\"not_found\": [\"1\", \"3\"]}");
}

static void test_a_full_answer_says_how_to_go_on(void **state) {
    (void)state;
    const struct tael_account_balance balances[] = {{.timestamp = 0}, {.timestamp = 0, .debits_posted = 3}};
    struct tael_account_balance last[2];
    memcpy(last, balances, sizeof last);
    last[1].timestamp = 100;
    struct tael_repl_answer answer = answer_of("get_account_balances account_id=1 limit=2;", last, 2);
    FILE *out = output_open();
    assert_int_equal(tael_repl_answer_print(out, &answer), 0);
    fclose(out);
    assert_non_null(strstr(output, "2 balances (op 7)\n"
                                   "that is the limit; what may follow begins with timestamp_min=101\n"));
    free(output);
    answer = answer_of("get_account_balances account_id=1 limit=1 flags=reversed|debits;", last + 1, 1);
    expect_answer(&answer, "timestamp:       100 (1970-01-01 00:00:00.000000100 UTC)\n"
                           "debits_pending:  0\n"
                           "debits_posted:   3\n"
                           "credits_pending: 0\n"
                           "credits_posted:  0\n"
                           "\n"
                           "1 balance (op 7)\n"
                           "that is the limit; what may follow begins with timestamp_max=99\n");
    answer = answer_of("get_account_balances account_id=1 limit=3;", last, 0);
    expect_answer(&answer, "0 balances (op 7)\n");
    expect_json(&answer, "{\"operation\": \"get_account_balances\", \"op\": 7, \"timestamp\": \"8\", \"results\": [], "
                         "\"limit_reached\": false}");
}

static void test_change_types_have_names(void **state) {
    (void)state;
    const struct tael_repl_request *request = tael_repl_request_of(TAEL_OPERATION_get_change_events);
    const struct tael_repl_field *type = tael_repl_field_named(request->result, "type", strlen("type"));
    struct tael_change_event event = {.type = TAEL_CHANGE_TWO_PHASE_EXPIRED};
    char text[TAEL_REPL_VALUE_SIZE];
    assert_string_equal(tael_repl_value_format(type, &event, text), "two_phase_expired");
    event.type = TAEL_CHANGE_SINGLE_PHASE;
    assert_string_equal(tael_repl_value_format(type, &event, text), "single_phase");
    event.type = 9;
    assert_string_equal(tael_repl_value_format(type, &event, text), "0x9");
}

/* Every example in the help is a statement; so is every field as the printer writes it, with its largest value. */
static void test_what_is_shown_can_be_read_back(void **state) {
    (void)state;
    for (size_t i = 0; i < tael_repl_requests_count; i++) {
        const struct tael_repl_request *request = &tael_repl_requests[i];
        assert_ptr_equal(parse(request->example).request, request);
        for (size_t j = 0; j < request->event->fields_count; j++) {
            const struct tael_repl_field *field = &request->event->fields[j];
            const struct tael_repl_field *key = &request->event->fields[0];
            if (field->use == TAEL_REPL_OUT || key->use != TAEL_REPL_KEY) continue;
            unsigned char record[TAEL_REPL_EVENT_SIZE_MAX] = {0};
            size_t count;
            const struct tael_repl_name *names = tael_repl_names(field->kind, &count);
            tael_u128 value = names == NULL ? tael_repl_field_max(field) : 0;
            for (size_t k = 0; k < count; k++) value |= names[k].value;
            tael_repl_field_set(field, record, value);
            char text[512], written[TAEL_REPL_VALUE_SIZE];
            snprintf(text, sizeof text, "%s %s=%s %s%s;", tael_operation_info(request->operation).name, field->name,
                     tael_repl_value_format(field, record, written), field == key ? "" : key->name,
                     field == key ? "" : "=1");
            parse(text);
            assert_true(tael_repl_field_get(field, events) == value);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accounts_have_the_fields_given_and_zeros),
        cmocka_unit_test(test_transfers_have_the_fields_given_and_zeros),
        cmocka_unit_test(test_lookups_are_ids),
        cmocka_unit_test(test_filters_ask_for_all_unless_told),
        cmocka_unit_test(test_some_statements_are_no_requests),
        cmocka_unit_test(test_errors_point_at_the_place),
        cmocka_unit_test(test_a_statement_ends_with_a_semicolon),
        cmocka_unit_test(test_a_statement_holds_as_many_events_as_a_request),
        cmocka_unit_test(test_an_error_is_marked_in_its_line),
        cmocka_unit_test(test_of_a_long_line_the_part_around_the_error_is_shown),
        cmocka_unit_test(test_places_have_lines_and_columns),
        cmocka_unit_test(test_creates_show_each_status),
        cmocka_unit_test(test_of_many_creates_the_failures_are_shown),
        cmocka_unit_test(test_lookups_show_what_is_there_and_what_is_not),
        cmocka_unit_test(test_a_full_answer_says_how_to_go_on),
        cmocka_unit_test(test_change_types_have_names),
        cmocka_unit_test(test_what_is_shown_can_be_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
