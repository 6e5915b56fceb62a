// Files of the system, opened for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace lavin::core {

// "[Errno 13] Permission denied: 'path'".
struct OsError : std::runtime_error {
  // `number` is an errno; the path is left out where it is empty.
  explicit OsError(int number, const std::filesystem::path& path = {});
  const int number;
};

// An open file.
class OsFile {
 public:
  // OsError: it cannot be opened. A symbolic link is followed only where `follow` says so.
  OsFile(const std::filesystem::path& path, bool follow);
  ~OsFile();
  OsFile(const OsFile&) = delete;
  OsFile& operator=(const OsFile&) = delete;

  // OsError: it is a folder, or the system does not say.
  std::uint64_t size() const;
  // Bytes read from a place on; fewer than `size` only at the end of the file. OsError.
  std::size_t read(std::uint64_t from, void* to, std::size_t size) const;

 private:
  std::filesystem::path path_;
  int handle_;
};

}  // namespace lavin::core
