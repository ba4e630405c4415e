/* `tael version` */
#include "cli/command.h"

#include <jansson.h>

#include "cli/output.h"

#define VERSION_OPTIONS(X, S) X(S, FLAG, json, "", 0, 0, false, "print one JSON object")
TAEL_OPTIONS_DEFINE(version_options, VERSION_OPTIONS);

static int version_run(const void *options_any, int operands_count, char **operands) {
    const struct version_options *options = options_any;
    (void)operands_count;
    (void)operands;
    if (options->json) {
        return tael_json_print(json_pack("{s:s, s:s, s:s}", "version", TAEL_VERSION, "compiler", __VERSION__,
                                         "client_protocol", "TigerBeetle 0.17"));
    }
    printf("tael %s (compiler %s; client protocol of TigerBeetle 0.17)\n", TAEL_VERSION, __VERSION__);
    return TAEL_EXIT_DONE;
}

const struct tael_command tael_command_version = {
    .name = "version",
    .summary = "Prints the program's version",
    .operands = "",
    TAEL_OPTIONS_OF(version_options),
    .run = version_run,
};
