/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign names of a ViT's tensors, and the names that VitroParams has for them. A map is a text:
 *
 *     # comment
 *     class_token = cls_token
 *     layers.*.wq.weight + layers.*.wk.weight + layers.*.wv.weight = blocks.*.attn.qkv.weight
 *     embedding/kernel(3,2,0,1) = patch_embed.proj.weight
 *     ? layers.*.wo.bias = blocks.*.attn.proj.bias
 *     layers/ln/scale[*] = blocks.*.norm1.weight
 *     embed.weight{ppc}(0,3,1,2) = patch_embed.proj.weight
 *     - attn.scale
 *
 * '*' is the number of a block, counted from 0. Sources joined by '+' are put one behind the other
 * along their first dimension. Numbers in brackets are numpy.transpose's axes. "[*]" behind a name
 * is the element of a tensor that has all blocks in its first dimension; "{ppc}" splits the last
 * dimension in a patch's rows, columns and channels, 3 of them if that fits, else 1. '-' leaves a
 * tensor out; a '*' at its end then stands for anything. A line that finds nothing is an error
 * unless it begins with '?' or '-'. Tensors that no line names keep their names. */
#ifndef VITRO_MODEL_KEYMAP_H
#define VITRO_MODEL_KEYMAP_H

#include "vitro/model.h"

/* Parsed text, for as long as the text lives. */
typedef struct VitroKeyMap VitroKeyMap;

/* Errors: VITRO_E_FORMAT, whose texts start with "line N: ". */
VitroStatus vitro_key_map_parse(VitroKeyMap **out, const char *text, size_t size);
void vitro_key_map_free(VitroKeyMap *map); /* NULL is fine */

/* Whether every line that must find something does. */
bool vitro_key_map_fits(const VitroKeyMap *map, const VitroCheckpoint *ckpt);
/* Renames, joins, drops. VITRO_E_FORMAT ("line N: ..."): a line does not fit the file. */
VitroStatus vitro_key_map_rename(const VitroKeyMap *map, VitroCheckpoint *ckpt);

/* families.c: the maps that come with the library. The first is the library's own names: no map. */
typedef struct VitroFamily {
    const char *name;
    const char *const *map; /* [map_count] one for each of its forms; "" for the library's names */
    size_t map_count;
    double norm_eps; /* of its published models, where the map is not empty */
    VitroAct act;
} VitroFamily;
/* NULL: of no known family. */
const VitroFamily *vitro_family_named(const char *name); /* NULL: none */
VitroStatus vitro_family_of(const VitroFamily **out, VitroKeyMap **map,
                            const VitroCheckpoint *ckpt);

#endif
