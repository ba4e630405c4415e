/* Sends datagrams through the kernel, one at a time, and wants each of them back as it was.
 * usage: udp_ask ADDRESS:PORT COUNT SIZE TRIES */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "io/address.h"

enum { SIZE_MAX_BYTES = 65507 };

static int complain(const char *what) {
    perror(what);
    return -1;
}

static int open_socket(const char *text) {
    struct tael_address address;
    /* Long enough for a machine that is busy with other tests. */
    const struct timeval patience = {.tv_sec = 2};
    if (tael_address_parse(text, &address) != 0) return complain(text);
    const int fd = socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return complain("socket");
    if (connect(fd, (const struct sockaddr *)&address.storage, address.size) != 0) return complain("connect");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) return complain("setsockopt");
    return fd;
}

/* Datagrams may be lost; one that comes back late or changed is no answer. */
static int ask(int fd, const uint8_t *question, size_t size, unsigned long tries) {
    static uint8_t answer[SIZE_MAX_BYTES];
    for (; tries > 0; tries--) {
        if (send(fd, question, size, 0) != (ssize_t)size) return complain("send");
        const ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got == (ssize_t)size && memcmp(answer, question, size) == 0) return 0;
    }
    return complain("no echo");
}

int main(int argc, char **argv) {
    static uint8_t question[SIZE_MAX_BYTES];
    if (argc != 5) return EXIT_FAILURE;
    const unsigned long count = strtoul(argv[2], NULL, 10);
    const size_t size = strtoul(argv[3], NULL, 10);
    const unsigned long tries = strtoul(argv[4], NULL, 10);
    const int fd = open_socket(argv[1]);
    if (fd < 0 || size > sizeof question) return EXIT_FAILURE;
    for (unsigned long i = 0; i < count; i++) {
        for (size_t at = 0; at < size; at++) question[at] = (uint8_t)(i + at * 31);
        if (ask(fd, question, size, tries) != 0) return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
