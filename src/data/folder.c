/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of class folders, as torchvision's ImageFolder reads them: classes in byte order, every
 * file below a class folder whose name ends like a picture's, directory by directory in the byte
 * order of their paths. Opening reads names only; a picture is decoded when it is asked for. Three
 * layouts: train/ and val/ of class folders, and class folders alone, which are split 80/20. */
#include "data/dataset.h"

#include "base/alloc.h"
#include "base/log.h"
#include "data/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char extensions[] = ".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp";

bool vitro_folder_is_picture(const char *name)
{
    /* torchvision 0.14, datasets/folder.py, IMG_EXTENSIONS */
    static const char *const ext[] = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                      ".pgm", ".tif",  ".tiff", ".webp"};
    for (size_t i = 0; i < sizeof(ext) / sizeof(ext[0]); i++)
        if (vitro_path_has_ext(name, ext[i]))
            return true;
    return false;
}

/* ---- all pictures below one folder ----------------------------------------------------------- */

enum { MAX_DEPTH = 64 };

typedef struct WalkDir {
    char *path;             /* below the root: "cat", "cat/black" */
    VitroNameList pictures; /* in byte order */
    size_t parent;          /* index in the order of discovery; its own for the first */
    int depth;
    dev_t dev;
    ino_t ino;
} WalkDir;

typedef struct Walk {
    WalkDir *dirs;
    size_t count, cap;
    size_t pictures; /* in all of them */
} Walk;

static void walk_deinit(Walk *w)
{
    for (size_t i = 0; i < w->count; i++) {
        vitro_free(w->dirs[i].path);
        vitro_list_free(&w->dirs[i].pictures);
    }
    vitro_free(w->dirs);
    *w = (Walk){0};
}

/* Takes `path` over, also on failure. */
static VitroStatus walk_push(Walk *w, char *path, size_t parent, const struct stat *s)
{
    VitroStatus st = VITRO_OK;
    int depth = w->count ? w->dirs[parent].depth + 1 : 0;
    for (size_t i = parent; w->count; i = w->dirs[i].parent) {
        if (w->dirs[i].dev == s->st_dev && w->dirs[i].ino == s->st_ino)
            st = vitro_fail(VITRO_E_UNSUPPORTED, "%s: a link back to %s, a folder that it lies in",
                            path, w->dirs[i].path);
        if (st != VITRO_OK || i == w->dirs[i].parent)
            break;
    }
    if (st == VITRO_OK && depth > MAX_DEPTH)
        st = vitro_fail(VITRO_E_UNSUPPORTED, "%s: folders nested more than %d deep", path,
                        MAX_DEPTH);
    if (st == VITRO_OK && w->count == w->cap) {
        size_t more = w->cap ? 2 * w->cap : 16;
        WalkDir *p = vitro_realloc(w->dirs, more, sizeof(*p));
        if (p) {
            w->dirs = p;
            w->cap = more;
        } else {
            st = VITRO_NOMEM;
        }
    }
    if (st != VITRO_OK) {
        vitro_free(path);
        return st;
    }
    w->dirs[w->count++] = (WalkDir){
        .path = path, .parent = parent, .depth = depth, .dev = s->st_dev, .ino = s->st_ino};
    return VITRO_OK;
}

/* Lists directory d: its pictures stay with it, its directories (and links to such: torchvision
 * follows them) join the walk. What cannot be looked at counts as a file, as in os.walk. */
static VitroStatus walk_list(Walk *w, size_t d, const char *root)
{
    char *full = vitro_path_join(root, w->dirs[d].path);
    if (!full)
        return VITRO_NOMEM;
    VitroNameList *list = &w->dirs[d].pictures;
    VitroStatus st = vitro_fs_list(list, full);
    size_t kept = 0, listed = list->count;
    char **names = list->names;
    for (size_t i = 0; i < listed; i++) {
        char *path = st == VITRO_OK ? vitro_path_join(full, names[i]) : NULL;
        struct stat s;
        if (st == VITRO_OK && !path) {
            st = VITRO_NOMEM;
        } else if (st == VITRO_OK && stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
            char *below = vitro_path_join(w->dirs[d].path, names[i]);
            st = below ? walk_push(w, below, d, &s) : VITRO_NOMEM;
        } else if (st == VITRO_OK && vitro_folder_is_picture(names[i])) {
            names[kept++] = names[i];
            names[i] = kept - 1 == i ? names[i] : NULL;
            vitro_free(path);
            continue;
        }
        vitro_free(path);
        vitro_free(names[i]);
        names[i] = NULL;
    }
    w->dirs[d].pictures.count = kept; /* `list` itself may have moved with w->dirs */
    w->pictures += kept;
    vitro_free(full);
    return st;
}

