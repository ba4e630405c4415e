/* See repl_line.h. Ctrl-C has its usual meaning, the end of the program, but while a line is read.
 *
 * There it is held back, and let through only while there is nothing to do but wait for a key: so none is missed in between. */
#include "cli/repl_line.h"

#include <errno.h>
#include <histedit.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES_MAX = 1000 };

struct tael_repl_line {
    EditLine *edit;
    History *history;
    const char *prompt;
    sigset_t mask_outside; /* as it is while no line is read */
    char path[PATH_MAX]; /* of the history; empty: nowhere */
};

static volatile sig_atomic_t is_interrupted, is_resized;

static void signal_note(int signal_number) {
    if (signal_number == SIGINT) is_interrupted = 1;
    if (signal_number == SIGWINCH) is_resized = 1;
}

static struct tael_repl_line *line_of(EditLine *edit) {
    void *data = NULL;
    el_get(edit, EL_CLIENTDATA, &data);
    return data;
}

static char *prompt_of(EditLine *edit) {
    const struct tael_repl_line *line = line_of(edit);
    union {
        const char *constant;
        char *text; /* libedit's type, though it only reads it */
    } prompt = {.constant = line->prompt};
    return prompt.text;
}

/* Waits for a key. False when there comes none any more, or Ctrl-C. */
static bool key_await(EditLine *edit) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        const int ready = ppoll(&input, 1, NULL, &line_of(edit)->mask_outside);
        if (is_interrupted) return false;
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return false;
        if (is_resized) el_resize(edit);
        is_resized = 0;
    }
}

/* A character for libedit, of as many bytes as the locale gives it: 1, or 0 at the end, or -1. What is none is skipped. */
static int character_read(EditLine *edit, wchar_t *out) {
    mbstate_t state = {0};
    for (;;) {
        char byte;
        if (!key_await(edit)) return -1;
        const ssize_t size = read(STDIN_FILENO, &byte, 1);
        if (size <= 0) return (int)size;
        const size_t length = mbrtowc(out, &byte, 1, &state);
        if (length <= 1) return 1;
        if (length == (size_t)-1) state = (mbstate_t){0};
    }
}

static void path_find(char path[static PATH_MAX]) {
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int length = 0;
    if (state != NULL && *state == '/') { /* the standard has relative ones ignored */
        length = snprintf(path, PATH_MAX, "%s/tael_history", state);
    } else if (home != NULL && *home != '\0') {
        length = snprintf(path, PATH_MAX, "%s/.tael_history", home);
    }
    if (length <= 0 || length >= PATH_MAX) *path = '\0';
}

static bool history_open(struct tael_repl_line *line) {
    HistEvent event;
    line->history = history_init();
    if (line->history == NULL) return false;
    history(line->history, &event, H_SETSIZE, HISTORY_LINES_MAX);
    history(line->history, &event, H_SETUNIQUE, 1);
    path_find(line->path);
    /* There is none the first time. */
    if (*line->path != '\0') history(line->history, &event, H_LOAD, line->path);
    return true;
}

struct tael_repl_line *tael_repl_line_new(void) {
    struct tael_repl_line *line = calloc(1, sizeof *line);
    if (line == NULL) return NULL;
    line->prompt = "";
    setlocale(LC_CTYPE, ""); /* how many bytes a typed character has */
    line->edit = el_init("tael", stdin, stdout, stderr);
    if (line->edit == NULL || !history_open(line)) {
        tael_repl_line_free(line);
        return NULL;
    }
    el_set(line->edit, EL_CLIENTDATA, line);
    el_set(line->edit, EL_PROMPT, prompt_of);
    el_set(line->edit, EL_GETCFN, character_read);
    el_set(line->edit, EL_EDITOR, "emacs");
    el_set(line->edit, EL_HIST, history, line->history);
    el_set(line->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(line->edit, NULL); /* ~/.editrc, where there is one */
    return line;
}

void tael_repl_line_free(struct tael_repl_line *line) {
    if (line == NULL) return;
    if (line->edit != NULL) el_end(line->edit);
    if (line->history != NULL) history_end(line->history);
    free(line);
}

/* The signals that a line's reading handles itself. */
struct signals {
    struct sigaction interrupt, resize; /* what was done about them before */
};

static void signals_hold(struct tael_repl_line *line, struct signals *before) {
    const struct sigaction during = {.sa_handler = signal_note};
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGWINCH);
    is_interrupted = 0;
    is_resized = 0;
    sigprocmask(SIG_BLOCK, &held, &line->mask_outside);
    sigaction(SIGINT, &during, &before->interrupt);
    sigaction(SIGWINCH, &during, &before->resize);
}

static void signals_release(const struct tael_repl_line *line, const struct signals *before) {
    sigaction(SIGINT, &before->interrupt, NULL);
    sigaction(SIGWINCH, &before->resize, NULL);
    sigprocmask(SIG_SETMASK, &line->mask_outside, NULL);
}

enum tael_repl_line_outcome tael_repl_line_read(struct tael_repl_line *line, const char *prompt, const char **text,
                                                size_t *size) {
    struct signals before;
    int count = 0;
    line->prompt = prompt;
    signals_hold(line, &before);
    *text = el_gets(line->edit, &count);
    const bool was_interrupted = is_interrupted;
    signals_release(line, &before);
    if (was_interrupted) {
        el_reset(line->edit);
        return TAEL_REPL_LINE_INTERRUPTED;
    }
    if (*text == NULL || count <= 0) return TAEL_REPL_LINE_END;
    *size = (size_t)count;
    return TAEL_REPL_LINE_READ;
}

void tael_repl_line_remember(struct tael_repl_line *line, const char *text, size_t size) {
    HistEvent event;
    char *entry = strndup(text, size);
    if (entry == NULL) return; /* a line less to go back to */
    for (char *c = entry; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\t') *c = ' ';
    }
    const char *first = entry + strspn(entry, " ");
    history(line->history, &event, H_ENTER, first);
    if (*line->path != '\0') history(line->history, &event, H_SAVE, line->path);
    free(entry);
}
