/* Parser and help text of the option tables; see options.h. getopt_long does the splitting, so abbreviations, "--name=value"
 * and operands between options work as everywhere. It keeps state of its own: one parse at a time. */
#include "cli/options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include <tael/assert.h>

#include "cli/command.h"
#include "cli/wide.h"

enum { NAME_SIZE_MAX = 48, HELP_COLUMN = 28, HELP_WIDTH = 100, VALUE_HELP = 1000, VALUE_FIRST = 1001 };

static void option_name(const struct tael_option *option, char name[NAME_SIZE_MAX]) {
    const size_t size = strlen(option->member);
    TAEL_ASSERT(size < NAME_SIZE_MAX);
    for (size_t i = 0; i <= size; i++) name[i] = option->member[i] == '_' ? '-' : option->member[i];
}

void tael_options_default(const struct tael_command *command, void *options) {
    memset(options, 0, command->options_size);
    for (size_t i = 0; i < command->options_count; i++) {
        const struct tael_option *option = &command->options[i];
        void *member = (char *)options + option->offset;
        switch (option->kind) {
        case TAEL_OPTION_FLAG:
            *(bool *)member = option->number_default != 0;
            break;
        case TAEL_OPTION_NUMBER:
        case TAEL_OPTION_SIZE:
            *(uint64_t *)member = option->number_default;
            break;
        case TAEL_OPTION_WIDE:
            *(tael_u128 *)member = option->number_default;
            break;
        case TAEL_OPTION_TEXT:
            *(const char **)member = option->text_default;
            break;
        }
    }
}

/* The power of 1024 that a size's letter stands for; -1 when it stands for none. */
static int size_letter_power(char letter) {
    static const char letters[] = "KMGT";
    const char *place = strchr(letters, letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
    return place == NULL || *place == '\0' ? -1 : (int)(place - letters) + 1;
}

bool tael_number_parse(const char *text, bool is_size, uint64_t *out) {
    if (*text < '0' || *text > '9') return false;
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(number, (uint64_t)10, &number)) return false;
        if (__builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) return false;
    }
    if (is_size && *text != '\0') {
        const int power = size_letter_power(*text++);
        if (power < 0) return false;
        if (__builtin_mul_overflow(number, (uint64_t)1 << (10 * power), &number)) return false;
    }
    if (*text != '\0') return false;
    *out = number;
    return true;
}

/* A number as its option takes it: a size in the largest unit that divides it. */
static const char *number_format(const struct tael_option *option, uint64_t number, char buffer[32]) {
    static const char letters[] = "KMGT";
    int power = 0;
    while (option->kind == TAEL_OPTION_SIZE && power < 4 && number != 0 && number % 1024 == 0) {
        number /= 1024;
        power++;
    }
    char letter[2] = {power == 0 ? '\0' : letters[power - 1], '\0'};
    snprintf(buffer, 32, "%" PRIu64 "%s", number, letter);
    return buffer;
}

__attribute__((format(printf, 2, 3))) static enum tael_options_outcome wrong(const struct tael_command *command,
                                                                             const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tael_error(command, "%s; see 'tael %s --help'", text, command->name);
    return TAEL_OPTIONS_WRONG;
}

static bool wide_set(const struct tael_command *command, const struct tael_option *option, const char *value,
                     tael_u128 *member) {
    if (tael_wide_read(value, strlen(value), member) == TAEL_WIDE_READ) return true;
    char name[NAME_SIZE_MAX];
    option_name(option, name);
    wrong(command, "--%s takes a number of up to 128 bits, as 1000 or 0x3e8, not '%s'", name, value);
    return false;
}

static bool option_set(const struct tael_command *command, const struct tael_option *option, const char *value,
                       void *options) {
    void *member = (char *)options + option->offset;
    if (option->kind == TAEL_OPTION_FLAG) return *(bool *)member = true;
    if (option->kind == TAEL_OPTION_TEXT) return *(const char **)member = value, true;
    if (option->kind == TAEL_OPTION_WIDE) return wide_set(command, option, value, member);
    uint64_t number;
    if (tael_number_parse(value, option->kind == TAEL_OPTION_SIZE, &number)) {
        if (number >= option->minimum && number <= option->maximum) return *(uint64_t *)member = number, true;
    }
    char name[NAME_SIZE_MAX], low[32], high[32];
    option_name(option, name);
    wrong(command, "--%s takes a %s from %s to %s, not '%s'", name,
          option->kind == TAEL_OPTION_SIZE ? "size" : "number", number_format(option, option->minimum, low),
          number_format(option, option->maximum, high), value);
    return false;
}

static enum tael_options_outcome operands_check(const struct tael_command *command, int count, char **operands) {
    if (count < command->operands_min) {
        return wrong(command, "%s is missing", command->operands);
    }
    if (count > command->operands_max) {
        if (command->operands_max == 0) return wrong(command, "'%s' is one word too many", operands[0]);
        return wrong(command, "'%s' is one word too many behind the options: %s is all it takes",
                     operands[command->operands_max], command->operands);
    }
    return TAEL_OPTIONS_RUN;
}

/* The table in getopt_long's form. `names` holds what `long_options` points to. */
static void long_options_build(const struct tael_command *command, char names[][NAME_SIZE_MAX],
                               struct option *long_options) {
    const size_t count = command->options_count;
    TAEL_ASSERT(count <= TAEL_OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        option_name(&command->options[i], names[i]);
        long_options[i] = (struct option){
            .name = names[i],
            .has_arg = command->options[i].kind == TAEL_OPTION_FLAG ? no_argument : required_argument,
            .val = VALUE_FIRST + (int)i,
        };
    }
    long_options[count] = (struct option){.name = "help", .has_arg = no_argument, .val = VALUE_HELP};
    long_options[count + 1] = (struct option){0};
}

