// Stored entries of a zip file, zip64 included.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/os_file.h"

namespace lavin::core {

// What is wrong with a zip file, without a full stop.
struct ZipError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An entry, as the central directory has it.
struct ZipEntry {
  std::string name;
  std::uint64_t size = 0, packed = 0;  // bytes of the content, and of it in the zip file
  std::uint64_t offset = 0;            // of its local header
  std::uint64_t end = 0;  // where the next entry or the directory begins: it must end before
  std::uint32_t crc = 0;
  std::uint16_t method = 0, flags = 0;
  std::uint16_t mode = 0;  // of Unix

  bool is_folder() const { return !name.empty() && name.back() == '/'; }
};

// An open zip file. Sizes are not believed: nothing is allocated that the file does not have.
class Zip {
 public:
  // ZipError or OsError: it cannot be opened or is no zip file.
  explicit Zip(const std::filesystem::path& path);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  std::uint64_t file_size() const { return size_; }
  // Whether two entries share bytes, as far as the directory shows.
  bool overlaps() const;
  // Give the content of a stored entry in chunks. ZipError or OsError: its header or its checksum
  // is wrong, or the file ends too early.
  void read(const ZipEntry& entry,
            const std::function<void(const char* chunk, std::size_t size)>& take) const;

 private:
  std::string bytes(std::uint64_t from, std::size_t size) const;
  std::uint64_t content_of(const ZipEntry& entry) const;
  void find_ends(std::uint64_t directory);

  OsFile file_;
  std::uint64_t size_;
  std::vector<ZipEntry> entries_;
};

}  // namespace lavin::core
