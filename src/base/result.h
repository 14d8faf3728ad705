// Result<T>: a value or an Error, for what can go wrong at an edge (file, configuration, network, judge).
//
// A programmer's mistake is a CHECK (check.h); a numeric event (NaN, a group without spread) is a value that the guard
// sees. The member names are those of std::expected, which replaces this file when every compiler we build with has it.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace candor {

// What went wrong, in one sentence or two for the user: "[where] what was expected, what came, what to do."
struct Error {
  std::string message;
};

// error("[dpo] row {}: …", row) builds an Error from a format string.
template <typename... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return Error{fmt::format(format, std::forward<Args>(args)...)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::move(value)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const {}
  void operator*() const {}
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace candor

// auto rows = TRY(read_rows(path));  returns the error to the caller, or yields the value.
#define TRY(expression)                                       \
  ({                                                          \
    auto candor_try_result = (expression);                    \
    if (!candor_try_result) return candor_try_result.error(); \
    std::move(candor_try_result).value();                     \
  })
