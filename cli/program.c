/* The program behind the check of the processor: finds the command, reads its options, runs it. */
#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct tael_command *const commands[] = {
#define X(name) &tael_command_##name,
    TAEL_COMMAND_TABLE(X)
#undef X
};
enum { COMMANDS_COUNT = sizeof commands / sizeof commands[0] };

void tael_error(const struct tael_command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout); /* so that both come in order where they share a terminal or a file */
    fprintf(stderr, "tael%s%s: ", command == NULL ? "" : " ", command == NULL ? "" : command->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

const struct tael_command *tael_command_find(const char *name) {
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    }
    return NULL;
}

static void program_help(FILE *out) {
    fprintf(out, "usage: tael COMMAND [options] ...\n\nTael is a ledger for payments: double-entry accounts and "
                 "transfers, durable.\n\n"
                 "commands:\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) fprintf(out, "  %-16s%s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n'tael COMMAND --help' says more. Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}

void tael_program_manual(FILE *out) {
    fprintf(out, ".TH TAEL 1\n.SH NAME\ntael \\- a ledger for payments\n.SH SYNOPSIS\n.B tael\nCOMMAND [options] ...\n"
                 ".SH COMMANDS\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) tael_command_manual(commands[i], out);
    fprintf(out, ".SH OPTIONS OF ALL COMMANDS\n.TP\n.B \\-\\-help\nprint what the command does and its options\n"
                 ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage\n");
}

/* Full pipes and disks show when stdout is flushed: then what was printed isn't there, and the command has failed. */
static int output_flush(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    tael_error(NULL, "can't write the output: %s", strerror(errno));
    return status == TAEL_EXIT_DONE ? TAEL_EXIT_FAILED : status;
}

static int command_run(const struct tael_command *command, int argc, char **argv) {
    void *options = calloc(1, command->options_size == 0 ? 1 : command->options_size);
    if (options == NULL) {
        tael_error(command, "out of memory");
        return TAEL_EXIT_FAILED;
    }
    tael_options_default(command, options);
    int operands_begin = argc;
    int status = TAEL_EXIT_USAGE;
    switch (tael_options_parse(command, options, argc, argv, &operands_begin)) {
    case TAEL_OPTIONS_RUN:
        status = command->run(options, argc - operands_begin, argv + operands_begin);
        break;
    case TAEL_OPTIONS_HELP:
        tael_command_help(command, stdout);
        status = TAEL_EXIT_DONE;
        break;
    case TAEL_OPTIONS_WRONG:
        break;
    }
    free(options);
    return output_flush(status);
}

int tael_program_run(int argc, char **argv) {
    if (argc < 2) {
        program_help(stderr);
        return TAEL_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        program_help(stdout);
        return output_flush(TAEL_EXIT_DONE);
    }
    if (strcmp(name, "--version") == 0) name = "version";
    const struct tael_command *command = tael_command_find(name);
    if (command == NULL) {
        tael_error(NULL, "there is no command '%s'; 'tael --help' lists them", name);
        return TAEL_EXIT_USAGE;
    }
    return command_run(command, argc - 1, argv + 1);
}
