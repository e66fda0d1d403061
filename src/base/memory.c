/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define LINE_BYTES (PATH_BYTES + 64)
#define UNKNOWN    (-1)

static int64_t smaller(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a; /* what is unknown limits nothing */
    return a < b ? a : b;
}

static int64_t left_of(int64_t limit, int64_t used)
{
    return limit > used ? limit - used : 0;
}

/* The number after `key` at the start of a line of root/path ("": the first line). A word in its
 * place ("max") and a file that is not there are UNKNOWN. */
static int64_t read_number(const char *root, const char *path, const char *key)
{
    char name[2 * PATH_BYTES], line[LINE_BYTES];
    snprintf(name, sizeof(name), "%s%s", root, path);
    FILE *f = fopen(name, "re");
    int64_t value = UNKNOWN;
    while (f && value == UNKNOWN && fgets(line, sizeof(line), f))
        if (strncmp(line, key, strlen(key)) != 0 ||
            sscanf(line + strlen(key), "%" SCNd64, &value) != 1)
            value = UNKNOWN;
    if (f)
        fclose(f);
    return value;
}

/* ---- control groups (version 2) ---------------------------------------------------------------
 */

/* What the group `dir`, "/sys/fs/cgroup" or below, leaves. Pages of files count as used there,
 * though they make way for others. */
static int64_t left_in_group(const char *root, const char *dir)
{
    static const char *const files[] = {"inactive_file ", "active_file "};
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof(path), "%s/memory.max", dir);
    int64_t limit = read_number(root, path, "");
    snprintf(path, sizeof(path), "%s/memory.current", dir);
    int64_t used = read_number(root, path, "");
    if (limit == UNKNOWN || used == UNKNOWN)
        return UNKNOWN;
    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    for (int i = 0; i < 2; i++) {
        int64_t pages = read_number(root, path, files[i]);
        used = pages > 0 ? left_of(used, pages) : used;
    }
    return left_of(limit, used);
}

/* The path of the process's group into path[PATH_BYTES]: the line "0::/path". False: none. */
static bool find_group(const char *root, char *path)
{
    char name[PATH_BYTES], line[LINE_BYTES];
    snprintf(name, sizeof(name), "%s/proc/self/cgroup", root);
    FILE *f = fopen(name, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        found = strncmp(line, "0::/", 4) == 0 && strlen(line + 3) < PATH_BYTES - 32;
    }
    if (f)
        fclose(f);
    if (found)
        snprintf(path, PATH_BYTES, "/sys/fs/cgroup%s", line + 3);
    return found;
}

/* The group's and all those that it is in. In a container its path may lead to nothing; the
 * topmost folder is then the container's own. */
static int64_t left_in_groups(const char *root)
{
    char path[PATH_BYTES];
    int64_t left = UNKNOWN;
    if (!find_group(root, path))
        return UNKNOWN;
    for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
        *end = 0;
        if (strlen(path) < strlen("/sys/fs/cgroup"))
            break;
        left = smaller(left, left_in_group(root, path));
    }
    return left;
}

/* ---- limits of the process --------------------------------------------------------------------
 */

/* Column `field` of /proc/self/statm, counted from 0: pages. */
static int64_t used_pages(int field)
{
    int64_t n[7];
    FILE *f = fopen("/proc/self/statm", "re");
    int count = 0;
    while (f && count < 7 && fscanf(f, "%" SCNd64, &n[count]) == 1)
        count++;
    if (f)
        fclose(f);
    return field < count ? n[field] : UNKNOWN;
}

static int64_t left_by_limit(int resource, int field)
{
    struct rlimit limit;
    int64_t pages = used_pages(field);
    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY || pages == UNKNOWN ||
        limit.rlim_cur > INT64_MAX)
        return UNKNOWN;
    return left_of((int64_t)limit.rlim_cur, pages * (int64_t)sysconf(_SC_PAGESIZE));
}

int64_t vitro_memory_available_below(const char *root)
{
    enum { STATM_SIZE = 0, STATM_DATA = 5 };
    int64_t kib = read_number(root, "/proc/meminfo", "MemAvailable:");
    int64_t left = kib >= 0 && kib <= INT64_MAX / 1024 ? 1024 * kib : UNKNOWN;
    left = smaller(left, left_in_groups(root));
    left = smaller(left, left_by_limit(RLIMIT_AS, STATM_SIZE));
    return smaller(left, left_by_limit(RLIMIT_DATA, STATM_DATA));
}

int64_t vitro_memory_available(void)
{
    const char *env = getenv("VITRO_MEMORY_AVAILABLE");
    int64_t bytes;
    if (env && sscanf(env, "%" SCNd64, &bytes) == 1 && bytes >= 0)
        return bytes;
    return vitro_memory_available_below("");
}
