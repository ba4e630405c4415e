/* A parser by recursive descent over a cursor; see repl_parse.h for the grammar. Each function either moves the cursor
 * behind what it read, or sets the error and returns false. */
#include "cli/repl_parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "cli/wide.h"

struct cursor {
    const char *text;
    size_t size; /* up to the ';' */
    size_t at;
    struct tael_repl_error *error;
};

struct token {
    size_t begin, end;
};

size_t tael_repl_statement_size(const char *text, size_t size) {
    const char *end = size == 0 ? NULL : memchr(text, ';', size);
    return end == NULL ? 0 : (size_t)(end - text) + 1;
}

/* --- errors --- */

__attribute__((format(printf, 3, 4))) static bool wrong(struct cursor *cursor, struct token place, const char *format,
                                                        ...) {
    va_list arguments;
    TAEL_ASSERT(place.begin <= place.end);
    va_start(arguments, format);
    vsnprintf(cursor->error->text, sizeof cursor->error->text, format, arguments);
    va_end(arguments);
    cursor->error->begin = place.begin;
    cursor->error->end = place.end;
    return false;
}

/* Room for all names of a table, with commas. */
enum { LIST_SIZE = 256 };

static void list_add(char list[static LIST_SIZE], const char *name) {
    const size_t length = strlen(list);
    const int added = snprintf(list + length, LIST_SIZE - length, "%s%s", length == 0 ? "" : ", ", name);
    TAEL_ASSERT(added > 0 && (size_t)added < LIST_SIZE - length);
}

static const char *article(const char *noun) { return strchr("aeiou", *noun) != NULL ? "an" : "a"; }

static bool may_be_given(const struct tael_repl_field *field) {
    return field->use != TAEL_REPL_OUT && field->use != TAEL_REPL_REST;
}

static bool wrong_verb(struct cursor *cursor, struct token place) {
    char list[LIST_SIZE] = "";
    for (size_t i = 0; i < tael_repl_requests_count; i++) {
        list_add(list, tael_operation_info(tael_repl_requests[i].operation).name);
    }
    return wrong(cursor, place, "expected one of %s, help, quit", list);
}

static bool wrong_field(struct cursor *cursor, struct token place, const struct tael_repl_record *record) {
    char list[LIST_SIZE] = "";
    for (size_t i = 0; i < record->fields_count; i++) {
        if (may_be_given(&record->fields[i])) list_add(list, record->fields[i].name);
    }
    return wrong(cursor, place, "expected a field of %s %s: %s", article(record->name), record->name, list);
}

static bool wrong_flag(struct cursor *cursor, struct token place, const struct tael_repl_field *field) {
    char list[LIST_SIZE] = "";
    size_t count;
    const struct tael_repl_name *names = tael_repl_names(field->kind, &count);
    for (size_t i = 0; i < count; i++) list_add(list, names[i].text);
    return wrong(cursor, place, "expected one or more of these, with '|' between: %s", list);
}

/* --- tokens --- */

/* Not those of <ctype.h>, which go by the locale. */
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static void blanks_skip(struct cursor *cursor) {
    while (cursor->at < cursor->size && is_blank(cursor->text[cursor->at])) cursor->at++;
}

/* Skips blanks; true at the end of the statement. */
static bool is_at_end(struct cursor *cursor) {
    blanks_skip(cursor);
    return cursor->at == cursor->size;
}

/* Skips blanks and, where it comes next, `c`. */
static bool char_take(struct cursor *cursor, char c) {
    if (is_at_end(cursor) || cursor->text[cursor->at] != c) return false;
    cursor->at++;
    return true;
}

/* Skips blanks and takes the letters, digits and _ that follow. Empty when there are none. */
static struct token word_take(struct cursor *cursor) {
    blanks_skip(cursor);
    struct token word = {cursor->at, cursor->at};
    while (word.end < cursor->size && is_word(cursor->text[word.end])) word.end++;
    cursor->at = word.end;
    return word;
}

