# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: -accel soft,verify=on, which compares each block with the
# emulator, on the CPU test guests (more in tests/long)
import common                                           # noqa: F401
from cputest import IMAGES, expect_all, run
from tap import each, main
from vmlab import ORRERY


@each(*IMAGES)
def test_the_cpu_tests_run_to_their_end_without_a_difference(test):
    image, least = test
    lines, said, status = run(ORRERY, 'soft,verify=on', image, limit=100)
    expect_all(lines, said, status, least)


if __name__ == '__main__':
    main(globals())
