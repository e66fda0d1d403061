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
/* transformers/models/{vit,deit}/modeling_*.py: the parts of a text. Files have the first names of
 * blocks, models in memory since version 5 the second ones. The pooler belongs to no features. */
#define HF_EMBEDDINGS(vit)                                                                         \
    vit "embeddings.cls_token = cls_token\n"                                                       \
    vit "embeddings.position_embeddings = pos_embed\n"                                             \
    vit "embeddings.patch_embeddings.projection.weight = patch_embed.proj.weight\n"                \
    vit "embeddings.patch_embeddings.projection.bias = patch_embed.proj.bias\n"                    \
    "- " vit "embeddings.mask_token\n"
#define HF_BLOCKS(b)                                                                               \
    b "layernorm_before.weight = blocks.*.norm1.weight\n"                                          \
    b "layernorm_before.bias = blocks.*.norm1.bias\n"                                              \
    b "attention.attention.query.weight + "                                                        \
    b "attention.attention.key.weight + "                                                          \
    b "attention.attention.value.weight = blocks.*.attn.qkv.weight\n"                              \
    "? " b "attention.attention.query.bias + "                                                     \
    b "attention.attention.key.bias + "                                                            \
    b "attention.attention.value.bias = blocks.*.attn.qkv.bias\n"                                  \
    b "attention.output.dense.weight = blocks.*.attn.proj.weight\n"                                \
    b "attention.output.dense.bias = blocks.*.attn.proj.bias\n"                                    \
    b "layernorm_after.weight = blocks.*.norm2.weight\n"                                           \
    b "layernorm_after.bias = blocks.*.norm2.bias\n"                                               \
    b "intermediate.dense.weight = blocks.*.mlp.fc1.weight\n"                                      \
    b "intermediate.dense.bias = blocks.*.mlp.fc1.bias\n"                                          \
    b "output.dense.weight = blocks.*.mlp.fc2.weight\n"                                            \
    b "output.dense.bias = blocks.*.mlp.fc2.bias\n"
#define HF_BLOCKS_5(b)                                                                             \
    b "layernorm_before.weight = blocks.*.norm1.weight\n"                                          \
    b "layernorm_before.bias = blocks.*.norm1.bias\n"                                              \
    b "attention.q_proj.weight + " b "attention.k_proj.weight + "                                  \
    b "attention.v_proj.weight = blocks.*.attn.qkv.weight\n"                                       \
    "? " b "attention.q_proj.bias + " b "attention.k_proj.bias + "                                 \
    b "attention.v_proj.bias = blocks.*.attn.qkv.bias\n"                                           \
    b "attention.o_proj.weight = blocks.*.attn.proj.weight\n"                                      \
    b "attention.o_proj.bias = blocks.*.attn.proj.bias\n"                                          \
    b "layernorm_after.weight = blocks.*.norm2.weight\n"                                           \
    b "layernorm_after.bias = blocks.*.norm2.bias\n"                                               \
    b "mlp.fc1.weight = blocks.*.mlp.fc1.weight\n"                                                 \
    b "mlp.fc1.bias = blocks.*.mlp.fc1.bias\n"                                                     \
    b "mlp.fc2.weight = blocks.*.mlp.fc2.weight\n"                                                 \
    b "mlp.fc2.bias = blocks.*.mlp.fc2.bias\n"
#define HF_TOP(vit)                                                                                \
    vit "layernorm.weight = norm.weight\n"                                                         \
    vit "layernorm.bias = norm.bias\n"                                                             \
    "- " vit "pooler.dense.weight\n"                                                               \
    "- " vit "pooler.dense.bias\n"
#define HF_HEAD                                                                                    \
    "? classifier.weight = head.weight\n"                                                          \
    "? classifier.bias = head.bias\n"
/* DeiT: two heads that are averaged, or one that sees the class token; then the distillation token
 * is one more token, as a register. */
#define HF_TWO_HEADS(vit)                                                                          \
    vit "embeddings.distillation_token = dist_token\n"                                             \
    "cls_classifier.weight = head.weight\n"                                                        \
    "cls_classifier.bias = head.bias\n"                                                            \
    "distillation_classifier.weight = head_dist.weight\n"                                          \
    "distillation_classifier.bias = head_dist.bias\n"
