/* See own_server.h. The child is this same program. It is in a process group of its own, so that Ctrl-C reaches the
 * parent alone, which then stops it in order; and it is told to end when the parent dies. */
#include "cli/own_server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>

#include "cli/wide.h"

#define LISTENING "listening on "
enum { ARGUMENTS_MAX = 24, TEXT_SIZE = 24, EXEC_FAILED = 127 };

struct arguments {
    char *words[ARGUMENTS_MAX + 1];
    char texts[ARGUMENTS_MAX][TEXT_SIZE];
    int count;
};

static void argument_add(struct arguments *arguments, const char *word) {
    TAEL_ASSERT(arguments->count < ARGUMENTS_MAX);
    TAEL_ASSERT(strlen(word) < TEXT_SIZE);
    snprintf(arguments->texts[arguments->count], TEXT_SIZE, "%s", word);
    arguments->words[arguments->count] = arguments->texts[arguments->count];
    arguments->count++;
}

static void argument_add_number(struct arguments *arguments, const char *name, uint64_t number) {
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "%" PRIu64, number);
    argument_add(arguments, name);
    argument_add(arguments, text);
}

/* What the child does between fork and exec. */
static _Noreturn void child_exec(struct arguments *arguments, int out, int errors, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXEC_FAILED); /* it died before it could be asked for */
    if (dup2(out, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0) {
        execv("/proc/self/exe", arguments->words);
    }
    _exit(EXEC_FAILED);
}

/* Runs this program with these arguments. Sets `out` to what it prints, to be read. */
static pid_t child_start(struct arguments *arguments, FILE *errors, FILE **out) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) return -1;
    const pid_t parent = getpid();
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) child_exec(arguments, pipe_fds[1], fileno(errors), parent);
    close(pipe_fds[1]);
    *out = child < 0 ? NULL : fdopen(pipe_fds[0], "r");
    if (*out == NULL) close(pipe_fds[0]);
    return child;
}