enum tael_options_outcome tael_options_parse(const struct tael_command *command, void *options, int argc, char **argv,
                                             int *operands_begin) {
    char names[TAEL_OPTIONS_MAX][NAME_SIZE_MAX];
    struct option long_options[TAEL_OPTIONS_MAX + 2];
    long_options_build(command, names, long_options);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        const int value = getopt_long(argc, argv, ":h", long_options, NULL);
        if (value == -1) break;
        if (value == 'h' || value == VALUE_HELP) return TAEL_OPTIONS_HELP;
        if (value == ':') return wrong(command, "%s needs a value", argv[optind - 1]);
        if (value == '?') {
            if (optopt >= VALUE_HELP) return wrong(command, "%s takes no value", argv[optind - 1]);
            return wrong(command, "there is no option %s, or it means several", argv[optind - 1]);
        }
        if (!option_set(command, &command->options[value - VALUE_FIRST], optarg, options)) return TAEL_OPTIONS_WRONG;
    }
    *operands_begin = optind;
    return operands_check(command, argc - optind, argv + optind);
}

/* "--name UNIT" */
static void option_head(const struct tael_option *option, char *head, size_t size) {
    char name[NAME_SIZE_MAX];
    option_name(option, name);
    snprintf(head, size, "--%s%s%s", name, option->kind == TAEL_OPTION_FLAG ? "" : " ", option->unit);
}

/* The option's text, then its range and its default, as far as they tell something. */
static void option_body(const struct tael_option *option, char *body, size_t size) {
    char low[32], high[32], value[32];
    int length = snprintf(body, size, "%s", option->text);
    TAEL_ASSERT(length >= 0 && (size_t)length < size);
    body += length;
    size -= (size_t)length;
    if (option->kind == TAEL_OPTION_TEXT && option->text_default != NULL) {
        snprintf(body, size, " (default %s)", option->text_default);
    }
    if (option->kind == TAEL_OPTION_WIDE)
        snprintf(body, size, " (up to 128 bits, default %" PRIu64 ")", option->number_default);
    if (option->kind != TAEL_OPTION_NUMBER && option->kind != TAEL_OPTION_SIZE) return;
    length = snprintf(body, size, " (%s to %s", number_format(option, option->minimum, low),
                      number_format(option, option->maximum, high));
    TAEL_ASSERT(length >= 0 && (size_t)length < size);
    const bool is_shown = option->number_default >= option->minimum && option->number_default <= option->maximum;
    snprintf(body + length, size - (size_t)length, "%s%s)", is_shown ? ", default " : "",
             is_shown ? number_format(option, option->number_default, value) : "");
}

/* Prints `body` from HELP_COLUMN on, broken at spaces before HELP_WIDTH. */
static void body_print(const char *body, size_t column, FILE *out) {
    while (*body != '\0') {
        const char *end = strchr(body, ' ');
        const size_t size = end == NULL ? strlen(body) : (size_t)(end - body);
        if (column + size > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        fprintf(out, "%.*s%s", (int)size, body, end == NULL ? "" : " ");
        column += size + 1;
        body = end == NULL ? body + size : end + 1;
    }
    fputc('\n', out);
}

static void help_row_print(const char *head, const char *body, FILE *out) {
    const int length = fprintf(out, "  %s", head);
    if (length < HELP_COLUMN - 1) {
        fprintf(out, "%*s", HELP_COLUMN - length, "");
    } else {
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    }
    body_print(body, HELP_COLUMN, out);
}

void tael_command_help(const struct tael_command *command, FILE *out) {
    fprintf(out, "usage: tael %s [options]%s%s\n\n%s.\n", command->name, *command->operands == '\0' ? "" : " ",
            command->operands, command->summary);
    if (command->details != NULL) fprintf(out, "\n%s\n", command->details);
    fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < command->options_count; i++) {
        char head[128], body[1024];
        option_head(&command->options[i], head, sizeof head);
        option_body(&command->options[i], body, sizeof body);
        help_row_print(head, body, out);
    }
    help_row_print("--help", "print this text", out);
    fprintf(out, "\nExit status: 0 done, 1 failed, 2 wrong usage.\n");
}

/* roff takes a dash for a hyphen and a dot at a line's start for a command. */
static void manual_text_print(const char *text, FILE *out) {
    bool line_begins = true;
    for (; *text != '\0'; text++) {
        if (line_begins && (*text == '.' || *text == '\'')) fputs("\\&", out);
        if (*text == '-' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
        line_begins = *text == '\n';
    }
}

void tael_command_manual(const struct tael_command *command, FILE *out) {
    fprintf(out, ".SS tael ");
    manual_text_print(command->name, out);
    fprintf(out, " [options] %s\n", command->operands);
    manual_text_print(command->summary, out);
    fprintf(out, ".\n");
    if (command->details != NULL) {
        fprintf(out, ".PP\n.nf\n");
        manual_text_print(command->details, out);
        fprintf(out, "\n.fi\n");
    }
    for (size_t i = 0; i < command->options_count; i++) {
        char head[128], body[1024];
        option_head(&command->options[i], head, sizeof head);
        option_body(&command->options[i], body, sizeof body);
        fprintf(out, ".TP\n.B ");
        manual_text_print(head, out);
        fputc('\n', out);
        manual_text_print(body, out);
        fputc('\n', out);
    }
}