#define HF_REGISTER(vit) "? " vit "embeddings.distillation_token = reg_token\n"
#define HF(vit, head)   HF_EMBEDDINGS(vit) HF_BLOCKS(vit "encoder.layer.*.") HF_TOP(vit) head
#define HF_5(vit, head) HF_EMBEDDINGS(vit) HF_BLOCKS_5(vit "layers.*.") HF_TOP(vit) head
static const char *const hugging_face[] = {
    HF("vit.", HF_HEAD),
    HF("deit.", HF_TWO_HEADS("deit.")),
    HF("deit.", HF_REGISTER("deit.") HF_HEAD),
    HF("", HF_REGISTER("")),
    HF_5("vit.", HF_HEAD),
    HF_5("deit.", HF_TWO_HEADS("deit.")),
    HF_5("deit.", HF_REGISTER("deit.") HF_HEAD),
    HF_5("", HF_REGISTER(""))};

/* google-research/vision_transformer and big_vision (Flax): kernels are [in..., out...], those of
 * attention [D,H,D/H] and [H,D/H,D]. `b` stands before a block's names; `n` behind them is "[*]"
 * where one tensor holds all blocks. */
#define FLAX_EMBEDDINGS(pos)                                                                       \
    "? cls = cls_token\n"                                                                          \
    pos " = pos_embed\n"                                                                           \
    "embedding/kernel(3,2,0,1) = patch_embed.proj.weight\n"                                        \
    "embedding/bias = patch_embed.proj.bias\n"
#define FLAX_BLOCKS(b, n, attention, norm2, mlp)                                                   \
    b "LayerNorm_0/scale" n " = blocks.*.norm1.weight\n"                                           \
    b "LayerNorm_0/bias" n " = blocks.*.norm1.bias\n"                                              \
    b attention "query/kernel" n "(1,2,0) + "                                                      \
    b attention "key/kernel" n "(1,2,0) + "                                                        \
    b attention "value/kernel" n "(1,2,0) = blocks.*.attn.qkv.weight\n"                            \
    "? " b attention "query/bias" n " + "                                                          \
    b attention "key/bias" n " + "                                                                 \
    b attention "value/bias" n " = blocks.*.attn.qkv.bias\n"                                       \
    b attention "out/kernel" n "(2,0,1) = blocks.*.attn.proj.weight\n"                             \
    b attention "out/bias" n " = blocks.*.attn.proj.bias\n"                                        \
    b norm2 "scale" n " = blocks.*.norm2.weight\n"                                                 \
    b norm2 "bias" n " = blocks.*.norm2.bias\n"                                                    \
    b mlp "Dense_0/kernel" n "(1,0) = blocks.*.mlp.fc1.weight\n"                                   \
    b mlp "Dense_0/bias" n " = blocks.*.mlp.fc1.bias\n"                                            \
    b mlp "Dense_1/kernel" n "(1,0) = blocks.*.mlp.fc2.weight\n"                                   \
    b mlp "Dense_1/bias" n " = blocks.*.mlp.fc2.bias\n"
#define FLAX_POOL "? MAPHead_0/MultiHeadDotProductAttention_0/"
#define FLAX_POOL_AND "MAPHead_0/MultiHeadDotProductAttention_0/"
#define FLAX_TOP                                                                                   \
    "Transformer/encoder_norm/scale = norm.weight\n"                                               \
    "Transformer/encoder_norm/bias = norm.bias\n"                                                  \
    "? MAPHead_0/probe = attn_pool.latent\n"                                                       \
    FLAX_POOL "query/kernel(1,2,0) = attn_pool.q.weight\n"                                         \
    FLAX_POOL "query/bias = attn_pool.q.bias\n"                                                    \
    FLAX_POOL "key/kernel(1,2,0) + "                                                               \
    FLAX_POOL_AND "value/kernel(1,2,0) = attn_pool.kv.weight\n"                                    \
    FLAX_POOL "key/bias + " FLAX_POOL_AND "value/bias = attn_pool.kv.bias\n"                       \
    FLAX_POOL "out/kernel(2,0,1) = attn_pool.proj.weight\n"                                        \
    FLAX_POOL "out/bias = attn_pool.proj.bias\n"                                                   \
    "? MAPHead_0/LayerNorm_0/scale = attn_pool.norm.weight\n"                                      \
    "? MAPHead_0/LayerNorm_0/bias = attn_pool.norm.bias\n"                                         \
    "? MAPHead_0/MlpBlock_0/Dense_0/kernel(1,0) = attn_pool.mlp.fc1.weight\n"                      \
    "? MAPHead_0/MlpBlock_0/Dense_0/bias = attn_pool.mlp.fc1.bias\n"                               \
    "? MAPHead_0/MlpBlock_0/Dense_1/kernel(1,0) = attn_pool.mlp.fc2.weight\n"                      \
    "? MAPHead_0/MlpBlock_0/Dense_1/bias = attn_pool.mlp.fc2.bias\n"                               \
    "? pre_logits/kernel(1,0) = pre_logits.fc.weight\n"                                            \
    "? pre_logits/bias = pre_logits.fc.bias\n"                                                     \
    "? head/kernel(1,0) = head.weight\n"                                                           \
    "? head/bias = head.bias\n"
