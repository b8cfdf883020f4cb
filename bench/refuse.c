/* refuse.c - the least that it costs to refuse a connection on this kernel.
 *
 *   refuse PORT [told]     accepts and closes; told: reads once and sends 160 bytes before
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char said[4096], told[160] = {0, 0, 0, 156, 0x93, 2, 0xab, 's', 'y', 's', '.', 'c', 'l', 'o', 's', 'i', 'n', 'g'};
    struct sockaddr_in addr = {.sin_family = AF_INET};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc < 2) {
        fprintf(stderr, "usage: refuse PORT [told]\n");
        return 2;
    }
    addr.sin_port = htons((unsigned short)atoi(argv[1]));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 4096)) {
        perror("refuse");
        return 1;
    }
    for (;;) {
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (c < 0) continue;
        if (argc > 2 && recv(c, said, sizeof said, 0) > 0) send(c, told, sizeof told, MSG_MORE | MSG_NOSIGNAL);
        close(c);
    }
}
