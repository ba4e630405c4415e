/* `tael repl`: statements from --command, a terminal or any other stdin, one request each, and their answers.
 *
 * Text is kept until its last statement was run, so that an error can show the whole line it is on. Except on a terminal,
 * the first statement that fails is the last: what follows may build on it. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/client.h>
#include <tael/limits.h>
#include <tael/operation.h>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/repl_line.h"
#include "cli/repl_parse.h"
#include "cli/repl_print.h"

#define REPL_OPTIONS(X, S)                                                                                             \
    TAEL_CONNECT_OPTIONS(X, S)                                                                                         \
    X(S, TEXT, command, "TEXT", 0, 0, NULL, "run these statements instead of those on stdin")
TAEL_OPTIONS_DEFINE(repl_options, REPL_OPTIONS);

/* The most is room for a full batch with every field at its longest. */
enum { TEXT_SIZE_START = 4096, TEXT_SIZE_MAX = 16 << 20 };

struct repl {
    const struct repl_options *options;
    struct tael_client *client; /* NULL: statements are only checked */
    struct tael_repl_line *line; /* NULL: not on a terminal */
    char *text;
    size_t size, capacity;
    size_t done; /* of the text: the statements before were run */
    uint64_t first_line; /* number of the line that the text begins with */
    bool has_quit;
    alignas(16) unsigned char events[TAEL_EVENTS_MAX * TAEL_REPL_EVENT_SIZE_MAX];
    alignas(16) unsigned char results[TAEL_BODY_SIZE_MAX];
};

/* --- the text --- */

/* Drops what is done: all of it, or where more stands behind it, the lines before. */
static void text_drop(struct repl *repl) {
    size_t begin = repl->done;
    if (tael_repl_is_blank(repl->text + begin, repl->size - begin)) {
        begin = repl->size;
        repl->done = begin;
    } else {
        while (begin > 0 && repl->text[begin - 1] != '\n') begin--;
    }
    if (begin == 0) return;
    for (size_t i = 0; i < begin; i++) repl->first_line += repl->text[i] == '\n';
    memmove(repl->text, repl->text + begin, repl->size - begin);
    repl->size -= begin;
    repl->done -= begin;
}

static bool text_append(struct repl *repl, const char *text, size_t size) {
    if (repl->size + size > TEXT_SIZE_MAX) {
        tael_error(&tael_command_repl, "a statement of more than %d bytes", TEXT_SIZE_MAX);
        return false;
    }
    if (repl->size + size > repl->capacity) {
        const size_t capacity = 2 * (repl->size + size);
        char *grown = realloc(repl->text, capacity);
        if (grown == NULL) {
            tael_error(&tael_command_repl, "out of memory");
            return false;
        }
        repl->text = grown;
        repl->capacity = capacity;
    }
    memcpy(repl->text + repl->size, text, size);
    repl->size += size;
    return true;
}

/* True when there is the beginning of a statement without its end. */
static bool text_is_open(const struct repl *repl) {
    return !tael_repl_is_blank(repl->text + repl->done, repl->size - repl->done);
}

/* --- errors --- */

static void error_json_print(const struct tael_repl_request *request, json_t *error) {
    const char *operation = request == NULL ? NULL : tael_operation_info(request->operation).name;
    tael_json_print(json_pack("{s:s?, s:o}", "operation", operation, "error", error));
}

/* The error's place is one in the whole text. */
static bool parse_failed(const struct repl *repl, const struct tael_repl_error *error) {
    const struct tael_repl_place place = tael_repl_place_find(repl->text, repl->size, error->begin, repl->first_line);
    if (repl->line != NULL) {
        tael_error(&tael_command_repl, "%s", error->text);
    } else {
        tael_error(&tael_command_repl, "line %" PRIu64 ", column %zu: %s", place.line, place.column, error->text);
    }
    tael_repl_error_print(stderr, repl->text, repl->size, error);
    if (repl->options->json) {
        error_json_print(NULL, json_pack("{s:s, s:I, s:I}", "message", error->text, "line", (json_int_t)place.line,
                                         "column", (json_int_t)place.column));
    }
    return false;
}

static bool request_failed(const struct repl *repl, const struct tael_repl_request *request, int status,
                           const char *why) {
    const bool is_create = tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE;
    const bool is_unknown = is_create && tael_client_outcome_is_unknown(status);
    tael_error(&tael_command_repl, "%s%s", why,
               is_unknown ? "; it may have been executed or not: run the same statement again, its ids see to it that "
                            "nothing is created twice"
                          : "");
    if (repl->options->json) {
        error_json_print(request, json_pack("{s:s, s:b}", "message", why, "outcome_unknown", (int)is_unknown));
    }
    return false;
}