#define FLAX(pos, b, n, attention, norm2, mlp)                                                     \
    FLAX_EMBEDDINGS(pos) FLAX_BLOCKS(b, n, attention, norm2, mlp) FLAX_TOP
#define GVT_POS    "Transformer/posembed_input/pos_embedding"
#define FLAX_BLOCK "Transformer/encoderblock_*/"
#define FLAX_STACK "Transformer/encoderblock/"
static const char *const flax[] = {
    FLAX(GVT_POS, FLAX_BLOCK, "", "MultiHeadDotProductAttention_1/", "LayerNorm_2/", "MlpBlock_3/"),
    FLAX("pos_embedding", FLAX_BLOCK, "", "MultiHeadDotProductAttention_0/", "LayerNorm_1/",
         "MlpBlock_0/"),
    FLAX("pos_embedding", FLAX_STACK, "[*]", "MultiHeadDotProductAttention_0/", "LayerNorm_1/",
         "MlpBlock_0/"),
    FLAX(GVT_POS, FLAX_BLOCK, "", "MultiHeadDotProductAttention_0/", "LayerNorm_1/",
         "MlpBlock_0/")};

/* vit_pytorch/vit.py: patches are rows x columns x channels, with LayerNorms around the embedding
 * and without; blocks and head have had two forms. */
#define VP_EMBEDDINGS                                                                              \
    "? cls_token = cls_token\n"                                                                    \
    "pos_embedding = pos_embed\n"
#define VP_LINEAR                                                                                  \
    "to_patch_embedding.1.weight{ppc}(0,3,1,2) = patch_embed.proj.weight\n"                        \
    "to_patch_embedding.1.bias = patch_embed.proj.bias\n"
#define VP_NORMS                                                                                   \
    "to_patch_embedding.1.weight{ppc}(2,0,1) = patch_embed.pre_norm.weight\n"                      \
    "to_patch_embedding.1.bias{ppc}(2,0,1) = patch_embed.pre_norm.bias\n"                          \
    "to_patch_embedding.2.weight{ppc}(0,3,1,2) = patch_embed.proj.weight\n"                        \
    "to_patch_embedding.2.bias = patch_embed.proj.bias\n"                                          \
    "to_patch_embedding.3.weight = patch_embed.norm.weight\n"                                      \
    "to_patch_embedding.3.bias = patch_embed.norm.bias\n"
#define VP_BLOCKS(norm1, attention, norm2, fc1, fc2)                                               \
    "transformer.layers.*." norm1 ".weight = blocks.*.norm1.weight\n"                              \
    "transformer.layers.*." norm1 ".bias = blocks.*.norm1.bias\n"                                  \
    "transformer.layers.*." attention "to_qkv.weight = blocks.*.attn.qkv.weight\n"                 \
    "transformer.layers.*." attention "to_out.0.weight = blocks.*.attn.proj.weight\n"              \
    "transformer.layers.*." attention "to_out.0.bias = blocks.*.attn.proj.bias\n"                  \
    "transformer.layers.*." norm2 ".weight = blocks.*.norm2.weight\n"                              \
    "transformer.layers.*." norm2 ".bias = blocks.*.norm2.bias\n"                                  \
    "transformer.layers.*." fc1 ".weight = blocks.*.mlp.fc1.weight\n"                              \
    "transformer.layers.*." fc1 ".bias = blocks.*.mlp.fc1.bias\n"                                  \
    "transformer.layers.*." fc2 ".weight = blocks.*.mlp.fc2.weight\n"                              \
    "transformer.layers.*." fc2 ".bias = blocks.*.mlp.fc2.bias\n"
