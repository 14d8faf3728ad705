#!/usr/bin/env python3
"""Runs the end-to-end tests: run.py CANDOR [module or module.Class.test ...], every test_*.py beside this file by default.

CANDOR_E2E_LONG=1 adds the long variants (twenty kills).
"""
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def main():
    os.environ["CANDOR_BINARY"] = str(pathlib.Path(sys.argv[1]).resolve())
    sys.path.insert(0, str(HERE))
    sys.dont_write_bytecode = True
    names = sys.argv[2:] or sorted(path.stem for path in HERE.glob("test_*.py"))
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromNames(names))
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    main()
