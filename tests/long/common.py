# SPDX-License-Identifier: GPL-2.0-or-later
"""What every long test imports first: it puts tests/tools on the path, and
tests/system, whose steps some of them share."""
import os
import sys

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path.insert(0, os.path.join(TESTS, 'tools'))
sys.path.append(os.path.join(TESTS, 'system'))
