/* SPDX-License-Identifier: Apache-2.0 */
/* in_terminal COLUMNS ROWS ANSWER COMMAND ARG...: runs the command with a terminal for standard
 * input and output, and copies what it writes there to standard output. A terminal is asked what it
 * is by ESC [ c: it answers with ESC [ ANSWER, unless that is empty. A cell is 10 x 20 pixels.
 * Ends with the command's exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "in_terminal: %s: %s\n", what, strerror(errno));
    return 126;
}

/* In the child: the terminal becomes its own, with lines as the command ends them. */
static int run(int fd, unsigned columns, unsigned rows, char **command)
{
    struct winsize size = {.ws_col = (unsigned short)columns,
                           .ws_row = (unsigned short)rows,
                           .ws_xpixel = (unsigned short)(10 * columns),
                           .ws_ypixel = (unsigned short)(20 * rows)};
    struct termios mode;
    setsid();
    if (ioctl(fd, TIOCSCTTY, 0) || ioctl(fd, TIOCSWINSZ, &size) || tcgetattr(fd, &mode))
        return fail("no terminal");
    mode.c_oflag &= ~(tcflag_t)OPOST;
    if (tcsetattr(fd, TCSANOW, &mode) || dup2(fd, 0) < 0 || dup2(fd, 1) < 0)
        return fail("no terminal");
    execvp(command[0], command);
    return fail(command[0]);
}

/* Until the command and with it the terminal's other end is gone. */
static void copy(int fd, const char *answer)
{
    static const char question[] = "\033[c";
    size_t matched = 0;
    char c;
    while (read(fd, &c, 1) == 1) {
        putchar(c);
        matched = c == question[matched] ? matched + 1 : c == question[0];
        if (matched < sizeof(question) - 1)
            continue;
        matched = 0;
        if (answer[0] && (write(fd, "\033[", 2) < 0 || write(fd, answer, strlen(answer)) < 0))
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: in_terminal COLUMNS ROWS ANSWER COMMAND ARG...\n", stderr);
        return 2;
    }
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    char name[256];
    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof(name)))
        return fail("no terminal");
    int terminal = open(name, O_RDWR | O_NOCTTY);
    pid_t child = terminal < 0 ? -1 : fork();
    if (child < 0)
        return fail("no process");
    if (child == 0) {
        close(fd);
        _exit(run(terminal, (unsigned)strtoul(argv[1], NULL, 10),
                  (unsigned)strtoul(argv[2], NULL, 10), argv + 4));
    }
    close(terminal);
    copy(fd, argv[3]);
    close(fd);
    fflush(stdout);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
