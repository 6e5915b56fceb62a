#include "base/shared_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace lavin::core {

OpenFolder::OpenFolder(const std::filesystem::path& folder)
    : handle_(::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY)) {}

OpenFolder::~OpenFolder() {
  if (handle_ >= 0) ::close(handle_);
}

SharedLock::SharedLock(const std::filesystem::path& folder) : OpenFolder(folder) {
  while (handle_ >= 0 && ::flock(handle_, LOCK_SH) != 0 && errno == EINTR) {
  }
}

}  // namespace lavin::core
