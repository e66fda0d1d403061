/* SPDX-License-Identifier: Apache-2.0 */
/* Collects the pictures that a command line names. Opens none of them. */
#include "inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LIST_MAX_BYTES ((size_t)64 << 20)

static void add(InputList *list, const char *name)
{
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **names = cli_alloc((size_t)capacity, sizeof(*names));
        if (list->count)
            memcpy(names, list->names, (size_t)list->count * sizeof(*names));
        free(list->names);
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = cli_strdup(name);
}

void inputs_deinit(InputList *list)
{
    for (int64_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (InputList){0};
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* What this program decodes, by extension; `any`: what torchvision's folders take for pictures. A
 * file named by itself may have any name. */
static bool looks_like_picture(const char *name, bool any)
{
    static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp",
                                             ".ppm", ".pgm",  ".tif", ".tiff"};
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < ARG_COUNT(extensions) - (any ? 0 : 2); i++)
        if (strcasecmp(dot, extensions[i]) == 0)
            return true;
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Paths of the entries of `folder` that are folders or look like pictures, sorted. */
static int scan(InputList *found, const char *folder, bool folders)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return cli_fail("%s: the folder cannot be read: %s", folder, strerror(errno));
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' || (!folders && !looks_like_picture(entry->d_name, false)))
            continue;
        char *path = cli_format("%s%s%s", folder, slash, entry->d_name);
        if (is_folder(path) == folders)
            add(found, path);
        free(path);
    }
    closedir(dir);
    if (found->count)
        qsort(found->names, (size_t)found->count, sizeof(*found->names), by_bytes);
    return CLI_OK;
}

static void add_all(InputList *list, const InputList *more)
{
    for (int64_t i = 0; i < more->count; i++)
        add(list, more->names[i]);
}

static int add_folder(InputList *list, const char *folder)
{
    InputList pictures = {0}, folders = {0};
    int status = scan(&pictures, folder, false);
    if (!status && pictures.count == 0)
        status = scan(&folders, folder, true);
    int64_t before = list->count;
    add_all(list, &pictures);
    for (int64_t i = 0; !status && i < folders.count; i++) {
        InputList inner = {0};
        status = scan(&inner, folders.names[i], false);
        add_all(list, &inner);
        inputs_deinit(&inner);
    }
    if (!status && list->count == before)
        status = cli_fail("%s: found no picture in the folder, expected .jpg, .jpeg, .png, .webp, "
                          ".bmp, .ppm or .pgm files",
                          folder);
    inputs_deinit(&pictures);
    inputs_deinit(&folders);
    return status;
}

/* ---- every picture of a folder ---------------------------------------------------------------
 */

/* A folder and those that it lies in: a link may lead back to one of them. */
typedef struct Trail {
    const struct Trail *up;
    dev_t dev;
    ino_t ino;
    int depth;
} Trail;

enum { MAX_DEPTH = 64 };

/* The pictures and folders of `folder`, sorted. */
static int list_all(InputList *found, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return cli_fail("%s: the folder cannot be read: %s", folder, strerror(errno));
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *path = cli_format("%s%s%s", folder, slash, entry->d_name);
        if (looks_like_picture(entry->d_name, true) || is_folder(path))
            add(found, path);
        free(path);
    }
    int status =
        errno ? cli_fail("%s: the folder cannot be read: %s", folder, strerror(errno)) : CLI_OK;
    closedir(dir);
    if (found->count)
        qsort(found->names, (size_t)found->count, sizeof(*found->names), by_bytes);
    return status;
}

static int add_tree(InputList *list, const char *folder, const Trail *up)
{
    struct stat info;
    if (stat(folder, &info))
        return cli_fail("%s: %s", folder, strerror(errno));
    Trail here = {up, info.st_dev, info.st_ino, up ? up->depth + 1 : 0};
    for (const Trail *t = up; t; t = t->up)
        if (t->dev == here.dev && t->ino == here.ino)
            return CLI_OK;
    if (here.depth == MAX_DEPTH)
        return cli_fail("%s: folders nested deeper than %d", folder, MAX_DEPTH);
    InputList found = {0};
    int status = list_all(&found, folder);
    for (int64_t i = 0; i < found.count && !status; i++) {
        if (is_folder(found.names[i]))
            status = add_tree(list, found.names[i], &here);
        else
            add(list, found.names[i]);
    }
    inputs_deinit(&found);
    return status;
}