#define VP_NEW VP_BLOCKS("0.norm", "0.", "1.net.0", "1.net.1", "1.net.4")
#define VP_OLD VP_BLOCKS("0.norm", "0.fn.", "1.norm", "1.fn.net.0", "1.fn.net.3")
#define VP_TOP                                                                                     \
    "transformer.norm.weight = norm.weight\n"                                                      \
    "transformer.norm.bias = norm.bias\n"                                                          \
    "? mlp_head.weight = head.weight\n"                                                            \
    "? mlp_head.bias = head.bias\n"
#define VP_OLD_TOP                                                                                 \
    "mlp_head.0.weight = norm.weight\n"                                                            \
    "mlp_head.0.bias = norm.bias\n"                                                                \
    "mlp_head.1.weight = head.weight\n"                                                            \
    "mlp_head.1.bias = head.bias\n"
static const char *const vit_pytorch[] = {
    VP_EMBEDDINGS VP_NORMS VP_NEW VP_TOP, VP_EMBEDDINGS VP_NORMS VP_OLD VP_OLD_TOP,
    VP_EMBEDDINGS VP_LINEAR VP_OLD VP_OLD_TOP, VP_EMBEDDINGS VP_LINEAR VP_NEW VP_TOP,
    VP_EMBEDDINGS VP_NORMS VP_NEW VP_OLD_TOP};
/* clang-format on */

/* What files with timm's names hold besides a model: MAE's decoder, DINO's projection head. */
static const char timm_others[] = "- decoder_*\n"
                                  "- mask_token\n"
                                  "- head.mlp.*\n"
                                  "- head.last_layer.*\n";

static const char *const torchvision_maps[] = {torchvision};
static const char *const own_map[] = {""};

#define MAPS(list) list, sizeof(list) / sizeof(list[0])
static const VitroFamily families[] = {
    {"timm", MAPS(own_map), 1e-6, VITRO_ACT_GELU},
    {"torchvision", MAPS(torchvision_maps), 1e-6, VITRO_ACT_GELU},
    {"huggingface", MAPS(hugging_face), 1e-12, VITRO_ACT_GELU},
    /* flax.linen.gelu is the tanh form unless told otherwise */
    {"flax", MAPS(flax), 1e-6, VITRO_ACT_GELU_TANH},
    {"vit-pytorch", MAPS(vit_pytorch), 1e-5, VITRO_ACT_GELU},
};

const VitroFamily *vitro_family_named(const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

/* Whether the file has something of timm_others: a map is then made of it. */
static bool has_others(const VitroCheckpoint *ckpt)
{
    static const char *const starts[] = {"decoder_", "mask_token", "head.mlp.", "head.last_layer."};
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++)
        for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++)
            if (strncmp(vitro_checkpoint_info(ckpt, i)->name, starts[k], strlen(starts[k])) == 0)
                return true;
    return false;
}

VitroStatus vitro_family_of(const VitroFamily **out, VitroKeyMap **map, const VitroCheckpoint *ckpt)
{
    *out = NULL;
    *map = NULL;
    if (vitro_checkpoint_find(ckpt, "blocks.0.attn.qkv.weight") >= 0) {
        *out = &families[0];
        return has_others(ckpt) ? vitro_key_map_parse(map, timm_others, strlen(timm_others))
                                : VITRO_OK;
    }
    for (size_t i = 1; i < sizeof(families) / sizeof(families[0]); i++)
        for (size_t k = 0; k < families[i].map_count; k++) {
            VitroKeyMap *m = NULL;
            const char *text = families[i].map[k];
            VITRO_TRY(vitro_key_map_parse(&m, text, strlen(text)));
            if (vitro_key_map_fits(m, ckpt)) {
                *out = &families[i];
                *map = m;
                return VITRO_OK;
            }
            vitro_key_map_free(m);
        }
    return VITRO_OK;
}
