// Folders that are kept open, and a lock on one that many readers share and a writer waits for.
#pragma once

#include <filesystem>

namespace lavin::core {

// An open folder: for as long as this lives the system gives its number to no other. Where it
// cannot be opened, nothing is held.
class OpenFolder {
 public:
  explicit OpenFolder(const std::filesystem::path& folder);
  ~OpenFolder();
  OpenFolder(const OpenFolder&) = delete;
  OpenFolder& operator=(const OpenFolder&) = delete;

 protected:
  const int handle_;
};

// The system's own lock, shared. Waits while a writer holds it; where there are no locks, nothing
// is held.
class SharedLock : public OpenFolder {
 public:
  explicit SharedLock(const std::filesystem::path& folder);
};

}  // namespace lavin::core
