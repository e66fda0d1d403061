/* SPDX-License-Identifier: Apache-2.0 */
/* The training states in a run's output folder: their names, which one is the latest, which ones
 * are of no more use. What is in a state is train_resume.h's business.
 *
 *     state-<steps>.safetensors           after so many optimizer steps, at a place where any run
 * of these options saves one state-<steps>-stopped.safetensors   where a signal ended the run; gone
 * with the next state state-superseded.safetensors        the latest one of a run that another
 * began over
 *
 * So a run that was interrupted leaves the same files as one that was not. */
#ifndef VITRO_CLI_STATES_H
#define VITRO_CLI_STATES_H

#include "cli.h"

/* Locks the folder against other runs as long as *fd is open, and removes what runs that died had
 * half written in it. */
int states_lock(int *fd, const char *dir);

/* The latest whole state; *out and *path NULL: there is none at all. Damaged ones are passed over
 * with a line on stderr; where there are no others, that is a failure. Free the path. */
int states_find_latest(VitroTrainState **out, char **path, const char *dir);

/* A run begins in `dir` after `steps` optimizer steps: states of later steps are another run's. The
 * latest of them is put aside, the others go. */
int states_supersede(const char *dir, int64_t steps);

char *states_path(const char *dir, int64_t steps, bool stopped); /* free it */

/* After `path` was saved at `steps`: keeps it, and the latest `keep` of those that any run saves.
 */
void states_prune(const char *dir, int64_t steps, const char *path, int keep);

#endif
