#include "base/os_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

#include "base/text.h"

namespace lavin::core {

OsError::OsError(int error, const std::filesystem::path& path)
    : std::runtime_error(cat("[Errno ", error, "] ", std::generic_category().message(error),
                             path.empty() ? "" : ": " + in_quotes(path.native()))),
      number(error) {}

OsFile::OsFile(const std::filesystem::path& path, bool follow) : path_(path) {
  // Without O_NONBLOCK, opening a pipe would wait for its other end.
  handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
  if (handle_ < 0) throw OsError(errno, path);
}

OsFile::~OsFile() {
  ::close(handle_);
}

std::uint64_t OsFile::size() const {
  struct stat status;
  if (::fstat(handle_, &status) != 0) throw OsError(errno);
  if (S_ISDIR(status.st_mode)) throw OsError(EISDIR, path_);
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t OsFile::read(std::uint64_t from, void* to, std::size_t size) const {
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  if (from > std::uint64_t{std::numeric_limits<std::int64_t>::max()} - size) return 0;
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(handle_, static_cast<char*>(to) + done,
                                  std::min(size - done, kChunk), static_cast<off_t>(from + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw OsError(errno);
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

}  // namespace lavin::core
