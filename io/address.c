#include "io/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <tael/assert.h>

#define HOST_SIZE_MAX 48

static bool port_parse(const char *text, in_port_t *out) {
    unsigned port = 0;
    const size_t size = strlen(text);
    if (size == 0 || size > 5) return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        port = port * 10 + (unsigned)(*text - '0');
    }
    if (port > 65535) return false;
    *out = htons((in_port_t)port);
    return true;
}

static int v4_parse(const char *host, in_port_t port, struct tael_address *out) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
    if (inet_pton(AF_INET, host, &in.sin_addr) != 1) return -EINVAL;
    *out = (struct tael_address){.size = sizeof in};
    memcpy(&out->storage, &in, sizeof in);
    return 0;
}

static int v6_parse(const char *host, in_port_t port, struct tael_address *out) {
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1) return -EINVAL;
    *out = (struct tael_address){.size = sizeof in6};
    memcpy(&out->storage, &in6, sizeof in6);
    return 0;
}

int tael_address_parse(const char *text, struct tael_address *out) {
    in_port_t port;
    const char *colon = strrchr(text, ':');
    if (!port_parse(colon == NULL ? text : colon + 1, &port)) return -EINVAL;
    if (colon == NULL) return v4_parse("127.0.0.1", port, out);
    char host[HOST_SIZE_MAX];
    const size_t size = (size_t)(colon - text);
    if (size == 0 || size >= sizeof host) return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    if (host[0] != '[') return v4_parse(host, port, out);
    if (host[size - 1] != ']') return -EINVAL;
    host[size - 1] = '\0';
    return v6_parse(host + 1, port, out);
}

const char *tael_address_format(const struct tael_address *address, char text[static TAEL_ADDRESS_TEXT_SIZE]) {
    char host[INET6_ADDRSTRLEN];
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->storage, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(text, TAEL_ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(in.sin_port));
        return text;
    }
    TAEL_ASSERT(address->storage.ss_family == AF_INET6);
    struct sockaddr_in6 in6;
    memcpy(&in6, &address->storage, sizeof in6);
    inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    snprintf(text, TAEL_ADDRESS_TEXT_SIZE, "[%s]:%u", host, ntohs(in6.sin6_port));
    return text;
}

uint16_t tael_address_port(const struct tael_address *address) {
    in_port_t port; /* both families have it at the same place */
    static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "sockets");
    memcpy(&port, (const uint8_t *)&address->storage + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

bool tael_address_ipv4(const struct tael_address *address, uint32_t *ipv4, uint16_t *port) {
    struct sockaddr_in v4;
    if (address->storage.ss_family != AF_INET) return false;
    memcpy(&v4, &address->storage, sizeof v4);
    *ipv4 = ntohl(v4.sin_addr.s_addr);
    *port = ntohs(v4.sin_port);
    return true;
}

bool tael_address_is_loopback(const struct tael_address *address) {
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->storage, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, &address->storage, sizeof in6);
    return address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}