/* The exit status, or -1 when a signal ended it. */
static int child_await(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void errors_show(FILE *errors) {
    char line[1024];
    rewind(errors);
    while (fgets(line, sizeof line, errors) != NULL) fputs(line, stderr);
}

static int entry_remove(const char *path, const struct stat *stat, int kind, struct FTW *place) {
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

/* Gives back all but the process. */
static void server_clean(struct tael_own_server *server) {
    if (server->errors != NULL) fclose(server->errors);
    if (server->is_temporary && nftw(server->directory, entry_remove, 8, FTW_DEPTH | FTW_PHYS) != 0) {
        tael_error(server->command, "can't remove %s: %s", server->directory, strerror(errno));
    }
    *server = (struct tael_own_server){0};
}

static bool directory_make(const struct tael_own_server_options *options, struct tael_own_server *server) {
    const char *place = getenv("TMPDIR");
    if (options->directory != NULL) {
        snprintf(server->directory, sizeof server->directory, "%s", options->directory);
        return true;
    }
    if (place == NULL || *place == '\0') place = "/var/tmp"; /* on a disk, where /tmp may be memory */
    snprintf(server->directory, sizeof server->directory, "%s/tael-bench-XXXXXX", place);
    server->is_temporary = mkdtemp(server->directory) != NULL;
    if (!server->is_temporary) {
        tael_error(server->command, "can't make a directory in %s: %s", place, strerror(errno));
    }
    return server->is_temporary;
}

static bool ledger_format(const struct tael_own_server_options *options, struct tael_own_server *server) {
    struct arguments arguments = {0};
    FILE *out = NULL;
    argument_add(&arguments, "tael");
    argument_add(&arguments, "format");
    char cluster[TAEL_WIDE_TEXT_SIZE];
    argument_add(&arguments, "--cluster");
    argument_add(&arguments, tael_wide_format(options->cluster, cluster));
    argument_add_number(&arguments, "--accounts-max", options->accounts_max);
    argument_add_number(&arguments, "--transfers-max", options->transfers_max);
    argument_add_number(&arguments, "--sessions-max", options->sessions_max);
    argument_add(&arguments, "--");
    arguments.words[arguments.count++] = server->directory;
    const pid_t child = child_start(&arguments, server->errors, &out);
    char text[256];
    while (out != NULL && fgets(text, sizeof text, out) != NULL) continue;
    if (out != NULL) fclose(out);
    if (child > 0 && child_await(child) == TAEL_EXIT_DONE) return true;
    errors_show(server->errors);
    tael_error(server->command, "can't make a ledger in %s", server->directory);
    return false;
}

/* Reads what the server prints until it says where it listens. */
static bool address_read(struct tael_own_server *server, FILE *out) {
    char line[512];
    while (fgets(line, sizeof line, out) != NULL) {
        if (strncmp(line, LISTENING, sizeof LISTENING - 1) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        const char *address = line + sizeof LISTENING - 1;
        if (strlen(address) >= sizeof server->address) return false;
        memcpy(server->address, address, strlen(address) + 1);
        return true;
    }
    return false;
}

static bool server_start(const struct tael_own_server_options *options, struct tael_own_server *server) {
    struct arguments arguments = {0};
    FILE *out = NULL;
    argument_add(&arguments, "tael");
    argument_add(&arguments, "start");
    argument_add(&arguments, "--listen");
    argument_add(&arguments, "127.0.0.1:0");
    argument_add_number(&arguments, "--connections-max", options->sessions_max);
    argument_add(&arguments, "--");
    arguments.words[arguments.count++] = server->directory;
    server->process = child_start(&arguments, server->errors, &out);
    const bool is_listening = out != NULL && address_read(server, out);
    if (out != NULL) fclose(out);
    if (is_listening) return true;
    if (server->process > 0) {
        (void)kill(server->process, SIGKILL);
        (void)child_await(server->process);
    }
    errors_show(server->errors);
    tael_error(server->command, "can't start a server on %s", server->directory);
    return false;
}

bool tael_own_server_format(const struct tael_command *command, const struct tael_own_server_options *options,
                            struct tael_own_server *server) {
    *server = (struct tael_own_server){.command = command, .errors = tmpfile()};
    bool is_made = server->errors != NULL;
    if (!is_made) tael_error(command, "can't make a temporary file: %s", strerror(errno));
    is_made = is_made && directory_make(options, server) && ledger_format(options, server);
    if (!is_made) server_clean(server);
    return is_made;
}

bool tael_own_server_start(const struct tael_command *command, const struct tael_own_server_options *options,
                           struct tael_own_server *server) {
    if (!tael_own_server_format(command, options, server)) return false;
    const bool is_started = server_start(options, server);
    if (!is_started) server_clean(server);
    return is_started;
}

bool tael_own_server_is_settling(const struct tael_own_server *server) {
    char path[64];
    bool is_settling = false;
    if (server->process <= 0) return false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)server->process);
    DIR *threads = opendir(path);
    if (threads == NULL) return false;
    for (const struct dirent *entry = readdir(threads); entry != NULL; entry = readdir(threads)) {
        const pid_t thread = (pid_t)atoi(entry->d_name);
        if (thread > 0 && sched_getscheduler(thread) == SCHED_IDLE) is_settling = true;
    }
    closedir(threads);
    return is_settling;
}

uint64_t tael_own_server_cpu_ns(const struct tael_own_server *server) {
    clockid_t clock;
    struct timespec cpu;
    if (server->process <= 0 || clock_getcpuclockid(server->process, &clock) != 0) return 0;
    if (clock_gettime(clock, &cpu) != 0) return 0;
    return (uint64_t)cpu.tv_sec * TAEL_NS_PER_S + (uint64_t)cpu.tv_nsec;
}

bool tael_own_server_stop(struct tael_own_server *server) {
    int status = TAEL_EXIT_DONE;
    if (server->command == NULL) return true;
    if (server->process > 0) {
        (void)kill(server->process, SIGTERM);
        status = child_await(server->process);
    }
    if (status != TAEL_EXIT_DONE) {
        errors_show(server->errors);
        tael_error(server->command, "the server ended with status %d", status);
    }
    server_clean(server);
    return status == TAEL_EXIT_DONE;
}
