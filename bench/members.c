// members.c - one room with many members, for measuring what room.say costs
// the server per member.
//
//   members [-n MEMBERS] [-b TEXT] [-u UID] -p PID host port
//
// Opens MEMBERS (10000) connections, logs connection i in as dev:UID+i (1), joins
// all to room "bench" and prints "filled MEMBERS". Each line "say N" on standard
// input then makes it say TEXT (32) bytes there N times, each time from another
// member, the next when every member has the last and the sender its response,
// and print one JSON object: CPU time of process PID per member and say, the
// bytes each member got per say, the time until all had it, and other_pct, CPU
// that neither used, in % of one CPU: noise. Any error response, a missing or a
// second room.said ends it.                                       build: cc -O2
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

enum { RBUF = 256 << 10, MAX_FRAME = 1 << 20, EVENTS = 1024, LOGINS = 250, JOINS = 50, MAX_TEXT = 1024 };     // LOGINS, JOINS: at a time
static const int64_t SECOND = 1000000000;

struct conn {
    int fd;
    uint8_t *in;                // half a frame, NULL if none
    uint32_t in_len;
    uint32_t said;              // room.said that it got
};

static struct conn *conns;
static int ep, members = 10000;
static int64_t answers, heard, heard_bytes;
static uint8_t rbuf[RBUF + MAX_FRAME];

static void die(const char *what) { perror(what); exit(1); }
static void fail(const char *what, int member) { fprintf(stderr, "members: %s (member %d)\n", what, member); exit(1); }

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) < 0) die("clock_gettime");
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t busy_ns(void) {                          // of all CPUs together
    long a, b, c, d, e, f, g;
    FILE *s = fopen("/proc/stat", "r");
    if (!s || fscanf(s, "cpu %ld %ld %ld %ld %ld %ld %ld", &a, &b, &c, &d, &e, &f, &g) != 7) die("/proc/stat");
    fclose(s);
    return (a + b + c + f + g) * (SECOND / sysconf(_SC_CLK_TCK));
}

static uint8_t *put_str(uint8_t *o, const char *s) {
    size_t n = strlen(s);
    if (n < 32) *o++ = 0xa0 | n;
    else if (n < 256) { *o++ = 0xd9; *o++ = n; }
    else { *o++ = 0xda; mp_put_be(o, n, 2); o += 2; }
    return (uint8_t *)mempcpy(o, s, n);
}

// Sends request 0: method(args...).
static void ask(int member, const char *method, int n, const char **args) {
    uint8_t b[MAX_TEXT + 256], *o = b + 4;
    *o++ = 0x94;
    *o++ = 0;
    *o++ = 0;
    o = put_str(o, method);
    *o++ = 0x90 | n;
    for (int i = 0; i < n; i++) o = put_str(o, args[i]);
    mp_put_be(b, o - b - 4, 4);
    if (send(conns[member].fd, b, o - b, MSG_NOSIGNAL) != o - b) die("send");
}

static void message(int member, mp_pos p, mp_pos e) {
    struct conn *c = &conns[member];
    mp_pos start = p, name;
    uint32_t len;
    int64_t type, id;
    if (mp_array(&p, e, &len) || mp_int(&p, e, &type)) fail("not a message", member);
    if (type == 1) {
        if (mp_int(&p, e, &id) || p >= e) fail("not a response", member);
        if (*p != 0xc0) {
            fprintf(stderr, "members: error response (member %d): %.*s\n", member, (int)(e - p), (const char *)p);
            exit(1);
        }
        answers++;
        return;
    }
    if (type != 2 || mp_str(&p, e, &name, &len)) fail("not a notification", member);
    if (len == 11 && !memcmp(name, "sys.closing", 11)) fail("closed by the server", member);
    if (len != 9 || memcmp(name, "room.said", 9)) return;
    c->said++;
    heard++;
    heard_bytes += e - start + 4;
}

static void ready(int member) {
    struct conn *c = &conns[member];
    for (;;) {
        size_t have = c->in_len;
        if (have) {
            memcpy(rbuf, c->in, have);
            free(c->in);
            c->in = NULL;
            c->in_len = 0;
        }
        ssize_t n = recv(c->fd, rbuf + have, RBUF, 0);
        if (n == 0) fail("connection ended", member);
        if (n < 0 && errno != EAGAIN) die("recv");
        mp_pos p = rbuf, e = p + have + (n > 0 ? n : 0);
        while (e - p >= 4) {
            uint32_t size = (uint32_t)mp_be(p, 4);
            if (size > MAX_FRAME - 4) fail("frame too large", member);
            if ((size_t)(e - p) < 4 + (size_t)size) break;
            message(member, p + 4, p + 4 + size);
            p += 4 + size;
        }
        if (p < e) {
            if (!(c->in = malloc(c->in_len = e - p))) die("malloc");
            memcpy(c->in, p, c->in_len);
        }
        if (n < RBUF) return;
    }
}

