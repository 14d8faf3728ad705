#!/usr/bin/env python3
"""Tests of check_rooms.py and check_habits.py: each rule on a file that breaks it and on one that does not."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_habits
import check_rooms


class Rooms(unittest.TestCase):
    def found(self, files):
        with tempfile.TemporaryDirectory() as top:
            for name, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
                with open(os.path.join(top, name), "w") as file:
                    file.write(text)
            return check_rooms.violations(top)

    def test_arrows_up_are_allowed(self):
        self.assertEqual(self.found({"src/engine/kernels/x.cpp": '#include <vector>\n#include "engine/a.h"\n#include "base/b.h"\n',
                                     "src/algorithms/a.h": '#include "base/b.h"\n',
                                     "src/algorithms/a_test.cpp": '#include "engine/a.h"\n#include "support/oracle.h"\n'}), [])

    def test_an_arrow_down_is_named(self):
        self.assertEqual(self.found({"src/text/a.h": '\n#include "data/rows.h"\n'}),
                         ['src/text/a.h:2: text includes "data/rows.h"; text may include only base'])

    def test_pure_rooms_include_base_only(self):
        self.assertEqual(len(self.found({"src/algorithms/a.cpp": '#include "text/a.h"\n'})), 1)
        self.assertEqual(len(self.found({"src/statistics/a.cpp": '#include <engine/a.h>\n'})), 1)

    def test_relative_includes_and_files_outside_the_rooms(self):
        self.assertEqual(len(self.found({"src/text/a.h": '#include "../cli/a.h"\n'})), 1)
        self.assertEqual(len(self.found({"src/attic/a.h": "", "src/main.cpp": ""})), 2)

    def test_a_test_that_nothing_builds(self):
        self.assertEqual(len(self.found({"tests/deep/a_test.cpp": ""})), 1)


class Habits(unittest.TestCase):
    def count(self, text, name="src/text/a.cpp"):
        return len(check_habits.violations_in(name, text.encode()))

    def test_clean(self):
        self.assertEqual(self.count("int network();  // sees /network/x, https://work/ and ~/work/\n"), 0)
        self.assertEqual(self.count("std::exit(1); printf(text);\n", "src/cli/main.cpp"), 0)
        self.assertEqual(self.count("snprintf(a, 1, b); on_exit(x); loop.exit(); out.puts(x);\n"), 0)

    def test_each_rule(self):
        self.assertEqual(self.count("// TO" "DO: later\n"), 1)
        self.assertEqual(self.count('open("/ro' 'ot/x");\n'), 1)
        self.assertEqual(self.count("\n" * 500), 0)
        self.assertEqual(self.count("\n" * 501), 1)
        self.assertEqual(self.count("\tint x;\n"), 1)
        self.assertEqual(self.count("int x; \n"), 1)
        self.assertEqual(self.count("int x;"), 1)
        self.assertEqual(self.count("std::cout << 1;\n"), 1)
        self.assertEqual(self.count("printf(text);\n"), 1)
        self.assertEqual(self.count("x" * ((2 << 20) + 1), "models/x.bin"), 1)


if __name__ == "__main__":
    unittest.main()
