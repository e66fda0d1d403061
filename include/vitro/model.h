/* SPDX-License-Identifier: Apache-2.0 */
/* The Vision Transformer: its configuration, its parameters, prediction.
 * "An Image is Worth 16x16 Words", https://arxiv.org/abs/2010.11929 */
#ifndef VITRO_MODEL_H
#define VITRO_MODEL_H

#include "vitro/checkpoint.h"
#include "vitro/device.h"
#include "vitro/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- configuration ------------------------------------------------------------------------- */

typedef enum VitroAct {
    VITRO_ACT_NONE = 0,
    VITRO_ACT_GELU = 1,      /* x/2 (1 + erf(x/sqrt 2)) */
    VITRO_ACT_GELU_TANH = 2, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    VITRO_ACT_TANH = 3,
    VITRO_ACT_GELU_QUICK = 4 /* x / (1 + e^(-1.702 x)), CLIP's */
} VitroAct;

/* What the head sees of the last block's tokens. */
typedef enum VitroPooling {
    VITRO_POOL_TOKEN = 0, /* the class token */
    VITRO_POOL_AVG = 1,   /* the mean */
    VITRO_POOL_MAP =
        2 /* what a learned query attends to, and an MLP (timm's AttentionPoolLatent) */
} VitroPooling;

/* The arguments of the original's VisionTransformer constructor, and of timm's. What is 0 is the
 * original's way. */
typedef struct VitroConfig {
    int img_height, img_width; /* of the input, pixels; remainders of S/patch_size are dropped, as
                                * Conv2d does */
    int patch_size;            /* P, pixels */
    int in_channels;           /* C */
    int num_classes;           /* K; 0: no head, features come out */
    int embed_dim;             /* D */
    int depth;                 /* L, blocks */
    int num_heads;             /* H, divides D */
    double mlp_ratio;          /* the MLP is (int)(D * mlp_ratio) wide */
    bool qkv_bias;
    double qk_scale;         /* 0: (D/H)^-0.5 */
    int representation_size; /* R of pre_logits (Linear and Tanh); 0: none */
    bool patch_norm;         /* LayerNorm after the patch embedding */
    double norm_eps;
    VitroAct act;                                        /* one of the VITRO_ACT_GELU... */
    double drop_ratio, attn_drop_ratio, drop_path_ratio; /* [0, 1); in training only */

    double init_values;       /* LayerScale: what its factors begin with; 0: no LayerScale */
    VitroPooling global_pool; /* of all tokens but prefix tokens, unless pool_include_prefix */
    bool pool_include_prefix; /* the mean, or attention pooling, is over prefix tokens, too */
    bool no_class_token;      /* prefix tokens, before the patches: class, then registers; */
    int reg_tokens;           /* registers */
    bool no_embed_class;      /* pos_embed has rows for patches only */
    bool distilled;           /* DeiT: a distillation token and its head; outputs are the mean */
    bool pre_norm;            /* LayerNorm before the first block; no bias in the patch embedding */
    bool no_final_norm;
    bool fc_norm;        /* the final LayerNorm comes after pooling, under this name */
    bool qk_norm;        /* LayerNorm of each head's q and k */
    bool no_proj_bias;   /* none in attn.proj, mlp.fc1 and mlp.fc2 */
    bool patch_pre_norm; /* LayerNorm of a patch's pixels before the embedding */
} VitroConfig;

