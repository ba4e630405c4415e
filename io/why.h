/* Why something could not be started: a sentence for the administrator, beside the errno for the program. */
#ifndef TAEL_IO_WHY_H
#define TAEL_IO_WHY_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum { TAEL_WHY_SIZE = 512 };

/* Writes the sentence, cut where it is too long, and returns `error`. */
__attribute__((format(printf, 3, 4))) static inline int tael_why(char why[static TAEL_WHY_SIZE], int error,
                                                                 const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, TAEL_WHY_SIZE, format, arguments);
    va_end(arguments);
    return error;
}

#endif
