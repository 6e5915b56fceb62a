#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.h"
#include "base/json.h"
#include "base/text.h"

namespace lavin::core {

Value::Value(const Json& json, std::string where) : Value(json, nullptr, std::move(where)) {}

Value::Value(const Json& json, std::shared_ptr<const Place> parent, std::string step)
    : json_(&json),
      place_(std::make_shared<const Place>(Place{std::move(parent), std::move(step)})) {}

std::string Value::where() const {
  std::vector<const std::string*> steps;
  for (const Place* place = place_.get(); place != nullptr; place = place->parent.get()) {
    steps.push_back(&place->step);
  }
  std::string path;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) path += **step;
  return path;
}

void Value::refuse(const std::string& expected) const {
  throw BundleError(cat(where(), " is ", excerpt(*json_), "; it must be ", expected, "."));
}

void Value::check_object() const {
  if (json_->kind != Json::Kind::kObject) refuse("an object");
}

std::optional<Value> Value::find(std::string_view key) const {
  check_object();
  const Json* child = json_->find(key);
  if (child == nullptr) return {};
  return Value(*child, place_, cat(": ", key));
}

Value Value::at(std::string_view key) const {
  std::optional<Value> child = find(key);
  if (!child) throw BundleError(cat(where(), " lacks ", in_quotes(key), "; write the file again."));
  return *std::move(child);
}

std::optional<Value> Value::find_value(std::string_view key) const {
  std::optional<Value> child = find(key);
  if (child && child->json_->kind == Json::Kind::kNull) return {};
  return child;
}

std::vector<std::pair<std::string, Value>> Value::entries() const {
  check_object();
  std::vector<std::pair<std::string, Value>> values;
  for (std::size_t i = 0; i < json_->items.size(); ++i) {
    const std::string& key = json_->keys[i];
    values.emplace_back(key, Value(json_->items[i], place_, cat(": ", key)));
  }
  return values;
}

const std::string& Value::text() const {
  if (json_->kind != Json::Kind::kText) refuse("a text");
  return json_->text;
}

bool Value::boolean() const {
  if (json_->kind != Json::Kind::kBoolean) refuse("true or false");
  return json_->boolean;
}

std::int64_t Value::within(std::int64_t least, std::int64_t most) const {
  const bool big = json_->kind == Json::Kind::kBigInteger;
  if (json_->kind != Json::Kind::kInteger && !big) refuse("a whole number");
  if (big || json_->integer < least || json_->integer > most) {
    refuse(cat("a whole number from ", least, " to ", most));
  }
  return json_->integer;
}

int Value::integer() const {
  using Limits = std::numeric_limits<int>;
  return static_cast<int>(within(Limits::min(), Limits::max()));
}

std::int64_t Value::long_integer() const {
  using Limits = std::numeric_limits<std::int64_t>;
  return within(Limits::min(), Limits::max());
}

std::uint64_t Value::size() const {
  return static_cast<std::uint64_t>(within(0, std::numeric_limits<std::int64_t>::max()));
}

double Value::number() const {
  if (json_->kind == Json::Kind::kInteger) return static_cast<double>(json_->integer);
  const bool number = json_->kind == Json::Kind::kReal || json_->kind == Json::Kind::kBigInteger;
  if (!number || !(std::abs(json_->real) < 1e300)) refuse("a finite number");
  return json_->real;
}

const std::string& Value::one_of(const std::vector<std::string>& names) const {
  const bool right = json_->kind == Json::Kind::kText &&
                     std::find(names.begin(), names.end(), json_->text) != names.end();
  if (right) return json_->text;
  std::vector<std::string> accepted;
  for (const std::string& name : names) accepted.push_back(in_quotes(name));
  refuse(cat("one of ", join(accepted, ", ")));
}

std::vector<Value> Value::list() const {
  if (json_->kind != Json::Kind::kList) refuse("a list");
  std::vector<Value> values;
  for (std::size_t i = 0; i < json_->items.size(); ++i) {
    values.push_back(Value(json_->items[i], place_, cat("[", i, "]")));
  }
  return values;
}

std::vector<Value> Value::list(std::size_t length) const {
  std::vector<Value> values = list();
  if (values.size() != length) refuse(cat("a list of ", length));
  return values;
}

}  // namespace lavin::core