/* Bits that name the fields of VitroConfig. */
typedef enum VitroConfigField {
    VITRO_CFG_IMG_SIZE = 1 << 0, /* both sides */
    VITRO_CFG_PATCH_SIZE = 1 << 1,
    VITRO_CFG_IN_CHANNELS = 1 << 2,
    VITRO_CFG_NUM_CLASSES = 1 << 3,
    VITRO_CFG_EMBED_DIM = 1 << 4,
    VITRO_CFG_DEPTH = 1 << 5,
    VITRO_CFG_NUM_HEADS = 1 << 6,
    VITRO_CFG_MLP_RATIO = 1 << 7,
    VITRO_CFG_QKV_BIAS = 1 << 8,
    VITRO_CFG_QK_SCALE = 1 << 9,
    VITRO_CFG_REPRESENTATION_SIZE = 1 << 10,
    VITRO_CFG_PATCH_NORM = 1 << 11,
    VITRO_CFG_NORM_EPS = 1 << 12,
    VITRO_CFG_ACT = 1 << 13,
    VITRO_CFG_DROP_RATIO = 1 << 14,
    VITRO_CFG_ATTN_DROP_RATIO = 1 << 15,
    VITRO_CFG_DROP_PATH_RATIO = 1 << 16,
    VITRO_CFG_INIT_VALUES = 1 << 17,
    VITRO_CFG_GLOBAL_POOL = 1 << 18,
    VITRO_CFG_POOL_INCLUDE_PREFIX = 1 << 19,
    VITRO_CFG_CLASS_TOKEN = 1 << 20,
    VITRO_CFG_REG_TOKENS = 1 << 21,
    VITRO_CFG_NO_EMBED_CLASS = 1 << 22,
    VITRO_CFG_DISTILLED = 1 << 23,
    VITRO_CFG_PRE_NORM = 1 << 24,
    VITRO_CFG_FINAL_NORM = 1 << 25,
    VITRO_CFG_FC_NORM = 1 << 26,
    VITRO_CFG_QK_NORM = 1 << 27,
    VITRO_CFG_PROJ_BIAS = 1 << 28,
    VITRO_CFG_PATCH_PRE_NORM = 1 << 29
} VitroConfigField;

VITRO_API int vitro_preset_count(void);
VITRO_API const char *vitro_preset_name(int i); /* 0 <= i < count */
/* VITRO_E_ARG: no such preset; the text lists the nearest names. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_preset(VitroConfig *out, const char *name);
/* Copies the fields of `from` whose bits are in `fields` over those of `cfg`. */
VITRO_API void vitro_config_apply(VitroConfig *cfg, const VitroConfig *from, uint32_t fields);
/* VITRO_E_ARG: a field is out of its range; the text names it, its value and the range. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_validate(const VitroConfig *cfg);

VITRO_API int64_t vitro_config_patches(const VitroConfig *cfg); /* N */
VITRO_API int64_t vitro_config_prefix(const VitroConfig *cfg);  /* class, distillation, registers */
VITRO_API int64_t vitro_config_tokens(const VitroConfig *cfg);  /* T = prefix + N */
VITRO_API int64_t vitro_config_positions(const VitroConfig *cfg); /* rows of pos_embed: T, or N */
VITRO_API int64_t vitro_config_mlp_width(const VitroConfig *cfg); /* M = (int)(D * mlp_ratio) */
VITRO_API int64_t vitro_config_features(const VitroConfig *cfg);  /* what the head takes: R, or D */
VITRO_API int64_t vitro_config_outputs(const VitroConfig *cfg);   /* K, or the features' width */
/* Multiply-adds of the products for one image: conv + linear + matmul as fvcore counts them. What
 * the model costs as it is written down; the last block does less, see docs/ARCHITECTURE.md. */
VITRO_API int64_t vitro_config_macs(const VitroConfig *cfg);

/* What a forward pass costs, as fvcore's FlopCountAnalysis counts: one per multiply-add, LayerNorm
 * five per element, all else nothing. */
typedef struct VitroFlops {
    int64_t conv, linear, matmul, layer_norm;
} VitroFlops;
VITRO_API VitroFlops vitro_config_flops(const VitroConfig *cfg); /* one image */
/* One attention layer: `tokens` rows of `dim`; `proj`: with the output projection. */
VITRO_API VitroFlops vitro_attention_flops(int64_t tokens, int64_t dim, bool proj);

