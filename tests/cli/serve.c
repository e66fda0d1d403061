/* SPDX-License-Identifier: Apache-2.0 */
/* serve FOLDER COMMAND...: runs COMMAND while a server on 127.0.0.1, at $URL, gives away FOLDER's
 * files. It breaks off every answer after 64 KiB. Ends with COMMAND's exit status. */
#include "harness/http_server.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CUT = 64 << 10, LARGEST = 16 << 20 };

static void answer(void *user, const VtRequest *r)
{
    static uint8_t data[LARGEST];
    char path[4096];
    snprintf(path, sizeof(path), "%s%s", (const char *)user, r->path);
    FILE *f = strstr(path, "..") ? NULL : fopen(path, "rb");
    if (!f) {
        vt_send_text(r, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    size_t n = fread(data, 1, sizeof(data), f);
    fclose(f);
    vt_send_file(r, data, n, CUT);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: serve FOLDER COMMAND...\n");
        return 2;
    }
    char url[64];
    VtServer *s = vt_server_start(answer, argv[1]);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", vt_server_port(s));
    setenv("URL", url, 1);
    setenv("no_proxy", "127.0.0.1", 1);
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 127;
    vt_server_stop(s);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}
