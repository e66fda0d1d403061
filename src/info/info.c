/* SPDX-License-Identifier: Apache-2.0 */
/* What this build stands on. The only file above all rooms: it asks each library for its version
 * and uses it for nothing else. */
#include "vitro/base.h"

#include <pthread.h>
#include <stdio.h>

#include <cairo.h>
#include <jansson.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>
#include <zlib.h>
#if VITRO_HAVE_CURL
#include <curl/curl.h>
#endif
#if VITRO_HAVE_ARCHIVE
#include <archive.h>
#endif

#define STR_(x) #x
#define STR(x)  STR_(x)

#ifdef LIBJPEG_TURBO_VERSION
#define JPEG_NAME "libjpeg-turbo " STR(LIBJPEG_TURBO_VERSION)
#else
#define JPEG_NAME "libjpeg " STR(JPEG_LIB_VERSION)
#endif

static char info[512];

/* The two that a build may lack: --download needs them. */
static const char *curl_name(void)
{
#if VITRO_HAVE_CURL
    return curl_version_info(CURLVERSION_NOW)->version;
#else
    return "none";
#endif
}

static const char *archive_name(void)
{
#if VITRO_HAVE_ARCHIVE
    return archive_version_string(); /* "libarchive 3.6.2" */
#else
    return "libarchive none";
#endif
}

static void fill(void)
{
    int webp = WebPGetDecoderVersion();
    snprintf(info, sizeof(info),
             JPEG_NAME "\nlibpng %s\nlibwebp %d.%d.%d\ncairo %s\njansson %s\nzlib %s\n"
                       "libcurl %s\n%s\n",
             png_get_libpng_ver(NULL), webp >> 16, webp >> 8 & 255, webp & 255,
             cairo_version_string(), jansson_version_str(), zlibVersion(), curl_name(),
             archive_name());
}

const char *vitro_build_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return info;
}
