#include "io/eal_arguments.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

/* Appends a byte to the text; the last one always is 0. */
static int put(struct tael_eal_words *words, char c) {
    if (words->text_size >= TAEL_EAL_TEXT_SIZE) return -E2BIG;
    words->text[words->text_size++] = c;
    return 0;
}

static int word_begin(struct tael_eal_words *words) {
    if (words->count == TAEL_EAL_WORDS_MAX) return -E2BIG;
    words->words[words->count++] = words->text + words->text_size;
    words->words[words->count] = NULL;
    return 0;
}

/* One word from `*from` on, which is moved behind it. */
static int word_read(struct tael_eal_words *words, const char **from) {
    const char *c = *from;
    char quote = '\0';
    int error = word_begin(words);
    for (; error == 0 && *c != '\0' && (quote != '\0' || !is_blank(*c)); c++) {
        if (quote == '\0' && (*c == '\'' || *c == '"')) {
            quote = *c;
        } else if (*c == quote) {
            quote = '\0';
        } else {
            error = put(words, *c);
        }
    }
    *from = c;
    if (error == 0 && quote != '\0') return -EINVAL;
    return error != 0 ? error : put(words, '\0');
}

int tael_eal_split(struct tael_eal_words *words, const char *arguments) {
    for (;;) {
        while (is_blank(*arguments)) arguments++;
        if (*arguments == '\0') return 0;
        const int error = word_read(words, &arguments);
        if (error != 0) return error;
    }
}

/* Whether an option is among the words: "-l", "-l 3" and "-l3", or "--lcores 3" and "--lcores=3". */
static bool has(const struct tael_eal_words *words, const char *option) {
    const size_t size = strlen(option);
    const bool is_long = option[1] == '-';
    for (uint32_t i = 0; i < words->count; i++) {
        if (strncmp(words->words[i], option, size) != 0) continue;
        if (!is_long || words->words[i][size] == '\0' || words->words[i][size] == '=') return true;
    }
    return false;
}

static bool has_any(const struct tael_eal_words *words, const char *const options[]) {
    for (; *options != NULL; options++) {
        if (has(words, *options)) return true;
    }
    return false;
}

static int append(struct tael_eal_words *words, const char *word) {
    int error = word_begin(words);
    for (; error == 0 && *word != '\0'; word++) error = put(words, *word);
    return error != 0 ? error : put(words, '\0');
}

static int append_number(struct tael_eal_words *words, const char *before, uint32_t number) {
    char word[32];
    snprintf(word, sizeof word, "%s%u", before, number);
    return append(words, word);
}

/* Ordinary memory is enough for drivers that copy through the kernel; vhost and NICs want huge pages. Without files (--in-memory) they
 * need no mount and no privileges, and nothing stays behind; in few segments, since vhost hands them to its peer and may hand
 * over eight. */
static int complete_memory(struct tael_eal_words *words, const struct tael_eal_machine *machine) {
    static const char *const decided[] = {"--in-memory",  "--huge-dir",  "--huge-unlink",       "--legacy-mem",
                                          "--socket-mem", "--proc-type", "--match-allocations", NULL};
    const bool is_ordinary = has(words, "--no-huge");
    int error = 0;
    if (has_any(words, decided)) return 0;
    if (!is_ordinary && machine->has_huge_pages) {
        error = append(words, "--in-memory");
        return error != 0 || has(words, "--single-file-segments") ? error : append(words, "--single-file-segments");
    }
    if (!is_ordinary) error = append(words, "--no-huge");
    /* No files either: they would stay behind, and keep another process with the same prefix from starting. */
    if (error == 0 && !has(words, "--no-shconf")) error = append(words, "--no-shconf");
    return error != 0 || has(words, "-m") ? error : append_number(words, "-m", machine->memory_mib);
}

/* Behind "--" ours would be no options. */
static bool has_end_of_options(const struct tael_eal_words *words) {
    for (uint32_t i = 0; i < words->count; i++) {
        if (strcmp(words->words[i], "--") == 0) return true;
    }
    return false;
}

int tael_eal_complete(struct tael_eal_words *words, const struct tael_eal_machine *machine) {
    static const char *const devices[] = {"-a", "--allow", "--no-pci", NULL};
    static const char *const processors[] = {"-l", "-c", "--lcores", NULL};
    int error = has_end_of_options(words) ? -EINVAL : 0;
    /* EAL would take over every NIC of the machine that has a driver for it. */
    if (error == 0 && !has_any(words, devices)) error = append(words, "--no-pci");
    if (error == 0 && !has_any(words, processors)) error = append_number(words, "--lcores=0@", machine->processor);
    if (error == 0) error = complete_memory(words, machine);
    if (error == 0 && !has(words, "--file-prefix")) error = append(words, "--file-prefix=tael");
    if (error != 0 || has(words, "--log-level")) return error;
    error = append(words, "--log-level=warning");
    /* Telemetry warns at each start that nobody uses a part of it that is no more. */
    return error != 0 ? error : append(words, "--log-level=lib.telemetry:error");
}
