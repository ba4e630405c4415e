#include "io/client_udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <tael/assert.h>

#define RECEIVE_BUFFER_SIZE (4 << 20)
#define SEND_BUFFER_SIZE (1 << 20)

int tael_client_udp_init(struct tael_client_udp *udp, uint32_t datagram_max) {
    *udp = (struct tael_client_udp){.socket = -1, .datagram_max = datagram_max};
    udp->out = malloc((size_t)TAEL_CLIENT_UDP_BURST * datagram_max);
    udp->in = malloc((size_t)TAEL_CLIENT_UDP_BURST * datagram_max);
    if (udp->out == NULL || udp->in == NULL) {
        tael_client_udp_free(udp);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < TAEL_CLIENT_UDP_BURST; i++) {
        udp->out_vectors[i].iov_base = udp->out + (size_t)i * datagram_max;
        udp->in_vectors[i] = (struct iovec){.iov_base = udp->in + (size_t)i * datagram_max, .iov_len = datagram_max};
        udp->out_messages[i].msg_hdr = (struct msghdr){.msg_iov = &udp->out_vectors[i], .msg_iovlen = 1};
        udp->in_messages[i].msg_hdr = (struct msghdr){.msg_iov = &udp->in_vectors[i], .msg_iovlen = 1};
    }
    return 0;
}

void tael_client_udp_free(struct tael_client_udp *udp) {
    if (udp->socket >= 0) close(udp->socket);
    free(udp->out);
    free(udp->in);
    udp->socket = -1;
    udp->out = udp->in = NULL;
}

static int watch(struct tael_client_udp *udp, int operation, bool for_room) {
    struct epoll_event event = {.events = EPOLLIN | (for_room ? (uint32_t)EPOLLOUT : 0), .data.ptr = udp->watcher};
    udp->is_watched_for_room = for_room;
    return epoll_ctl(udp->epoll, operation, udp->socket, &event);
}

/* As much as the kernel lets us have; who may, has it beyond the system's limit. */
static uint32_t buffers_raise(int fd) {
    const int send_size = SEND_BUFFER_SIZE, receive_size = RECEIVE_BUFFER_SIZE;
    int got = 0;
    socklen_t size = sizeof got;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_size, sizeof send_size) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_size, sizeof send_size);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_size, sizeof receive_size) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_size, sizeof receive_size);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &size) != 0 || got < 0) return 0;
    return (uint32_t)got;
}

int tael_client_udp_open(struct tael_client_udp *udp, const struct tael_address *server, int epoll, void *watcher,
                         uint32_t *room) {
    TAEL_ASSERT(udp->socket < 0);
    const struct sockaddr *peer = (const struct sockaddr *)&server->storage;
    const int discover = IP_PMTUDISC_DO; /* a datagram is never fragmented */
    udp->socket = socket(peer->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    udp->epoll = epoll;
    udp->watcher = watcher;
    udp->sending = 0;
    udp->error = 0;
    if (udp->socket < 0) return -errno;
    (void)setsockopt(udp->socket, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    *room = buffers_raise(udp->socket);
    if (connect(udp->socket, peer, server->size) == 0 && watch(udp, EPOLL_CTL_ADD, false) == 0) return 0;
    const int error = -errno;
    close(udp->socket);
    udp->socket = -1;
    return error;
}

void tael_client_udp_close(struct tael_client_udp *udp) {
    if (udp->socket < 0) return;
    /* Closing doesn't end the watch while a child of a fork has the socket too, until its exec. */
    epoll_ctl(udp->epoll, EPOLL_CTL_DEL, udp->socket, NULL);
    close(udp->socket);
    udp->socket = -1;
    udp->sending = 0;
}

/* What was not sent goes to the front. Seldom: the kernel has no room. */
static void keep_from(struct tael_client_udp *udp, uint32_t first) {
    for (uint32_t i = first; i < udp->sending; i++) {
        const struct iovec vector = udp->out_vectors[i - first];
        udp->out_vectors[i - first] = udp->out_vectors[i];
        udp->out_vectors[i] = vector;
    }
    udp->sending -= first;
}

void tael_client_udp_flush(struct tael_client_udp *udp) {
    uint32_t first = 0;
    while (udp->socket >= 0 && first < udp->sending) {
        const int sent = sendmmsg(udp->socket, udp->out_messages + first, udp->sending - first, MSG_NOSIGNAL);
        if (sent > 0) {
            first += (uint32_t)sent;
        } else if (errno == EAGAIN) {
            keep_from(udp, first);
            if (!udp->is_watched_for_room) watch(udp, EPOLL_CTL_MOD, true);
            return;
        } else if (errno != EINTR) {
            udp->error = errno; /* often of an earlier one: nobody listens there */
            first++;
        }
    }
    udp->sending = 0;
    if (udp->socket >= 0 && udp->is_watched_for_room) watch(udp, EPOLL_CTL_MOD, false);
}

void *tael_client_udp_begin(struct tael_client_udp *udp) {
    if (udp->sending == TAEL_CLIENT_UDP_BURST) tael_client_udp_flush(udp);
    if (udp->socket < 0 || udp->sending == TAEL_CLIENT_UDP_BURST) return NULL;
    return udp->out_vectors[udp->sending].iov_base;
}

void tael_client_udp_end(struct tael_client_udp *udp, uint32_t size) {
    TAEL_ASSERT(udp->sending < TAEL_CLIENT_UDP_BURST);
    TAEL_ASSERT(size <= udp->datagram_max);
    udp->out_vectors[udp->sending++].iov_len = size;
}

uint32_t tael_client_udp_receive(struct tael_client_udp *udp) {
    for (int tries = 0; udp->socket >= 0 && tries < 4; tries++) {
        const int got = recvmmsg(udp->socket, udp->in_messages, TAEL_CLIENT_UDP_BURST, MSG_DONTWAIT, NULL);
        if (got >= 0) return (uint32_t)got;
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) udp->error = errno;
    }
    return 0;
}
