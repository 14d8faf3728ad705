// Code points of UTF-8 strings, and Python's view of them: white space, case, letters and digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace candor::text::jinja {

// The byte offset of the first byte that is not UTF-8, or nothing.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// The code point at `at`, which moves behind it. Invalid bytes (never in a Value) come out one by one.
char32_t next_code_point(std::string_view text, size_t& at);
void append_utf8(std::string& text, char32_t c);
std::vector<char32_t> code_points(std::string_view text);
std::string to_utf8(const std::vector<char32_t>& points);
std::vector<std::string> characters(std::string_view text);  // one string per code point
size_t count_code_points(std::string_view text);
size_t byte_offset(std::string_view text, size_t code_point);  // text.size() where there are fewer

bool is_space(char32_t c);  // Python's str.isspace
bool is_cased_upper(char32_t c);
bool is_cased_lower(char32_t c);
bool is_alphabetic(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_identifier(char32_t c);  // part of a name
bool is_printable(char32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_capitalized(std::string_view text);
std::string to_title(std::string_view text);  // str.title(): a new word after anything without case
std::string to_swapped(std::string_view text);
std::string to_casefold(std::string_view text);

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);
// Strips any of the code points in `set`.
std::string_view strip_left(std::string_view text, std::string_view set);
std::string_view strip_right(std::string_view text, std::string_view set);

}  // namespace candor::text::jinja