static int add_whole_folder(InputList *list, const char *folder)
{
    int64_t before = list->count;
    int status = add_tree(list, folder, NULL);
    if (!status && list->count == before)
        status = cli_fail("%s: found no picture in the folder, expected .jpg, .jpeg, .png, .webp, "
                          ".bmp, .ppm, .pgm, .tif or .tiff files",
                          folder);
    return status;
}

/* ---- lists -----------------------------------------------------------------------------------
 */

static int read_stream(FILE *stream, const char *name, void **data, size_t *size, size_t max)
{
    size_t capacity = 1 << 16, n = 0, got;
    char *bytes = cli_alloc(capacity + 1, 1);
    while ((got = fread(bytes + n, 1, capacity - n, stream)) > 0) {
        n += got;
        if (n < capacity)
            continue;
        if (n > max)
            break;
        char *larger = cli_alloc(2 * capacity + 1, 1);
        memcpy(larger, bytes, n);
        free(bytes);
        bytes = larger;
        capacity *= 2;
    }
    if (ferror(stream) || n > max) {
        free(bytes);
        if (n > max)
            return cli_fail("%s: found more than %zu bytes, the limit", name, max);
        return cli_fail("%s: %s", name, strerror(errno));
    }
    bytes[n] = 0;
    *data = bytes;
    *size = n;
    return CLI_OK;
}

int read_stdin(void **data, size_t *size, size_t max)
{
    return read_stream(stdin, "standard input", data, size, max);
}

static int add_named(InputList *list, const char *name)
{
    if (is_folder(name))
        return list->whole_folders ? add_whole_folder(list, name) : add_folder(list, name);
    add(list, name);
    return CLI_OK;
}

static int add_lines(InputList *list, char *text, const char *path)
{
    int64_t before = list->count;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r')
            line[--length] = 0;
        int status = length ? add_named(list, line) : CLI_OK;
        if (status)
            return status;
    }
    return list->count > before ? CLI_OK : cli_fail("%s: the list names no picture", path);
}

static int add_list(InputList *list, const char *path)
{
    bool from_stdin = strcmp(path, "-") == 0;
    FILE *stream = from_stdin ? stdin : fopen(path, "rb");
    if (!stream)
        return cli_fail("%s: the list cannot be read: %s", path, strerror(errno));
    void *text;
    size_t size;
    int status = read_stream(stream, path, &text, &size, LIST_MAX_BYTES);
    if (!from_stdin)
        fclose(stream);
    if (status)
        return status;
    if (strlen(text) != size)
        status = cli_fail("%s: found a NUL byte, expected one name per line", path);
    else
        status = add_lines(list, text, path);
    free(text);
    return status;
}

static int collect(InputList *list, const char *const *operands, int count)
{
    int status = CLI_OK, stdin_uses = 0;
    for (int i = 0; i < count && !status; i++) {
        const char *name = operands[i];
        bool picture = strcmp(name, "-") == 0;
        stdin_uses += picture || strcmp(name, "@-") == 0;
        if (stdin_uses > 1)
            status = cli_usage("found '-' twice: standard input can be read once");
        else if (!*name)
            status = cli_usage("found an empty name, expected a picture, a folder or @list");
        else if (name[0] == '@')
            status = add_list(list, name + 1);
        else if (picture && list->whole_folders)
            status = cli_usage("found '-', expected a picture, a folder or @list");
        else if (picture)
            add(list, name);
        else
            status = add_named(list, name);
        list->has_stdin |= picture;
    }
    if (status)
        inputs_deinit(list);
    return status;
}

int inputs_collect(InputList *list, const char *const *operands, int count)
{
    *list = (InputList){0};
    return collect(list, operands, count);
}

int inputs_collect_all(InputList *list, const char *const *operands, int count)
{
    *list = (InputList){.whole_folders = true};
    return collect(list, operands, count);
}
