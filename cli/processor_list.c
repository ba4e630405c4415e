#include "cli/processor_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <tael/assert.h>

/* Digits only: strtoul would take blanks and signs as well. */
static bool number_read(const char **text, uint32_t *out) {
    const char *at = *text;
    uint32_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, 10u, &number)) return false;
        if (__builtin_add_overflow(number, (uint32_t)(*at - '0'), &number)) return false;
    }
    if (at == *text) return false;
    *text = at;
    *out = number;
    return true;
}

bool tael_processor_span_read(const char **text, struct tael_processor_span *out) {
    const char *at = *text;
    struct tael_processor_span span;
    if (!number_read(&at, &span.first)) return false;
    span.last = span.first;
    if (*at == '-') {
        at++;
        if (!number_read(&at, &span.last)) return false;
    }
    if (span.last < span.first) return false;
    *text = at;
    *out = span;
    return true;
}

/* How many numbers from the first one on rise by ones. */
static uint32_t run_length(const uint32_t *numbers, uint32_t count) {
    uint32_t length = 1;
    while (length < count && numbers[length] == (uint64_t)numbers[length - 1] + 1) length++;
    return length;
}

void tael_processor_list_write(const uint32_t *numbers, uint32_t count, char *text, size_t size) {
    TAEL_ASSERT(size >= TAEL_PROCESSOR_LIST_SIZE_MIN);
    static const char cut[] = "...";
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count;) {
        const uint32_t run = run_length(numbers + i, count - i);
        char span[TAEL_PROCESSOR_LIST_SIZE_MIN];
        int length = snprintf(span, sizeof span, "%s%" PRIu32, i == 0 ? "" : ",", numbers[i]);
        if (run > 1) length += snprintf(span + length, sizeof span - (size_t)length, "-%" PRIu32, numbers[i + run - 1]);
        /* Room for the end of a list that is cut stays free, so that it can be cut behind any span. */
        if (used + (size_t)length + sizeof cut > size) {
            memcpy(text + used, cut, sizeof cut);
            return;
        }
        memcpy(text + used, span, (size_t)length + 1);
        used += (size_t)length;
        i += run;
    }
}
