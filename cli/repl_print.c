/* See repl_print.h. */
#include "cli/repl_print.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "cli/trial_balance.h"
#include "cli/wide.h"

/* Of up to so many created events each has a line; of more only those that failed. */
enum { CREATED_SHOWN_MAX = 20 };

/* --- values --- */

static bool has_names(const struct tael_repl_field *field) {
    size_t count;
    return tael_repl_names(field->kind, &count) != NULL;
}

static const char *u128_format(tael_u128 value, char buffer[static TAEL_REPL_VALUE_SIZE]) {
    char digits[TAEL_WIDE_TEXT_SIZE];
    snprintf(buffer, TAEL_REPL_VALUE_SIZE, "%s", tael_wide_format(value, digits));
    return buffer;
}

/* Calls `name` with the name of each flag that is set, or of the type; of bits without a name with their number. */
static void names_visit(const struct tael_repl_field *field, const void *record, void *context,
                        void (*name)(void *context, const char *name)) {
    size_t count;
    const struct tael_repl_name *names = tael_repl_names(field->kind, &count);
    uint32_t left = (uint32_t)tael_repl_field_get(field, record);
    for (size_t i = 0; i < count; i++) {
        const uint32_t value = names[i].value;
        const bool is_it = field->kind == TAEL_REPL_CHANGE_TYPE ? left == value : (left & value) != 0;
        if (!is_it) continue;
        name(context, names[i].text);
        left &= ~value;
        if (field->kind == TAEL_REPL_CHANGE_TYPE) return;
    }
    if (left == 0) return;
    char number[16];
    snprintf(number, sizeof number, "0x%" PRIx32, left);
    name(context, number);
}

static void name_append(void *context, const char *name) {
    char *buffer = context;
    const size_t length = strlen(buffer);
    snprintf(buffer + length, TAEL_REPL_VALUE_SIZE - length, "%s%s", length == 0 ? "" : "|", name);
}

const char *tael_repl_value_format(const struct tael_repl_field *field, const void *record,
                                   char buffer[static TAEL_REPL_VALUE_SIZE]) {
    if (!has_names(field)) return u128_format(tael_repl_field_get(field, record), buffer);
    *buffer = '\0';
    names_visit(field, record, buffer, name_append);
    return buffer;
}

/* --- records for people --- */

/* " (2026-11-24 10:30:38.123456789 UTC)"; empty for zero, which is no time. */
static void time_print(FILE *out, uint64_t timestamp) {
    const time_t seconds = (time_t)(timestamp / TAEL_NS_PER_S);
    struct tm date;
    char text[64];
    if (timestamp == 0 || gmtime_r(&seconds, &date) == NULL) return;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &date);
    fprintf(out, " (%s.%09" PRIu64 " UTC)", text, (uint64_t)(timestamp % TAEL_NS_PER_S));
}

static int name_width(const struct tael_repl_record *record) {
    size_t width = 0;
    for (size_t i = 0; i < record->fields_count; i++) {
        const size_t length = strlen(record->fields[i].name);
        if (length > width) width = length;
    }
    return (int)width;
}

static void record_print(FILE *out, const struct tael_repl_record *record, const void *bytes) {
    const int width = name_width(record) + 1;
    for (size_t i = 0; i < record->fields_count; i++) {
        const struct tael_repl_field *field = &record->fields[i];
        const bool is_shown_when_zero = field->use != TAEL_REPL_MORE && field->use != TAEL_REPL_REST;
        char value[TAEL_REPL_VALUE_SIZE];
        if (tael_repl_field_get(field, bytes) == 0 && !is_shown_when_zero) continue;
        fprintf(out, "%s:%*s%s", field->name, width - (int)strlen(field->name), "",
                tael_repl_value_format(field, bytes, value));
        if (field->kind == TAEL_REPL_TIME) time_print(out, (uint64_t)tael_repl_field_get(field, bytes));
        fputc('\n', out);
    }
}

