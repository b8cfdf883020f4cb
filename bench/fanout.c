// fanout.c - the bare room: what sending the same bytes to every member costs
// when nothing else is done. One thread, one listener, edge-triggered epoll.
//
// A request room.say(room, text) makes it build the notification
// room.said(room, uid, text, ms) once and send it to every connection, one send
// each, and then answer nil. Any other request (auth.login, room.join) is
// answered nil at once; there is one room and everybody is in it.
//
//   fanout PORT                                          build: cc -O2
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "mp.h"

enum { MAX_FRAME = 1 << 12, RBUF = 64 << 10, EVENTS = 512, MAX_FD = 1 << 16 };

struct conn {
    uint8_t *in, *out;          // half a frame; unsent bytes (NULL if none)
    uint32_t in_len, out_len;
    int at;                     // its place in members
};

static struct conn conns[MAX_FD];
static int members[MAX_FD], count, ep;
static uint8_t rbuf[RBUF];

static void die(const char *what) { perror(what); exit(1); }

static void drop(int fd) {
    struct conn *c = &conns[fd];
    members[c->at] = members[--count];
    conns[members[c->at]].at = c->at;
    free(c->in);
    free(c->out);
    *c = (struct conn){0};
    close(fd);
}

// Sends b to fd, after what is still unsent there. false: broken.
static bool push(int fd, const uint8_t *b, size_t n) {
    struct conn *c = &conns[fd];
    ssize_t s = 0;
    if (!c->out && (s = send(fd, b, n, MSG_NOSIGNAL)) < 0) {
        if (errno != EAGAIN) return false;
        s = 0;
    }
    if ((size_t)s == n) return true;
    if (!(c->out = realloc(c->out, c->out_len + n - s))) die("realloc");
    memcpy(c->out + c->out_len, b + s, n - s);
    c->out_len += n - s;
    return true;
}

static bool resume(int fd) {
    struct conn *c = &conns[fd];
    ssize_t s = send(fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (s < 0) return errno == EAGAIN;
    memmove(c->out, c->out + s, c->out_len -= s);
    if (!c->out_len) { free(c->out); c->out = NULL; }
    return true;
}

static uint8_t *put_str(uint8_t *o, mp_pos s, uint32_t n) {
    if (n < 32) *o++ = 0xa0 | n;
    else if (n < 256) { *o++ = 0xd9; *o++ = n; }
    else { *o++ = 0xda; mp_put_be(o, n, 2); o += 2; }
    return (uint8_t *)mempcpy(o, s, n);
}

// room.said(room, uid, text, ms) to everybody; uid is a stand-in of the size
// that most of 10,000 have.
static bool say(mp_pos p, mp_pos e) {
    uint8_t b[MAX_FRAME + 64], *o = b + 4;
    uint32_t len, room_len, text_len;
    mp_pos room, text;
    if (mp_array(&p, e, &len) || len != 2 || mp_str(&p, e, &room, &room_len) || mp_str(&p, e, &text, &text_len)) return false;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    o = (uint8_t *)mempcpy(o, "\x93\x02\xa9room.said\x94", 13);
    o = put_str(o, room, room_len);
    o = mp_put_int(o, 5000);
    o = put_str(o, text, text_len);
    o = mp_put_int(o, t.tv_sec * 1000 + t.tv_nsec / 1000000);
    mp_put_be(b, o - b - 4, 4);
    for (int i = 0; i < count; i++) push(members[i], b, o - b);   // a broken one gets its own event
    return true;
}

static bool serve(int fd, mp_pos p, mp_pos e) {
    uint32_t len, name_len;
    int64_t type, id;
    mp_pos name;
    if (mp_array(&p, e, &len) || len != 4 || mp_int(&p, e, &type) || type || mp_int(&p, e, &id)) return false;
    if (id < 0 || mp_str(&p, e, &name, &name_len)) return false;
    if (name_len == 8 && !memcmp(name, "room.say", 8) && !say(p, e)) return false;
    uint8_t b[32], *o = b + 4;
    *o++ = 0x94;
    *o++ = 1;
    o = mp_put_int(o, id);
    *o++ = 0xc0;
    *o++ = 0xc0;
    mp_put_be(b, o - b - 4, 4);
    return push(fd, b, o - b);
}

static bool ready(int fd) {
    struct conn *c = &conns[fd];
    if (c->out && !resume(fd)) return false;
    for (;;) {
        size_t have = c->in_len, room = RBUF - have;
        if (have) {
            memcpy(rbuf, c->in, have);
            free(c->in);
            c->in = NULL;
            c->in_len = 0;
        }
        ssize_t n = recv(fd, rbuf + have, room, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
        mp_pos p = rbuf, e = p + have + (n > 0 ? n : 0);
        while (e - p >= 4) {
            uint32_t size = (uint32_t)mp_be(p, 4);
            if (size > MAX_FRAME) return false;
            if ((size_t)(e - p) < 4 + (size_t)size) break;
            if (!serve(fd, p + 4, p + 4 + size)) return false;
            p += 4 + size;
        }
        if (p < e) {
            if (!(c->in = malloc(c->in_len = e - p))) die("malloc");
            memcpy(c->in, p, c->in_len);
        }
        if (n < (ssize_t)room) return true;
    }
}

static void accept_all(int listener) {
    for (int fd, one = 1; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
        conns[fd].at = count;
        members[count++] = fd;
    }
    if (errno != EAGAIN && errno != ECONNABORTED) die("accept4");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: fanout PORT\n");
        return 2;
    }
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) die("listen");
    struct epoll_event evs[EVENTS], ev = { .events = EPOLLIN, .data.fd = listener };
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0) die("epoll");
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int n = epoll_wait(ep, evs, EVENTS, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++)
            if (evs[i].data.fd == listener) accept_all(listener);
            else if (!ready(evs[i].data.fd)) drop(evs[i].data.fd);
    }
}
