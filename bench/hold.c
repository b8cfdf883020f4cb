// hold.c - opens many connections and keeps them idle, for measuring what an
// idle connection costs the server and the kernel.
//
//   hold [-s SOURCE] [-n SOURCES] [-t SECONDS] [-u UID] host port count      build: cc -O2
//
// Connects `count` times, in turn from each of SOURCES (4) addresses beginning
// at SOURCE (127.0.1.1), since the search for a free port gets slow once one
// address has used a third of its 28,000, and prints "held N". Each line "call"
// on standard input then makes one checked call, sum(1, 2), on every connection,
// each line "login" logs connection i in as dev:UID+i (1); "done call" and "done
// login" say when. Ends at the end of standard input or after SECONDS (120), with
// a reset on every connection, so that nothing stays in TIME_WAIT.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "mp.h"

enum { MAX_REPLY = 4096 };

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static void die(const char *what) { perror(what); exit(1); }

// Makes one call, whose frame is at b, and takes its response, which must have
// msgid 1 and no error.
static void call(int fd, const char *b, size_t n) {
    uint8_t head[4], got[MAX_REPLY];
    if (send(fd, b, n, MSG_NOSIGNAL) != (ssize_t)n) die("send");
    if (recv(fd, head, 4, MSG_WAITALL) != 4) die("recv");
    uint32_t size = (uint32_t)mp_be(head, 4);
    if (size < 5 || size > MAX_REPLY || recv(fd, got, size, MSG_WAITALL) != size) die("reply");
    if (memcmp(got, "\x94\x01\x01\xc0", 4)) {
        fprintf(stderr, "hold: no good response: %.*s\n", (int)size, got);
        exit(1);
    }
}

static void login(int fd, long uid) {
    char b[64] = "\0\0\0\0\x94\0\x01\xaa" "auth.login\x91";
    int at = 19, n = snprintf(b + at + 1, 32, "dev:%ld", uid);
    b[at] = 0xa0 | n;
    b[3] = at + 1 + n - 4;
    call(fd, b, at + 1 + n);
}

int main(int argc, char **argv) {
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
    const char *source = "127.0.1.1";
    int opt, seconds = 120, sources = 4, one = 1;
    long uid = 1;
    while ((opt = getopt(argc, argv, "s:n:t:u:")) != -1)
        if (opt == 's') source = optarg;
        else if (opt == 'n') sources = atoi(optarg);
        else if (opt == 't') seconds = atoi(optarg);
        else if (opt == 'u') uid = atol(optarg);
        else return 2;
    int count = optind + 3 == argc ? atoi(argv[optind + 2]) : 0;
    if (count < 1 || sources < 1) {
        fprintf(stderr, "usage: hold [-s SOURCE] [-n SOURCES] [-t SECONDS] [-u UID] host port count\n");
        return 2;
    }
    to.sin_port = htons(atoi(argv[optind + 1]));
    if (inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1 || inet_pton(AF_INET, source, &from.sin_addr) != 1) die("address");
    in_addr_t first = ntohl(from.sin_addr.s_addr);
    alarm(seconds);

    struct linger reset = { .l_onoff = 1 };
    int *fds = malloc(count * sizeof *fds);
    for (int i = 0; i < count; i++) {
        if ((fds[i] = socket(AF_INET, SOCK_STREAM, 0)) < 0) die("socket");
        setsockopt(fds[i], IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        from.sin_addr.s_addr = htonl(first + i % sources);
        if (bind(fds[i], (struct sockaddr *)&from, sizeof from) < 0) die("bind");
        if (connect(fds[i], (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    }
    printf("held %d\n", count);
    fflush(stdout);

    static const char sum[] = "\0\0\0\x0a\x94\0\x01\xa3sum\x92\x01\x02";
    for (char line[64]; fgets(line, sizeof line, stdin);) {
        if (!strcmp(line, "call\n"))
            for (int i = 0; i < count; i++) call(fds[i], sum, sizeof sum - 1);
        else if (!strcmp(line, "login\n"))
            for (int i = 0; i < count; i++) login(fds[i], uid + i);
        else continue;
        printf("done %s", line);
        fflush(stdout);
    }
    for (int i = 0; i < count; i++) close(fds[i]);
}