static size_t token_size(struct token token) { return token.end - token.begin; }

/* The place to point at where a word was expected and `word` is what was found: that, or the character instead of it. */
static struct token place_of(const struct cursor *cursor, struct token word) {
    if (word.begin == word.end && word.end < cursor->size) word.end++;
    /* All of a character in UTF-8. */
    while (word.end < cursor->size && word.end > word.begin && (cursor->text[word.end] & 0xC0) == 0x80) word.end++;
    return word;
}

/* --- values --- */

static bool wrong_size(struct cursor *cursor, struct token place, const struct tael_repl_field *field) {
    if (field->width > sizeof(uint64_t)) {
        return wrong(cursor, place, "too large: %s has 128 bits", field->name);
    }
    return wrong(cursor, place, "too large: %s is %" PRIu64 " at most", field->name,
                 (uint64_t)tael_repl_field_max(field));
}

static bool number_parse(struct cursor *cursor, const struct tael_repl_field *field, tael_u128 *out) {
    blanks_skip(cursor);
    const size_t begin = cursor->at;
    const bool is_from_max = char_take(cursor, '-');
    const size_t digits = cursor->at;
    const struct token word = word_take(cursor);
    const struct token place = {begin, word.end};
    tael_u128 value = 0;
    enum tael_wide_outcome outcome = TAEL_WIDE_NONE;
    /* Blanks between the minus and the digits would be a riddle. */
    if (word.begin == digits) outcome = tael_wide_read(cursor->text + word.begin, token_size(word), &value);
    switch (outcome) {
    case TAEL_WIDE_NONE:
        return wrong(cursor, place_of(cursor, place), "expected a number for %s, as 1_000 or 0x3e8", field->name);
    case TAEL_WIDE_TOO_LARGE:
        return wrong_size(cursor, place, field);
    case TAEL_WIDE_READ:
        break;
    }
    const tael_u128 most = tael_repl_field_max(field);
    if (value > most) return wrong_size(cursor, place, field);
    *out = is_from_max ? most - value : value;
    return true;
}

static bool flags_parse(struct cursor *cursor, const struct tael_repl_field *field, tael_u128 *out) {
    size_t count;
    const struct tael_repl_name *names = tael_repl_names(field->kind, &count);
    uint32_t flags = 0;
    do {
        const struct token word = word_take(cursor);
        size_t i = 0;
        while (i < count && (strlen(names[i].text) != token_size(word) ||
                             memcmp(names[i].text, cursor->text + word.begin, token_size(word)) != 0)) {
            i++;
        }
        if (i == count) return wrong_flag(cursor, place_of(cursor, word), field);
        flags |= names[i].value;
    } while (char_take(cursor, '|'));
    *out = flags;
    return true;
}

/* --- events --- */

struct event {
    const struct tael_repl_request *request;
    unsigned char *bytes;
    struct token place; /* of all of it */
    struct token values[TAEL_REPL_FIELDS_MAX]; /* where each field was given; begin = end where it wasn't */
};

static void event_default(struct event *event) {
    const struct tael_repl_record *record = event->request->event;
    memset(event->bytes, 0, tael_operation_info(event->request->operation).event_size);
    for (size_t i = 0; i < record->fields_count; i++) {
        const struct tael_repl_field *field = &record->fields[i];
        if (strcmp(field->name, "limit") == 0) {
            tael_repl_field_set(field, event->bytes, tael_repl_limit(event->request, NULL));
        } else if (field->kind == TAEL_REPL_ACCOUNT_FILTER_FLAGS) {
            tael_repl_field_set(field, event->bytes,
                                TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits);
        }
    }
}

