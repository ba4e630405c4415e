/* What commands print; see output.h. */
#include "cli/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tael/limits.h>

#include "cli/command.h"

int tael_json_print(json_t *object) {
    const bool is_printed = object != NULL && json_dumpf(object, stdout, JSON_ENSURE_ASCII) == 0;
    json_decref(object);
    if (!is_printed) {
        tael_error(NULL, "can't write the JSON object");
        return TAEL_EXIT_FAILED;
    }
    putchar('\n');
    return TAEL_EXIT_DONE;
}

const char *tael_number_format(uint64_t number, char buffer[static TAEL_NUMBER_TEXT_SIZE]) {
    char digits[TAEL_NUMBER_TEXT_SIZE];
    const int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *out = buffer;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return buffer;
}

const char *tael_cents_format(uint64_t cents, char buffer[static TAEL_NUMBER_TEXT_SIZE]) {
    tael_number_format(cents / 100, buffer);
    const size_t length = strlen(buffer);
    snprintf(buffer + length, TAEL_NUMBER_TEXT_SIZE - length, ".%02" PRIu64, cents % 100);
    return buffer;
}

void tael_say(const char *format, ...) {
    va_list arguments;
    char line[1024];
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "tael: %s\n", line);
}

void tael_counter_print(const char *name, uint64_t count, const char *text) {
    fprintf(stderr, "  %-24s%14" PRIu64 "  %s\n", name, count, text);
}

uint64_t tael_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAEL_NS_PER_S + (uint64_t)now.tv_nsec;
}

void tael_progress_begin(struct tael_progress *progress, const char *what, const char *unit, uint64_t total) {
    const uint64_t now_ns = tael_monotonic_ns();
    *progress = (struct tael_progress){
        .what = what,
        .unit = unit,
        .total = total,
        .begun_ns = now_ns,
        .shown_ns = 0,
        .is_terminal = isatty(STDERR_FILENO) == 1,
    };
}

void tael_progress_show(struct tael_progress *progress, uint64_t done) {
    if (!progress->is_terminal) return;
    const uint64_t now_ns = tael_monotonic_ns();
    if (now_ns - progress->begun_ns < TAEL_NS_PER_S) return;
    if (now_ns - progress->shown_ns < TAEL_NS_PER_S / 5) return;
    progress->shown_ns = now_ns;
    char number[TAEL_NUMBER_TEXT_SIZE];
    fprintf(stderr, "\r%s: %s %s", progress->what, tael_number_format(done, number), progress->unit);
    if (progress->total != 0) fprintf(stderr, " of %s", tael_number_format(progress->total, number));
    fputs("\033[K", stderr);
}

void tael_progress_end(struct tael_progress *progress) {
    if (progress->shown_ns != 0) fputs("\r\033[K", stderr);
    progress->shown_ns = 0;
}
