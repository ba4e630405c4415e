#include "cli/connect.h"

#include <errno.h>

#include <tael/limits.h>

#include "cli/wide.h"

/* A server that isn't there is most often a wrong address: that is said sooner than after the time for a request. */
enum { CONNECT_TIMEOUT_S = 10 };

static void waiting_tell(void *context, const char *why) {
    (void)context;
    tael_error(NULL, "still trying: %s", why);
}

struct tael_client *tael_connect(const struct tael_command *command, const char *to, bool udp, tael_u128 cluster,
                                 uint64_t timeout_s) {
    struct tael_client *client = NULL;
    char why[TAEL_CLIENT_WHY_SIZE];
    char cluster_text[TAEL_WIDE_TEXT_SIZE];
    const uint64_t connect_s = timeout_s < CONNECT_TIMEOUT_S ? timeout_s : CONNECT_TIMEOUT_S;
    const struct tael_client_options options = {.address = to,
                                                .cluster = cluster,
                                                .timeout_ns = timeout_s * TAEL_NS_PER_S,
                                                .connect_timeout_ns = connect_s * TAEL_NS_PER_S,
                                                .waiting = waiting_tell,
                                                .transport = udp ? TAEL_CLIENT_UDP : TAEL_CLIENT_TCP};
    switch (tael_client_connect(&options, &client, why)) {
    case 0:
        break;
    case -EINVAL:
        tael_error(command, "'%s' is no address; it takes 127.0.0.1:3000, %sor a port alone", to,
                   udp ? "" : "[::1]:3000 ");
        break;
    case -ETIMEDOUT:
        tael_error(command, "%s; is the server running there, and is %s its cluster?", why,
                   tael_wide_format(cluster, cluster_text));
        break;
    default:
        tael_error(command, "%s", why);
    }
    return client;
}
