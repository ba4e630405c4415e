/* Where the program begins. All else is compiled for x86-64-v3 with AES-NI and would die of an illegal instruction on a
 * processor without them; this file alone is compiled for any x86-64, and says so first.
 *
 * Nothing of ours runs before main: no constructors. */
#include <stdio.h>

#include "cli/command.h"

#define NEEDED_FEATURES(X)                                                                                             \
    X("avx2", "AVX2")                                                                                                  \
    X("bmi", "BMI1")                                                                                                   \
    X("bmi2", "BMI2")                                                                                                  \
    X("fma", "FMA")                                                                                                    \
    X("aes", "AES-NI")

/* Appends the names of what the processor lacks; returns how many. */
static int missing_features_print(FILE *out) {
    int missing = 0;
    __builtin_cpu_init();
#define X(feature, name)                                                                                               \
    if (!__builtin_cpu_supports(feature))                                                                              \
        fprintf(out, "%s" name, missing++ == 0 ? "tael: this processor lacks " : ", ");
    NEEDED_FEATURES(X)
#undef X
    return missing;
}

int main(int argc, char **argv) {
    if (missing_features_print(stderr) != 0) {
        fprintf(stderr, ".\nTael needs AVX2 and AES-NI (Intel since Haswell, AMD since Zen). In a virtual machine, ask "
                        "for the host's "
                        "processor model.\n");
        return TAEL_EXIT_FAILED;
    }
    return tael_program_run(argc, argv);
}
