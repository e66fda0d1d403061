/* SPDX-License-Identifier: Apache-2.0 */
/* What the emulator's own files show each other. */
#ifndef VITRO_TESTS_CUDA_EMU_INT_H
#define VITRO_TESTS_CUDA_EMU_INT_H

#include "cuda_emu/emu.h"

/* Runs all blocks, now. */
void emu_run(const EmuLaunch &launch);

/* Puts work on a stream, as every asynchronous call does; or into the graph that is being
 * captured from it. */
void emu_enqueue(cudaStream_t stream, std::function<void()> work);

#endif
