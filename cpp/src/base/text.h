// Pieces of sentences, written the way Python writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace lavin::core {

using Shape = std::vector<std::int64_t>;

// repr() of a str: in quotes, with escapes for what cannot be printed.
std::string repr(std::string_view text);

// repr() of a float: the shortest digits that read back.
std::string repr(double number);

// A tuple of whole numbers: (1, 16), (3,), ().
std::string repr(const Shape& shape);

// "%g" of a number.
std::string short_number(double number);

std::string join(const std::vector<std::string>& parts, std::string_view between);

inline void append(std::string& text, std::string_view part) {
  text += part;
}
template <typename Number, std::enable_if_t<std::is_integral_v<Number>, int> = 0>
void append(std::string& text, Number number) {
  text += std::to_string(number);
}

// Text and whole numbers, one after the other.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

}  // namespace lavin::core