// Reads until there are that many answers and room.said in all.
static void wait_for(int64_t want_answers, int64_t want_heard, const char *what) {
    struct epoll_event evs[EVENTS];
    int64_t last = clock_ns(CLOCK_MONOTONIC);
    while (answers < want_answers || heard < want_heard) {
        int n = epoll_wait(ep, evs, EVENTS, 1000);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) ready(evs[i].data.u32);
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (n > 0) last = now;
        else if (now - last > 30 * SECOND) fail(what, (int)(want_heard - heard));
    }
    if (answers > want_answers || heard > want_heard) fail("more answers or room.said than asked for", 0);
}

static void dial(int member, const struct sockaddr_in *to) {
    struct linger reset = { .l_onoff = 1 };             // leaves nothing in TIME_WAIT
    struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = member };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) die("socket");
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) die("fcntl");
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
    conns[member].fd = fd;
}

static void say(int says, const char *text, clockid_t server_cpu) {
    static int64_t sayings;
    int64_t asked = answers, from = clock_ns(CLOCK_MONOTONIC);
    int64_t cpu = clock_ns(server_cpu), own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), busy = busy_ns();
    heard_bytes = 0;
    for (int k = 0; k < says; k++) {
        sayings++;
        ask(sayings * 7919 % members, "room.say", 2, (const char *[]){ "bench", text });
        wait_for(++asked, members * sayings, "room.said missing");
    }
    cpu = clock_ns(server_cpu) - cpu;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    busy = busy_ns() - busy;
    double wall = clock_ns(CLOCK_MONOTONIC) - from, n = (double)members * says;
    for (int i = 0; i < members; i++)
        if (conns[i].said != (uint32_t)sayings) fail("did not hear everything", i);
    printf("{\"members\": %d, \"says\": %d, \"server_us\": %.4f, \"bytes\": %.1f, \"say_ms\": %.3f, \"client_us\": %.4f, \"server_pct\": %.1f, \"other_pct\": %.1f}\n",
           members, says, cpu / n / 1000, heard_bytes / n, wall / says / 1e6, own / n / 1000, cpu * 100 / wall,
           (busy - cpu - own) * 100.0 / wall);
    fflush(stdout);
}

int main(int argc, char **argv) {
    int text_len = 32, opt;
    long uid = 1;
    pid_t server = 0;
    while ((opt = getopt(argc, argv, "n:b:u:p:")) != -1)
        switch (opt) {
        case 'n': members = atoi(optarg); break;
        case 'b': text_len = atoi(optarg); break;
        case 'u': uid = atol(optarg); break;
        case 'p': server = atoi(optarg); break;
        default: return 2;
        }
    struct sockaddr_in to = { .sin_family = AF_INET };
    clockid_t server_cpu;
    if (optind + 2 != argc || members < 1 || text_len < 1 || text_len > MAX_TEXT
        || clock_getcpuclockid(server, &server_cpu)) {
        fprintf(stderr, "usage: members [-n MEMBERS] [-b TEXT] [-u UID] -p PID host port\n");
        return 2;
    }
    to.sin_port = htons(atoi(argv[optind + 1]));
    if (inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1) die("host");
    if ((ep = epoll_create1(0)) < 0 || !(conns = calloc(members, sizeof *conns))) die("start");

    char token[32], text[MAX_TEXT + 1];
    memset(text, 'x', text_len);
    text[text_len] = 0;
    for (int i = 0; i < members; i++) {
        dial(i, &to);
        snprintf(token, sizeof token, "dev:%ld", uid + i);
        ask(i, "auth.login", 1, (const char *[]){ token });
        if (i % LOGINS == LOGINS - 1) wait_for(i + 1, 0, "no login");
    }
    wait_for(members, 0, "no login");
    for (int i = 0; i < members; i++) {                 // each join is told to all who are in already
        ask(i, "room.join", 1, (const char *[]){ "bench" });
        if (i % JOINS == JOINS - 1) wait_for(members + i + 1, 0, "no answer to room.join");
    }
    wait_for(2 * members, 0, "no answer to room.join");

    printf("filled %d\n", members);
    fflush(stdout);

    int says;
    for (char line[64]; fgets(line, sizeof line, stdin);)
        if (sscanf(line, "say %d", &says) == 1 && says > 0) say(says, text, server_cpu);
    for (int i = 0; i < members; i++) close(conns[i].fd);
}
