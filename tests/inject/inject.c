/* SPDX-License-Identifier: Apache-2.0 */
/* Runs commands of vitro again and again, with their first, second, third ... allocation, open,
 * read, write and commit made to fail (shim.c), until one passes untouched. Each run must end with
 * status 0 or 1, the latter with one error line; nothing that the program holds may be lost on the
 * way; files that it writes are the old ones or the new ones, whole; nothing lies about. Counted
 * apart are two ways in which libraries end the process after an allocation of their own:
 * Cairo 1.16 follows null pointers in places, Jansson 2.14 has an assertion in its lexer.
 *
 *     inject SHIM VITRO FOLDER [--runs N] [COMMAND...]
 *
 * FOLDER holds the fixtures of tests/cli/make_fixtures.c. --runs N takes N of the places of each
 * kind, spread evenly, in place of all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORDS   48
#define MAX_OUTPUTS 4
#define OLD         "the file of before\n"
#define PATIENCE_S  60

typedef struct Command {
    const char *name;
    const char *words;                /* behind "vitro" */
    const char *outputs[MAX_OUTPUTS]; /* that must be whole */
    const char *folder;               /* made and removed around each run; NULL: none */
} Command;

#define TINY                                                                                       \
    "--model-name vit_tiny_patch4_28 --img-size 8 --in-channels 3 --embed-dim 8 --depth 1 "        \
    "--num-heads 2 --threads 1 "

static const Command commands[] = {
    {"predict", "predict --weights model.pth --json --workers 1 a.ppm b.ppm", {0}, NULL},
    {"plot", "predict --weights model.pth --plot out.png --workers 0 a.ppm", {"out.png"}, NULL},
    {"dump", "predict --weights model.pth --dump-input x.npy a.ppm", {"x.npy"}, NULL},
    {"eval",
     "eval --weights model.pth --data-path flowers --confusion c.csv --workers 2 --batch-size 4",
     {"c.csv"},
     NULL},
    {"train",
     "train --data-path flowers " TINY "--epochs 1 --batch-size 8 --workers 1 --output-dir w "
     "--log-dir w/log --metrics-jsonl w/steps",
     {"w/model-0.pth", "w/class_indices.json", "w/curves.png"},
     "w"},
    {"finetune",
     "train --data-path flowers --weights model.pth --epochs 1 --batch-size 8 --workers 0 "
     "--output-dir w --log-dir w/log --checkpoint-format safetensors --threads 1",
     {"w/model-0.safetensors", "w/class_indices.json"},
     "w"},
    {"to-safetensors", "convert model.pth out.safetensors", {"out.safetensors"}, NULL},
    {"to-npz", "convert model.pth out.npz --dtype f16", {"out.npz"}, NULL},
    {"to-pth", "convert out0.safetensors out.pth --names vitro", {"out.pth"}, NULL},
    {"list", "convert --list model.pth", {0}, NULL},
    {"summary", "summary --weights model.pth --json", {0}, NULL},
    {"check", "check flowers a.ppm --workers 2", {0}, NULL},
};

static const char *const kinds[][2] = {{"alloc", "fail"}, {"map", "fail"},    {"open", "fail"},
                                       {"read", "fail"},  {"write", "fail"},  {"commit", "fail"},
                                       {"read", "short"}, {"write", "short"}, {"read", "eintr"},
                                       {"write", "eintr"}};

static const char *shim, *vitro, *folder;
static long runs_per_kind; /* 0: all */
static long total_runs, failed_runs;

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* ---- files ------------------------------------------------------------------------------------
 */

typedef struct Bytes {
    char *data;
    size_t size;
    bool there;
} Bytes;

static Bytes load(const char *path)
{
    Bytes b = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return b;
    b.there = true;
    b.data = malloc(1 << 22);
    if (!b.data)
        die("malloc");
    b.size = fread(b.data, 1, 1 << 22, f);
    fclose(f);
    return b;
}

static void save(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    if (!f || fputs(text, f) < 0 || fclose(f))
        die(path);
}

static bool equal(const Bytes *a, const Bytes *b)
{
    return a->there == b->there && a->size == b->size &&
           (!a->size || memcmp(a->data, b->data, a->size) == 0);
}

