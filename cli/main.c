/* SPDX-License-Identifier: Apache-2.0 */
/* `vitro`: finds the command in the table and runs it. What a command does is in cmd_<name>.c. */
#include "manual.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const Command commands[] = {
    {"train", "train a model on labelled pictures", cmd_train, .computes = true},
    {"predict", "say what a model sees in pictures", cmd_predict, .computes = true},
    {"eval", "measure a model on a data set", cmd_eval, .computes = true},
    {"check", "find pictures that cannot be read", cmd_check, .computes = false},
    {"summary", "count parameters and operations", cmd_summary, .computes = false},
    {"convert", "write a weight file in another format, list its tensors", cmd_convert,
     .computes = false},
    {"pull", "fetch published weights by name", cmd_pull, .computes = false},
    {"bench", "measure speed", cmd_bench, .computes = true},
    {0},
};

#define COMMAND_COUNT (ARG_COUNT(commands) - 1)

static void print_help(FILE *out)
{
    fputs("usage: vitro COMMAND [options] ...\n\n"
          "Vision Transformers: train, evaluate, predict.\n\ncommands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s%s\n", commands[i].name, commands[i].summary);
    fputs("\n`vitro COMMAND --help` lists the options of a command; `vitro --version` says what\n"
          "this program was built with. Exit status: 0 done, 1 it failed, 2 the command line is\n"
          "wrong.\n",
          out);
}

/* `vitro --help=FORM`; what the build makes of it is installed. */
static int print_form(const char *form)
{
    if (strcmp(form, "text") == 0)
        print_help(stdout);
    else if (strcmp(form, "man") == 0)
        manual_program(commands, stdout);
    else if (strcmp(form, "bash") == 0)
        completion_bash(commands);
    else if (strcmp(form, "zsh") == 0)
        completion_zsh(commands);
    else if (strcmp(form, "commands") == 0)
        for (int i = 0; i < COMMAND_COUNT; i++)
            puts(commands[i].name);
    else
        return cli_usage("option --help: found another form than text, man, bash, zsh, commands");
    return CLI_OK;
}

static void print_version(FILE *out)
{
    fprintf(out, "vitro %s\nback ends:", vitro_version());
    for (int i = 0; i < vitro_backend_count(); i++)
        fprintf(out, "%s %s", i ? "," : "", vitro_backend_name(i));
    fprintf(out, "\n%s", vitro_build_info());
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2)
        return cli_usage("found no command; `vitro --help` lists the commands");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strncmp(word, "--help=", 7) == 0)
        return print_form(word + 7);
    if (strcmp(word, "--version") == 0) {
        print_version(stdout);
        return CLI_OK;
    }
    const char *names[COMMAND_COUNT + 1] = {0};
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i].name;
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    const char *nearest = args_nearest(word, names);
    char shown[81];
    cli_clean(shown, sizeof(shown), word);
    if (nearest)
        return cli_usage("found '%s', expected a command; did you mean %s?", shown, nearest);
    return cli_usage("found '%s', expected a command; `vitro --help` lists the commands", shown);
}

static void log_line(void *user, VitroLogLevel level, const char *line)
{
    (void)user;
    cli_note("%s%s", level == VITRO_LOG_WARN ? "warning: " : "", line);
}

/* Threads of GNU OpenMP that wait keep their core busy for milliseconds. Beside the loader's
 * threads, or another program, that costs more than the work itself: one training run made 2 steps
 * a second instead of 30. But a small model has hundreds of parallel regions in a step of 10 ms: on
 * an idle machine its training reached 0.30 of the peak with a count of 0, 0.28 with 200, 0.50 with
 * 1000 (some 50 microseconds) and 0.52 with any more. The count is read from the environment before
 * main begins, so the program starts itself once more with that setting, unless the user chose one
 * or the command computes nothing: a start takes some 5 ms.
 */
static void spin_briefly(int argc, char **argv)
{
#if defined(__linux__)
    bool computes = false;
    for (int i = 0; i < COMMAND_COUNT && argc > 1; i++)
        computes |= commands[i].computes && strcmp(argv[1], commands[i].name) == 0;
    if (!computes || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length <= 0 || setenv("GOMP_SPINCOUNT", "1000", 1))
        return;
    self[length] = 0;
    /* Not where an emulator or a loader runs this program: it would be started in our place. */
    const char *name = strrchr(self, '/'), *called = strrchr(argv[0], '/');
    if (strcmp(name ? name + 1 : self, called ? called + 1 : argv[0]) == 0)
        execv(self, argv);
#else
    (void)argc, (void)argv;
#endif
}

/* Where the caller closed a standard stream, the next file opened would take its number, and
 * results would be written into it. The streams are opened the wrong way round: their use still
 * fails. */
static void keep_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(CLI_FAILED);
}

int main(int argc, char **argv)
{
    keep_standard_streams();
    spin_briefly(argc, argv);
    /* `vitro ... | head` ends quietly, also where the caller ignores SIGPIPE. */
    signal(SIGPIPE, SIG_DFL);
    /* A limit on the size of files is told as a full disk is, by the write that meets it. */
    signal(SIGXFSZ, SIG_IGN);
    vitro_set_log(log_line, NULL);
    int status = run(argc, argv);
    int flushed = cli_flush();
    return status ? status : flushed;
}