/* --- answers for people --- */

static uint32_t result_size(const struct tael_repl_answer *answer) {
    return tael_operation_info(answer->request->operation).result_size;
}

static const void *result_at(const struct tael_repl_answer *answer, uint32_t index) {
    TAEL_ASSERT(index < answer->results_count);
    return (const char *)answer->results + (size_t)index * result_size(answer);
}

static const void *event_at(const struct tael_repl_answer *answer, uint32_t index) {
    TAEL_ASSERT(index < answer->events_count);
    return (const char *)answer->events + (size_t)index * tael_operation_info(answer->request->operation).event_size;
}

/* The id is the first field of what is created and of what is looked up. */
static tael_u128 event_id(const struct tael_repl_answer *answer, uint32_t index) {
    return tael_repl_field_get(&answer->request->event->fields[0], event_at(answer, index));
}

static bool is_create(const struct tael_repl_answer *answer) {
    return tael_operation_info(answer->request->operation).kind == TAEL_OPERATION_CREATE;
}

static bool is_lookup(const struct tael_repl_answer *answer) {
    return !is_create(answer) && !tael_operation_info(answer->request->operation).filters;
}

static const char *status_name(const struct tael_repl_answer *answer, uint32_t status) {
    return tael_operation_creates_accounts(answer->request->operation) ? tael_account_status_name(status)
                                                                       : tael_transfer_status_name(status);
}

static const char *status_text(const struct tael_repl_answer *answer, uint32_t status) {
    const char *text = tael_operation_creates_accounts(answer->request->operation) ? tael_account_status_text(status)
                                                                                   : tael_transfer_status_text(status);
    return text == NULL ? "a status unknown to this program" : text;
}

static uint32_t created_status(const struct tael_repl_answer *answer, uint32_t index) {
    const struct tael_create_result *result = result_at(answer, index);
    return result->status;
}

static void created_row_print(FILE *out, const struct tael_repl_answer *answer, uint32_t index, int id_width) {
    const uint32_t status = created_status(answer, index);
    const char *name = status_name(answer, status);
    char id[TAEL_REPL_VALUE_SIZE];
    fprintf(out, "%*s  ", id_width, u128_format(event_id(answer, index), id));
    if (status == TAEL_STATUS_CREATED) {
        fprintf(out, "%s\n", name);
    } else if (name == NULL) {
        fprintf(out, "%" PRIu32 ": %s\n", status, status_text(answer, status));
    } else {
        fprintf(out, "%s: %s\n", name, status_text(answer, status));
    }
}

static int id_width_find(const struct tael_repl_answer *answer) {
    size_t width = strlen("id");
    for (uint32_t i = 0; i < answer->events_count; i++) {
        char id[TAEL_REPL_VALUE_SIZE];
        const size_t length = strlen(u128_format(event_id(answer, i), id));
        if (length > width) width = length;
    }
    return (int)width;
}

static void created_print(FILE *out, const struct tael_repl_answer *answer) {
    const int id_width = id_width_find(answer);
    uint32_t created = 0;
    for (uint32_t i = 0; i < answer->results_count; i++) created += created_status(answer, i) == TAEL_STATUS_CREATED;
    const uint32_t failed = answer->results_count - created;
    const bool are_created_shown = answer->results_count <= CREATED_SHOWN_MAX;
    if (are_created_shown || failed > 0) fprintf(out, "%*s  status\n", id_width, "id");
    for (uint32_t i = 0; i < answer->results_count; i++) {
        const bool is_created = created_status(answer, i) == TAEL_STATUS_CREATED;
        if (!is_created || are_created_shown) created_row_print(out, answer, i, id_width);
    }
    fprintf(out, "%" PRIu32 " created, %" PRIu32 " not (op %" PRIu64 ")\n", created, failed, answer->op);
}

