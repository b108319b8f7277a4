# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the unit tests that compare random instructions with the
# host CPU, and those that throw random bytes at decoder and emulator, again and
# again with new seeds. LONG_SECONDS is the time for each program (60). A failed
# seed is printed; ORRERY_TEST_SEED=SEED or ORACLE_SEED=SEED repeats it.
import os
import random
import subprocess
import time

import common                                           # noqa: F401
from tap import each, main
from vmlab import SLOW, Fail

PROGRAMS = os.path.join(os.environ.get('B', 'build'), 'tests', 'unit')
SECONDS = float(os.environ.get('LONG_SECONDS', 60))


def run(name, limit, **env):
    """Run one unit program; what it printed is shown when it fails."""
    said = ' '.join(f'{k}={v}' for k, v in env.items())
    try:
        p = subprocess.run([os.path.join(PROGRAMS, name)], capture_output=True,
                           env=dict(os.environ, **env), timeout=limit * SLOW,
                           check=False)
    except subprocess.TimeoutExpired:
        raise Fail(f'{said} {name}: still running after '
                   f'{limit * SLOW:.0f} s') from None
    if p.returncode:
        text = (p.stdout + p.stderr).decode(errors='replace')
        raise Fail(f'{said} {name}: status {p.returncode}\n{text[-6000:]}')


@each('test_cpu_oracle', 'test_cpu_fuzz', 'test_cpu_decode')
def test_new_seeds_find_nothing(name):
    end = time.monotonic() + SECONDS
    count = 0
    while count == 0 or time.monotonic() < end:
        run(name, 300, ORRERY_TEST_SEED=str(random.getrandbits(48) | 1))
        count += 1
    print(f'# {count} seeds')


def test_long_streams_through_the_rewriter_equal_the_host():
    run('test_soft_oracle', 300 + 4 * SECONDS,
        ORACLE_SEED=str(random.getrandbits(48) | 1),
        ORACLE_SECONDS=str(int(2 * SECONDS)))


main(globals())
