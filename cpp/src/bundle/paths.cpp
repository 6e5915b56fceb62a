#include "bundle/paths.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"

namespace lavin::core {
namespace {

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}
bool is_lower(char letter) {
  return letter >= 'a' && letter <= 'z';
}

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

std::string lowered(std::string_view text) {
  std::string lowered_text(text);
  std::transform(text.begin(), text.end(), lowered_text.begin(), lower);
  return lowered_text;
}

// Whether Windows takes the name for a device, whatever its ending: con, com1, nul.txt.
bool is_device(std::string_view part) {
  const std::string stem = lowered(part.substr(0, part.find('.')));
  if (stem.size() == 4 && is_digit(stem[3])) {
    return stem.compare(0, 3, "com") == 0 || stem.compare(0, 3, "lpt") == 0;
  }
  return stem == "con" || stem == "prn" || stem == "aux" || stem == "nul";
}

bool is_part(std::string_view part) {
  const auto begins = [](char letter) {
    return is_lower(lower(letter)) || is_digit(letter) || letter == '_';
  };
  const auto goes_on = [&](char letter) {
    return begins(letter) || letter == '.' || letter == '+' || letter == '@' || letter == '-';
  };
  return !part.empty() && begins(part[0]) && std::all_of(part.begin(), part.end(), goes_on) &&
         part.back() != '.' && !is_device(part);
}

BundleError not_allowed(const std::string& path) {
  return BundleError(
      cat("the path ", in_quotes(path),
          " is not allowed in a bundle: paths are relative, stay inside it and consist of letters, "
          "digits, '_', '.', '+', '@' and '-' between '/'."));
}

}  // namespace

bool is_path(std::string_view path) {
  if (path.size() > limits::path_letters) return false;
  while (true) {
    const std::size_t slash = path.find('/');
    if (!is_part(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

void check_path(const std::string& path) {
  if (!is_path(path)) throw not_allowed(path);
}

void check_inside(const std::string& path) {
  const bool drive = path.size() > 1 && is_lower(lower(path[0])) && path[1] == ':';
  std::string_view rest(path);
  if (drive) rest.remove_prefix(2);
  bool leaves = !rest.empty() && (rest[0] == '/' || rest[0] == '\\');
  for (rest = path; !leaves;) {
    const std::size_t slash = rest.find_first_of("/\\");
    leaves = rest.substr(0, slash) == "..";
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (leaves) throw not_allowed(path);
}

void check_paths(const std::vector<std::string>& paths) {
  std::map<std::string, std::string> seen;
  std::map<std::string, std::string> folders;
  for (const std::string& path : paths) {
    check_path(path);
    const std::string key = lowered(path);
    const auto [before, is_new] = seen.emplace(key, path);
    if (!is_new) {
      throw BundleError(cat("the bundle lists ", in_quotes(path), " twice (also as ",
                            in_quotes(before->second), ")."));
    }
    for (std::size_t slash = key.rfind('/'); slash != std::string::npos && slash > 0;
         slash = key.rfind('/', slash - 1)) {
      folders[key.substr(0, slash)] = path;
    }
  }
  for (const auto& [key, path] : folders) {
    const auto file = seen.find(key);
    if (file != seen.end()) {
      throw BundleError(cat(in_quotes(file->second), " is a file of the bundle and the folder of ",
                            in_quotes(path), "."));
    }
  }
}

void check_task_name(const std::string& name) {
  const auto begins = [](char letter) { return is_lower(letter) || is_digit(letter); };
  const bool good = !name.empty() && name.size() <= limits::task_name_letters && begins(name[0]) &&
                    std::all_of(name.begin(), name.end(), [&](char letter) {
                      return begins(letter) || letter == '_' || letter == '-';
                    });
  if (good && !is_device(name)) return;
  throw InputError(
      cat(in_quotes(name), " cannot name a task; a name has 1 to ", limits::task_name_letters,
          " lower-case letters, digits, '_' and '-' and begins with a letter or a digit."));
}

}  // namespace lavin::core
