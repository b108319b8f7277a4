/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The picture as a file: PNG (libpng) or PPM, binary form (P6). */
#include "core/host/display.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#ifdef HAVE_PNG
#include <png.h>
#endif

/* Why a write went wrong, errno having been 0 before. */
static int why(void)
{
    return errno != 0 ? -errno : -EIO;
}

static void row_to_rgb(const struct surface *s, int y, uint8_t *rgb)
{
    const uint32_t *px = s->px + (size_t)y * (size_t)s->stride_px;

    for (int x = 0; x < s->width_px; x++) {
        *rgb++ = (uint8_t)(px[x] >> 16);
        *rgb++ = (uint8_t)(px[x] >> 8);
        *rgb++ = (uint8_t)px[x];
    }
}

static int write_ppm(FILE *f, const struct surface *s, uint8_t *row)
{
    fprintf(f, "P6\n%d %d\n255\n", s->width_px, s->height_px);
    for (int y = 0; y < s->height_px; y++) {
        row_to_rgb(s, y, row);
        if (fwrite(row, 3, (size_t)s->width_px, f) != (size_t)s->width_px)
            return why();
    }
    return 0;
}

#ifdef HAVE_PNG
static int write_png(FILE *f, const struct surface *s, uint8_t *row)
{
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png != NULL ? png_create_info_struct(png) : NULL;
    volatile int rc = -ENOMEM;

    if (info == NULL) goto out;
    if (setjmp(png_jmpbuf(png)) != 0) { /* libpng's error return */
        rc = why();
        goto out;
    }
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)s->width_px, (png_uint_32)s->height_px,
                 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < s->height_px; y++) {
        row_to_rgb(s, y, row);
        png_write_row(png, row);
    }
    png_write_end(png, NULL);
    rc = 0;
out:
    if (png != NULL)
        png_destroy_write_struct(&png, info != NULL ? &info : NULL);
    return rc;
}
#else
static int write_png(FILE *f, const struct surface *s, uint8_t *row)
{
    (void)f, (void)s, (void)row;
    return -ENOTSUP;
}
#endif

int display_screendump_locked(struct display *d, const char *path, bool is_png,
                              struct err *e)
{
    const struct surface *s;
    uint8_t *row;
    FILE *f;
    int rc;

    display_refresh_locked(d);
    s = display_surface(d);
    row = malloc((size_t)s->width_px * 3);
    if (row == NULL) return err_set(e, -ENOMEM, "no memory for a screen dump");
    f = fopen(path, "wbe");
    if (f == NULL) {
        rc = err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
        goto free_row;
    }
    errno = 0;
    rc = is_png ? write_png(f, s, row) : write_ppm(f, s, row);
    if (fclose(f) != 0 && rc == 0) rc = -errno;
    if (rc == -ENOTSUP)
        err_set(e, rc, "PNG is not built in: package libpng-dev");
    else if (rc < 0)
        err_set(e, rc, "cannot write '%s': %s", path, strerror(-rc));
free_row:
    free(row);
    return rc;
}
