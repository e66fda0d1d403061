/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t noted;

static void note(int number)
{
    if (noted)
        _exit(128 + number);
    noted = number;
}

void stop_catch(void)
{
    /* Also where the caller ignores them, as shells do for SIGINT of what runs in the background:
     * who sends one wants an end, and this end loses nothing. */
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int stop_signal(void)
{
    return noted;
}

const char *stop_signal_name(int number)
{
    return number == SIGINT ? "SIGINT" : "SIGTERM";
}
