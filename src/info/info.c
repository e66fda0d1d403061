/* SPDX-License-Identifier: Apache-2.0 */
/* What this build stands on. The only file above all rooms: it asks each library for its version
 * and uses it for nothing else. */
#include "data/http.h"
#include "data/unpack.h"
#include "vitro/base.h"

#include <pthread.h>
#include <stdio.h>

#include <cairo.h>
#include <jansson.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>
#include <zlib.h>
#if VITRO_HAVE_PROTOBUF_C
#include <protobuf-c/protobuf-c.h>
#endif

#define STR_(x) #x
#define STR(x)  STR_(x)

#ifdef LIBJPEG_TURBO_VERSION
#define JPEG_NAME "libjpeg-turbo " STR(LIBJPEG_TURBO_VERSION)
#else
#define JPEG_NAME "libjpeg " STR(JPEG_LIB_VERSION)
#endif

static const char *protobuf_version(void)
{
#if VITRO_HAVE_PROTOBUF_C
    return protobuf_c_version();
#else
    return "not found";
#endif
}

static char info[512];

static void fill(void)
{
    int webp = WebPGetDecoderVersion();
    snprintf(info, sizeof(info),
             JPEG_NAME "\nlibpng %s\nlibwebp %d.%d.%d\ncairo %s\njansson %s\nzlib %s\n"
                       "protobuf-c %s\nlibcurl %s\n%s\n",
             png_get_libpng_ver(NULL), webp >> 16, webp >> 8 & 255, webp & 255,
             cairo_version_string(), jansson_version_str(), zlibVersion(), protobuf_version(),
             vitro_http_library(), vitro_unpack_library());
}

const char *vitro_build_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return info;
}
