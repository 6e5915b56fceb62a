#include "base/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {
namespace {

constexpr std::size_t kDeepest = 200;
constexpr std::size_t kMostValues = 1'000'000;

// Builds a Json from the parser's events; `false` stops it, with the reason in `detail`.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Json root;
  std::string detail = "it is empty";

  bool null() override { return add({}) != nullptr; }
  bool boolean(bool value) override {
    Json json;
    json.kind = Json::Kind::kBoolean;
    json.boolean = value;
    return add(std::move(json)) != nullptr;
  }
  bool number_integer(number_integer_t value) override {
    Json json;
    json.kind = Json::Kind::kInteger;
    json.integer = value;
    return add(std::move(json)) != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return number_float(static_cast<double>(value), std::to_string(value));
    }
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t& digits) override {
    Json json;
    json.real = value;
    json.text = digits;
    const bool whole = digits.find_first_of(".eE") == std::string::npos;
    json.kind = whole ? Json::Kind::kBigInteger : Json::Kind::kReal;
    return add(std::move(json)) != nullptr;
  }
  bool string(string_t& value) override {
    Json json;
    json.kind = Json::Kind::kText;
    json.text = std::move(value);
    return add(std::move(json)) != nullptr;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::Kind::kObject); }
  bool start_array(std::size_t) override { return open(Json::Kind::kList); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    open_.back()->keys.push_back(std::move(value));
    return true;
  }
  bool end_object() override {
    std::vector<std::string_view> keys(open_.back()->keys.begin(), open_.back()->keys.end());
    std::sort(keys.begin(), keys.end());
    const bool repeated = std::adjacent_find(keys.begin(), keys.end()) != keys.end();
    return repeated ? fail("a key is repeated") : close();
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    constexpr int kNumberOverflow = 406;
    return fail(error.id == kNumberOverflow ? std::string("a number is too large")
                                            : cat("wrong syntax at byte ", position));
  }

 private:
  bool fail(std::string reason) {
    detail = std::move(reason);
    return false;
  }
  Json* add(Json json) {
    if (++values_ > kMostValues) {
      fail(cat("more than ", kMostValues, " values"));
      return nullptr;
    }
    if (open_.empty()) return &(root = std::move(json));
    open_.back()->items.push_back(std::move(json));
    return &open_.back()->items.back();
  }
  bool open(Json::Kind kind) {
    if (open_.size() == kDeepest) return fail(cat("nested deeper than ", kDeepest));
    Json json;
    json.kind = kind;
    Json* added = add(std::move(json));
    if (added != nullptr) open_.push_back(added);
    return added != nullptr;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_;  // no list grows while one of its items is open
  std::size_t values_ = 0;
};

// Append a value as JSON; beyond `most` bytes the rest may be left out.
void append(std::string& text, const Json& json, std::size_t most) {
  switch (json.kind) {
    case Json::Kind::kNull:
      text += "null";
      return;
    case Json::Kind::kBoolean:
      text += json.boolean ? "true" : "false";
      return;
    case Json::Kind::kInteger:
      text += std::to_string(json.integer);
      return;
    case Json::Kind::kBigInteger:
    case Json::Kind::kReal:
      text += json.text;
      return;
    case Json::Kind::kText:
      text += in_quotes(json.text);
      return;
    case Json::Kind::kList:
    case Json::Kind::kObject:
      break;
  }
  const bool object = json.kind == Json::Kind::kObject;
  text += object ? "{" : "[";
  for (std::size_t i = 0; i < json.items.size() && text.size() <= most; ++i) {
    if (i > 0) text += ", ";
    if (object) text += in_quotes(json.keys[i]) + ": ";
    append(text, json.items[i], most);
  }
  text += object ? "}" : "]";
}

}  // namespace

const Json* Json::find(std::string_view key) const {
  const auto position = std::find(keys.begin(), keys.end(), key);
  return position == keys.end() ? nullptr
                                : &items[static_cast<std::size_t>(position - keys.begin())];
}

Json parse_json(std::string_view text, const std::string& where) {
  Builder builder;
  // The parser would take a NUL for the end.
  const bool whole = text.find('\0') == std::string_view::npos;
  if (!whole) builder.detail = "it holds a NUL";
  if (!whole || !nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    throw BundleError(
        cat(where, " is not valid JSON (", builder.detail, "); write the file again."));
  }
  return std::move(builder.root);
}

std::string excerpt(const Json& json) {
  constexpr std::size_t kMost = 60;
  std::string text;
  append(text, json, kMost);
  if (text.size() <= kMost) return text;
  std::size_t end = kMost - 3;
  while ((static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80) --end;  // within a letter
  return text.substr(0, end) + "...";
}

}  // namespace lavin::core
