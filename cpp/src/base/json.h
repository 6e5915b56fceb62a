// JSON to checked values, strictly; the Python package's bundle/strict_json.py is the
// specification.
//
//   const Json json = parse_json(text, "task.json");
//   const Value task(json, "task.json");
//   const std::string name = task.at("name").text();          // must be there
//   if (const auto steps = task.find_value("steps")) steps->integer();  // may be absent or null
//   if (const auto flag = task.find("deterministic")) flag->boolean();  // may be absent, not null
//   for (const Value& pair : task.at("pairs").list()) pair.at("id").text();
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lavin::core {

// Parsed JSON. Objects keep the order of their keys.
struct Json {
  enum class Kind { kNull, kBoolean, kInteger, kBigInteger, kReal, kText, kList, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  std::int64_t integer = 0;
  double real = 0;                // also of a kBigInteger, rounded
  std::string text;               // of a kText; the digits of a kReal or kBigInteger
  std::vector<std::string> keys;  // of an object; items[i] belongs to keys[i]
  std::vector<Json> items;

  // An object's value, or nullptr.
  const Json* find(std::string_view key) const;
};

// BundleError "{where} is not valid JSON (...)": it is no UTF-8 JSON, repeats a key of an object,
// is nested deeper than 200 or has more than a million values.
Json parse_json(std::string_view text, const std::string& where);

// A value for a message: its first 60 bytes, with strings in single quotes.
std::string excerpt(const Json& json);

// One value and its path for messages, "manifest.json: variants[0]: precision". Refers to the Json.
// Every access raises a BundleError that names the path where the value has another type.
class Value {
 public:
  Value(const Json& json, std::string where);
  Value(Json&&, std::string) = delete;

  const Json& json() const { return *json_; }
  std::string where() const;

  // Fields of an object. BundleError: this is no object, or `at` finds no such key.
  Value at(std::string_view key) const;
  std::optional<Value> find(std::string_view key) const;
  // Nothing where the field is absent or null.
  std::optional<Value> find_value(std::string_view key) const;
  // All fields, in the order of the text.
  std::vector<std::pair<std::string, Value>> entries() const;
  // BundleError: this is no object.
  void check_object() const;

  const std::string& text() const;
  bool boolean() const;
  // A whole number of that range; 1.0 and true are none.
  int integer() const;
  std::int64_t long_integer() const;
  // A whole number from 0 on.
  std::uint64_t size() const;
  // A finite number, whole or not.
  double number() const;
  // One of these texts.
  const std::string& one_of(const std::vector<std::string>& names) const;
  std::vector<Value> list() const;
  // A list of that length.
  std::vector<Value> list(std::size_t length) const;

  // Throw "{where} is {value}; it must be {wanted}."
  [[noreturn]] void refuse(const std::string& expected) const;

 private:
  // Steps are joined only for a message, so that long keys are not copied for every value below.
  struct Place {
    std::shared_ptr<const Place> parent;
    std::string step;
  };

  Value(const Json& json, std::shared_ptr<const Place> parent, std::string step);
  std::int64_t within(std::int64_t least, std::int64_t most) const;

  const Json* json_;
  std::shared_ptr<const Place> place_;
};

}  // namespace lavin::core
