/* The language of `tael repl`, fed with anything: a statement is what its events say when they are written out and read
 * again; an error lies within the text, and showing it ends. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "cli/repl_parse.h"
#include "cli/repl_print.h"

static unsigned char events[TAEL_EVENTS_MAX * TAEL_REPL_EVENT_SIZE_MAX];
static unsigned char events_again[TAEL_EVENTS_MAX * TAEL_REPL_EVENT_SIZE_MAX];

static void event_write(FILE *out, const struct tael_repl_record *record, const unsigned char *event) {
    for (size_t i = 0; i < record->fields_count; i++) {
        const struct tael_repl_field *field = &record->fields[i];
        char value[TAEL_REPL_VALUE_SIZE];
        if (tael_repl_field_get(field, event) == 0 && field->use != TAEL_REPL_KEY) continue;
        fprintf(out, " %s=%s", field->name, tael_repl_value_format(field, event, value));
    }
}

static void statement_check(const struct tael_repl_statement *statement) {
    if (statement->verb != TAEL_REPL_REQUEST) return;
    const struct tael_operation_info info = tael_operation_info(statement->request->operation);
    TAEL_ASSERT(statement->count >= 1 && statement->count <= TAEL_EVENTS_MAX);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) abort();
    fputs(info.name, out);
    for (uint32_t i = 0; i < statement->count; i++) {
        if (i > 0) fputc(',', out);
        event_write(out, statement->request->event, events + (size_t)i * info.event_size);
    }
    fclose(out);
    struct tael_repl_statement again;
    struct tael_repl_error error;
    TAEL_ASSERT(tael_repl_parse(text, size, events_again, &again, &error));
    TAEL_ASSERT(again.request == statement->request && again.count == statement->count);
    TAEL_ASSERT(memcmp(events, events_again, (size_t)statement->count * info.event_size) == 0);
    free(text);
}

static void error_check(const char *text, size_t size, const struct tael_repl_error *error) {
    TAEL_ASSERT(error->begin <= error->end);
    TAEL_ASSERT(error->end <= size);
    TAEL_ASSERT(strlen(error->text) > 0);
    for (const char *c = error->text; *c != '\0'; c++) TAEL_ASSERT(*c >= ' ' && *c <= '~');
    char *shown = NULL;
    size_t shown_size;
    FILE *out = open_memstream(&shown, &shown_size);
    if (out == NULL) abort();
    tael_repl_error_print(out, text, size, error);
    fclose(out);
    TAEL_ASSERT(strchr(shown, '^') != NULL);
    free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) abort();
    memcpy(text, bytes, size);
    for (size_t at = 0; at < size;) {
        const size_t with_end = tael_repl_statement_size(text + at, size - at);
        const size_t statement_size = with_end == 0 ? size - at : with_end;
        struct tael_repl_statement statement;
        struct tael_repl_error error;
        if (tael_repl_parse(text + at, statement_size, events, &statement, &error)) {
            statement_check(&statement);
        } else {
            error_check(text + at, statement_size, &error);
        }
        at += statement_size;
    }
    free(text);
    return 0;
}
