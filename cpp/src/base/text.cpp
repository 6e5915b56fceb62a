#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace lavin::core {
namespace {

// \xNN, \uNNNN or \UNNNNNNNN, whichever is the shortest that fits.
std::string escaped(char32_t code) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  std::string text = digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += kDigits[(code >> shift) & 15];
  return text;
}

}  // namespace

std::string repr(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  const char quote = single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string quoted(1, quote);
  while (!text.empty()) {
    const Letter letter = first_letter(text);
    const char first = text[0];
    if (first == quote || first == '\\') {
      quoted += '\\';
      quoted += first;
    } else if (first == '\n') {
      quoted += "\\n";
    } else if (first == '\r') {
      quoted += "\\r";
    } else if (first == '\t') {
      quoted += "\\t";
    } else if (letter.valid && printable(letter.code)) {
      quoted += text.substr(0, letter.bytes);
    } else {
      quoted += escaped(letter.code);
    }
    text.remove_prefix(letter.bytes);
  }
  quoted += quote;
  return quoted;
}

std::string repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t mark = text.find('e');
  int exponent = 0;
  const std::size_t digits_at = mark + (text[mark + 1] == '+' ? 2 : 1);
  std::from_chars(text.data() + digits_at, end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);  // to_chars writes it so, too
  const std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (const char letter : text.substr(0, mark)) {
    if (letter >= '0' && letter <= '9') digits += letter;
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) digits.append(whole + 1 - digits.size(), '0');
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string repr(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
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

}  // namespace lavin::core