/* The ids of a lookup that nothing was found for: results come in the order of the ids. */
static void missing_visit(const struct tael_repl_answer *answer, void *context,
                          void (*missing)(void *context, const char *id)) {
    const struct tael_repl_field *result_id = &answer->request->result->fields[0];
    uint32_t found = 0;
    for (uint32_t i = 0; i < answer->events_count; i++) {
        const tael_u128 id = event_id(answer, i);
        char text[TAEL_REPL_VALUE_SIZE];
        if (found < answer->results_count && tael_repl_field_get(result_id, result_at(answer, found)) == id) {
            found++;
        } else {
            missing(context, u128_format(id, text));
        }
    }
}

static void missing_print(void *context, const char *id) { fprintf(context, "not found: %s\n", id); }

static bool is_limit_reached(const struct tael_repl_answer *answer) {
    if (!tael_operation_info(answer->request->operation).filters) return false;
    return answer->results_count == tael_repl_limit(answer->request, answer->events);
}

/* How to go on behind the last result: all results have a timestamp, and come in its order or, reversed, against it. */
static void more_print(FILE *out, const struct tael_repl_answer *answer) {
    if (!is_limit_reached(answer)) return;
    const struct tael_repl_record *record = answer->request->event;
    const struct tael_repl_field *time =
        tael_repl_field_named(answer->request->result, "timestamp", strlen("timestamp"));
    const struct tael_repl_field *flags = tael_repl_field_named(record, "flags", strlen("flags"));
    TAEL_ASSERT(time != NULL);
    char text[TAEL_REPL_VALUE_SIZE] = "";
    if (flags != NULL) tael_repl_value_format(flags, answer->events, text);
    const bool is_reversed = strstr(text, "reversed") != NULL;
    const uint64_t last = (uint64_t)tael_repl_field_get(time, result_at(answer, answer->results_count - 1));
    fprintf(out, "that is the limit; what may follow begins with timestamp_%s=%" PRIu64 "\n",
            is_reversed ? "max" : "min", is_reversed ? last - 1 : last + 1);
}

static void results_print(FILE *out, const struct tael_repl_answer *answer) {
    const struct tael_repl_record *record = answer->request->result;
    for (uint32_t i = 0; i < answer->results_count; i++) {
        record_print(out, record, result_at(answer, i));
        fputc('\n', out);
    }
    fprintf(out, "%" PRIu32 " %s%s (op %" PRIu64 ")\n", answer->results_count, record->name,
            answer->results_count == 1 ? "" : "s", answer->op);
    if (is_lookup(answer)) missing_visit(answer, out, missing_print);
    more_print(out, answer);
}

static int balance_read(const struct tael_repl_answer *answer, struct tael_trial_balance *balance) {
    return tael_trial_balance_read(answer->results, answer->results_count, answer->op, balance);
}

static int balance_print(FILE *out, const struct tael_repl_answer *answer) {
    struct tael_trial_balance balance;
    const int error = balance_read(answer, &balance);
    if (error != 0) return error;
    tael_trial_balance_print(out, &balance);
    if (balance.ledgers > balance.count) {
        fprintf(out, "that is not all: %" PRIu64 " ledgers match; go on with a ledger_min\n", balance.ledgers);
    }
    return 0;
}

int tael_repl_answer_print(FILE *out, const struct tael_repl_answer *answer) {
    if (answer->request->operation == TAEL_OPERATION_trial_balance) return balance_print(out, answer);
    if (is_create(answer)) {
        if (answer->results_count != answer->events_count) return -EPROTO;
        created_print(out, answer);
    } else {
        results_print(out, answer);
    }
    return 0;
}

/* --- answers as JSON --- */

static void name_add(void *context, const char *name) { json_array_append_new(context, json_string(name)); }

static json_t *value_json(const struct tael_repl_field *field, const void *record) {
    char text[TAEL_REPL_VALUE_SIZE];
    const bool are_flags = has_names(field) && field->kind != TAEL_REPL_CHANGE_TYPE;
    if (are_flags) {
        json_t *names = json_array();
        names_visit(field, record, names, name_add);
        return names;
    }
    if (has_names(field) || field->width > sizeof(uint32_t)) {
        return json_string(tael_repl_value_format(field, record, text));
    }
    return json_integer((json_int_t)tael_repl_field_get(field, record));
}