/* What a row of the layer table is: a module of PyTorch's, or something that has no module. */
typedef enum VitroLayerKind {
    VITRO_LAYER_CONV,
    VITRO_LAYER_LINEAR,
    VITRO_LAYER_NORM,
    VITRO_LAYER_MATMUL, /* q k^T and its product with v: "blocks.0.attn.matmul"; fvcore counts them
                         * for the module "blocks.0.attn" itself */
    VITRO_LAYER_PARAM   /* a parameter that joins the tokens: cls_token, pos_embed */
} VitroLayerKind;

typedef struct VitroLayerInfo {
    const char *name; /* "blocks.0.attn.qkv"; borrowed */
    VitroLayerKind kind;
    int block;      /* 0..depth-1; -1 outside the blocks */
    int rank;       /* of the output, in the original's shape, batch first */
    int64_t dim[4]; /* [B,D,height/P,width/P] of patch_embed.proj, [B,T,3D] of qkv, ... */
    int64_t params;
    VitroFlops flops; /* of the whole batch */
} VitroLayerInfo;
typedef void (*VitroLayerFn)(void *user, const VitroLayerInfo *info);
/* The layer table, from the picture to the logits: calls `fn` for each layer; `info` is valid
 * during the call. Sums over the layers are the model's. 1 <= batch <= 4096. Errors: VITRO_E_ARG,
 * _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_each_layer(const VitroConfig *cfg,
                                                               int64_t batch, VitroLayerFn fn,
                                                               void *user);

/* What a model is run for. */
typedef enum VitroMode {
    VITRO_MODE_INFER,          /* nothing is kept; dropout off */
    VITRO_MODE_TRAIN,          /* everything that the backward pass needs is kept */
    VITRO_MODE_TRAIN_HEAD,     /* the same from the final norm on; the frozen part keeps nothing */
    VITRO_MODE_TRAIN_RECOMPUTE /* as TRAIN, bit for bit, but of a block only its input is kept: the
                                * backward pass computes the rest a second time */
} VitroMode;

/* Bytes, as a model and its predictor or trainer allocate them (each tensor on 64 bytes). Not in
 * it: copies of weights that a back end packs for its products (an opened model has nothing else of
 * them), and workspace of its threads. */
typedef struct VitroMemory {
    int64_t params;      /* in inference by bf16 or int8 in that form, else as float32 or double */
    int64_t activations; /* buffers that are not needed at the same time share memory */
    int64_t gradients;   /* 0 in inference; an optimizer holds as much again for SGD's momentum,
                          * twice as much for AdamW */
} VitroMemory;
/* What `mode` takes at `batch` images, without allocating it, with the gradients of all parameters
 * that it trains (vitro_train_memory tells what a trainer of given options really takes). 1 <=
 * batch <= 2^20. Errors: VITRO_E_ARG, _NOMEM (also: more than could ever be addressed). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_memory(VitroMemory *out, const VitroConfig *cfg,
                                                           VitroPrecision precision, VitroMode mode,
                                                           int64_t batch);

/* ---- what a checkpoint says of itself ------------------------------------------------------- */

/* Owns its strings. Zero-initialise; end with vitro_card_deinit. */
typedef struct VitroCard {
    VitroConfig config;
    uint32_t config_known;    /* VitroConfigField bits that the file states; 0: no card */
    VitroTransform transform; /* for prediction */
    bool has_transform;
    char **class_names; /* [class_count], UTF-8; NULL where unknown */
    int64_t class_count;
    char *source; /* who said so, if not the file's own metadata: "config.json and
                   * preprocessor_config.json"; else NULL */
} VitroCard;
VITRO_API void vitro_card_deinit(VitroCard *card);
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_card_set_classes(VitroCard *card,
                                                              const char *const *names,
                                                              int64_t count);
