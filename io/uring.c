#include "io/uring.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

const char *tael_uring_refusal_text(int error) {
    switch (error) {
    case -ENOSYS:
        return "this kernel has no io_uring; Tael needs Linux 5.19 or newer";
    case -EPERM:
    case -EACCES:
        return "io_uring is not permitted here: see sysctl kernel.io_uring_disabled, or the container's seccomp "
               "profile";
    case -ENOMEM:
        return "no memory for io_uring: raise the limit of locked memory (ulimit -l)";
    case -EMFILE:
    case -ENFILE:
        return "no file descriptor left for io_uring: raise the limit of open files (ulimit -n)";
    case -EINVAL:
        return "this kernel's io_uring is too old; Tael needs Linux 5.19 or newer";
    default:
        return strerror(-error);
    }
}

/* IORING_OP_SOCKET came with 5.19, as multishot accept and rings of provided buffers did, which no probe tells. */
static const struct {
    int operation;
    const char *name;
} needed[] = {
    {IORING_OP_ACCEPT, "io_uring's accept"},
    {IORING_OP_RECV, "io_uring's recv"},
    {IORING_OP_SEND, "io_uring's send"},
    {IORING_OP_SENDMSG, "io_uring's sendmsg"},
    {IORING_OP_SOCKET, "io_uring's multishot accept and buffer rings; Tael needs Linux 5.19 or newer"},
};

const char *tael_uring_missing(struct io_uring *ring) {
    const unsigned features = IORING_FEAT_FAST_POLL | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((ring->features & features) != features) return "io_uring's fast poll; Tael needs Linux 5.19 or newer";
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL) return "io_uring's list of operations; Tael needs Linux 5.19 or newer";
    const char *missing = NULL;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && missing == NULL; i++) {
        if (!io_uring_opcode_supported(probe, needed[i].operation)) missing = needed[i].name;
    }
    io_uring_free_probe(probe);
    return missing;
}
