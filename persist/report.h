/* What went wrong, in words: the texts that a person reads when a ledger does not start. */
#ifndef TAEL_PERSIST_REPORT_H
#define TAEL_PERSIST_REPORT_H

#include <stdarg.h>
#include <stdio.h>

struct tael_report {
    char text[1024];
};

/* A text that is too long is cut. */
__attribute__((format(printf, 2, 3))) static inline void tael_report_set(struct tael_report *report, const char *format,
                                                                         ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report->text, sizeof report->text, format, arguments);
    va_end(arguments);
}

#endif
