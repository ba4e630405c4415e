#include "io/eal.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include <tael/assert.h>

#include "io/eal_arguments.h"
#include "io/why.h"

enum { LINE_SIZE = 256, MEMORY_MIB_DEFAULT = 256, LCORES_MAX = 1024 };

/* There is one EAL in a process. */
static struct {
    bool was_started;
    void (*log)(void *context, const char *line);
    void *log_context;
    FILE *stream;
    pthread_mutex_t lock; /* of what follows: EAL's threads log too */
    uint32_t line_size;
    char line[LINE_SIZE]; /* until its newline has come */
    char last[LINE_SIZE]; /* the last whole line */
} eal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void line_end(void) {
    eal.line[eal.line_size] = '\0';
    eal.line_size = 0;
    if (eal.line[0] == '\0') return;
    memcpy(eal.last, eal.line, sizeof eal.last);
    if (eal.log != NULL) {
        eal.log(eal.log_context, eal.line);
    } else {
        fprintf(stderr, "%s\n", eal.line);
    }
}

/* What EAL logs comes in any pieces; it is handed on by the line, a long one cut. */
static ssize_t log_write(void *unused, const char *data, size_t size) {
    (void)unused;
    pthread_mutex_lock(&eal.lock);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            line_end();
        } else if (eal.line_size + 1 < LINE_SIZE) {
            eal.line[eal.line_size++] = data[i];
        }
    }
    pthread_mutex_unlock(&eal.lock);
    return (ssize_t)size;
}

/* EAL would log to syslog as well. */
static int log_open(const struct tael_eal_options *options) {
    eal.log = options->log;
    eal.log_context = options->log_context;
    eal.stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_write});
    if (eal.stream == NULL) return -ENOMEM;
    setvbuf(eal.stream, NULL, _IONBF, 0);
    rte_openlog_stream(eal.stream);
    return 0;
}

/* Free bytes of one size of huge pages, from a directory like "hugepages-2048kB". */
static uint64_t huge_bytes_free(const char *directory) {
    char path[128];
    char text[32] = "";
    const unsigned long long size_kib = strtoull(directory + strlen("hugepages-"), NULL, 10);
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%.64s/free_hugepages", directory);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    if (fgets(text, sizeof text, file) == NULL) text[0] = '\0';
    fclose(file);
    return strtoull(text, NULL, 10) * size_kib * 1024;
}

static bool has_huge_pages(uint32_t memory_mib) {
    uint64_t bytes = 0;
    DIR *directory = opendir("/sys/kernel/mm/hugepages");
    if (directory == NULL) return false;
    for (const struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strncmp(entry->d_name, "hugepages-", strlen("hugepages-")) == 0) bytes += huge_bytes_free(entry->d_name);
    }
    closedir(directory);
    return bytes >> 20 >= memory_mib;
}

static uint32_t processor_first(const cpu_set_t *set, size_t size) {
    uint32_t processor = 0;
    while (processor < LCORES_MAX && !CPU_ISSET_S(processor, size, set)) processor++;
    return processor;
}

/* The words for EAL, the program's name first. */
static int words_make(const struct tael_eal_options *options, uint32_t processor, struct tael_eal_words *words,
                      char why[static TAEL_WHY_SIZE]) {
    const uint32_t memory_mib = options->memory_mib == 0 ? MEMORY_MIB_DEFAULT : options->memory_mib;
    const struct tael_eal_machine machine = {processor, memory_mib, has_huge_pages(memory_mib)};
    *words = (struct tael_eal_words){0};
    int error = tael_eal_split(words, "tael");
    TAEL_ASSERT(error == 0);
    error = tael_eal_split(words, options->arguments);
    if (error == -EINVAL) return tael_why(why, error, "EAL's arguments have a quote that is not closed");
    if (error == 0) error = tael_eal_complete(words, &machine);
    if (error == -EINVAL) return tael_why(why, error, "EAL's arguments have \"--\", which is no option");
    if (error != 0) return tael_why(why, error, "EAL's arguments are too long");
    return 0;
}

/* Removes a socket on which nobody listens any more. */
static void socket_remove_stale(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (strlen(path) >= sizeof address.sun_path || stat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
    memcpy(address.sun_path, path, strlen(path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    const bool is_stale = connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (is_stale) (void)unlink(path);
}

/* A server of vhost leaves its socket behind when it ends, however it does, and does not start where there is one. */
static void vhost_sockets_remove_stale(const struct tael_eal_words *words) {
    for (uint32_t i = 0; i < words->count; i++) {
        char path[sizeof((struct sockaddr_un){0}.sun_path)];
        if (strstr(words->words[i], "net_vhost") == NULL) continue;
        const char *begin = strstr(words->words[i], "iface=");
        if (begin == NULL || strstr(words->words[i], "client=1") != NULL) continue;
        begin += strlen("iface=");
        const size_t size = strcspn(begin, ",");
        if (size == 0 || size >= sizeof path) continue;
        memcpy(path, begin, size);
        path[size] = '\0';
        socket_remove_stale(path);
    }
}

/* EAL pins the thread that starts it, and learns from its affinity where its own threads may run. Signals are for threads of ours: one that
 * EAL's took would end the process. */
static int init_and_keep_affinity(struct tael_eal_words *words, const cpu_set_t *set, size_t size) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int parsed = rte_eal_init((int)words->count, words->words);
    const int error = -rte_errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    sched_setaffinity(0, size, set);
    return parsed < 0 ? (error == 0 ? -EINVAL : error) : parsed;
}

int tael_eal_start(const struct tael_eal_options *options, char why[static TAEL_WHY_SIZE]) {
    static struct tael_eal_words words; /* EAL keeps pointers into it */
    cpu_set_t set[LCORES_MAX / CPU_SETSIZE];
    if (eal.was_started)
        return tael_why(why, -EALREADY, "EAL was started before in this process, which it allows once");
    if (sched_getaffinity(0, sizeof set, set) != 0)
        return tael_why(why, -errno, "cannot ask for the processors of this thread: %s", strerror(errno));
    int error = words_make(options, processor_first(set, sizeof set), &words, why);
    if (error != 0) return error;
    error = log_open(options);
    if (error != 0) return tael_why(why, error, "no memory for EAL's log");
    signal(SIGPIPE, SIG_IGN);
    eal.was_started = true;
    vhost_sockets_remove_stale(&words);
    const int parsed = init_and_keep_affinity(&words, set, sizeof set);
    if (parsed < 0)
        return tael_why(why, parsed, "EAL does not start: %s%s%s", strerror(-parsed), eal.last[0] == '\0' ? "" : ": ",
                        eal.last);
    /* It stops reading at what is no option, and has moved that to the end. */
    if ((uint32_t)parsed + 1 == words.count) return 0;
    tael_why(why, -EINVAL, "EAL's arguments have \"%s\", which is no option", words.words[parsed + 1]);
    tael_eal_stop();
    return -EINVAL;
}

void tael_eal_stop(void) {
    TAEL_ASSERT(eal.was_started);
    rte_eal_cleanup();
    rte_openlog_stream(NULL);
    fclose(eal.stream);
    eal.stream = NULL;
}

int tael_eal_enter(void) { return rte_thread_register() == 0 ? 0 : -rte_errno; }

void tael_eal_leave(void) { rte_thread_unregister(); }
