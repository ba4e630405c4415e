/* Runs a program and passes only when ThreadSanitizer found a race in it: that is the exit code 66, and nothing else (a
 * crash, a wrong result or a clean run) will do. Usage: finds_race PROGRAM ARGUMENT... */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define RACE_FOUND 66

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const pid_t child = fork();
    if (child == 0) {
        setenv("TSAN_OPTIONS", "exitcode=66 halt_on_error=1", 1);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    printf("exit code %d, %d means that the planted race was found\n", code, RACE_FOUND);
    return code == RACE_FOUND ? 0 : 1;
}
