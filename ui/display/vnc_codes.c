/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU Extended Key Event (RFB community specification, pseudo-encoding -258):
 * the viewer sends the key's PC scan code beside what is printed on it, so the
 * guest's own keyboard layout counts, whichever the viewer has.
 */
#include "config.h"

#ifdef HAVE_VNC

#include <arpa/inet.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/input.h"
#include "ui/display/vnc_int.h"

enum {
    ENC_EXTENDED_KEY = -258,
    MSG_QEMU = 255,
    SUB_EXTENDED_KEY = 0,
    XT_EXTENDED = 0x80, /* an 0xe0 goes before */
    XT_ALT_SYSRQ = 0x54,
    XT_PRINT = 0xb7,
    XT_BREAK = 0xc6, /* what viewers send for Pause */
};

/* Key code of a scan code of set 1, 0: there is no such key. */
static unsigned key_for_scancode(uint32_t xt)
{
    uint8_t want[2] = { 0xe0, xt & 0x7f }, got[16];
    size_t at = xt & XT_EXTENDED ? 0 : 1;

    if (xt == XT_ALT_SYSRQ || xt == XT_PRINT) return KEY_SYSRQ;
    if (xt == XT_BREAK) return KEY_PAUSE;
    if (xt == 0 || xt > 0xff) return 0;
    for (unsigned k = 1; k < 256; k++) {
        if (input_scancode_set1(k, true, got) == 2 - at &&
            memcmp(got, want + at, 2 - at) == 0)
            return k;
    }
    return 0;
}

/* An empty rectangle of the encoding tells the viewer that we know it. */
static rfbBool enable(rfbClientPtr cl, void **data, int encoding)
{
    struct {
        rfbFramebufferUpdateMsg head;
        rfbFramebufferUpdateRectHeader rect;
    } __attribute__((packed)) m = { 0 };
    int rc;

    (void)data;
    if (encoding != ENC_EXTENDED_KEY) return FALSE;
    m.head.type = rfbFramebufferUpdate;
    m.head.nRects = htons(1);
    m.rect.encoding = htonl((uint32_t)ENC_EXTENDED_KEY);
    pthread_mutex_lock(&cl->sendMutex);
    rc = rfbWriteExact(cl, (const char *)&m, sizeof(m));
    pthread_mutex_unlock(&cl->sendMutex);
    if (rc < 0) rfbCloseClient(cl);
    return TRUE;
}

static rfbBool take_message(rfbClientPtr cl, void *data,
                            const rfbClientToServerMsg *first)
{
    struct {
        uint8_t sub_type;
        uint16_t is_down;
        uint32_t keysym, scancode;
    } __attribute__((packed)) m;
    struct vnc_viewer *w = cl->clientData;
    unsigned keycode;

    (void)data;
    if (first->type != MSG_QEMU) return FALSE;
    if (rfbReadExact(cl, (char *)&m, sizeof(m)) <= 0) {
        rfbCloseClient(cl);
        return TRUE;
    }
    if (m.sub_type != SUB_EXTENDED_KEY) return FALSE;
    keycode = key_for_scancode(ntohl(m.scancode));
    if (w != NULL && keycode != 0) {
        vnc_key_code(w, keycode, m.is_down != 0);
    } else {
        vnc_key(m.is_down != 0, ntohl(m.keysym), cl);
    }
    return TRUE;
}

void vnc_offer_key_codes(void)
{
    static int encodings[] = { ENC_EXTENDED_KEY, 0 };
    static rfbProtocolExtension extension = {
        .pseudoEncodings = encodings,
        .enablePseudoEncoding = enable,
        .handleMessage = take_message,
    };

    rfbRegisterProtocolExtension(&extension); /* again: stays as it is */
}

/* The library keeps them (0.9.14, rfbDisableExtension() as well). */
void vnc_forget_key_codes(rfbClientPtr cl)
{
    rfbExtensionData *x;

    while ((x = cl->extensions) != NULL) {
        cl->extensions = x->next;
        free(x);
    }
}

#endif
