/* What `tael repl` shows: answers, errors and help, for people or as JSON. Goes by the tables of repl_record.h. */
#ifndef TAEL_CLI_REPL_PRINT_H
#define TAEL_CLI_REPL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/repl_parse.h"
#include "cli/repl_record.h"

struct tael_repl_answer {
    const struct tael_repl_request *request;
    const void *events;
    uint32_t events_count;
    const void *results; /* of the operation's type, see tael/client.h */
    uint32_t results_count;
    uint64_t op;
    uint64_t timestamp;
};

enum { TAEL_REPL_VALUE_SIZE = 256 };

/* The field's value as a statement would give it: a number, or names with '|' between. Returns `buffer`. */
const char *tael_repl_value_format(const struct tael_repl_field *field, const void *record,
                                   char buffer[static TAEL_REPL_VALUE_SIZE]);

/* 0, or -EPROTO, and nothing is printed: the results don't answer the events. Anything but a trial balance always does,
 * with as many results as events for a create. */
int tael_repl_answer_print(FILE *out, const struct tael_repl_answer *answer);

/* One object: operation, op, timestamp and results. Numbers of up to 32 bits are numbers, wider ones strings, flags lists
 * of names. NULL: as -EPROTO above, or no memory. */
json_t *tael_repl_answer_json(const struct tael_repl_answer *answer);

/* The place of an error in a text that begins with line `first_line`, counted from 1. */
struct tael_repl_place {
    uint64_t line;
    size_t column; /* in characters, from 1 */
    size_t line_begin, line_end; /* offsets in the text */
};
struct tael_repl_place tael_repl_place_find(const char *text, size_t size, size_t offset, uint64_t first_line);

/* The line of the text and a caret below the place of the error; of a long line the part around it. */
void tael_repl_error_print(FILE *out, const char *text, size_t size, const struct tael_repl_error *error);

/* All statements, or one request's fields. `request` may be NULL. */
void tael_repl_help_print(FILE *out, const struct tael_repl_request *request);

#endif
