#!/bin/sh
# Post-trains a real model in one command: installs what is lacking, builds, fetches SmolLM2, runs `candor quickstart`.
#
# usage: ./quickstart.sh [--setup-only] [--yes] [what `candor quickstart` understands]
#   --setup-only  stop before the program runs
#   --yes         do not ask before installing Debian packages
#   --offline     the project's own small model in seconds, instead of fetching SmolLM2
set -eu
case $0 in */*) CDPATH='' cd -- "${0%/*}" ;; esac

assume_yes=
setup_only=
offline=
for argument; do
  shift
  case $argument in
    --yes) assume_yes=1 ;;
    --setup-only) setup_only=1 ;;
    -h | --help)
      sed -n 's/^# \{0,1\}//; 2,7p' "$0"
      exit 0
      ;;
    --offline)
      offline=1
      set -- "$@" "$argument"
      ;;
    *) set -- "$@" "$argument" ;;
  esac
done

. scripts/setup.sh
# shellcheck disable=SC2086 # one word per package
install_packages $build_packages
build OFF candor
[ -n "$offline" ] || fetch_model || exit 1
[ -z "$setup_only" ] || exit 0
exec build/release/candor quickstart "$@"
