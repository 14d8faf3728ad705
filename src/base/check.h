// CHECK(condition) stops the program on a programmer's mistake, with the place; never reachable from user input.
#pragma once

namespace candor {

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* function);

}  // namespace candor

#define CHECK(condition)                                                \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::candor::check_failed(#condition, __FILE__, __LINE__, __func__); \
  } while (0)
