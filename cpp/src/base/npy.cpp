#include "base/npy.h"

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

#include "base/errors.h"

namespace lavin::core {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kLongestHeader = 10'000;  // numpy's limit
constexpr std::size_t kMostSides = 64;          // likewise

// What is wrong with a file, without a full stop.
struct NpyError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Header {
  std::optional<std::string> type;
  std::optional<bool> fortran;
  std::optional<Shape> shape;
};

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  Header read() {
    Header header;
    need('{');
    while (!take('}')) {
      const std::string key = word();
      need(':');
      if (key == "descr" && !header.type) {
        header.type = type();
      } else if (key == "fortran_order" && !header.fortran) {
        header.fortran = boolean();
      } else if (key == "shape" && !header.shape) {
        header.shape = shape();
      } else {
        throw NpyError(
            cat("its header has the key ", in_quotes(key), " twice or should not have it"));
      }
      if (!take(',')) {
        need('}');
        break;
      }
    }
    skip();
    if (!text_.empty()) damaged();
    if (!header.type || !header.fortran || !header.shape) {
      throw NpyError("its header lacks 'descr', 'fortran_order' or 'shape'");
    }
    return header;
  }

 private:
  [[noreturn]] static void damaged() { throw NpyError("its header cannot be parsed"); }

  void skip() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size())); }

  bool take(char letter) {
    skip();
    if (text_.empty() || text_[0] != letter) return false;
    text_.remove_prefix(1);
    return true;
  }

  void need(char letter) {
    if (!take(letter)) damaged();
  }

  bool take_word(std::string_view word) {
    skip();
    if (text_.substr(0, word.size()) != word) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  std::string word() {
    const char quote = take('\'') ? '\'' : '"';
    if (quote == '"') need('"');
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) damaged();
    const std::string text(text_.substr(0, end));
    if (text.find('\\') != std::string::npos) damaged();
    text_.remove_prefix(end + 1);
    return text;
  }

  std::string type() {
    skip();
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) {
      throw NpyError("it holds records, not numbers");
    }
    return word();
  }

  bool boolean() {
    if (take_word("True")) return true;
    if (!take_word("False")) damaged();
    return false;
  }

  std::int64_t whole() {
    skip();
    const std::size_t digits = std::min(text_.find_first_not_of("0123456789"), text_.size());
    if (digits == 0 || digits > 18) throw NpyError("its shape is not valid");
    const std::int64_t number = std::stoll(std::string(text_.substr(0, digits)));
    text_.remove_prefix(digits);
    return number;
  }

  Shape shape() {
    Shape shape;
    need('(');
    while (!take(')')) {
      if (shape.size() == kMostSides) throw NpyError("its shape is not valid");
      shape.push_back(whole());
      if (take(',')) continue;
      if (shape.size() == 1) damaged();  // (3) is a number, not a tuple
      need(')');
      break;
    }
    return shape;
  }

  std::string_view text_;
};

// numpy's name of a type as files write it.
std::string type_name(const std::string& type) {
  static const std::map<std::string, std::string> kNames = {
      {"|b1", "bool"},   {"|i1", "int8"},    {"|u1", "uint8"},   {"<i2", "int16"},
      {"<u2", "uint16"}, {"<i4", "int32"},   {"<u4", "uint32"},  {"<i8", "int64"},
      {"<u8", "uint64"}, {"<f2", "float16"}, {"<f4", "float32"}, {"<f8", "float64"}};
  const auto entry = kNames.find(type);
  if (entry != kNames.end()) return entry->second;
  if (type.find('O') != std::string::npos) {
    throw NpyError("it holds Python objects, which are not read");
  }
  throw NpyError(cat("its type ", in_quotes(type), " is not read here"));
}

std::size_t little(std::string_view text, std::size_t bytes) {
  std::size_t number = 0;
  for (std::size_t i = bytes; i-- > 0;) number = number << 8 | static_cast<unsigned char>(text[i]);
  return number;
}

// Take the header's text off the front of a file.
std::string_view take_header(std::string_view& content) {
  constexpr auto kMagic = "\x93NUMPY"sv;
  if (content.empty()) throw NpyError("it is empty");
  if (content.size() < 8 || content.substr(0, 6) != kMagic) {
    throw NpyError("it does not begin with a .npy header");
  }
  const int version = static_cast<unsigned char>(content[6]);
  if (version < 1 || version > 3 || content[7] != 0) {
    throw NpyError("its version is none of 1.0, 2.0 and 3.0");
  }
  const std::size_t bytes = version == 1 ? 2 : 4;
  content.remove_prefix(8);
  if (content.size() < bytes) throw NpyError("it ends within its header");
  const std::size_t size = little(content, bytes);
  content.remove_prefix(bytes);
  if (size > kLongestHeader) throw NpyError(cat("its header of ", size, " bytes is too long"));
  if (size > content.size()) throw NpyError("it ends within its header");
  const std::string_view header = content.substr(0, size);
  content.remove_prefix(size);
  return header;
}

// Copy values whose first index runs fastest to an array whose last index does.
void copy_fortran(const char* from, Array& array) {
  const Shape& shape = array.shape();
  if (array.count() == 0) return;
  const std::size_t size = array.bytes() / array.count();
  Shape strides(shape.size(), 1);
  for (std::size_t i = 1; i < shape.size(); ++i) strides[i] = strides[i - 1] * shape[i - 1];
  Shape index(shape.size(), 0);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < array.count(); ++i) {
    const char* value = from + static_cast<std::size_t>(at) * size;
    std::copy_n(reinterpret_cast<const std::byte*>(value), size, array.data() + i * size);
    for (std::size_t side = shape.size(); side-- > 0;) {
      at += strides[side];
      if (++index[side] < shape[side]) break;
      at -= shape[side] * strides[side];
      index[side] = 0;
    }
  }
}

Array parse(std::string_view content) {
  const Header header = HeaderReader(take_header(content)).read();
  const std::string dtype = type_name(*header.type);
  const std::size_t bytes = element_count(*header.shape) * element_bytes(dtype);
  if (bytes != content.size()) {
    throw NpyError(cat("it has ", content.size(), " bytes of values where ", dtype, " of shape ",
                       *header.shape, " takes ", bytes));
  }
  Array array(dtype, *header.shape);
  if (*header.fortran) {
    copy_fortran(content.data(), array);
  } else {
    std::copy_n(reinterpret_cast<const std::byte*>(content.data()), bytes, array.data());
  }
  return array;
}

}  // namespace

Array parse_npy(std::string_view content, const std::string& where) {
  std::string detail;
  try {
    return parse(content);
  } catch (const NpyError& error) {
    detail = cat(error.what(), ".");
  } catch (const BundleError& error) {  // of its shape
    detail = error.what();
  }
  throw BundleError(cat(in_quotes(where), " is not a .npy array of numbers: ", detail));
}

}  // namespace lavin::core
