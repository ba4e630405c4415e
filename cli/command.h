/* Commands of the program `tael`. A command is one constant, `tael_command_<name>`, in a file of its own, and one row in
 * TAEL_COMMAND_TABLE. */
#ifndef TAEL_CLI_COMMAND_H
#define TAEL_CLI_COMMAND_H

#include <stddef.h>

#include "cli/options.h"

enum tael_exit {
    TAEL_EXIT_DONE = 0,
    TAEL_EXIT_FAILED = 1,
    TAEL_EXIT_USAGE = 2,
};

/* In the order in which `tael --help` lists them. */
/* clang-format off */
#define TAEL_COMMAND_TABLE(X) \
    X(format)                 \
    X(start)                  \
    X(load)                   \
    X(trial_balance)          \
    X(demo)                   \
    X(repl)                   \
    X(bench)                  \
    X(verify)                 \
    X(inspect)                \
    X(skip_op)                \
    X(version)
/* clang-format on */

struct tael_command {
    const char *name; /* as typed: with dashes */
    const char *summary; /* one line */
    const char *details; /* more for --help and the man page, lines of up to 100 columns; may be NULL */
    const char *operands; /* what stands behind the options, for the usage line: "DIR", "FILE..."; "" for none */
    int operands_min, operands_max;
    const struct tael_option *options;
    size_t options_count;
    size_t options_size;
    /* `options` is the struct that options_size measures, parsed and in range. Returns an enum tael_exit; what went wrong
     * has been said on stderr. */
    int (*run)(const void *options, int operands_count, char **operands);
};

#define X(name) extern const struct tael_command tael_command_##name;
TAEL_COMMAND_TABLE(X)
#undef X

/* NULL when there is none of that name. */
const struct tael_command *tael_command_find(const char *name);

/* The whole program behind the check of the processor. Returns the exit status. */
int tael_program_run(int argc, char **argv);

/* The whole man page, from the commands' tables. */
void tael_program_manual(FILE *out);

/* What both kinds of output need. `tael_error` writes one line to stderr, behind "tael <command>: ". */
__attribute__((format(printf, 2, 3))) void tael_error(const struct tael_command *command, const char *format, ...);

#endif
