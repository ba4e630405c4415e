/* One string becomes EAL's words, and what Tael wants is added where nothing else was said.
 * Method: rows of strings and the words that come of them, joined by "|". */
#include "io/eal_arguments.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct tael_eal_machine plain = {.processor = 3, .memory_mib = 256};
static const struct tael_eal_machine with_huge_pages = {.processor = 0, .memory_mib = 64, .has_huge_pages = true};

static const char *joined(const struct tael_eal_words *words) {
    static char text[2 * TAEL_EAL_TEXT_SIZE];
    size_t size = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < words->count; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%s", i == 0 ? "" : "|", words->words[i]);
    assert_null(words->words[words->count]);
    return text;
}

static void test_words_are_split(void **unused) {
    (void)unused;
    static const struct {
        const char *arguments, *words;
    } rows[] = {
        {"", ""},
        {"  \t\n ", ""},
        {"-l 1", "-l|1"},
        {"  --no-huge   -m\t256\n", "--no-huge|-m|256"},
        {"--vdev='net_pcap0,rx_pcap=/a b/c' x", "--vdev=net_pcap0,rx_pcap=/a b/c|x"},
        {"\"it's\" 'say \"so\"'", "it's|say \"so\""},
        {"a''b \"\" c", "ab||c"},
        {"back\\slash", "back\\slash"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_eal_words words = {0};
        assert_int_equal(tael_eal_split(&words, rows[i].arguments), 0);
        assert_string_equal(joined(&words), rows[i].words);
    }
}

static void test_what_cannot_be_split_is_refused(void **unused) {
    (void)unused;
    static char long_word[TAEL_EAL_TEXT_SIZE + 1];
    static char many_words[2 * TAEL_EAL_WORDS_MAX + 3];
    memset(long_word, 'x', sizeof long_word - 1);
    for (size_t i = 0; i + 1 < sizeof many_words; i++) many_words[i] = i % 2 == 0 ? 'x' : ' ';
    const struct {
        const char *arguments;
        int error;
    } rows[] = {
        {"'", -EINVAL},     {"a \"b c", -EINVAL}, {"--vdev='x", -EINVAL}, {long_word, -E2BIG},
        {long_word + 1, 0}, {many_words, -E2BIG}, {many_words + 2, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_eal_words words = {0};
        const int error = tael_eal_split(&words, rows[i].arguments);
        if (error != rows[i].error) fail_msg("row %zu: %d", i, error);
    }
}

static void test_what_was_not_said_is_added(void **unused) {
    (void)unused;
#define QUIET "--log-level=warning|--log-level=lib.telemetry:error"
    static const struct {
        const char *arguments;
        const struct tael_eal_machine *machine;
        const char *words;
    } rows[] = {
        {"", &plain, "--no-pci|--lcores=0@3|--no-huge|--no-shconf|-m256|--file-prefix=tael|" QUIET},
        {"", &with_huge_pages, "--no-pci|--lcores=0@0|--in-memory|--single-file-segments|--file-prefix=tael|" QUIET},
        {"-a 0000:01:00.0", &with_huge_pages,
         "-a|0000:01:00.0|--lcores=0@0|--in-memory|--single-file-segments|--file-prefix=tael|" QUIET},
        {"--allow=01:00.0 -l 2 -m 8 --no-huge", &plain,
         "--allow=01:00.0|-l|2|-m|8|--no-huge|--no-shconf|--file-prefix=tael|" QUIET},
        {"-a01:00.0 -l2 -m8", &plain, "-a01:00.0|-l2|-m8|--no-huge|--no-shconf|--file-prefix=tael|" QUIET},
        {"--no-pci --lcores 0@5 --in-memory --file-prefix=x --log-level=8", &plain,
         "--no-pci|--lcores|0@5|--in-memory|--file-prefix=x|--log-level=8"},
        {"--huge-dir=/h --single-file-segments", &with_huge_pages,
         "--huge-dir=/h|--single-file-segments|--no-pci|--lcores=0@0|--file-prefix=tael|" QUIET},
        {"--single-file-segments", &with_huge_pages,
         "--single-file-segments|--no-pci|--lcores=0@0|--in-memory|--file-prefix=tael|" QUIET},
        {"--no-huge", &with_huge_pages, "--no-huge|--no-pci|--lcores=0@0|--no-shconf|-m64|--file-prefix=tael|" QUIET},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tael_eal_words words = {0};
        assert_int_equal(tael_eal_split(&words, rows[i].arguments), 0);
        assert_int_equal(tael_eal_complete(&words, rows[i].machine), 0);
        assert_string_equal(joined(&words), rows[i].words);
    }
}

static void test_an_end_of_options_is_refused(void **unused) {
    (void)unused;
    struct tael_eal_words words = {0};
    assert_int_equal(tael_eal_split(&words, "--no-huge -- -m"), 0);
    assert_int_equal(tael_eal_complete(&words, &plain), -EINVAL);
}

static void test_there_must_be_room_for_what_is_added(void **unused) {
    (void)unused;
    static char many_words[2 * TAEL_EAL_WORDS_MAX];
    for (size_t i = 0; i + 1 < sizeof many_words; i++) many_words[i] = i % 2 == 0 ? 'x' : ' ';
    struct tael_eal_words words = {0};
    assert_int_equal(tael_eal_split(&words, many_words), 0);
    assert_int_equal(tael_eal_complete(&words, &plain), -E2BIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_split),
        cmocka_unit_test(test_what_cannot_be_split_is_refused),
        cmocka_unit_test(test_what_was_not_said_is_added),
        cmocka_unit_test(test_an_end_of_options_is_refused),
        cmocka_unit_test(test_there_must_be_room_for_what_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
