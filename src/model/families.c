/* SPDX-License-Identifier: Apache-2.0 */
/* The namings of ViTs that are known without being told, in the language of keymap.h. A file is of
 * the first family all of whose lines without '?' find their tensors. */
#include "base/status.h"
#include "model/keymap.h"

#include <string.h>

/* torchvision/models/vision_transformer.py; linear_1 and linear_2 are those of 0.12 and before. */
static const char torchvision[] =
    "class_token = cls_token\n"
    "encoder.pos_embedding = pos_embed\n"
    "conv_proj.weight = patch_embed.proj.weight\n"
    "conv_proj.bias = patch_embed.proj.bias\n"
    "encoder.layers.encoder_layer_*.ln_1.weight = blocks.*.norm1.weight\n"
    "encoder.layers.encoder_layer_*.ln_1.bias = blocks.*.norm1.bias\n"
    "encoder.layers.encoder_layer_*.self_attention.in_proj_weight = blocks.*.attn.qkv.weight\n"
    "? encoder.layers.encoder_layer_*.self_attention.in_proj_bias = blocks.*.attn.qkv.bias\n"
    "encoder.layers.encoder_layer_*.self_attention.out_proj.weight = blocks.*.attn.proj.weight\n"
    "encoder.layers.encoder_layer_*.self_attention.out_proj.bias = blocks.*.attn.proj.bias\n"
    "encoder.layers.encoder_layer_*.ln_2.weight = blocks.*.norm2.weight\n"
    "encoder.layers.encoder_layer_*.ln_2.bias = blocks.*.norm2.bias\n"
    "? encoder.layers.encoder_layer_*.mlp.0.weight = blocks.*.mlp.fc1.weight\n"
    "? encoder.layers.encoder_layer_*.mlp.0.bias = blocks.*.mlp.fc1.bias\n"
    "? encoder.layers.encoder_layer_*.mlp.3.weight = blocks.*.mlp.fc2.weight\n"
    "? encoder.layers.encoder_layer_*.mlp.3.bias = blocks.*.mlp.fc2.bias\n"
    "? encoder.layers.encoder_layer_*.mlp.linear_1.weight = blocks.*.mlp.fc1.weight\n"
    "? encoder.layers.encoder_layer_*.mlp.linear_1.bias = blocks.*.mlp.fc1.bias\n"
    "? encoder.layers.encoder_layer_*.mlp.linear_2.weight = blocks.*.mlp.fc2.weight\n"
    "? encoder.layers.encoder_layer_*.mlp.linear_2.bias = blocks.*.mlp.fc2.bias\n"
    "encoder.ln.weight = norm.weight\n"
    "encoder.ln.bias = norm.bias\n"
    "? heads.pre_logits.weight = pre_logits.fc.weight\n"
    "? heads.pre_logits.bias = pre_logits.fc.bias\n"
    "? heads.head.weight = head.weight\n"
    "? heads.head.bias = head.bias\n";

/* clang-format off */
/* transformers/models/vit/modeling_vit.py: ViTForImageClassification ("vit." before all but the
 * head), and ViTModel alone. The pooler belongs to neither's features. */
#define HUGGING_FACE(vit)                                                                          \
    vit "embeddings.cls_token = cls_token\n"                                                       \
    vit "embeddings.position_embeddings = pos_embed\n"                                             \
    vit "embeddings.patch_embeddings.projection.weight = patch_embed.proj.weight\n"                \
    vit "embeddings.patch_embeddings.projection.bias = patch_embed.proj.bias\n"                    \
    vit "encoder.layer.*.layernorm_before.weight = blocks.*.norm1.weight\n"                        \
    vit "encoder.layer.*.layernorm_before.bias = blocks.*.norm1.bias\n"                            \
    vit "encoder.layer.*.attention.attention.query.weight + "                                      \
    vit "encoder.layer.*.attention.attention.key.weight + "                                        \
    vit "encoder.layer.*.attention.attention.value.weight = blocks.*.attn.qkv.weight\n"            \
    "? " vit "encoder.layer.*.attention.attention.query.bias + "                                   \
    vit "encoder.layer.*.attention.attention.key.bias + "                                          \
    vit "encoder.layer.*.attention.attention.value.bias = blocks.*.attn.qkv.bias\n"                \
    vit "encoder.layer.*.attention.output.dense.weight = blocks.*.attn.proj.weight\n"              \
    vit "encoder.layer.*.attention.output.dense.bias = blocks.*.attn.proj.bias\n"                  \
    vit "encoder.layer.*.layernorm_after.weight = blocks.*.norm2.weight\n"                         \
    vit "encoder.layer.*.layernorm_after.bias = blocks.*.norm2.bias\n"                             \
    vit "encoder.layer.*.intermediate.dense.weight = blocks.*.mlp.fc1.weight\n"                    \
    vit "encoder.layer.*.intermediate.dense.bias = blocks.*.mlp.fc1.bias\n"                        \
    vit "encoder.layer.*.output.dense.weight = blocks.*.mlp.fc2.weight\n"                          \
    vit "encoder.layer.*.output.dense.bias = blocks.*.mlp.fc2.bias\n"                              \
    vit "layernorm.weight = norm.weight\n"                                                         \
    vit "layernorm.bias = norm.bias\n"                                                             \
    "- " vit "pooler.dense.weight\n"                                                               \
    "- " vit "pooler.dense.bias\n"                                                                 \
    "? classifier.weight = head.weight\n"                                                          \
    "? classifier.bias = head.bias\n"
