/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT and SIGTERM as a wish to stop: a run ends at the next place where nothing is lost. */
#ifndef VITRO_CLI_STOP_H
#define VITRO_CLI_STOP_H

/* From now on the first of these signals is only noted; the second ends the program at once, with
 * status 128 + its number. */
void stop_catch(void);
/* The signal that asked to stop; 0: none yet. */
int stop_signal(void);
/* "SIGINT" or "SIGTERM" */
const char *stop_signal_name(int number);

#endif
