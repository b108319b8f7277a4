# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the Debian installer by direct kernel boot
# - text: the first dialog on text VGA, arrow keys move in it
# - graphical: X on a framebuffer shows the first page under its banner
import common                                           # noqa: F401
from tap import main
from vmlab import VM, colours, guest


def installer(kind, append, memory):
    return ['-m', memory, '-kernel', guest(f'installer/{kind}/linux'),
            '-initrd', guest(f'installer/{kind}/initrd.gz'),
            '-append', append]


def test_text_installer_asks_for_the_language():
    with VM(*installer('text', 'vga=normal fb=false nomodeset', '1024')) as vm:
        vm.wait_text('Select a language', 300)
        vm.wait_text('English +- +English', 30)
        vm.until('English is the highlighted language', lambda: any(
            'English' in x for x in highlights(vm)), 30)
        vm.key('down')
        vm.until('Finnish is the highlighted language', lambda: any(
            'Finnish' in x for x in highlights(vm)), 30)


def highlights(vm):
    """Text of the cells in the selection's colours (white on red), by row."""
    data = vm.cells(204)
    rows = []
    for row in range(204):
        cells = data[row * 160:(row + 1) * 160]
        rows.append(bytes(c for c, a in zip(cells[::2], cells[1::2])
                          if a >> 4 & 7 == 4).decode('cp437'))
    return rows


def test_graphical_installer_shows_its_first_page():
    def first_page(width, height, rgb):
        # Two colours of the banner, and a white list over half the screen;
        # seen in the installer's own pictures.
        c = colours(width, height, rgb)
        return (width >= 800 and c.get((5, 71, 92), 0) > 10000 and
                c.get((10, 116, 114), 0) > 3000 and
                c.get((255, 255, 255), 0) > width * height // 3)

    with VM(*installer('gtk', 'vga=788', '1280')) as vm:
        vm.wait_picture('the first page of the installer', first_page, 400)


main(globals())
