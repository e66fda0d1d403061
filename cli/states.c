/* SPDX-License-Identifier: Apache-2.0 */
#include "states.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STATE_END   ".safetensors"
#define STOPPED_END "-stopped" STATE_END
#define SUPERSEDED  "state-superseded" STATE_END
#define TEMP_END    ".vitro-tmp"
#define PATIENCE_MS 10000 /* for a run that is just ending */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* ---- the folder -------------------------------------------------------------------------------
 */

/* Files that a run writes there, half written; nobody who lives holds their lock. */
static bool is_litter(const char *dir, const char *name)
{
    static const char *const begin[] = {"model-", "state-", "class_indices.json", "curves.png"};
    bool ours = false;
    for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]); i++)
        ours |= strncmp(name, begin[i], strlen(begin[i])) == 0;
    if (!ours || !ends_with(name, TEMP_END))
        return false;
    char *path = cli_format("%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    free(path);
    bool dead = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0)
        close(fd);
    return dead;
}

static void clear_litter(int dir_fd, const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        if (is_litter(dir, e->d_name))
            unlinkat(dir_fd, e->d_name, 0);
    if (d)
        closedir(d);
}

int states_lock(int *out, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail("option --output-dir: %s: %s", dir, strerror(errno));
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += 50) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            break; /* a file system without locks */
        if (waited >= PATIENCE_MS) {
            close(fd);
            return cli_fail("option --output-dir: %s: another `vitro train` is writing there", dir);
        }
        poll(NULL, 0, 50);
    }
    clear_litter(fd, dir);
    *out = fd;
    return CLI_OK;
}

/* ---- the list ---------------------------------------------------------------------------------
 */

typedef struct State {
    int64_t steps;
    bool stopped;
} State;

typedef struct StateList {
    State *state; /* the latest first */
    size_t count, room;
} StateList;

char *states_path(const char *dir, int64_t steps, bool stopped)
{
    return cli_format("%s/state-%" PRId64 "%s", dir, steps, stopped ? STOPPED_END : STATE_END);
}

static bool read_name(State *s, const char *name)
{
    char *end;
    if (strncmp(name, "state-", 6) != 0 || name[6] < '0' || name[6] > '9')
        return false;
    errno = 0;
    s->steps = strtoll(name + 6, &end, 10);
    s->stopped = strcmp(end, STOPPED_END) == 0;
    return !errno && (s->stopped || strcmp(end, STATE_END) == 0);
}

/* Of equal steps the stopped one is the earlier: the other may be the epoch's end. */
static int compare_states(const void *a, const void *b)
{
    const State *x = a, *y = b;
    if (x->steps != y->steps)
        return x->steps < y->steps ? 1 : -1;
    return (int)x->stopped - (int)y->stopped;
}

static int list_states(StateList *list, const char *dir)
{
    *list = (StateList){0};
    DIR *d = opendir(dir);
    if (!d && errno == ENOENT)
        return CLI_OK;
    if (!d)
        return cli_fail("option --output-dir: %s: %s", dir, strerror(errno));
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        State s;
        if (!read_name(&s, e->d_name))
            continue;
        if (list->count == list->room) {
            size_t room = list->room ? 2 * list->room : 16;
            State *grown = cli_alloc(room, sizeof(*grown));
            if (list->count)
                memcpy(grown, list->state, list->count * sizeof(*grown));
            free(list->state);
            list->state = grown;
            list->room = room;
        }
        list->state[list->count++] = s;
    }
    closedir(d);
    if (list->count)
        qsort(list->state, list->count, sizeof(*list->state), compare_states);
    return CLI_OK;
}

/* ---- finding and removing ---------------------------------------------------------------------
 */

int states_find_latest(VitroTrainState **out, char **path, const char *dir)
{
    StateList list;
    *out = NULL;
    *path = NULL;
    int status = list_states(&list, dir);
    for (size_t i = 0; i < list.count && !status && !*out; i++) {
        char *tried = states_path(dir, list.state[i].steps, list.state[i].stopped);
        VitroStatus st = vitro_train_state_open(out, tried);
        if (st == VITRO_OK) {
            *path = tried;
            break;
        }
        *out = NULL;
        free(tried);
        if (st != VITRO_E_FORMAT)
            status = cli_fail_lib();
        else
            cli_note("warning: passed over as damaged: %s", vitro_last_error());
    }
    if (list.count && !status && !*out)
        status = cli_fail("option --resume: %s: none of the %zu training states there is whole; "
                          "without --resume the run begins anew",
                          dir, list.count);
    free(list.state);
    return status;
}

int states_supersede(const char *dir, int64_t steps)
{
    StateList list;
    int status = list_states(&list, dir);
    for (size_t i = 0; i < list.count && list.state[i].steps > steps && !status; i++) {
        char *path = states_path(dir, list.state[i].steps, list.state[i].stopped);
        char *aside = cli_format("%s/" SUPERSEDED, dir);
        int failed = i == 0 ? rename(path, aside) : unlink(path);
        if (failed)
            status = cli_fail("%s: cannot be %s: %s", path, i == 0 ? "renamed" : "removed",
                              strerror(errno));
        else if (i == 0)
            cli_note("%s is of a run that this one begins over: it is %s now", path, aside);
        free(aside);
        free(path);
    }
    free(list.state);
    return status;
}

void states_prune(const char *dir, int64_t steps, const char *path, int keep)
{
    StateList list;
    int kept = 0;
    if (list_states(&list, dir))
        return; /* the run itself is well: the next save looks again */
    for (size_t i = 0; i < list.count; i++) {
        const State *s = &list.state[i];
        char *other = states_path(dir, s->steps, s->stopped);
        bool same = strcmp(other, path) == 0;
        /* Later ones are damaged, else this run would have begun there; it will come to them. */
        if (s->steps <= steps && !same && (s->stopped || kept >= keep))
            unlink(other);
        else if (s->steps <= steps && !s->stopped)
            kept++;
        free(other);
    }
    free(list.state);
}
