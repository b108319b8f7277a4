# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client that knows the protocol and nothing of the program behind it."""
import json
import os
import socket
import time

SLOW = float(os.environ.get('TEST_SLOW', 4))


class QMPError(Exception):
    """An answer with "error"; klass is its class."""

    def __init__(self, error):
        super().__init__(error['desc'])
        self.klass = error['class']


class QMP:
    """A connection to a unix socket or (host, port), past the negotiation."""

    def __init__(self, address, negotiate=True, limit=20):
        end = time.monotonic() + limit * SLOW
        while True:
            unix = isinstance(address, str)
            self.sock = socket.socket(
                socket.AF_UNIX if unix else socket.AF_INET)
            try:
                self.sock.connect(address)
                break
            except OSError:
                self.sock.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.sock.settimeout(60 * SLOW)
        self.file = self.sock.makefile('rb')
        self.events = []
        self.count = 0
        self.greeting = self.read()
        if negotiate:
            self('qmp_capabilities')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def read(self):
        line = self.file.readline()
        if not line:
            raise EOFError('the machine closed the connection')
        return json.loads(line)

    def send(self, text):
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def answer(self):
        """The next message that is no event."""
        while True:
            m = self.read()
            if 'event' not in m:
                return m
            self.events.append(m)

    def __call__(self, name, arguments=None, **more):
        """Run a command; its answer. Raises QMPError."""
        self.count += 1
        request = {'execute': name, 'id': self.count, **more}
        if arguments is not None:
            request['arguments'] = arguments
        self.send(json.dumps(request) + '\r\n')
        m = self.answer()
        if m.get('id') != request['id']:
            raise ValueError(f'answer without our id: {m}')
        if 'error' in m:
            raise QMPError(m['error'])
        return m['return']

    def sync(self):
        """Everything that was answered before a command given now."""
        before = []
        mark = f'sync {self.count}'
        self.send(json.dumps({'execute': 'query-name', 'id': mark}))
        while True:
            m = self.answer()
            if m.get('id') == mark:
                return before
            before.append(m)

    def wait_event(self, name):
        """The first event of that name, now or later."""
        while True:
            for i, m in enumerate(self.events):
                if m['event'] == name:
                    del self.events[i]
                    return m
            m = self.read()
            if 'event' not in m:
                raise ValueError(f'an answer nobody asked for: {m}')
            self.events.append(m)
