// Parts of sentences.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace lavin::core {

using Shape = std::vector<std::int64_t>;

// In quotes; control characters and bytes that are no UTF-8 as \xNN.
std::string in_quotes(std::string_view text);

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
// (1, 16)
void append(std::string& text, const Shape& shape);

// Text, whole numbers and shapes, one after the other.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

}  // namespace lavin::core
