// CHECK(condition) stops the program on a programmer's mistake, with the place; never reachable from user input.
#pragma once

#include <source_location>

namespace candor {

[[noreturn]] void check_failed(const char* condition, std::source_location where = std::source_location::current());

}  // namespace candor

#define CHECK(condition)                                   \
  do {                                                     \
    if (!(condition)) [[unlikely]] ::candor::check_failed(#condition); \
  } while (0)
