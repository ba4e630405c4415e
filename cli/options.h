/* Options of a command: one row each, from which come the struct, the parser and the text of --help and of the man page.
 *
 *     #define LOAD_OPTIONS(X, S)                                                       \
 *         X(S, TEXT, to, "ADDR:PORT", 0, 0, "127.0.0.1:3000", "the server to load into") \
 *         X(S, NUMBER, ledger, "N", 1, UINT32_MAX, 840, "the ledger of all accounts")     \
 *         X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
 *     TAEL_OPTIONS_DEFINE(load_options, LOAD_OPTIONS);
 *
 * defines `struct load_options {const char *to; uint64_t ledger; bool json;}` and the array `load_options_rows`. A row is
 * (struct, kind, member, unit, minimum, maximum, default, text); the option is named after the member, with dashes for
 * underscores. Only what the user gives is held against minimum and maximum, so a default outside of them can mean "not
 * given"; --help doesn't show such a default. */
#ifndef TAEL_CLI_OPTIONS_H
#define TAEL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tael/u128.h>

enum tael_option_kind {
    TAEL_OPTION_FLAG, /* takes no value */
    TAEL_OPTION_NUMBER, /* decimal */
    TAEL_OPTION_WIDE, /* up to 128 bits: decimal, or hexadecimal behind 0x; takes all of them */
    TAEL_OPTION_SIZE, /* bytes; decimal with K, M, G or T behind it (powers of 1024) */
    TAEL_OPTION_TEXT, /* NULL: not given */
};

struct tael_option {
    const char *member;
    enum tael_option_kind kind;
    const char *unit; /* what --help shows for the value */
    uint64_t minimum, maximum; /* both included */
    uint64_t number_default; /* of FLAG, NUMBER, WIDE and SIZE */
    const char *text_default;
    const char *text;
    size_t offset; /* in the options struct */
};

#define TAEL_OPTIONS_MAX 48

#define TAEL_OPTION_TYPE_FLAG bool
#define TAEL_OPTION_TYPE_NUMBER uint64_t
#define TAEL_OPTION_TYPE_WIDE tael_u128
#define TAEL_OPTION_TYPE_SIZE uint64_t
#define TAEL_OPTION_TYPE_TEXT const char *
#define TAEL_OPTION_DEFAULT_FLAG(value) .number_default = (value)
#define TAEL_OPTION_DEFAULT_NUMBER(value) .number_default = (value)
#define TAEL_OPTION_DEFAULT_WIDE(value) .number_default = (value)
#define TAEL_OPTION_DEFAULT_SIZE(value) .number_default = (value)
#define TAEL_OPTION_DEFAULT_TEXT(value) .text_default = (value)

#define TAEL_OPTION_MEMBER(S, option_kind, name, option_unit, min, max, value, words)                                  \
    TAEL_OPTION_TYPE_##option_kind name;
#define TAEL_OPTION_ROW(S, option_kind, name, option_unit, min, max, value, words)                                     \
    {.member = #name,                                                                                                  \
     .kind = TAEL_OPTION_##option_kind,                                                                                \
     .unit = option_unit,                                                                                              \
     .minimum = min,                                                                                                   \
     .maximum = max,                                                                                                   \
     TAEL_OPTION_DEFAULT_##option_kind(value),                                                                         \
     .text = words,                                                                                                    \
     .offset = offsetof(struct S, name)},

#define TAEL_OPTIONS_DEFINE(S, TABLE)                                                                                  \
    struct S {                                                                                                         \
        TABLE(TAEL_OPTION_MEMBER, S)                                                                                   \
    };                                                                                                                 \
    static const struct tael_option S##_rows[] = {TABLE(TAEL_OPTION_ROW, S)}

/* The members of a `struct tael_command` that describe its options. */
#define TAEL_OPTIONS_OF(S)                                                                                             \
    .options = S##_rows, .options_count = sizeof S##_rows / sizeof S##_rows[0], .options_size = sizeof(struct S)

struct tael_command;

enum tael_options_outcome {
    TAEL_OPTIONS_RUN, /* all is well: run the command */
    TAEL_OPTIONS_HELP, /* --help was given, nothing else counts */
    TAEL_OPTIONS_WRONG, /* said so on stderr, and what to do */
};

/* Fills `options`, options_size bytes, with the defaults. */
void tael_options_default(const struct tael_command *command, void *options);

/* Reads argv[1..argc-1] (argv[0] is the command's own name) over the defaults in `options`. Texts point into argv. argv is
 * reordered: on TAEL_OPTIONS_RUN the operands are argv[*operands_begin .. argc-1], as many as the command allows. */
enum tael_options_outcome tael_options_parse(const struct tael_command *command, void *options, int argc, char **argv,
                                             int *operands_begin);

/* Reads decimal digits, for a size with K, M, G or T behind them. False when there is anything else, or more than 64 bits. */
bool tael_number_parse(const char *text, bool is_size, uint64_t *out);

/* Usage, what the command does, its options and its notes. */
void tael_command_help(const struct tael_command *command, FILE *out);

/* The same as a section of the man page. */
void tael_command_manual(const struct tael_command *command, FILE *out);

#endif
