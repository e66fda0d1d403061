/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences of ops as CUDA graphs: put on the stream by one call instead of some hundred. A
 * sequence is run plainly the first time (scratch memory grows, algorithms are chosen), recorded
 * the second, and from then on repeated. What was recorded holds addresses: once memory has been
 * freed, it is forgotten. */
#include "backend/cuda/cuda_int.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 64 };

typedef struct Entry {
    VitroSequence key;
    uint64_t generation;   /* in which it ran last */
    cudaGraphExec_t graph; /* NULL: not recorded yet */
} Entry;

struct VitroCudaGraphs {
    bool off;
    int count, next; /* entries; the one to be replaced when there are ENTRIES */
    Entry entry[ENTRIES];
};

VitroStatus vitro_cuda_graphs_create(VitroCudaGraphs **out)
{
    VitroCudaGraphs *g = vitro_calloc(1, sizeof *g);
    if (!g)
        return VITRO_NOMEM;
    const char *wish = getenv("VITRO_CUDA_GRAPHS"); /* 0: for those who look for a mistake */
    g->off = wish && strcmp(wish, "0") == 0;
    *out = g;
    return VITRO_OK;
}

static void forget(Entry *e)
{
    if (e->graph)
        (void)cudaGraphExecDestroy(e->graph);
    *e = (Entry){0};
}

void vitro_cuda_graphs_free(VitroCudaGraphs *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->count; i++)
        forget(&g->entry[i]);
    vitro_free(g);
}

/* The entry of this key; *is_new where it has not run since memory was last freed. */
static Entry *find(VitroCudaGraphs *g, const VitroSequence *key, uint64_t generation, bool *is_new)
{
    Entry *e = NULL;
    for (int i = 0; i < g->count && !e; i++)
        if (memcmp(&g->entry[i].key, key, sizeof *key) == 0)
            e = &g->entry[i];
    *is_new = !e || e->generation != generation;
    if (!e && g->count < ENTRIES) {
        e = &g->entry[g->count++];
    } else if (!e) {
        e = &g->entry[g->next];
        g->next = (g->next + 1) % ENTRIES;
    }
    if (*is_new)
        forget(e);
    e->key = *key;
    return e;
}

/* Records what run(user) puts on the stream, which is then not run. */
static VitroStatus record(cudaGraphExec_t *out, VitroDevice *dev, VitroStatus (*run)(void *user),
                          void *user)
{
    const VitroCuda *cuda = vitro_cuda(dev);
    cudaGraph_t graph = NULL;
    VITRO_CUDA_TRY(cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    VitroStatus st = run(user);
    cudaError_t ended = cudaStreamEndCapture(cuda->stream, &graph);
    if (st == VITRO_OK)
        st = vitro_cuda_check(ended, "cudaStreamEndCapture");
    if (st == VITRO_OK)
        st = vitro_cuda_check(cudaGraphInstantiate(out, graph, 0), "cudaGraphInstantiate");
    if (graph)
        (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    return st;
}

static VitroStatus sequence(VitroDevice *dev, const VitroSequence *key,
                            VitroStatus (*run)(void *user), void *user)
{
    VitroCuda *cuda = vitro_cuda(dev);
    VitroCudaGraphs *g = cuda->graphs;
    bool is_new;
    if (g->off)
        return run(user);
    Entry *e = find(g, key, cuda->generation, &is_new);
    if (is_new) {
        VITRO_TRY(run(user));
        e->generation = cuda->generation;
        return VITRO_OK;
    }
    if (!e->graph && record(&e->graph, dev, run, user) != VITRO_OK) {
        vitro_log(VITRO_LOG_WARN, "%s: going on without CUDA graphs", vitro_last_error());
        g->off = true;
        return run(user);
    }
    return vitro_cuda_check(cudaGraphLaunch(e->graph, cuda->stream), "cudaGraphLaunch");
}

VitroStatus vitro_cuda_op_sequence(VitroDevice *dev, const VitroSequence *key,
                                   VitroStatus (*run)(void *user), void *user)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, sequence(dev, key, run, user));
}
