/* How to make a block durable: compares, on one file full of zeros, in one run and interleaved, so that the ratios hold
 * on a noisy machine:
 *   dsync    writes with RWF_DSYNC, `depth` in flight; durable when complete
 *   fsync    writes, `depth` in flight; one fdatasync at a time for the prefix that is complete
 *   linked   each write linked to an fdatasync of its own
 * each with and without registered buffers and files. Prints commits a second and the latency of a commit, from
 * submission to durable in order.
 *
 * usage: log_sync FILE [rounds] [seconds a measurement] */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_SIZE (256u << 20)
#define DEPTH_MAX 16
#define LATENCIES_MAX 400000

enum method { DSYNC, FSYNC, LINKED, METHODS };
static const char *const method_names[] = {"dsync", "fsync", "linked"};

struct slot {
    uint64_t submitted_ns;
    bool written;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t latencies[LATENCIES_MAX];

struct measurement {
    double commits_per_s;
    double p50_us, p99_us;
};

static void fail(const char *what, int error) {
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static struct measurement run(int fd, enum method method, bool registered, uint32_t size, uint32_t depth,
                              double seconds, uint8_t *buffers) {
    struct io_uring ring;
    if (io_uring_queue_init(64, &ring, 0) != 0) fail("io_uring", errno);
    if (registered) {
        struct iovec region = {buffers, (size_t)DEPTH_MAX << 20};
        int error = io_uring_register_buffers(&ring, &region, 1);
        if (error != 0) fail("register buffers", -error);
        error = io_uring_register_files(&ring, &fd, 1);
        if (error != 0) fail("register files", -error);
    }
    struct slot slots[DEPTH_MAX] = {0};
    uint64_t submitted = 0, written = 0, durable = 0, sync_target = 0, count = 0;
    bool syncing = false;
    const uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
    while (true) {
        const uint64_t now = now_ns();
        if (now >= end && durable == submitted) break;
        while (now < end && submitted < durable + depth) {
            struct slot *slot = &slots[submitted % depth];
            *slot = (struct slot){.submitted_ns = now_ns()};
            uint8_t *buffer = buffers + (submitted % depth << 20);
            const uint64_t offset = submitted * size % FILE_SIZE;
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
            if (registered) {
                io_uring_prep_write_fixed(sqe, 0, buffer, size, offset, 0);
                sqe->flags |= IOSQE_FIXED_FILE;
            } else {
                io_uring_prep_write(sqe, fd, buffer, size, offset);
            }
            if (method == DSYNC) sqe->rw_flags = RWF_DSYNC;
            sqe->user_data = method == LINKED ? 0 : submitted + 1;
            if (method == LINKED) {
                sqe->flags |= IOSQE_IO_LINK;
                sqe = io_uring_get_sqe(&ring);
                io_uring_prep_fsync(sqe, registered ? 0 : fd, IORING_FSYNC_DATASYNC);
                if (registered) sqe->flags |= IOSQE_FIXED_FILE;
                sqe->user_data = submitted + 1;
            }
            submitted++;
        }
        if (method == FSYNC && !syncing && written > durable) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
            io_uring_prep_fsync(sqe, registered ? 0 : fd, IORING_FSYNC_DATASYNC);
            if (registered) sqe->flags |= IOSQE_FIXED_FILE;
            sqe->user_data = UINT64_MAX;
            sync_target = written;
            syncing = true;
        }
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            seen++;
            if (cqe->res < 0) fail("write", -cqe->res);
            if (cqe->user_data == UINT64_MAX) {
                syncing = false;
                const uint64_t t = now_ns();
                for (; durable < sync_target; durable++)
                    if (count < LATENCIES_MAX) latencies[count++] = (uint32_t)(t - slots[durable % depth].submitted_ns);
            } else if (cqe->user_data != 0) {
                slots[(cqe->user_data - 1) % depth].written = true;
            }
        }
        io_uring_cq_advance(&ring, seen);
        while (written < submitted && slots[written % depth].written) {
            slots[written % depth].written = false;
            written++;
        }
        if (method != FSYNC) {
            const uint64_t t = now_ns();
            for (; durable < written; durable++)
                if (count < LATENCIES_MAX) latencies[count++] = (uint32_t)(t - slots[durable % depth].submitted_ns);
        }
    }
    const double elapsed = (double)(now_ns() - start) / 1e9;
    io_uring_queue_exit(&ring);
    qsort(latencies, count, sizeof *latencies, compare);
    return (struct measurement){(double)durable / elapsed, latencies[count / 2] / 1e3,
                                latencies[count * 99 / 100] / 1e3};
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const int rounds = argc > 2 ? atoi(argv[2]) : 3;
    const double seconds = argc > 3 ? atof(argv[3]) : 0.5;
    const int fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT, 0600);
    if (fd < 0) fail(argv[1], errno);
    uint8_t *buffers = aligned_alloc(4096, (size_t)DEPTH_MAX << 20);
    memset(buffers, 0, (size_t)DEPTH_MAX << 20);
    for (uint64_t offset = 0; offset < FILE_SIZE; offset += 1 << 20)
        if (pwrite(fd, buffers, 1 << 20, (off_t)offset) != 1 << 20) fail("fill", errno);
    fsync(fd);
    memset(buffers, 0x5a, (size_t)DEPTH_MAX << 20);
    static const uint32_t sizes[] = {4096, 65536, 262144, 1048576};
    static const uint32_t depths[] = {1, 4, 8, 16};
    printf("%8s %5s %-8s %-10s %10s %9s %8s %8s\n", "size", "depth", "method", "registered", "commits/s", "MB/s",
           "p50 us", "p99 us");
    for (int round = 0; round < rounds; round++)
        for (size_t s = 0; s < 4; s++)
            for (size_t d = 0; d < 4; d++)
                for (int m = 0; m < METHODS; m++)
                    for (int r = 0; r < 2; r++) {
                        const struct measurement x = run(fd, (enum method)m, r, sizes[s], depths[d], seconds, buffers);
                        printf("%8u %5u %-8s %-10s %10.0f %9.0f %8.0f %8.0f\n", sizes[s], depths[d], method_names[m],
                               r ? "yes" : "no", x.commits_per_s, x.commits_per_s * sizes[s] / 1e6, x.p50_us, x.p99_us);
                        fflush(stdout);
                    }
    return 0;
}
