/* The arguments of EAL, DPDK's environment: from one string to words, completed by what Tael wants where nothing else was
 * said. docs/dpdk.md has the rules for people. Pure, without DPDK; any thread. */
#ifndef TAEL_IO_EAL_ARGUMENTS_H
#define TAEL_IO_EAL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

enum { TAEL_EAL_WORDS_MAX = 64, TAEL_EAL_TEXT_SIZE = 4096 };

struct tael_eal_words {
    uint32_t count;
    uint32_t text_size;
    char *words[TAEL_EAL_WORDS_MAX + 1]; /* in `text`; NULL behind the last: as main gets them */
    char text[TAEL_EAL_TEXT_SIZE];
};

/* What the completion goes by. */
struct tael_eal_machine {
    uint32_t processor; /* one that the calling thread may run on */
    uint32_t memory_mib; /* what the ports will need */
    bool has_huge_pages; /* so much is free of them */
};

/* Appends the words of `arguments`. Blanks, tabs and newlines separate; between two ' or two " everything is taken as it is, blanks too;
 * quotes may begin within a word and are not part of it; there is no other escape, so that "it's" cannot be said without ".
 * 0, or -EINVAL for a quote that is never closed, -E2BIG for too much. */
int tael_eal_split(struct tael_eal_words *words, const char *arguments);

/* Appends, where the words so far do not decide it themselves: no PCI devices (unless -a or --allow names one), one lcore on
 * `machine->processor`, huge pages without files of their own where there are some and else ordinary memory, the file prefix "tael", and
 * warnings only. Options must be written in full, not abbreviated, to be seen. 0, -EINVAL
 * for a bare "--", or -E2BIG. */
int tael_eal_complete(struct tael_eal_words *words, const struct tael_eal_machine *machine);

#endif