static const char hugging_face[] = HUGGING_FACE("vit.");
static const char hugging_face_bare[] = HUGGING_FACE("");

/* google-research/vision_transformer (Flax): kernels are [in..., out...], attention's [D,H,D/H] and
 * [H,D/H,D]. */
#define BLOCK     "Transformer/encoderblock_*/"
#define ATTENTION BLOCK "MultiHeadDotProductAttention_1/"
static const char flax[] =
    "cls = cls_token\n"
    "Transformer/posembed_input/pos_embedding = pos_embed\n"
    "embedding/kernel(3,2,0,1) = patch_embed.proj.weight\n"
    "embedding/bias = patch_embed.proj.bias\n"
    BLOCK "LayerNorm_0/scale = blocks.*.norm1.weight\n"
    BLOCK "LayerNorm_0/bias = blocks.*.norm1.bias\n"
    ATTENTION "query/kernel(1,2,0) + "
    ATTENTION "key/kernel(1,2,0) + "
    ATTENTION "value/kernel(1,2,0) = blocks.*.attn.qkv.weight\n"
    "? " ATTENTION "query/bias + "
    ATTENTION "key/bias + "
    ATTENTION "value/bias = blocks.*.attn.qkv.bias\n"
    ATTENTION "out/kernel(2,0,1) = blocks.*.attn.proj.weight\n"
    ATTENTION "out/bias = blocks.*.attn.proj.bias\n"
    BLOCK "LayerNorm_2/scale = blocks.*.norm2.weight\n"
    BLOCK "LayerNorm_2/bias = blocks.*.norm2.bias\n"
    BLOCK "MlpBlock_3/Dense_0/kernel(1,0) = blocks.*.mlp.fc1.weight\n"
    BLOCK "MlpBlock_3/Dense_0/bias = blocks.*.mlp.fc1.bias\n"
    BLOCK "MlpBlock_3/Dense_1/kernel(1,0) = blocks.*.mlp.fc2.weight\n"
    BLOCK "MlpBlock_3/Dense_1/bias = blocks.*.mlp.fc2.bias\n"
    "Transformer/encoder_norm/scale = norm.weight\n"
    "Transformer/encoder_norm/bias = norm.bias\n"
    "? pre_logits/kernel(1,0) = pre_logits.fc.weight\n"
    "? pre_logits/bias = pre_logits.fc.bias\n"
    "? head/kernel(1,0) = head.weight\n"
    "? head/bias = head.bias\n";
/* clang-format on */

static const VitroFamily families[] = {{"timm", "", 1e-6},
                                       {"torchvision", torchvision, 1e-6},
                                       {"huggingface", hugging_face, 1e-12},
                                       {"huggingface", hugging_face_bare, 1e-12},
                                       {"flax", flax, 1e-6}};

const VitroFamily *vitro_family_named(const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

VitroStatus vitro_family_of(const VitroFamily **out, VitroKeyMap **map, const VitroCheckpoint *ckpt)
{
    *out = NULL;
    *map = NULL;
    if (vitro_checkpoint_find(ckpt, "blocks.0.attn.qkv.weight") >= 0) {
        *out = &families[0];
        return VITRO_OK;
    }
    for (size_t i = 1; i < sizeof(families) / sizeof(families[0]); i++) {
        VitroKeyMap *m = NULL;
        VITRO_TRY(vitro_key_map_parse(&m, families[i].map, strlen(families[i].map)));
        if (vitro_key_map_fits(m, ckpt)) {
            *out = &families[i];
            *map = m;
            return VITRO_OK;
        }
        vitro_key_map_free(m);
    }
    return VITRO_OK;
}