static json_t *record_json(const struct tael_repl_record *record, const void *bytes) {
    json_t *object = json_object();
    for (size_t i = 0; i < record->fields_count; i++) {
        json_object_set_new(object, record->fields[i].name, value_json(&record->fields[i], bytes));
    }
    return object;
}

static json_t *u64_json(uint64_t value) {
    char text[TAEL_REPL_VALUE_SIZE];
    return json_string(u128_format(value, text));
}

static json_t *created_json(const struct tael_repl_answer *answer, uint32_t index) {
    const struct tael_create_result *result = result_at(answer, index);
    const char *name = status_name(answer, result->status);
    char id[TAEL_REPL_VALUE_SIZE], number[16];
    snprintf(number, sizeof number, "%" PRIu32, result->status);
    return json_pack("{s:s, s:s, s:s, s:o}", "id", u128_format(event_id(answer, index), id), "status",
                     name == NULL ? number : name, "text", status_text(answer, result->status), "timestamp",
                     u64_json(result->timestamp));
}

static void results_json_add(json_t *object, const struct tael_repl_answer *answer) {
    json_t *results = json_array();
    for (uint32_t i = 0; i < answer->results_count; i++) {
        json_array_append_new(results, is_create(answer) ? created_json(answer, i)
                                                         : record_json(answer->request->result, result_at(answer, i)));
    }
    json_object_set_new(object, "results", results);
    if (is_lookup(answer)) {
        json_t *ids = json_array();
        missing_visit(answer, ids, name_add);
        json_object_set_new(object, "not_found", ids);
    } else if (!is_create(answer)) {
        json_object_set_new(object, "limit_reached", json_boolean(is_limit_reached(answer)));
    }
}

json_t *tael_repl_answer_json(const struct tael_repl_answer *answer) {
    const struct tael_operation_info info = tael_operation_info(answer->request->operation);
    struct tael_trial_balance balance;
    const bool is_balance = answer->request->operation == TAEL_OPERATION_trial_balance;
    if (is_balance && balance_read(answer, &balance) != 0) return NULL;
    if (is_create(answer) && answer->results_count != answer->events_count) return NULL;
    json_t *object = json_pack("{s:s, s:I, s:o}", "operation", info.name, "op", (json_int_t)answer->op, "timestamp",
                               u64_json(answer->timestamp));
    if (object == NULL) return NULL;
    if (is_balance) {
        json_object_set_new(object, "ledgers_matched", json_integer((json_int_t)balance.ledgers));
        json_object_update_new(object, tael_trial_balance_json(&balance));
    } else {
        results_json_add(object, answer);
    }
    return object;
}

/* --- errors --- */

/* The bytes of a character in UTF-8 behind its first. */
static bool is_continuation(char c) { return (c & 0xC0) == 0x80; }

static size_t characters_count(const char *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += !is_continuation(text[i]);
    return count;
}

struct tael_repl_place tael_repl_place_find(const char *text, size_t size, size_t offset, uint64_t first_line) {
    TAEL_ASSERT(offset <= size);
    struct tael_repl_place place = {.line = first_line};
    for (size_t i = 0; i < offset; i++) {
        if (text[i] != '\n') continue;
        place.line++;
        place.line_begin = i + 1;
    }
    const char *end = offset == size ? NULL : memchr(text + offset, '\n', size - offset);
    place.line_end = end == NULL ? size : (size_t)(end - text);
    place.column = characters_count(text + place.line_begin, offset - place.line_begin) + 1;
    return place;
}

/* Of a line, the part to show: so much before the place, and so much behind it. */
enum { SHOWN_BEFORE = 60, SHOWN_BEHIND = 40, CARET_INDENT = 2 };

