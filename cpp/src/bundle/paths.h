// Names of files inside a bundle: relative, portable, and unable to leave its folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lavin::core {

// Parts of letters, digits, _ . + @ - that begin with a letter, a digit or _, joined by /, none of
// them a device of Windows. That leaves out absolute paths, "..", hidden and temporary files.
// BundleError: the path is anything else.
void check_path(const std::string& path);

// Whether `check_path` accepts it.
bool is_path(std::string_view path);

// BundleError: the path, of any letters, begins with a slash, a backslash or a drive, or goes up
// by "..".
void check_inside(const std::string& path);

// BundleError: a path is not allowed, given twice (case does not count), or used both as a file and
// as a folder.
void check_paths(const std::vector<std::string>& paths);

// InputError: a task may not have that name.
void check_task_name(const std::string& name);

}  // namespace lavin::core