/* --- statements --- */

static bool answer_print(const struct repl *repl, const struct tael_repl_answer *answer) {
    bool is_printed;
    if (repl->options->json) {
        is_printed = tael_json_print(tael_repl_answer_json(answer)) == TAEL_EXIT_DONE;
    } else {
        is_printed = tael_repl_answer_print(stdout, answer) == 0;
    }
    if (!is_printed)
        return request_failed(repl, answer->request, -EPROTO, "the server's reply doesn't fit the request");
    return true;
}

static bool request_run(struct repl *repl, const struct tael_repl_statement *statement) {
    const struct tael_operation_info info = tael_operation_info(statement->request->operation);
    const uint32_t results_max = (uint32_t)(sizeof repl->results / info.result_size);
    struct tael_client_reply reply;
    const int status = tael_client_call(repl->client, statement->request->operation, repl->events, statement->count,
                                        repl->results, results_max, 0, &reply);
    if (status != 0) return request_failed(repl, statement->request, status, reply.why);
    const struct tael_repl_answer answer = {.request = statement->request,
                                            .events = repl->events,
                                            .events_count = statement->count,
                                            .results = repl->results,
                                            .results_count = reply.count,
                                            .op = reply.op,
                                            .timestamp = reply.timestamp};
    return answer_print(repl, &answer);
}

static bool help_run(const struct repl *repl, const struct tael_repl_request *request) {
    if (!repl->options->json) {
        tael_repl_help_print(stdout, request);
        return true;
    }
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return false;
    tael_repl_help_print(out, request);
    fclose(out);
    const int status = tael_json_print(json_pack("{s:s, s:s}", "operation", "help", "text", text));
    free(text);
    return status == TAEL_EXIT_DONE;
}

/* Runs, or without a client only checks, the statement that the first `size` bytes of the rest hold. */
static bool statement_run(struct repl *repl, size_t size) {
    struct tael_repl_statement statement;
    struct tael_repl_error error;
    if (!tael_repl_parse(repl->text + repl->done, size, repl->events, &statement, &error)) {
        error.begin += repl->done;
        error.end += repl->done;
        return parse_failed(repl, &error);
    }
    if (repl->client == NULL) return true;
    switch (statement.verb) {
    case TAEL_REPL_NOTHING:
        return true;
    case TAEL_REPL_REQUEST:
        return request_run(repl, &statement);
    case TAEL_REPL_HELP:
        return help_run(repl, statement.request);
    case TAEL_REPL_QUIT:
        return repl->has_quit = true;
    }
    TAEL_UNREACHABLE("every verb is above");
}

/* Runs the statements whose end is there. What can't be answered isn't asked: a full pipe or disk ends it too. */
static bool text_run(struct repl *repl) {
    bool is_done = true;
    while (is_done && !repl->has_quit) {
        const char *rest = repl->text + repl->done;
        const size_t size = tael_repl_statement_size(rest, repl->size - repl->done);
        if (size == 0) break;
        if (repl->line != NULL) tael_repl_line_remember(repl->line, rest, size);
        is_done = statement_run(repl, size) && fflush(stdout) == 0;
        repl->done += size;
    }
    return is_done;
}

/* --- where statements come from --- */

/* The shell hands over all of the text, so the last statement may do without its ';'. All are checked before one is run. */
static int command_run(struct repl *repl) {
    const char *command = repl->options->command;
    if (!text_append(repl, command, strlen(command)) || (text_is_open(repl) && !text_append(repl, ";", 1))) {
        return TAEL_EXIT_FAILED;
    }
    if (!text_run(repl)) return TAEL_EXIT_FAILED;
    repl->client = tael_connect(&tael_command_repl, repl->options->to, repl->options->udp, repl->options->cluster,
                                repl->options->timeout);
    repl->done = 0;
    return repl->client != NULL && text_run(repl) ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
}

/* A text that was cut short must not be taken for a shorter statement. */
static bool end_check(const struct repl *repl) {
    if (repl->has_quit || !text_is_open(repl)) return true;
    struct tael_repl_error error = {.text = "expected ';' before the end"};
    for (size_t i = 0; i < repl->size; i++) {
        if (!tael_repl_is_blank(repl->text + i, 1)) error.begin = error.end = i + 1;
    }
    return parse_failed(repl, &error);
}

