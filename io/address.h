/* Addresses as people write them: "127.0.0.1:3000", "[::1]:3000", "3000" (a port of loopback). No names: what a server
 * listens on and a client connects to shall not depend on a resolver. Pure; any thread. */
#ifndef TAEL_IO_ADDRESS_H
#define TAEL_IO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct tael_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

#define TAEL_ADDRESS_TEXT_SIZE 64

/* 0, or -EINVAL when `text` is no address with a port; port 0 (the kernel chooses) is allowed. */
int tael_address_parse(const char *text, struct tael_address *out);

/* The address as tael_address_parse reads it. Returns `text`. */
const char *tael_address_format(const struct tael_address *address, char text[static TAEL_ADDRESS_TEXT_SIZE]);

/* The port, in the machine's byte order. */
uint16_t tael_address_port(const struct tael_address *address);

/* Address and port in the machine's byte order; false where it is not of IPv4. */
bool tael_address_ipv4(const struct tael_address *address, uint32_t *ipv4, uint16_t *port);

/* True for 127.0.0.0/8 and ::1. */
bool tael_address_is_loopback(const struct tael_address *address);

#endif