/* The card in a checkpoint's metadata. Where it has none: what Hugging Face's or timm's config.json
 * and a preprocessor_config.json in the checkpoint's folder say of it, else the arguments that
 * timm's or DeiT's training saved in a .pth file. An empty card where there is nothing of all this.
 * Of other libraries' files that are not about a ViT the log (vitro_set_log) tells. Errors:
 * VITRO_E_IO; VITRO_E_FORMAT (damaged, or parts that contradict each other); VITRO_E_UNSUPPORTED (a
 * model or transform that cannot be expressed); texts name the file and the field. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_card_read(VitroCard *out, const VitroCheckpoint *ckpt);
/* Where the card has no transform, and the tensors had the names of torchvision, Hugging Face or
 * Flax (vitro_checkpoint_adopt_names), for a model *cfg of 3 channels: that which these libraries
 * use for their own models, and `note` (at least 256 bytes) says so in a line. Else nothing
 * happens, and `note` is "". */
VITRO_API void vitro_card_assume_transform(VitroCard *card, const VitroCheckpoint *ckpt,
                                           const VitroConfig *cfg, char *note, size_t note_size);
/* Class names from a JSON file {"0": "name", ...} or ["name", ...]; replaces the card's. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_card_read_classes(VitroCard *card, const char *path);
/* Writes {"0": "name", ...}, four spaces of indentation as the original's json.dumps(indent=4). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_card_write_classes(const VitroCard *card,
                                                                const char *path);

/* Gives the tensors of `ckpt` the names that VitroModel's parameters have ("blocks.0.norm1.weight":
 * timm's and the original's), joins split q, k and v, and turns foreign layouts, without copying.
 * By the key map in the file `key_map` (docs/FORMATS.md has its language); where that is NULL, by
 * the naming that the file shows, if it is a known one; else all names stay.
 * vitro_checkpoint_naming() tells afterwards. Call it once, before the functions below. Errors:
 * VITRO_E_IO; VITRO_E_FORMAT (a line of the key map that makes no sense or does not fit the file:
 * the text has its number). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_adopt_names(VitroCheckpoint *ckpt,
                                                                    const char *key_map);

/* The geometry of the model in `ckpt`, from its tensors, its card, and what `given` (with its
 * `given_fields`) states. num_heads, which no tensor shows: given; else the card's; else that of
 * the preset with the same embed_dim, depth and patch_size; else embed_dim/64 where whole. `note`
 * (may be NULL; at least 256 bytes) receives one line about a guess, or "". Fields that tensors do
 * not show (norm_eps, act, ...): given, card, or the presets' defaults. num_classes is 0 if there
 * is no head. The image and patch size that `given` states only help where tensors and card leave
 * them open: a grid that is not square, a flat patch embedding. Errors: VITRO_E_FORMAT (no plain
 * ViT: the text names the tensor), VITRO_E_ARG (`given` contradicts the tensors or the card, or
 * num_heads cannot be told). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_from_checkpoint(
    VitroConfig *out, char *note, size_t note_size, const VitroCheckpoint *ckpt,
    const VitroCard *card, const VitroConfig *given, uint32_t given_fields);

/* By whose rule a position embedding is resampled for another grid of patches. They differ; each is
 * what its library does with its own files. The values are pinned. */
typedef enum VitroPosEmbedRule {
    VITRO_POS_EMBED_TIMM = 0,         /* cubic, a = -0.5, widened where the grid shrinks; what lies
                                       * outside is left out */
    VITRO_POS_EMBED_HUGGING_FACE = 1, /* cubic, a = -0.75, four taps; the border repeats */
    VITRO_POS_EMBED_TORCHVISION = 2,  /* the same, corner upon corner */
    VITRO_POS_EMBED_GOOGLE = 3,       /* linear, corner upon corner: scipy.ndimage.zoom(order=1) */
    VITRO_POS_EMBED_TIMM_NPZ = 4      /* linear, two taps; timm's for Google's .npz files */
} VitroPosEmbedRule;
VITRO_API const char *vitro_pos_embed_rule_name(VitroPosEmbedRule rule); /* "timm", "hf", ... */
/* That of the library whose names the tensors had, timm's where they are of no known one. */
VITRO_API VitroPosEmbedRule vitro_pos_embed_rule_of(const VitroCheckpoint *ckpt);

