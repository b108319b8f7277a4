# SPDX-License-Identifier: GPL-2.0-or-later
"""What every long test imports first: it puts tests/tools on the path."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'tools'))