static bool field_parse(struct cursor *cursor, struct event *event) {
    const struct tael_repl_record *record = event->request->event;
    const struct token word = word_take(cursor);
    const struct tael_repl_field *field = tael_repl_field_named(record, cursor->text + word.begin, token_size(word));
    if (field == NULL) return wrong_field(cursor, place_of(cursor, word), record);
    if (!may_be_given(field)) return wrong(cursor, word, "%s is counted by the server and can't be given", field->name);
    struct token *value = &event->values[field - record->fields];
    if (value->end != 0) return wrong(cursor, word, "%s is given twice", field->name);
    if (!char_take(cursor, '=')) {
        const struct token place = {cursor->at, cursor->at};
        return wrong(cursor, place_of(cursor, place), "expected '=' and a value for %s", field->name);
    }
    blanks_skip(cursor);
    value->begin = cursor->at;
    tael_u128 number = 0;
    const bool has_names = field->kind != TAEL_REPL_NUMBER && field->kind != TAEL_REPL_TIME;
    if (!(has_names ? flags_parse : number_parse)(cursor, field, &number)) return false;
    value->end = cursor->at;
    tael_repl_field_set(field, event->bytes, number);
    return true;
}

static const struct tael_repl_field *field_of(const struct event *event, const char *name, struct token *value) {
    const struct tael_repl_record *record = event->request->event;
    const struct tael_repl_field *field = tael_repl_field_named(record, name, strlen(name));
    if (field != NULL) *value = event->values[field - record->fields];
    return field;
}

/* A range that ends before it begins: the server would answer with nothing, as if nothing had happened then. */
static bool range_check(struct cursor *cursor, const struct event *event, const char *low_name, const char *high_name) {
    struct token low_value, high_value;
    const struct tael_repl_field *low = field_of(event, low_name, &low_value);
    const struct tael_repl_field *high = field_of(event, high_name, &high_value);
    if (low == NULL || high == NULL || high_value.end == 0) return true;
    const tael_u128 most = tael_repl_field_get(high, event->bytes);
    if (most == 0 || most >= tael_repl_field_get(low, event->bytes)) return true;
    return wrong(cursor, high_value, "expected a %s that is not below %s", high_name, low_name);
}

/* What the server would answer like a filter that nothing matches. */
static bool filter_check(struct cursor *cursor, const struct event *event) {
    struct token value = {0, 0};
    const struct tael_repl_field *limit = field_of(event, "limit", &value);
    if (limit != NULL && tael_repl_field_get(limit, event->bytes) == 0) {
        return wrong(cursor, value, "expected a limit of 1 or more");
    }
    const struct tael_repl_field *flags = field_of(event, "flags", &value);
    const tael_u128 sides = TAEL_ACCOUNT_FILTER_FLAG_debits | TAEL_ACCOUNT_FILTER_FLAG_credits;
    if (flags != NULL && flags->kind == TAEL_REPL_ACCOUNT_FILTER_FLAGS &&
        (tael_repl_field_get(flags, event->bytes) & sides) == 0) {
        return wrong(cursor, value, "expected debits, credits or both among the flags");
    }
    return range_check(cursor, event, "timestamp_min", "timestamp_max") &&
           range_check(cursor, event, "ledger_min", "ledger_max");
}

static bool event_check(struct cursor *cursor, const struct event *event) {
    const struct tael_repl_record *record = event->request->event;
    for (size_t i = 0; i < record->fields_count; i++) {
        if (record->fields[i].use == TAEL_REPL_KEY && event->values[i].end == 0) {
            return wrong(cursor, event->place, "%s is missing", record->fields[i].name);
        }
    }
    return !tael_operation_info(event->request->operation).filters || filter_check(cursor, event);
}

/* A statement, or an event behind a comma, that ends before it has a field. */
static bool wrong_nothing(struct cursor *cursor, const struct tael_repl_record *record) {
    const struct token place = {cursor->at, cursor->at};
    return wrong_field(cursor, place_of(cursor, place), record);
}