/* Control characters would move the caret, or the terminal's mind. */
static void shown_print(FILE *out, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        const bool is_control = (unsigned char)text[i] < ' ' || text[i] == 0x7F;
        fputc(is_control ? ' ' : text[i], out);
    }
}

void tael_repl_error_print(FILE *out, const char *text, size_t size, const struct tael_repl_error *error) {
    const struct tael_repl_place place = tael_repl_place_find(text, size, error->begin, 1);
    size_t begin = place.line_begin, end = place.line_end;
    if (error->begin - begin > SHOWN_BEFORE) begin = error->begin - SHOWN_BEFORE;
    if (end - error->begin > SHOWN_BEHIND) end = error->begin + SHOWN_BEHIND;
    while (begin < error->begin && is_continuation(text[begin])) begin++;
    while (end < place.line_end && is_continuation(text[end])) end++;
    const bool is_cut = begin > place.line_begin;
    fprintf(out, "%*s%s", CARET_INDENT, "", is_cut ? "..." : "");
    shown_print(out, text + begin, end - begin);
    const size_t before = characters_count(text + begin, error->begin - begin) + (is_cut ? 3 : 0);
    fprintf(out, "%s\n%*s^", end < place.line_end ? "..." : "", CARET_INDENT + (int)before, "");
    const size_t marked_end = error->end < end ? error->end : end;
    const size_t marked =
        marked_end > error->begin ? characters_count(text + error->begin, marked_end - error->begin) : 0;
    for (size_t i = 1; i < marked; i++) fputc('~', out);
    fputc('\n', out);
}

/* --- help --- */

static void field_help_print(FILE *out, const struct tael_repl_field *field, int width) {
    size_t count;
    const struct tael_repl_name *names = tael_repl_names(field->kind, &count);
    if (field->use == TAEL_REPL_OUT || field->use == TAEL_REPL_REST) return;
    fprintf(out, "  %s=%*s", field->name, width - (int)strlen(field->name), "");
    if (names == NULL) {
        fprintf(out, "%" PRIu32 " bits%s%s\n", field->width * 8, field->kind == TAEL_REPL_TIME ? ", ns since 1970" : "",
                field->use == TAEL_REPL_KEY ? ", must be given" : "");
        return;
    }
    fprintf(out, "with '|' between:");
    for (size_t i = 0; i < count; i++) fprintf(out, "%s %s", i == 0 ? "" : ",", names[i].text);
    fputc('\n', out);
}

static void request_help_print(FILE *out, const struct tael_repl_request *request) {
    const struct tael_operation_info info = tael_operation_info(request->operation);
    const int width = name_width(request->event) + 1;
    fprintf(out, "%s %s. It takes %s:\n", info.name, request->summary,
            info.filters ? "one filter of these fields, any of them"
                         : "one or more events of these fields, with ',' between");
    for (size_t i = 0; i < request->event->fields_count; i++) {
        field_help_print(out, &request->event->fields[i], width);
    }
    fprintf(out, "for instance: %s\n", request->example);
}

void tael_repl_help_print(FILE *out, const struct tael_repl_request *request) {
    if (request != NULL) {
        request_help_print(out, request);
        return;
    }
    for (size_t i = 0; i < tael_repl_requests_count; i++) {
        fprintf(out, "  %-23s%s\n", tael_operation_info(tael_repl_requests[i].operation).name,
                tael_repl_requests[i].summary);
    }
    fprintf(out, "  %-23s%s\n  %-23s%s\n\n", "help [STATEMENT]", "says this, or what fields a statement takes",
            "quit, exit", "ends the session, as does the end of the input");
    fprintf(out,
            "A statement ends with ';' and may go over several lines. Numbers are decimal, 1_000_000, or hex, 0x3e8;\n"
            "-0 is the largest that the field holds, -1 one less. For instance:\n"
            "  %s\n",
            tael_repl_requests[0].example);
}
