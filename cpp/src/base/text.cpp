#include "base/text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace lavin::core {

namespace {

// Bytes of the first letter of a text that is not empty; 0 where none begins there. Surrogates and
// overlong forms are none.
std::size_t letter_size(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  char32_t code = first & (0xffU >> (size + 1));
  for (std::size_t at = 1; at < size; ++at) {
    if ((byte(at) & 0xc0U) != 0x80) return 0;
    code = code << 6 | (byte(at) & 0x3fU);
  }
  const bool overlong = code < (size == 4 ? 0x10000U : size == 3 ? 0x800U : 0x80U);
  return overlong || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : size;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string quoted = "'";
  while (!text.empty()) {
    const std::size_t size = letter_size(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (size == 0 || first < 0x20 || first == 0x7f) {
      quoted += {'\\', 'x', kDigits[first >> 4], kDigits[first & 15]};
      text.remove_prefix(1);
    } else {
      quoted += text.substr(0, size);
      text.remove_prefix(size);
    }
  }
  return quoted + "'";
}

std::string short_number(double number) {
  if (std::isnan(number)) return "nan";
  // Unlike printf, to_chars does not follow the locale.
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                 std::chars_format::general, 6)
                       .ptr;
  return std::string(buffer.data(), end);
}

std::string join(const std::vector<std::string>& parts, std::string_view between) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += between;
    text += parts[i];
  }
  return text;
}

void append(std::string& text, const Shape& shape) {
  std::vector<std::string> sides;
  for (const std::int64_t side : shape) sides.push_back(std::to_string(side));
  text += "(" + join(sides, ", ") + ")";
}

}  // namespace lavin::core