/* Removes all files in `path`, and of its folders all files. */
static void empty(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char inner[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name);
        if (unlink(inner)) {
            empty(inner);
            rmdir(inner);
        }
    }
    if (d)
        closedir(d);
}

/* A file that was begun and is still there. */
static bool find_litter(char *found, size_t size, const char *path)
{
    DIR *d = opendir(path);
    bool any = false;
    for (struct dirent *e; d && !any && (e = readdir(d)) != NULL;) {
        any = strstr(e->d_name, ".tmp") || strstr(e->d_name, ".part") || strstr(e->d_name, "~");
        if (any)
            snprintf(found, size, "%s/%s", path, e->d_name);
    }
    if (d)
        closedir(d);
    return any;
}

/* ---- one run -----------------------------------------------------------------------------------
 */

typedef struct Outcome {
    int status;   /* of wait */
    bool excused; /* a library of those two ended the process */
    unsigned long calls;
    long live;
    int ended;
    Bytes told; /* on standard error */
} Outcome;

static void start(const Command *c, const char *kind, const char *mode, unsigned long at)
{
    static char text[2048];
    char number[32], *words[MAX_WORDS] = {(char *)(uintptr_t)vitro};
    int count = 1, out = open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0600),
        err = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    snprintf(text, sizeof(text), "%s", c->words);
    for (char *save_at, *w = strtok_r(text, " ", &save_at); w; w = strtok_r(NULL, " ", &save_at))
        words[count++] = w;
    snprintf(number, sizeof(number), "%lu", at);
    setenv("INJECT_KIND", kind, 1);
    setenv("INJECT_MODE", mode, 1);
    setenv("INJECT_AT", number, 1);
    setenv("INJECT_REPORT", "report", 1);
    setenv("LD_PRELOAD", shim, 1);
    setenv("GOMP_SPINCOUNT", "0", 1); /* else vitro starts itself once more */
    setenv("OMP_NUM_THREADS", "1", 1);
    if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(98);
    alarm(PATIENCE_S); /* outlives exec: SIGALRM tells what hangs */
    execv(vitro, words);
    _exit(97);
}