/* Makes `ckpt` a checkpoint of the same model for pictures of height x width (0: as they are) and
 * patches of patch_size (0: as they are). Where the grid of patches changes, pos_embed is resampled
 * by `rule`: its rows for patches; those of class and other tokens stay. Another patch size resizes
 * patch_embed.proj.weight by its pseudo-inverse (FlexiViT). Both become float32. *cfg is that of
 * the file (vitro_config_from_checkpoint) and becomes the model's. `note` (may be NULL; at least
 * 256 bytes) receives one line that says what was done, or "". After a failure nothing has changed.
 * Errors: VITRO_E_ARG (sizes no model can have), _SHAPE (the tensors are not those of *cfg),
 * _UNSUPPORTED (patches of over 256 pixels to others, or with patch_pre_norm), _NOMEM, and
 * vitro_checkpoint_read_f32's. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_set_size(VitroCheckpoint *ckpt,
                                                                 VitroConfig *cfg, int height,
                                                                 int width, int patch_size,
                                                                 VitroPosEmbedRule rule, char *note,
                                                                 size_t note_size);

/* ---- the model ------------------------------------------------------------------------------ */

/* Functions that take it as const, and predictors (each in its own thread), may use one model at
 * the same time. What changes it (init, load, param_set, a trainer's step) must be alone with
 * it. */
typedef struct VitroModel VitroModel;

/* A model whose parameters are all zero: load them, or draw them with vitro_model_init. The device
 * is borrowed and must outlive it. Errors: VITRO_E_ARG (configuration), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_create(VitroModel **out, VitroDevice *dev,
                                                          const VitroConfig *cfg);
/* Draws every parameter as the original's _init_vit_weights does: a function of (cfg, seed). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_init(VitroModel *model, uint64_t seed);
VITRO_API void vitro_model_free(VitroModel *model); /* NULL is fine */
VITRO_API const VitroConfig *vitro_model_config(const VitroModel *model);

typedef struct VitroParamInfo {
    const char *name; /* "blocks.0.attn.qkv.weight": timm's and the original's; borrowed */
    int rank;
    int64_t dim[4];
    int64_t count;
} VitroParamInfo;
/* In the order of the original's named_parameters(): 0 <= i < count. */
VITRO_API int64_t vitro_model_param_count(const VitroModel *model);
VITRO_API VitroParamInfo vitro_model_param(const VitroModel *model, int64_t i);
/* The same for a model that need not exist: calls `fn` for each parameter; `info` is valid during
 * the call. Errors: VITRO_E_ARG (configuration), _NOMEM. */
typedef void (*VitroParamFn)(void *user, const VitroParamInfo *info);
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_config_each_param(const VitroConfig *cfg,
                                                               VitroParamFn fn, void *user);
/* Host copies, [count] float32. Not while a predictor or trainer runs. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_param_get(const VitroModel *model, int64_t i,
                                                             float *out);
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_param_set(VitroModel *model, int64_t i,
                                                             const float *in);

/* What loading did with each name, as PyTorch's load_state_dict(strict=False) reports it. */
typedef struct VitroLoadReport {
    char **missing, **unexpected; /* names, in the model's and the file's order */
    int64_t missing_count, unexpected_count;
    int64_t loaded_count;
} VitroLoadReport;
VITRO_API void vitro_load_report_deinit(VitroLoadReport *report);

typedef struct VitroLoadOptions {
    bool skip_head;       /* leave head.* as initialised */
    bool skip_pre_logits; /* leave pre_logits.* out */
    bool strict;          /* missing or unexpected names are an error */
} VitroLoadOptions;

