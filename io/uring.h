/* Whether this machine's io_uring can carry Tael, and if not, why, in words for whoever has to change it.
 *
 * Any thread. */
#ifndef TAEL_IO_URING_H
#define TAEL_IO_URING_H

#include <liburing.h>

/* Why io_uring_queue_init failed, from its negative errno. */
const char *tael_uring_refusal_text(int error);

/* What `ring` lacks for the network, NULL when nothing: the kernel must be 5.19 or newer. */
const char *tael_uring_missing(struct io_uring *ring);

#endif
