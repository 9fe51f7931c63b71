/*
 * clavigerctl_terminal: owns what the program knows of its terminal and does to it. Called by keys, status,
 * top and watch. The sequences are those of ECMA-48 and of xterm's private modes, which every terminal of
 * today has.
 */
#include "clavigerctl.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before; /* how standard input was */
static bool quieted;          /* and that it is otherwise now */

struct terminal_size terminal_size(void)
{
    struct winsize window;
    struct terminal_size size = {0, 0};
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0) {
        size.columns = window.ws_col;
        size.rows = window.ws_row;
    }
    return size;
}

bool terminal_has_colours(void)
{
    const char *no = getenv("NO_COLOR"); /* no-color.org: set, and not empty */
    const char *type = getenv("TERM");
    return isatty(STDOUT_FILENO) && (!no || no[0] == '\0') && type && type[0] != '\0' &&
           strcmp(type, "dumb") != 0;
}

bool terminal_has_unicode(void)
{
    return setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void say(const char *sequence)
{
    fputs(sequence, stdout);
    fflush(stdout);
}

/* From the background it would stop us, and what is typed is meant for another program. */
static bool is_ours(void)
{
    return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

void terminal_enter(void)
{
    struct termios quiet;
    if (is_ours() && tcgetattr(STDIN_FILENO, &before) == 0) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
        quiet.c_cc[VMIN] = 1;
        quiet.c_cc[VTIME] = 0;
        quieted = tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet) == 0;
    }
    say("\033[?1049h\033[?25l\033[?7l\033[2J"); /* other screen, no cursor, no wrapping, empty */
}

void terminal_leave(void)
{
    say("\033[?7h\033[?25h\033[?1049l");
    if (quieted)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    quieted = false;
}

static size_t count_lines(const struct buf *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->len; i++)
        count += text->data[i] == '\n';
    return count;
}

void terminal_draw(const struct buf *text)
{
    struct buf screen = {0};
    struct terminal_size size = terminal_size();
    unsigned rows = size.rows;
    size_t lines = count_lines(text);
    size_t fit = rows == 0 || lines <= rows ? lines : rows - 1;
    const char *line = text->data;
    buf_puts(&screen, "\033[H");
    for (size_t i = 0; i < fit; i++) {
        size_t len = strcspn(line, "\n");
        text_cut(&screen, line, len, size.columns);
        /* No line end behind the last: the window would scroll. */
        buf_puts(&screen, i + 1 < lines ? "\033[K\r\n" : "\033[K");
        line += len + 1;
    }
    if (fit < lines)
        buf_printf(&screen, "... and %zu lines more\033[K", lines - fit);
    buf_puts(&screen, "\033[J");
    if (!screen.failed && fwrite(screen.data, 1, screen.len, stdout) == screen.len)
        fflush(stdout);
    buf_fini(&screen);
}
