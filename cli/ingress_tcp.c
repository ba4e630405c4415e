#include "cli/ingress_tcp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <tael/assert.h>

#include "cli/command.h"
#include "cli/output.h"
#include "engine/reply_pool.h"
#include "io/address.h"

enum {
    BUFFER_GROUP = 1,
    /* Files open besides connections: the log's, a few more, and connections that are just being refused. */
    FILES_OWN = 192,
};

static struct tael_tcp_options options_of(const struct tael_ingress_tcp *self, uint32_t replies_small,
                                          uint32_t replies_large) {
    struct tael_tcp_options options = tael_tcp_options_default();
    options.connections_max = self->connections_max;
    options.large_buffers = replies_large;
    options.buffer_group = BUFFER_GROUP;
    options.reply_buffers[TAEL_REPLY_POOL_SMALL] = replies_small;
    options.reply_buffers[TAEL_REPLY_POOL_LARGE] = replies_large;
    return options;
}

static size_t size_bytes(const void *context, uint32_t replies_small, uint32_t replies_large) {
    const struct tael_tcp_options options = options_of(context, replies_small, replies_large);
    return tael_tcp_size_bytes(&options);
}

/* Sees to it that connections leave files for the log, which is worth more. 0, or -EMFILE where hardly any may be open. */
static int files_open(struct tael_ingress_tcp *self) {
    struct rlimit limit;
    const rlim_t wanted = self->connections_max + FILES_OWN;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return 0;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return 0;
    if (limit.rlim_cur <= FILES_OWN) {
        tael_error(&tael_command_start,
                   "only %" PRIu64 " files may be open, and more than %d are needed: raise the limit (ulimit -n)",
                   (uint64_t)limit.rlim_cur, FILES_OWN);
        return -EMFILE;
    }
    self->connections_max = (uint32_t)(limit.rlim_cur - FILES_OWN);
    tael_say("only %" PRIu64 " files may be open, so at most %" PRIu32
             " connections: to have more, raise the limit (ulimit -n)",
             (uint64_t)limit.rlim_cur, self->connections_max);
    return 0;
}

static int open_tcp(void *context, const struct tael_ingress_site *site) {
    struct tael_ingress_tcp *self = context;
    struct tael_address address;
    int error = tael_address_parse(self->listen, &address);
    TAEL_ASSERT(error == 0); /* the command has looked */
    error = files_open(self);
    if (error != 0) return error;
    struct tael_tcp_options options = options_of(self, site->replies_small, site->replies_large);
    options.cluster = site->cluster;
    options.log = site->say;
    error = tael_tcp_init(&self->tcp, site->arena, &options, site->ring, site->link);
    if (error != 0) {
        tael_error(&tael_command_start, "the network cannot be set up: %s", strerror(-error));
        return error;
    }
    error = tael_tcp_listen(self->tcp, self->listen);
    if (error != 0) {
        tael_error(&tael_command_start, "cannot listen on %s: %s", self->listen, strerror(-error));
        return error;
    }
    if (!tael_address_is_loopback(&address)) {
        tael_say("%s is reachable from other machines, and there is no authentication yet: whoever reaches it can move "
                 "money",
                 self->listen);
    }
    return 0;
}

/* The address with the port that the kernel chose, where it was asked to. */
static void tell(const void *context) {
    const struct tael_ingress_tcp *self = context;
    struct tael_address address;
    char host[TAEL_ADDRESS_TEXT_SIZE];
    const int error = tael_address_parse(self->listen, &address);
    TAEL_ASSERT(error == 0);
    char *colon = strrchr(tael_address_format(&address, host), ':');
    TAEL_ASSERT(colon != NULL);
    *colon = '\0';
    printf("listening on %s:%u\n", host, (unsigned)tael_tcp_port(self->tcp));
}

static uint32_t poll_tcp(void *context, uint64_t now_ns) {
    return tael_tcp_poll(((struct tael_ingress_tcp *)context)->tcp, now_ns);
}
static uint64_t deadline_ns(const void *context) {
    return tael_tcp_deadline_ns(((const struct tael_ingress_tcp *)context)->tcp);
}
static void drain(void *context) { tael_tcp_drain(((struct tael_ingress_tcp *)context)->tcp); }
static bool drained(const void *context) { return tael_tcp_drained(((const struct tael_ingress_tcp *)context)->tcp); }
static void close_tcp(void *context) { tael_tcp_close(((struct tael_ingress_tcp *)context)->tcp); }
static bool closed(const void *context) { return tael_tcp_closed(((const struct tael_ingress_tcp *)context)->tcp); }

static void print(const void *context) {
    const struct tael_tcp *tcp = ((const struct tael_ingress_tcp *)context)->tcp;
    const struct tael_tcp_counters *counters = tael_tcp_counters(tcp);
    tael_counter_print("connections", tael_tcp_connections(tcp), "open now");
    tael_counter_print("connections_accepted", counters->accepted, "since the start");
    for (uint32_t i = 0; i < TAEL_TCP_CLOSES; i++) {
        if (counters->closed[i] > 0) tael_counter_print("closed", counters->closed[i], tael_tcp_close_text(i));
    }
    for (uint32_t i = 0; i < TAEL_FRAME_VERDICTS; i++) {
        if (counters->rejected[i] > 0)
            tael_counter_print("rejected", counters->rejected[i], tael_frame_verdict_text(i));
    }
}

struct tael_ingress tael_ingress_tcp(struct tael_ingress_tcp *tcp) {
    return (struct tael_ingress){
        .name = "net",
        .context = tcp,
        .messages_max = tael_tcp_options_default().messages_max,
        .size_bytes = size_bytes,
        .size_options = "--connections-max, --buffers-large",
        .open = open_tcp,
        .tell = tell,
        .poll = poll_tcp,
        .deadline_ns = deadline_ns,
        .drain = drain,
        .drained = drained,
        .close = close_tcp,
        .closed = closed,
        .print = print,
    };
}
