#!/bin/sh
# Builds candor with its tests and runs them all: installs what is lacking, builds, fetches SmolLM2 for the tests that need it.
#
# usage: ./test.sh [--setup-only] [--yes] [what ctest understands, such as -R NAME]
#   --setup-only  stop before the tests run
#   --yes         do not ask before installing Debian packages
set -eu
case $0 in */*) CDPATH='' cd -- "${0%/*}" ;; esac

assume_yes=
setup_only=
for argument; do
  shift
  case $argument in
    --yes) assume_yes=1 ;;
    --setup-only) setup_only=1 ;;
    -h | --help)
      sed -n 's/^# \{0,1\}//; 2,6p' "$0"
      exit 0
      ;;
    *) set -- "$@" "$argument" ;;
  esac
done

. scripts/setup.sh
# shellcheck disable=SC2086 # one word per package
install_packages $build_packages $test_packages
build ON all
fetch_model || say "The tests that need SmolLM2 will be skipped."
[ -z "$setup_only" ] || exit 0
progress=
[ ! -t 1 ] || progress=--progress
exec ctest --test-dir build/release --output-on-failure --no-tests=error --parallel "$(nproc)" $progress "$@"
