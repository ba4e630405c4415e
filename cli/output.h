/* What commands print: JSON, numbers for people, progress on a terminal. */
#ifndef TAEL_CLI_OUTPUT_H
#define TAEL_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Prints the object on one line of stdout and releases it. NULL means that it couldn't be built. Returns an enum tael_exit. */
int tael_json_print(json_t *object);

enum { TAEL_NUMBER_TEXT_SIZE = 32 };

/* 1234567 as "1,234,567". Returns `buffer`. */
const char *tael_number_format(uint64_t number, char buffer[static TAEL_NUMBER_TEXT_SIZE]);

/* 1234567 cents as "12,345.67". Returns `buffer`. */
const char *tael_cents_format(uint64_t cents, char buffer[static TAEL_NUMBER_TEXT_SIZE]);

/* What a ledger is that was formatted with --scratch. */
#define TAEL_SCRATCH_TEXT "a scratch ledger, for measuring: it acknowledges before it is durable"

/* One line on stderr for the administrator of a server, behind what stdout has. Any thread. */
__attribute__((format(printf, 1, 2))) void tael_say(const char *format, ...);
/* One line of the server's counters, on stderr. */
void tael_counter_print(const char *name, uint64_t count, const char *text);

uint64_t tael_monotonic_ns(void);

/* One line on stderr that is overwritten as work goes on, only on a terminal and only after a second. Zeroed is a start
 * with no work known; `what` is a verb and an object, "checking FILE". */
struct tael_progress {
    const char *what;
    const char *unit;
    uint64_t total; /* 0: not known */
    uint64_t begun_ns;
    uint64_t shown_ns;
    bool is_terminal;
};
void tael_progress_begin(struct tael_progress *progress, const char *what, const char *unit, uint64_t total);
void tael_progress_show(struct tael_progress *progress, uint64_t done);
void tael_progress_end(struct tael_progress *progress); /* wipes the line */

#endif
