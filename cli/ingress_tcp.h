/* Requests by TCP: io/tcp.h as an ingress. */
#ifndef TAEL_CLI_INGRESS_TCP_H
#define TAEL_CLI_INGRESS_TCP_H

#include "cli/ingress.h"
#include "io/tcp.h"

struct tael_ingress_tcp {
    const char *listen; /* ADDR:PORT, which is one */
    uint32_t connections_max; /* as asked for, then as the limit of open files allows */
    struct tael_tcp *tcp;
};

/* `tcp`, zeroed but for the first two, outlives it. */
struct tael_ingress tael_ingress_tcp(struct tael_ingress_tcp *tcp);

#endif