static int compare_dirs(const void *a, const void *b)
{
    return strcmp(((const WalkDir *)a)->path, ((const WalkDir *)b)->path);
}

/* All directories of root/name in the byte order of their paths, which is sorted(os.walk()): not
 * the order of the tree, for "a-b" comes before "a/b". */
static VitroStatus walk(Walk *w, const char *root, const char *name)
{
    *w = (Walk){0};
    char *path = vitro_strdup(name), *full = vitro_path_join(root, name);
    struct stat s;
    VitroStatus st = VITRO_OK;
    if (!path || !full)
        st = VITRO_NOMEM;
    else if (stat(full, &s) != 0)
        st = vitro_fail_errno("%s: cannot look at it", full);
    vitro_free(full);
    if (st != VITRO_OK) {
        vitro_free(path);
        return st;
    }
    st = walk_push(w, path, 0, &s);
    for (size_t i = 0; st == VITRO_OK && i < w->count; i++)
        st = walk_list(w, i, root);
    if (st == VITRO_OK)
        qsort(w->dirs, w->count, sizeof(*w->dirs), compare_dirs);
    else
        walk_deinit(w);
    return st;
}

/* ---- the data set ---------------------------------------------------------------------------- */

/* Paths of all pictures in one block: a data set of 100 000 files must stay small. */
typedef struct Folder {
    char *root;
    VitroBuf paths;   /* below the root, each with its NUL */
    uint32_t *offset; /* [count] in paths */
    size_t cap;       /* of offset and of the labels */
} Folder;

static char *picture_path(const VitroDataset *ds, int64_t i)
{
    const Folder *f = ds->self;
    return vitro_path_join(f->root, (const char *)f->paths.data + f->offset[i]);
}

static VitroStatus folder_read(const VitroDataset *ds, int64_t i, VitroImage *out)
{
    char *path = picture_path(ds, i);
    if (!path)
        return VITRO_NOMEM;
    VitroStatus st = vitro_image_read(out, path, ds->channels, ds->exif);
    vitro_free(path);
    return st;
}

static void folder_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size)
{
    const Folder *f = ds->self;
    snprintf(out, out_size, "%s/%s", f->root, (const char *)f->paths.data + f->offset[i]);
}

static const char *folder_short_name(const VitroDataset *ds, int64_t i)
{
    const Folder *f = ds->self;
    return (const char *)f->paths.data + f->offset[i];
}

static void folder_close(void *self)
{
    Folder *f = self;
    vitro_buf_deinit(&f->paths);
    vitro_free(f->offset);
    vitro_free(f->root);
    vitro_free(f);
}

static void folder_move(VitroDataset *ds, int64_t to, int64_t from)
{
    Folder *f = ds->self;
    f->offset[to] = f->offset[from];
}

static const VitroDatasetOps folder_ops = {.read = folder_read,
                                           .name = folder_name,
                                           .short_name = folder_short_name,
                                           .move = folder_move,
                                           .close = folder_close};

static VitroStatus add_picture(VitroDataset *ds, const char *dir, const char *name, int32_t label)
{
    Folder *f = ds->self;
    if (ds->count == VITRO_MAX_PICTURES)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s: more than %d pictures", f->root,
                          VITRO_MAX_PICTURES);
    if ((size_t)ds->count == f->cap) {
        size_t more = f->cap ? 2 * f->cap : 256;
        uint32_t *offset = vitro_realloc(f->offset, more, sizeof(*offset));
        if (!offset)
            return VITRO_NOMEM;
        f->offset = offset;
        int32_t *labels = vitro_realloc(ds->labels, more, sizeof(*labels));
        if (!labels)
            return VITRO_NOMEM;
        ds->labels = labels;
        f->cap = more;
    }
    f->offset[ds->count] = (uint32_t)f->paths.len;
    VITRO_TRY(vitro_buf_append(&f->paths, dir, strlen(dir)));
    VITRO_TRY(vitro_buf_append(&f->paths, "/", 1));
    VITRO_TRY(vitro_buf_append(&f->paths, name, strlen(name) + 1));
    ds->labels[ds->count++] = label;
    return VITRO_OK;
}

/* Adds the walk's pictures: all, or where `chosen` is given those with chosen[i] == keep. */
static VitroStatus add_pictures(VitroDataset *ds, const Walk *w, int32_t label, const bool *chosen,
                                bool keep)
{
    size_t i = 0;
    for (size_t d = 0; d < w->count; d++)
        for (size_t k = 0; k < w->dirs[d].pictures.count; k++, i++)
            if (!chosen || chosen[i] == keep)
                VITRO_TRY(add_picture(ds, w->dirs[d].path, w->dirs[d].pictures.names[k], label));
    return VITRO_OK;
}