static int stream_run(struct repl *repl) {
    char *text = NULL;
    size_t capacity = 0;
    bool is_done = true;
    while (is_done && !repl->has_quit) {
        const ssize_t size = getline(&text, &capacity, stdin);
        if (size < 0) break;
        text_drop(repl);
        is_done = text_append(repl, text, (size_t)size);
        if (is_done && memchr(text, ';', (size_t)size) != NULL) is_done = text_run(repl);
    }
    free(text);
    if (ferror(stdin)) tael_error(&tael_command_repl, "can't read stdin: %s", strerror(errno));
    return is_done && !ferror(stdin) && end_check(repl) ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
}

/* What people type without a ';', and mean at once. */
static bool is_bare_word(const char *text, size_t size) {
    static const char *const words[] = {"help", "quit", "exit"};
    while (size > 0 && tael_repl_is_blank(text + size - 1, 1)) size--;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0) return true;
    }
    return false;
}

static bool typed_take(struct repl *repl, const char *text, size_t size) {
    const bool is_first = !text_is_open(repl);
    text_drop(repl);
    if (!text_append(repl, text, size)) return false;
    if (is_first && is_bare_word(text, size) && !text_append(repl, ";", 1)) return false;
    /* What failed has been said, and is to be typed again, with what stood behind it. */
    if (!text_run(repl)) repl->done = repl->size;
    return true;
}

static int terminal_run(struct repl *repl) {
    bool is_done = true;
    printf("the ledger at %s; 'help' lists the statements, each ends with ';'\n", repl->options->to);
    while (is_done && !repl->has_quit) {
        const char *text;
        size_t size;
        fflush(stdout);
        switch (tael_repl_line_read(repl->line, text_is_open(repl) ? "   -> " : "tael> ", &text, &size)) {
        case TAEL_REPL_LINE_READ:
            is_done = typed_take(repl, text, size);
            break;
        case TAEL_REPL_LINE_INTERRUPTED:
            putchar('\n');
            repl->done = repl->size;
            break;
        case TAEL_REPL_LINE_END:
            putchar('\n');
            return TAEL_EXIT_DONE;
        }
    }
    return is_done ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
}

/* --- the command --- */

static int input_run(struct repl *repl) {
    repl->client = tael_connect(&tael_command_repl, repl->options->to, repl->options->udp, repl->options->cluster,
                                repl->options->timeout);
    if (repl->client == NULL) return TAEL_EXIT_FAILED;
    if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) return stream_run(repl);
    repl->line = tael_repl_line_new();
    if (repl->line != NULL) return terminal_run(repl);
    tael_error(&tael_command_repl, "out of memory");
    return TAEL_EXIT_FAILED;
}

static int repl_run(const void *options_any, int operands_count, char **operands) {
    (void)operands_count;
    (void)operands;
    struct repl *repl = calloc(1, sizeof *repl);
    char *text = malloc(TEXT_SIZE_START);
    if (repl == NULL || text == NULL) {
        tael_error(&tael_command_repl, "out of memory");
        free(text);
        free(repl);
        return TAEL_EXIT_FAILED;
    }
    repl->text = text;
    repl->capacity = TEXT_SIZE_START;
    repl->options = options_any;
    repl->first_line = 1;
    const int status = repl->options->command != NULL ? command_run(repl) : input_run(repl);
    tael_repl_line_free(repl->line);
    tael_client_close(repl->client, 0);
    free(repl->text);
    free(repl);
    return status;
}

const struct tael_command tael_command_repl = {
    .name = "repl",
    .summary = "Runs statements that create and look up accounts and transfers, typed or from a script",
    .details = "Statements are 'create_accounts id=1 ledger=700 code=10, id=2 ledger=700 code=10;' and the like; the\n"
               "statement 'help;' lists them. On a terminal there is line editing, and a history in ~/.tael_history\n"
               "or $XDG_STATE_HOME/tael_history. Otherwise the first statement that can't be read or answered is the\n"
               "last, and the exit status is 1; with --command, all are read before one is run. That the ledger\n"
               "rejects an account or a transfer is an answer like another, with exit status 0. --json prints one\n"
               "object for each statement.",
    .operands = "",
    TAEL_OPTIONS_OF(repl_options),
    .run = repl_run,
};
