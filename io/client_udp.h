/* A UDP socket of the client library, connected to one server: datagrams go out and come in by bursts.
 *
 * What the kernel does not take at once is kept and sent when the socket has room again; what fails otherwise is lost, as on the way.
 *
 * Owned by one thread. Nothing is allocated after init. */
#ifndef TAEL_IO_CLIENT_UDP_H
#define TAEL_IO_CLIENT_UDP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "io/address.h"

#define TAEL_CLIENT_UDP_BURST 64

struct tael_client_udp {
    int socket; /* -1: closed */
    int epoll;
    void *watcher; /* epoll's data.ptr */
    int error; /* errno of the last failure; 0: none since it was looked at */
    uint32_t datagram_max;
    uint32_t sending; /* datagrams that wait to be sent */
    bool is_watched_for_room;
    uint8_t *out, *in; /* BURST datagrams each */
    struct iovec out_vectors[TAEL_CLIENT_UDP_BURST], in_vectors[TAEL_CLIENT_UDP_BURST];
    struct mmsghdr out_messages[TAEL_CLIENT_UDP_BURST], in_messages[TAEL_CLIENT_UDP_BURST];
};

/* -ENOMEM: nothing is taken. */
int tael_client_udp_init(struct tael_client_udp *udp, uint32_t datagram_max);
void tael_client_udp_free(struct tael_client_udp *udp);

/* Opens a socket of an address of its own. *room gets the bytes of datagrams that it holds for us, as far as the kernel lets. 0 or a
 * negative errno. */
int tael_client_udp_open(struct tael_client_udp *udp, const struct tael_address *server, int epoll, void *watcher,
                         uint32_t *room);
void tael_client_udp_close(struct tael_client_udp *udp);

/* Room for one more datagram to send; NULL: none before the socket has. */
void *tael_client_udp_begin(struct tael_client_udp *udp);
void tael_client_udp_end(struct tael_client_udp *udp, uint32_t size);

/* Hands what waits to the kernel. */
void tael_client_udp_flush(struct tael_client_udp *udp);

/* Takes up to a burst of what has come: how many; each is udp->in + i * datagram_max, of in_messages[i].msg_len bytes. */
uint32_t tael_client_udp_receive(struct tael_client_udp *udp);

#endif
