# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: memtest86+ on a 16 MB machine sees the memory and runs its
# tests 0 to 9 without an error (test 10 only waits): real, protected and long
# mode, paging, timers, direct writes to text memory.
import re

import common                                           # noqa: F401
from tap import main
from vmlab import VM, Fail, guest


def test_memtest_finds_16_MB_and_no_error_in_tests_0_to_9():
    with VM('-m', '16', '-cdrom', guest('memtest.iso'), '-boot', 'd') as vm:
        vm.wait_screen(r'Memtest86\+ v', 60)
        vm.wait_screen(r'Memory *: *1[56]MB', 60)
        # Tests run in order, so number 10 begins when 0 to 9 are done.
        vm.wait_screen(r'Test #10 ', 600)
        errors = re.search(r'Errors: *(\S+)', '\n'.join(vm.screen()))
        if not errors or errors[1] != '0':
            raise Fail('memtest86+ counts errors')


main(globals())