static VitroStatus fail_empty_class(const char *root, const char *name)
{
    return vitro_fail(VITRO_E_FORMAT,
                      "%s/%s: a class folder without a picture (%s): remove it, or name the folder "
                      "that the classes lie in",
                      root, name, extensions);
}

/* One class of a folder that is split here. `mt` runs on through all classes. */
static VitroStatus add_split_class(VitroDataset *ds, const Walk *w, int32_t label, VitroSplit split,
                                   VitroMt19937 *mt)
{
    if (w->pictures > VITRO_MAX_PICTURES)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s: more than %d pictures", w->dirs[0].path,
                          VITRO_MAX_PICTURES);
    uint32_t n = (uint32_t)w->pictures;
    bool *chosen = vitro_malloc(n);
    if (!chosen)
        return VITRO_NOMEM;
    VitroStatus st = vitro_mt_sample(mt, chosen, n, vitro_split_val_count(n));
    if (st == VITRO_OK)
        st = add_pictures(ds, w, label, chosen, split == VITRO_SPLIT_VAL);
    vitro_free(chosen);
    return st;
}

/* Keeps of `list` the names that are directories in `dir`. */
static VitroStatus list_dirs(VitroNameList *list, const char *dir)
{
    VITRO_TRY(vitro_fs_list(list, dir));
    VitroStatus st = VITRO_OK;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        char *path = st == VITRO_OK ? vitro_path_join(dir, list->names[i]) : NULL;
        if (!path)
            st = VITRO_NOMEM;
        if (path && vitro_fs_is_dir(path))
            list->names[kept++] = list->names[i];
        else
            vitro_free(list->names[i]);
        vitro_free(path);
    }
    list->count = kept;
    if (st != VITRO_OK)
        vitro_list_free(list);
    return st;
}

/* A wrong folder, one level too high, has one class: all the same to torchvision. */
static void warn_if_nested(const Walk *w, const char *root)
{
    if (w->count > 2 && w->pictures && w->dirs[0].pictures.count == 0)
        vitro_log(VITRO_LOG_WARN,
                  "%s: one class, whose pictures lie in folders of their own: was %s/%s meant?",
                  root, root, w->dirs[0].path);
}

/* ---- layouts --------------------------------------------------------------------------------- */

/* train/ and val/, where that is how the folder is laid out. Paths are owned. */
typedef struct Layout {
    bool has_splits;
    char *train, *val; /* NULL: not there */
} Layout;

static void layout_deinit(Layout *layout)
{
    vitro_free(layout->train);
    vitro_free(layout->val);
    *layout = (Layout){0};
}

/* The validation pictures' folder goes by several names; the first that is there is taken. "test"
 * comes last, as the set that a published data set holds back often goes by that name. */
static const char *const val_names[] = {"val", "valid", "validation", "test"};
enum { VAL_NAMES = sizeof(val_names) / sizeof(val_names[0]) };

