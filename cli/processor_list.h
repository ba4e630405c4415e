/* Lists of processors, as people write them and as the kernel does: "0-3,8". Pure. */
#ifndef TAEL_CLI_PROCESSOR_LIST_H
#define TAEL_CLI_PROCESSOR_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tael_processor_span {
    uint32_t first, last; /* both included; first <= last */
};

/* Reads "N" or "N-M" from the front of `*text` and moves it behind; what stands there is the caller's to judge. False,
 * and both untouched, where there is no number, one of more than 32 bits, or M below N. */
bool tael_processor_span_read(const char **text, struct tael_processor_span *out);

enum { TAEL_PROCESSOR_LIST_SIZE_MIN = 32 };

/* Writes the numbers in their order, neighbours that rise by ones as a span. What does not fit into `size` bytes, at
 * least TAEL_PROCESSOR_LIST_SIZE_MIN, is left out, and the list ends in "...". */
void tael_processor_list_write(const uint32_t *numbers, uint32_t count, char *text, size_t size);

#endif
