/* A port with a host on it, as what carries datagrams (io/carrier.h): the buffers are its packets. */
#ifndef TAEL_IO_PORT_CARRIER_H
#define TAEL_IO_PORT_CARRIER_H

#include "io/carrier.h"
#include "io/host.h"
#include "io/port.h"

struct tael_port_carrier {
    struct tael_port *port;
    struct tael_host host;
};

/* `carrier`, port and host filled in, outlives what is returned. */
struct tael_carrier tael_port_carrier(struct tael_port_carrier *carrier);

#endif
