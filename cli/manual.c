/* Prints the man page, tael.1, from the tables that the parser and --help use. Runs during the build. */
#include "cli/command.h"

int main(void) {
    tael_program_manual(stdout);
    return fflush(stdout) == 0 ? TAEL_EXIT_DONE : TAEL_EXIT_FAILED;
}
