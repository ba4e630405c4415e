/* What sockets alone carry over loopback: a client with some connections and one request in flight on each, against a peer that
 * answers at once and does nothing else. Request and reply are as long as those of one transfer. The limit to hold requests of
 * single transfers against, in the same run.
 *
 * usage: echo [connections] [seconds] */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    REQUEST_SIZE = 400, /* header, a transfer, the trailer of one batch */
    REPLY_SIZE = 288,
    EVENTS_PER_WAKE = 64,
    LATENCIES_MAX = 1 << 22,
};

static uint8_t buffer[65536];
static uint64_t sent_ns[CONNECTIONS_MAX + 64]; /* by descriptor, which are small numbers */
static uint32_t latencies_ns[LATENCIES_MAX];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void check(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int compare(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void add(int epoll, int fd) {
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

static void transmit(int fd, size_t size) { check(send(fd, buffer, size, MSG_NOSIGNAL) == (ssize_t)size, "send"); }

/* The peer: takes what is there on all connections, then answers, as a server that commits many at once does. Never returns. */
static void answer(int listener, int connections) {
    const int epoll = epoll_create1(0);
    struct epoll_event events[EVENTS_PER_WAKE];
    for (int i = 0; i < connections; i++) {
        const int fd = accept(listener, NULL, NULL);
        check(fd >= 0, "accept");
        add(epoll, fd);
    }
    for (;;) {
        const int count = epoll_wait(epoll, events, EVENTS_PER_WAKE, -1);
        for (int i = 0; i < count; i++) {
            if (recv(events[i].data.fd, buffer, sizeof buffer, 0) <= 0) exit(0);
        }
        for (int i = 0; i < count; i++) transmit(events[i].data.fd, REPLY_SIZE);
    }
}

static void request(int fd) {
    sent_ns[fd] = now_ns();
    transmit(fd, REQUEST_SIZE);
}

/* Asks until the time is over. How many were answered, their latencies in `latencies_ns` as far as there is room. */
static uint64_t ask(int epoll, uint64_t until_ns) {
    struct epoll_event events[EVENTS_PER_WAKE];
    uint64_t answered = 0;
    for (uint64_t now = now_ns(); now < until_ns;) {
        const int count = epoll_wait(epoll, events, EVENTS_PER_WAKE, 1000);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            check(recv(fd, buffer, sizeof buffer, 0) == REPLY_SIZE, "recv");
            now = now_ns();
            if (answered < LATENCIES_MAX) latencies_ns[answered] = (uint32_t)(now - sent_ns[fd]);
            answered++;
            request(fd);
        }
    }
    return answered;
}

int main(int argc, char **argv) {
    const int connections = argc > 1 ? atoi(argv[1]) : 64;
    const double seconds = argc > 2 ? atof(argv[2]) : 3;
    if (connections < 1 || connections > CONNECTIONS_MAX || seconds <= 0) {
        fprintf(stderr, "usage: echo [connections, at most %d] [seconds]\n", CONNECTIONS_MAX);
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, connections) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    const pid_t peer = fork();
    check(peer >= 0, "fork");
    if (peer == 0) answer(listener, connections);
    const int epoll = epoll_create1(0);
    int fds[CONNECTIONS_MAX];
    for (int i = 0; i < connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        check(connect(fds[i], (struct sockaddr *)&address, size) == 0, "connect");
        add(epoll, fds[i]);
    }
    const uint64_t begun_ns = now_ns();
    for (int i = 0; i < connections; i++) request(fds[i]);
    const uint64_t answered = ask(epoll, begun_ns + (uint64_t)(seconds * 1e9));
    const double elapsed = (double)(now_ns() - begun_ns) / 1e9;
    kill(peer, SIGKILL);
    waitpid(peer, NULL, 0);
    const size_t count = answered < LATENCIES_MAX ? answered : LATENCIES_MAX;
    qsort(latencies_ns, count, sizeof *latencies_ns, compare);
    printf("%d connections: %.0f requests/s, p50 %.0f us, p99 %.0f us\n", connections, (double)answered / elapsed,
           latencies_ns[count / 2] / 1e3, latencies_ns[count * 99 / 100] / 1e3);
    return 0;
}
