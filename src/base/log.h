/* SPDX-License-Identifier: Apache-2.0 */
/* One line per event, to the callback of vitro_set_log(). */
#ifndef VITRO_BASE_LOG_H
#define VITRO_BASE_LOG_H

#include "base/status.h"

void vitro_log(VitroLogLevel level, const char *fmt, ...) VITRO_PRINTF(2, 3);

#endif
