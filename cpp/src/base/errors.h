// What can go wrong, in sentences for the person who can fix it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lavin::core {

// Base of all errors meant for users; `code` is the status of the C ABI.
class Error : public std::runtime_error {
 public:
  Error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

// An argument or a picture cannot be used as given.
struct InputError : Error {
  explicit InputError(const std::string& message) : Error(2, message) {}
};

// A bundle is missing, damaged, of an unknown format, or lacks what was asked of it.
struct BundleError : Error {
  explicit BundleError(const std::string& message) : Error(2, message) {}
};

// The input was right but the work failed.
struct WorkError : Error {
  explicit WorkError(const std::string& message) : Error(1, message) {}
};

// The error for a name that is not among `accepted`, with the nearest as a hint.
InputError unknown_name(std::string_view kind, std::string_view unknown,
                        std::vector<std::string> accepted);

// The nearest of `names` by edit distance, or "" where more than half of the letters differ.
std::string nearest_name(std::string_view unknown, const std::vector<std::string>& names);

}  // namespace lavin::core
