// Where a bundle lies: a folder NAME.lavin/ or one stored zip file of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "bundle/manifest.h"

namespace lavin::core {

// Where a bundle's bytes lie. Refuses what leads outside or is larger than it says.
class Store {
 public:
  virtual ~Store() = default;
  // The folder or the zip file.
  virtual const std::filesystem::path& path() const = 0;
  // A file's content. BundleError: it is absent or over `limit` bytes.
  virtual std::string read(const std::string& path, std::uint64_t limit) = 0;
  // BundleError: a file does not have the size and sha256 of `entry`. Safe from several threads.
  virtual void verify(const std::string& path, const FileEntry& entry) = 0;
  // A real file with the content; verified if it had to be extracted.
  virtual std::filesystem::path file(const std::string& path, const FileEntry& entry) = 0;
  // Whether another bundle, or another manifest, lies at the path by now.
  virtual bool has_changed() = 0;
};

std::unique_ptr<Store> open_folder(const std::filesystem::path& path);
std::unique_ptr<Store> open_zip(const std::filesystem::path& path);

}  // namespace lavin::core
