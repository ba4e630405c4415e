#include "cli/connect.h"

#include <errno.h>
#include <string.h>

#include <tael/limits.h>

/* A server that isn't there is most often a wrong address: that is said sooner than after the time for a request. */
enum { REGISTER_TIMEOUT_S = 10 };

static void waiting_tell(void *context, const char *why) {
    (void)context;
    tael_error(NULL, "still trying: %s", why);
}

struct tael_client *tael_connect(const struct tael_command *command, const char *to, uint64_t cluster,
                                 uint64_t timeout_s) {
    struct tael_client *client = NULL;
    const struct tael_client_options options = {.address = to, .cluster = cluster, .waiting = waiting_tell};
    const int error = tael_client_new(&options, &client);
    if (error == -EINVAL) {
        tael_error(command, "'%s' is no address; it takes 127.0.0.1:3000, [::1]:3000 or a port alone", to);
        return NULL;
    }
    if (error != 0) {
        tael_error(command, "%s", strerror(-error));
        return NULL;
    }
    const uint64_t register_s = timeout_s < REGISTER_TIMEOUT_S ? timeout_s : REGISTER_TIMEOUT_S;
    const int refused = tael_client_register(client, register_s * TAEL_NS_PER_S);
    if (refused == 0) return client;
    if (refused == -ETIMEDOUT) {
        tael_error(command, "%s; is the server running there, and is %llu its cluster?", tael_client_error(client),
                   (unsigned long long)cluster);
    } else {
        tael_error(command, "%s", tael_client_error(client));
    }
    tael_client_free(client);
    return NULL;
}