/* Copies the checkpoint's tensors into the model's, bytes times their scales as floats (see
 * vitro_checkpoint_scale_of). patch_embed.proj.weight may be [D,C,P,P] or [D,C*P*P]. Names and
 * shapes are checked before the first byte is copied: a wrong shape is VITRO_E_SHAPE, whose text
 * lists every case as PyTorch does. `options` NULL: strict. `report` may be NULL. What is skipped
 * counts as missing (as after `del weights_dict[key]`), never as unexpected. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_load(VitroModel *model,
                                                        const VitroCheckpoint *ckpt,
                                                        const VitroLoadOptions *options,
                                                        VitroLoadReport *report);
/* A model for inference alone, whose parameters are those of `ckpt`; arguments, report and errors
 * as for vitro_model_create and vitro_model_load, and where options leave a parameter out it is 0.
 * It takes about as much memory as a float32 file, where a model that is created and loaded takes
 * three times that: the weights stay in the mapped file until the first predictor is created, which
 * packs them from there, one by one (and so may give VITRO_E_FORMAT: a checksum that does not fit).
 * On a device of VITRO_PRECISION_INT8 weights that the file keeps as bytes are used as they are.
 * The checkpoint is borrowed as the device is: both must outlive the model. What would change
 * parameters (init, load, param_set, a trainer) gives VITRO_E_ARG; param_get and save work. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_open(VitroModel **out, VitroDevice *dev,
                                                        const VitroConfig *cfg,
                                                        const VitroCheckpoint *ckpt,
                                                        const VitroLoadOptions *options,
                                                        VitroLoadReport *report);
/* Writes all parameters as float32 and the card (its config is the model's own; transform and class
 * names from `card`, may be NULL). Whole or not at all. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_model_save(const VitroModel *model, const char *path,
                                                        VitroCheckpointFormat format,
                                                        const VitroCard *card);

/* vitro_checkpoint_convert, with a card of `cfg` and of the transform and class names in `card`.
 * *floats may also be VITRO_I8, in a .safetensors file (else VITRO_E_ARG), for models on devices of
 * VITRO_PRECISION_INT8, which then have nothing to round when they start: a weight that they
 * multiply as bytes is written as these and a float32 tensor "<name>_scale" of one scale for each
 * output, the others as BF16, all else as F32. The tensors must be exactly those of `cfg`
 * (VITRO_E_FORMAT, VITRO_E_SHAPE) and finite (VITRO_E_NUMERIC). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_convert_model(
    const VitroCheckpoint *ckpt, const char *path, VitroCheckpointFormat format,
    const VitroDtype *floats, const VitroConfig *cfg, const VitroCard *card);

/* ---- prediction ------------------------------------------------------------------------------ */

/* The activations of up to `max_batch` images. Several predictors, each in its own thread, may
 * share one model, and may be made and freed while others run: a predictor gives the same bits
 * whatever the others do. The model must outlive them and must not change during a run. */
typedef struct VitroPredictor VitroPredictor;
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_predictor_create(VitroPredictor **out,
                                                              VitroModel *model, int64_t max_batch);
VITRO_API void vitro_predictor_free(VitroPredictor *p); /* NULL is fine */
/* images [count,C,height,width] to logits [count,K] (or features, num_classes = 0); 1 <= count <=
 * max_batch. Dropout is off. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_predictor_run(VitroPredictor *p, const float *images,
                                                           int64_t count, float *logits);
/* The features of the last run's images, what the head took: [count, vitro_config_features()]. Of a
 * distilled model the mean of what its two heads took. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_predictor_features(const VitroPredictor *p,
                                                                float *features);
/* Softmax of n logits in double precision; probs may be logits. */
VITRO_API void vitro_softmax(float *probs, const float *logits, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
