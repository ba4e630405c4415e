/* Lines typed on a terminal, with editing and a history that outlives the session.
 *
 * The history is $XDG_STATE_HOME/tael_history, or else ~/.tael_history; without either variable, or where the file can't be
 * written, it lasts as long as the session. Uses libedit (BSD licence). */
#ifndef TAEL_CLI_REPL_LINE_H
#define TAEL_CLI_REPL_LINE_H

#include <stddef.h>

struct tael_repl_line;

/* For stdin and stdout, which are a terminal. NULL when there is no memory. */
struct tael_repl_line *tael_repl_line_new(void);
void tael_repl_line_free(struct tael_repl_line *line);

enum tael_repl_line_outcome {
    TAEL_REPL_LINE_READ,
    TAEL_REPL_LINE_INTERRUPTED, /* Ctrl-C: what was typed of the statement is void */
    TAEL_REPL_LINE_END, /* Ctrl-D, or the terminal is gone */
};

/* Reads a line, with its line end, which is valid until the next one is read. `prompt` is a constant. */
enum tael_repl_line_outcome tael_repl_line_read(struct tael_repl_line *line, const char *prompt, const char **text,
                                                size_t *size);

/* Remembers a statement, on one line whatever it was typed on, and saves the history. */
void tael_repl_line_remember(struct tael_repl_line *line, const char *text, size_t size);

#endif
