# SPDX-License-Identifier: GPL-2.0-or-later
"""A small VNC viewer for tests: RFC 6143, version 3.8, no password, raw.

What it sends and decodes follows RFC 6143 sections 7.1 to 7.7.
"""
import socket
import struct
import time

KEYSYM = {'\n': 0xff0d, '\t': 0xff09, '\b': 0xff08, 'esc': 0xff1b,
          'up': 0xff52, 'down': 0xff54, 'shift': 0xffe1}
NEEDS_SHIFT = '~!@#$%^&*()_+{}|:"<>?'


class Viewer:
    def __init__(self, port, host='127.0.0.1', limit=120):
        self.s = socket.create_connection((host, port), timeout=limit)
        version = self._read(12)
        if not version.startswith(b'RFB 003.'):
            raise ValueError(f'not a VNC server: {version!r}')
        self.s.sendall(b'RFB 003.008\n')
        kinds = self._read(self._read(1)[0])
        if 1 not in kinds:
            raise ValueError(f'no security type None among {list(kinds)}')
        self.s.sendall(b'\1')
        if self._read(4) != b'\0\0\0\0':
            raise ValueError('the security handshake failed')
        self.s.sendall(b'\1')                                   # shared
        self.width, self.height = struct.unpack('>HH', self._read(4))
        self._read(16)
        self.name = self._read(struct.unpack('>I', self._read(4))[0]).decode()
        # 32 bits, little endian, red 16, green 8, blue 0
        self.s.sendall(struct.pack('>B3xBBBBHHHBBB3x', 0, 32, 24, 0, 1,
                                   255, 255, 255, 16, 8, 0))
        self.s.sendall(struct.pack('>BxHii', 2, 2, 0, -223))
        self.pixels = bytearray(self.width * self.height * 4)

    def close(self):
        self.s.close()

    def _read(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise ConnectionError('the VNC server closed the connection')
            data += more
        return data

    def update(self):
        """Ask for the whole picture; width, height, RGB bytes."""
        self.s.sendall(struct.pack('>BBHHHH', 3, 0, 0, 0,
                                   self.width, self.height))
        while True:
            kind = self._read(1)[0]
            if kind == 0:
                self._rectangles()
                break
            if kind == 1:                                       # colour map
                count = struct.unpack('>xHH', self._read(5))[1]
                self._read(6 * count)
            elif kind == 3:                                     # cut text
                self._read(struct.unpack('>3xI', self._read(7))[0])
            elif kind != 2:                                     # bell
                raise ValueError(f'unknown message {kind}')
        p = self.pixels
        rgb = bytearray(len(p) // 4 * 3)
        rgb[0::3], rgb[1::3], rgb[2::3] = p[2::4], p[1::4], p[0::4]
        return self.width, self.height, bytes(rgb)

    def _rectangles(self):
        for _ in range(struct.unpack('>xH', self._read(3))[0]):
            x, y, w, h, code = struct.unpack('>HHHHi', self._read(12))
            if code == -223:                                    # DesktopSize
                self.width, self.height = w, h
                self.pixels = bytearray(w * h * 4)
            elif code == 0:
                data = self._read(w * h * 4)
                for row in range(h):
                    at = ((y + row) * self.width + x) * 4
                    self.pixels[at:at + w * 4] = \
                        data[row * w * 4:(row + 1) * w * 4]
            else:
                raise ValueError(f'encoding {code} was not asked for')

    def key(self, sym, down):
        self.s.sendall(struct.pack('>BBxxI', 4, down, sym))

    def press(self, sym):
        self.key(sym, 1)
        self.key(sym, 0)

    def type(self, text):
        for c in text:
            shift = c.isupper() or c in NEEDS_SHIFT
            if shift:
                self.key(KEYSYM['shift'], 1)
            self.press(KEYSYM.get(c, ord(c)))
            if shift:
                self.key(KEYSYM['shift'], 0)
            time.sleep(0.05)        # a keyboard holds 16 bytes

    def pointer(self, x, y, buttons=0):
        self.s.sendall(struct.pack('>BBHH', 5, buttons, x, y))
