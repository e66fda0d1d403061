/* SPDX-License-Identifier: Apache-2.0 */
/* Class names: the official ones of CIFAR and MNIST, in label order, and lists read from a file. */
#include "data/dataset.h"

#include "base/alloc.h"

#include <string.h>

static const char *const cifar100_names[] = {
    "apple",       "aquarium_fish", "baby",      "bear",       "beaver",       "bed",
    "bee",         "beetle",        "bicycle",   "bottle",     "bowl",         "boy",
    "bridge",      "bus",           "butterfly", "camel",      "can",          "castle",
    "caterpillar", "cattle",        "chair",     "chimpanzee", "clock",        "cloud",
    "cockroach",   "couch",         "crab",      "crocodile",  "cup",          "dinosaur",
    "dolphin",     "elephant",      "flatfish",  "forest",     "fox",          "girl",
    "hamster",     "house",         "kangaroo",  "keyboard",   "lamp",         "lawn_mower",
    "leopard",     "lion",          "lizard",    "lobster",    "man",          "maple_tree",
    "motorcycle",  "mountain",      "mouse",     "mushroom",   "oak_tree",     "orange",
    "orchid",      "otter",         "palm_tree", "pear",       "pickup_truck", "pine_tree",
    "plain",       "plate",         "poppy",     "porcupine",  "possum",       "rabbit",
    "raccoon",     "ray",           "road",      "rocket",     "rose",         "sea",
    "seal",        "shark",         "shrew",     "skunk",      "skyscraper",   "snail",
    "snake",       "spider",        "squirrel",  "streetcar",  "sunflower",    "sweet_pepper",
    "table",       "tank",          "telephone", "television", "tiger",        "tractor",
    "train",       "trout",         "tulip",     "turtle",     "wardrobe",     "whale",
    "willow_tree", "wolf",          "woman",     "worm"};

static const char *const cifar10_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};

static const char *const fashion_mnist_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                  "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                  "Bag",         "Ankle boot"};

static const char *const mnist_names[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

#define COUNT(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

const char *const *vitro_class_names(VitroDatasetKind kind, int64_t *count)
{
    switch (kind) {
    case VITRO_DATA_CIFAR100:
        *count = COUNT(cifar100_names);
        return cifar100_names;
    case VITRO_DATA_CIFAR10:
        *count = COUNT(cifar10_names);
        return cifar10_names;
    case VITRO_DATA_FASHION_MNIST:
        *count = COUNT(fashion_mnist_names);
        return fashion_mnist_names;
    case VITRO_DATA_MNIST:
        *count = COUNT(mnist_names);
        return mnist_names;
    default:
        *count = 0;
        return NULL;
    }
}

VitroStatus vitro_names_copy(VitroNameList *list, const char *const *names, int64_t count)
{
    list->names = vitro_calloc((size_t)count, sizeof(*list->names));
    if (!list->names)
        return VITRO_NOMEM;
    for (int64_t i = 0; i < count; i++) {
        list->names[i] = vitro_strdup(names[i]);
        if (!list->names[i])
            return VITRO_NOMEM;
        list->count++;
    }
    return VITRO_OK;
}

/* The next line of text[0..size) without blanks at its end; *size 0 ends the walk. */
static size_t next_line(const char **text, size_t *size, const char **line)
{
    const char *end = memchr(*text, '\n', *size);
    size_t n = end ? (size_t)(end - *text) : *size, used = end ? n + 1 : n;
    *line = *text;
    *text += used;
    *size -= used;
    while (n && ((*line)[n - 1] == '\r' || (*line)[n - 1] == ' ' || (*line)[n - 1] == '\t'))
        n--;
    return n;
}

VitroStatus vitro_names_read(VitroNameList *list, const char *path)
{
    enum { MAX_BYTES = 65536 }; /* a name of 655 bytes for each of 100 classes */
    VitroMap map;
    VITRO_TRY(vitro_map_open(&map, path));
    VitroStatus st = VITRO_OK;
    const char *text = (const char *)map.data, *line;
    size_t left = map.size;
    if (map.size > MAX_BYTES || memchr(map.data, 0, map.size)) {
        st =
            vitro_fail(VITRO_E_FORMAT, "%s: no list of class names (%zu bytes, at most %d of text)",
                       path, map.size, MAX_BYTES);
        goto done;
    }
    list->names = vitro_calloc(map.size / 2 + 1, sizeof(*list->names)); /* a name and a newline */
    if (!list->names) {
        st = VITRO_NOMEM;
        goto done;
    }
    while (left) {
        size_t n = next_line(&text, &left, &line);
        if (n == 0)
            continue;
        list->names[list->count] = vitro_strndup(line, n);
        if (!list->names[list->count]) {
            st = VITRO_NOMEM;
            goto done;
        }
        list->count++;
    }
done:
    vitro_map_close(&map);
    return st;
}
