/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_SDL_KEYS_H
#define ORRERY_UI_DISPLAY_SDL_KEYS_H

/* Linux key code of an SDL_Scancode; 0 if a PC keyboard lacks the key. */
unsigned sdl_key_code(unsigned scancode);

#endif
