/* The language of `tael repl`: from text to an operation and its events. Pure: no I/O, no allocation.
 *
 *     statement = [ verb [ event { "," event } ] ] ";"
 *     event     = field "=" value { field "=" value }
 *     value     = number | flag { "|" flag }
 *
 * Numbers are decimal or 0x hex, with _ between digits where that helps to read; -N means the field's largest less N, so
 * amount=-0 is the largest. Blanks and line ends may stand between any two of these. The fields and flags are those of
 * repl_record.h. */
#ifndef TAEL_CLI_REPL_PARSE_H
#define TAEL_CLI_REPL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/repl_record.h"

enum tael_repl_verb {
    TAEL_REPL_NOTHING, /* a ';' by itself */
    TAEL_REPL_REQUEST,
    TAEL_REPL_HELP,
    TAEL_REPL_QUIT,
};

struct tael_repl_statement {
    enum tael_repl_verb verb;
    const struct tael_repl_request *request; /* of a request; of help what it is asked about, or NULL */
    uint32_t count; /* of events */
};

enum { TAEL_REPL_ERROR_TEXT_SIZE = 384 };

struct tael_repl_error {
    size_t begin, end; /* the place in the text; begin = end where something is missing */
    char text[TAEL_REPL_ERROR_TEXT_SIZE]; /* what is wrong there and what was expected; ASCII */
};

/* The size of the first statement in the text, its ';' included; 0 when the text doesn't hold its end. */
size_t tael_repl_statement_size(const char *text, size_t size);

/* True when there is nothing but blanks and line ends. */
bool tael_repl_is_blank(const char *text, size_t size);

/* Reads one statement, with or without its ';'. The events of a request are laid out back to back in `events`, which has
 * room for TAEL_EVENTS_MAX of TAEL_REPL_EVENT_SIZE_MAX bytes. On failure `error` is set, and `out` is untouched. */
bool tael_repl_parse(const char *text, size_t size, void *events, struct tael_repl_statement *out,
                     struct tael_repl_error *error);

#endif
