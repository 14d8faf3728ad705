# The words of this house, each one line; CMakePresets.json and scripts/ do the work.
.PHONY: build test test-all sanitize format tidy bench clean

build: ; cmake --preset release && cmake --build --preset release
test: build ; ctest --test-dir build/release --output-on-failure -j$$(nproc) -E 'Slow\.'
test-all: ; ./test.sh
sanitize: ; cmake --preset dev && cmake --build --preset dev && ctest --test-dir build/dev --output-on-failure -j$$(nproc) -E 'Slow\.'
format: ; git ls-files -z 'src/*.h' 'src/*.cpp' 'tests/*.h' 'tests/*.cpp' | xargs -0r clang-format -i
tidy: build ; git ls-files -z 'src/*.cpp' | xargs -0r -n4 -P$$(nproc) clang-tidy --quiet -p build/release
bench: build ; python3 bench/peers.py --no-history
clean: ; rm -rf build
