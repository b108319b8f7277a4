# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: an installation by dialogs on a raw image
import common                                           # noqa: F401
import test_install
from tap import main


def test_install_on_a_raw_image():
    test_install.test_install_by_dialogs_and_reboot_from_the_disk('raw')


if __name__ == '__main__':
    main(globals())