static bool event_parse(struct cursor *cursor, const struct tael_repl_request *request, unsigned char *bytes) {
    struct event event = {.request = request, .bytes = bytes};
    event_default(&event);
    const bool may_be_empty = request->event->fields[0].use != TAEL_REPL_KEY;
    if (is_at_end(cursor) && !may_be_empty) return wrong_nothing(cursor, request->event);
    event.place.begin = cursor->at;
    event.place.end = cursor->at;
    while (!is_at_end(cursor) && cursor->text[cursor->at] != ',') {
        if (!field_parse(cursor, &event)) return false;
        event.place.end = cursor->at;
    }
    if (event.place.end == event.place.begin && !may_be_empty) return wrong_nothing(cursor, request->event);
    return event_check(cursor, &event);
}

/* --- statements --- */

static bool request_parse(struct cursor *cursor, void *events, struct tael_repl_statement *statement) {
    const struct tael_operation_info info = tael_operation_info(statement->request->operation);
    TAEL_ASSERT(info.event_size > 0 && info.event_size <= TAEL_REPL_EVENT_SIZE_MAX);
    do {
        const struct token comma = {cursor->at == 0 ? 0 : cursor->at - 1, cursor->at};
        if (statement->count > 0 && info.filters) return wrong(cursor, comma, "%s takes one filter", info.name);
        if (statement->count == TAEL_EVENTS_MAX) {
            return wrong(cursor, comma, "a statement takes %d events at most", TAEL_EVENTS_MAX);
        }
        unsigned char *bytes = (unsigned char *)events + (size_t)statement->count * info.event_size;
        if (!event_parse(cursor, statement->request, bytes)) return false;
        statement->count++;
    } while (char_take(cursor, ','));
    TAEL_ASSERT(is_at_end(cursor));
    return true;
}

static bool end_parse(struct cursor *cursor, const char *verb) {
    if (is_at_end(cursor)) return true;
    const struct token place = {cursor->at, cursor->at + 1};
    return wrong(cursor, place_of(cursor, place), "expected ';' behind %s", verb);
}

static bool help_parse(struct cursor *cursor, struct tael_repl_statement *statement) {
    statement->verb = TAEL_REPL_HELP;
    if (is_at_end(cursor)) return true;
    const struct token word = word_take(cursor);
    statement->request = tael_repl_request_named(cursor->text + word.begin, token_size(word));
    if (statement->request == NULL) return wrong_verb(cursor, place_of(cursor, word));
    return end_parse(cursor, "help and one word");
}

static bool word_is(const struct cursor *cursor, struct token word, const char *text) {
    return token_size(word) == strlen(text) && memcmp(cursor->text + word.begin, text, token_size(word)) == 0;
}

static bool statement_parse(struct cursor *cursor, void *events, struct tael_repl_statement *statement) {
    if (is_at_end(cursor)) return true;
    const struct token word = word_take(cursor);
    if (word_is(cursor, word, "help")) return help_parse(cursor, statement);
    if (word_is(cursor, word, "quit") || word_is(cursor, word, "exit")) {
        statement->verb = TAEL_REPL_QUIT;
        return end_parse(cursor, "quit");
    }
    statement->verb = TAEL_REPL_REQUEST;
    statement->request = tael_repl_request_named(cursor->text + word.begin, token_size(word));
    if (statement->request == NULL) return wrong_verb(cursor, place_of(cursor, word));
    return request_parse(cursor, events, statement);
}

bool tael_repl_is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!is_blank(text[i])) return false;
    }
    return true;
}

bool tael_repl_parse(const char *text, size_t size, void *events, struct tael_repl_statement *out,
                     struct tael_repl_error *error) {
    const size_t with_end = tael_repl_statement_size(text, size);
    struct cursor cursor = {.text = text, .size = with_end == 0 ? size : with_end - 1, .error = error};
    struct tael_repl_statement statement = {.verb = TAEL_REPL_NOTHING};
    if (!statement_parse(&cursor, events, &statement)) return false;
    *out = statement;
    return true;
}