static Outcome run(const Command *c, const char *kind, const char *mode, unsigned long at)
{
    Outcome o = {0};
    unlink("report");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        start(c, kind, mode, at);
    while (waitpid(child, &o.status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    FILE *f = fopen("report", "r");
    if (!f || fscanf(f, "%lu %ld %d", &o.calls, &o.live, &o.ended) != 3)
        o.ended = -1;
    o.excused = WIFSIGNALED(o.status) && ((o.ended == 2 && WTERMSIG(o.status) == SIGSEGV) ||
                                          (o.ended == 3 && WTERMSIG(o.status) == SIGABRT));
    if (f)
        fclose(f);
    o.told = load("stderr");
    total_runs++;
    return o;
}

/* ---- what must hold ---------------------------------------------------------------------------
 */

static int count_errors(const Bytes *told)
{
    int n = 0;
    for (size_t i = 0; i + 13 <= told->size; i++)
        n += memcmp(told->data + i, "vitro: error:", 13) == 0 &&
             (i == 0 || told->data[i - 1] == '\n');
    return n;
}

/* What is wrong with the outcome, or NULL. */
static const char *judge(const Command *c, const Outcome *o, const Bytes *good, long live)
{
    static char text[600];
    char litter[512];
    if (!WIFEXITED(o->status)) {
        snprintf(text, sizeof(text), "ended by signal %d", WTERMSIG(o->status));
        return text;
    }
    int status = WEXITSTATUS(o->status), errors = count_errors(&o->told);
    if (status != 0 && status != 1) {
        snprintf(text, sizeof(text), "exit status %d", status);
        return text;
    }
    if (status == 1 ? errors < 1 : errors > 0)
        return status ? "status 1 without an error line" : "status 0 with an error line";
    if (o->ended == -1)
        return "no report of the shim";
    if (!o->ended && o->live > live) {
        snprintf(text, sizeof(text), "%ld blocks lost, %ld without the failure", o->live, live);
        return text;
    }
    for (int i = 0; i < MAX_OUTPUTS && c->outputs[i]; i++) {
        Bytes now = load(c->outputs[i]), old = {(char *)(uintptr_t)OLD, strlen(OLD), true};
        bool whole = equal(&now, &good[i]) || equal(&now, &old);
        free(now.data);
        if (!whole) {
            snprintf(text, sizeof(text), "%s is neither the old one nor the new one",
                     c->outputs[i]);
            return text;
        }
    }
    if (find_litter(litter, sizeof(litter), ".") ||
        (c->folder && find_litter(litter, sizeof(litter), c->folder))) {
        unlink(litter);
        snprintf(text, sizeof(text), "%s is left behind", litter);
        return text;
    }
    return NULL;
}

static void prepare(const Command *c)
{
    if (c->folder) {
        empty(c->folder);
        mkdir(c->folder, 0777);
    }
    for (int i = 0; i < MAX_OUTPUTS && c->outputs[i]; i++)
        save(c->outputs[i], OLD);
}

static void try_kind(const Command *c, const char *kind, const char *mode)
{
    Bytes good[MAX_OUTPUTS] = {{0}};
    long failed = 0, survived = 0, wrong = 0, excused = 0;
    prepare(c);
    Outcome first = run(c, kind, mode, 0);
    if (first.status != 0 || first.ended != 0) {
        fprintf(stderr, "inject: %s fails untouched: %.*s\n", c->name, (int)first.told.size,
                first.told.data);
        exit(2);
    }
    for (int i = 0; i < MAX_OUTPUTS && c->outputs[i]; i++)
        good[i] = load(c->outputs[i]);
    unsigned long step =
        runs_per_kind && first.calls > (unsigned long)runs_per_kind
            ? (first.calls + (unsigned long)runs_per_kind - 1) / (unsigned long)runs_per_kind
            : 1;
    for (unsigned long n = 1; n <= first.calls; n += step) {
        prepare(c);
        Outcome o = run(c, kind, mode, n);
        const char *problem = o.excused ? NULL : judge(c, &o, good, first.live);
        if (o.excused) {
            excused++;
            continue;
        }
        if (problem) {
            wrong++;
            printf("inject: %s: %s %s at %lu of %lu: %s\n", c->name, kind, mode, n, first.calls,
                   problem);
            printf("    %.*s\n", o.told.size > 400 ? 400 : (int)o.told.size,
                   o.told.size ? o.told.data : "");
        } else if (WEXITSTATUS(o.status)) {
            failed++;
        } else {
            survived++;
        }
        free(o.told.data);
        /* The short and the interrupted call must not be noticed at all. */
        if (!problem && WEXITSTATUS(o.status) && strcmp(mode, "fail") != 0) {
            wrong++;
            printf("inject: %s: %s %s at %lu: was noticed\n", c->name, kind, mode, n);
        }
    }
    printf("%-15s %-6s %-5s %7lu places, %6ld told, %6ld survived, %ld wrong\n", c->name, kind,
           mode, first.calls, failed, survived, wrong);
    fflush(stdout);
    if (excused)
        printf("    and %ld that Cairo or Jansson do not come through\n", excused);
    failed_runs += wrong;
    for (int i = 0; i < MAX_OUTPUTS; i++)
        free(good[i].data);
    free(first.told.data);
}

static bool is_wanted(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: inject SHIM VITRO FOLDER [--runs N] [COMMAND...]\n");
        return 2;
    }
    shim = argv[1], vitro = argv[2], folder = argv[3];
    int at = 4;
    if (at + 1 < argc && strcmp(argv[at], "--runs") == 0) {
        runs_per_kind = strtol(argv[at + 1], NULL, 10);
        at += 2;
    }
    if (chdir(folder))
        die(folder);
    for (size_t c = 0; c < sizeof(commands) / sizeof(commands[0]); c++) {
        if (!is_wanted(commands[c].name, argv + at, argc - at))
            continue;
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
            try_kind(&commands[c], kinds[k][0], kinds[k][1]);
        if (strcmp(commands[c].name, "to-safetensors") == 0 &&
            rename("out.safetensors", "out0.safetensors"))
            die("out0.safetensors");
    }
    printf("inject: %ld runs, %ld of them wrong\n", total_runs, failed_runs);
    return failed_runs ? 1 : 0;
}
