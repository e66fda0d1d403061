/* SPDX-License-Identifier: Apache-2.0 */
#include "show.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

const char *const show_names[] = {"auto", "kitty", "sixel", "blocks", "blocks256", NULL};

/* Where the terminal does not tell its size. */
#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS    24
#define CELL_WIDTH      10 /* pixels */
#define CELL_HEIGHT     20

/* ---- which way --------------------------------------------------------------------------------
 */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* Does an answer to "primary device attributes", ESC [ ? 62 ; 4 ; ... c, list 4, sixel graphics? */
static bool lists_sixel(const char *answer)
{
    const char *p = strstr(answer, "\033[?");
    for (p = p ? p + 3 : ""; *p && *p != 'c';) {
        char *end;
        long attribute = strtol(p, &end, 10);
        if (end == p)
            return false;
        if (attribute == 4)
            return true;
        p = *end == ';' ? end + 1 : end;
    }
    return false;
}

#define ANSWER_MS 300 /* for one byte: a terminal far away answers late, most at once */

static void read_answer(char *answer, size_t size)
{
    size_t n = 0;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (n + 1 < size && poll(&input, 1, ANSWER_MS) == 1 &&
           read(STDIN_FILENO, answer + n, 1) == 1)
        if (answer[n++] == 'c')
            break;
    answer[n] = 0;
}

/* Asks the terminal, if it is there to be asked: both ends are its, and we are in front (who is in
 * the background is stopped for changing its modes). */
static bool terminal_has_sixel(void)
{
    struct termios before, asking;
    char answer[128];
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &before))
        return false;
    asking = before;
    asking.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    asking.c_cc[VMIN] = 1;
    asking.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &asking))
        return false;
    fputs("\033[c", stdout);
    fflush(stdout);
    read_answer(answer, sizeof(answer));
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return lists_sixel(answer);
}

static VitroShowMethod blocks_of_terminal(void)
{
    const char *colours = variable("COLORTERM");
    bool many = strcmp(colours, "truecolor") == 0 || strcmp(colours, "24bit") == 0 ||
                strstr(variable("TERM"), "-direct");
    return many ? VITRO_SHOW_BLOCKS : VITRO_SHOW_BLOCKS_256;
}

/* tmux and screen keep kitty's codes to themselves, though its variables are set inside them. */
static VitroShowMethod choose(void)
{
    const char *term = variable("TERM");
    bool inside =
        variable("TMUX")[0] || strncmp(term, "screen", 6) == 0 || strncmp(term, "tmux", 4) == 0;
    bool kitty = variable("KITTY_WINDOW_ID")[0] || strstr(term, "kitty") ||
                 strstr(term, "ghostty") || strcmp(variable("TERM_PROGRAM"), "ghostty") == 0;
    if (kitty && !inside)
        return VITRO_SHOW_KITTY;
    return terminal_has_sixel() ? VITRO_SHOW_SIXEL : blocks_of_terminal();
}

/* ---- how large --------------------------------------------------------------------------------
 */

static void measure(Show *s)
{
    struct winsize w = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || w.ws_col == 0 || w.ws_row == 0)
        w = (struct winsize){.ws_col = DEFAULT_COLUMNS, .ws_row = DEFAULT_ROWS};
    int rows = w.ws_row > 2 ? w.ws_row - 1 : 1; /* one is for what comes next */
    if (!show_is_fine(s)) {
        s->max_width = w.ws_col;
        s->max_height = 2 * rows;
        return;
    }
    bool told = w.ws_xpixel > 0 && w.ws_ypixel > 0;
    s->max_width = told ? w.ws_xpixel : w.ws_col * CELL_WIDTH;
    s->max_height = told ? (int)((int64_t)w.ws_ypixel * rows / w.ws_row) : rows * CELL_HEIGHT;
    s->max_height = s->max_height > 0 ? s->max_height : 1;
}

void show_open(Show *s, int as)
{
    const char *term = variable("TERM");
    *s = (Show){0};
    if (!isatty(STDOUT_FILENO)) {
        cli_note("note: --show: standard output is no terminal: no picture is shown");
        return;
    }
    if (as == SHOW_AUTO && (!term[0] || strcmp(term, "dumb") == 0)) {
        cli_note(
            "note: --show: the terminal (TERM='%s') shows no pictures; --show-as chooses a way",
            term);
        return;
    }
    s->on = true;
    s->method = as == SHOW_AUTO ? choose() : (VitroShowMethod)(as - 1);
    measure(s);
}

bool show_is_fine(const Show *s)
{
    return s->method == VITRO_SHOW_KITTY || s->method == VITRO_SHOW_SIXEL;
}

/* ---- showing ----------------------------------------------------------------------------------
 */

/* What standard output refuses is told at the end of the program, as of any other output. */
static VitroStatus to_stdout(void *user, const void *data, size_t size)
{
    (void)user;
    fwrite(data, 1, size, stdout);
    return VITRO_OK;
}

int show_picture(const Show *s, const VitroImage *picture)
{
    if (vitro_show(picture, s->method, s->max_width, s->max_height, to_stdout, NULL))
        return cli_fail_lib();
    return CLI_OK;
}