static bool has_name(const VitroNameList *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

static VitroStatus has_dirs(bool *yes, const char *dir)
{
    VitroNameList list;
    VITRO_TRY(list_dirs(&list, dir));
    *yes = list.count > 0;
    vitro_list_free(&list);
    return VITRO_OK;
}

/* A class may be called "train" (CIFAR-100 has one) or "test". So train/ alone counts only where it
 * has folders of its own or nothing beside it, and val/ alone only where nothing is beside it. */
static VitroStatus find_layout(Layout *layout, const char *dir)
{
    *layout = (Layout){0};
    VitroNameList list;
    VITRO_TRY(list_dirs(&list, dir));
    VitroStatus st = VITRO_OK;
    const char *val = NULL;
    bool train = has_name(&list, "train"), nested = false;
    size_t others = list.count - train;
    for (int i = 0; i < VAL_NAMES; i++) {
        if (!has_name(&list, val_names[i]))
            continue;
        others--;
        val = val ? val : val_names[i];
    }
    if (train) {
        layout->train = vitro_path_join(dir, "train");
        if (!layout->train)
            st = VITRO_NOMEM;
        else if (others)
            st = has_dirs(&nested, layout->train);
    }
    if (st == VITRO_OK && val) {
        layout->val = vitro_path_join(dir, val);
        st = layout->val ? VITRO_OK : VITRO_NOMEM;
    }
    layout->has_splits = train ? !others || nested : val && !others;
    vitro_list_free(&list);
    if (st != VITRO_OK || !layout->has_splits)
        layout_deinit(layout);
    return st;
}

static VitroStatus add_all_classes(VitroDataset *ds, const char *root)
{
    for (size_t c = 0; c < ds->classes.count; c++) {
        Walk w;
        VITRO_TRY(walk(&w, root, ds->classes.names[c]));
        VitroStatus st = w.pictures ? add_pictures(ds, &w, (int32_t)c, NULL, false)
                                    : fail_empty_class(root, ds->classes.names[c]);
        walk_deinit(&w);
        VITRO_TRY(st);
    }
    return VITRO_OK;
}

/* val/ beside a train/ that has given the classes: a class without validation pictures is fine, a
 * class that is never trained is not. */
static VitroStatus add_val_classes(VitroDataset *ds, const char *root)
{
    VitroNameList list;
    VITRO_TRY(list_dirs(&list, root));
    VitroStatus st = VITRO_OK;
    for (size_t i = 0; st == VITRO_OK && i < list.count; i++) {
        size_t c = 0;
        while (c < ds->classes.count && strcmp(ds->classes.names[c], list.names[i]) != 0)
            c++;
        Walk w;
        st = walk(&w, root, list.names[i]);
        if (st == VITRO_OK && c < ds->classes.count)
            st = add_pictures(ds, &w, (int32_t)c, NULL, false);
        else if (st == VITRO_OK && w.pictures)
            st = vitro_fail(VITRO_E_FORMAT, "%s/%s: train/ has no class of this name", root,
                            list.names[i]);
        walk_deinit(&w);
    }
    vitro_list_free(&list);
    return st;
}

static VitroStatus add_split_classes(VitroDataset *ds, const char *root, VitroSplit split)
{
    VitroMt19937 mt;
    vitro_mt_seed(&mt, 0); /* the original's random.seed(0) */
    for (size_t c = 0; c < ds->classes.count; c++) {
        Walk w;
        VITRO_TRY(walk(&w, root, ds->classes.names[c]));
        if (ds->classes.count == 1)
            warn_if_nested(&w, root);
        VitroStatus st = w.pictures ? add_split_class(ds, &w, (int32_t)c, split, &mt)
                                    : fail_empty_class(root, ds->classes.names[c]);
        walk_deinit(&w);
        VITRO_TRY(st);
    }
    return VITRO_OK;
}

static VitroStatus open_split_layout(VitroDataset *ds, const Layout *layout, const char *dir,
                                     VitroSplit split)
{
    Folder *f = ds->self;
    if (split == VITRO_SPLIT_TRAIN && !layout->train)
        return vitro_fail(VITRO_E_IO, "%s: there is %s/ but no train/", dir,
                          vitro_path_name(layout->val));
    const char *classes = layout->train ? layout->train : layout->val;
    VITRO_TRY(list_dirs(&ds->classes, classes));
    if (ds->classes.count == 0)
        return vitro_fail(VITRO_E_FORMAT, "%s: no class folder in it", classes);
    const char *root = split == VITRO_SPLIT_TRAIN ? layout->train : layout->val;
    if (!root)
        return VITRO_OK; /* no validation pictures */
    f->root = vitro_strdup(root);
    if (!f->root)
        return VITRO_NOMEM;
    return root == classes ? add_all_classes(ds, root) : add_val_classes(ds, root);
}

VitroStatus vitro_folder_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split)
{
    Folder *f = vitro_calloc(1, sizeof(*f));
    if (!f)
        return VITRO_NOMEM;
    vitro_buf_init(&f->paths, UINT32_MAX);
    ds->self = f;
    ds->ops = &folder_ops;
    if (ds->channels == 0)
        ds->channels = 3;
    Layout layout;
    VITRO_TRY(find_layout(&layout, place->dir));
    VitroStatus st;
    if (layout.has_splits) {
        st = open_split_layout(ds, &layout, place->dir, split);
    } else {
        f->root = vitro_strdup(place->dir);
        st = f->root ? list_dirs(&ds->classes, place->dir) : VITRO_NOMEM;
        if (st == VITRO_OK)
            st = add_split_classes(ds, place->dir, split);
    }
    if (st == VITRO_OK) {
        ds->describe = vitro_asprintf(
            "%zu class folder%s (%s), %s, %lld image%s", ds->classes.count,
            ds->classes.count == 1 ? "" : "s", layout.has_splits ? "train and val" : "split 80/20",
            vitro_split_name(split), (long long)ds->count, ds->count == 1 ? "" : "s");
        st = ds->describe ? VITRO_OK : VITRO_NOMEM;
    }
    layout_deinit(&layout);
    return st;
}

VitroStatus vitro_folder_detect(bool *found, const char *dir)
{
    Layout layout;
    VITRO_TRY(find_layout(&layout, dir));
    *found = layout.has_splits;
    layout_deinit(&layout);
    if (*found)
        return VITRO_OK;
    VitroNameList list;
    VITRO_TRY(list_dirs(&list, dir));
    VitroStatus st = VITRO_OK;
    for (size_t i = 0; st == VITRO_OK && !*found && i < list.count; i++) {
        Walk w;
        st = walk(&w, dir, list.names[i]);
        if (st == VITRO_OK)
            *found = w.pictures > 0;
        walk_deinit(&w);
    }
    vitro_list_free(&list);
    return st;
}
