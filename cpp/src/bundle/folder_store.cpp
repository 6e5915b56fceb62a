// A bundle as a folder. Symbolic links inside it are refused. Files of tasks that are replaced
// meanwhile stay; of a bundle that was replaced as a whole nothing more is read.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/os_file.h"
#include "base/sha256.h"
#include "base/shared_lock.h"
#include "bundle/paths.h"
#include "bundle/store.h"
#include "bundle/store_errors.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

// Whether an export that was killed left a folder of that name.
bool is_unfinished(const std::string& name) {
  constexpr std::string_view kEnding = ".tmp";
  return name.size() > kEnding.size() && name[0] == '.' &&
         name.compare(name.size() - kEnding.size(), kEnding.size(), kEnding) == 0;
}

std::string head_of(const OsFile& file) {
  std::string head(kHead, '\0');
  head.resize(file.read(0, head.data(), head.size()));
  return head;
}

class FolderStore : public Store {
 public:
  explicit FolderStore(const fs::path& path) : path_(path), folder_(path), tasks_(path / "tasks") {
    const std::string name = path.filename();
    if (is_unfinished(name)) {
      throw BundleError(
          cat(in_quotes(name), " is what an unfinished export left; delete it and export again."));
    }
    if (::stat(path.c_str(), &root_) != 0) throw absent(path, kManifest);
    static_cast<void>(
        ::stat((path / kManifest).c_str(), &manifest_));  // where it is missing, zeros
  }

  const fs::path& path() const override { return path_; }

  std::string read(const std::string& path, std::uint64_t limit) override {
    const fs::path place = plain(path);
    try {
      const OsFile file(place, false);
      const std::uint64_t size = file.size();
      if (size > limit) throw too_large(path, limit);
      std::string content(static_cast<std::size_t>(size), '\0');
      content.resize(file.read(0, content.data(), content.size()));
      char more = 0;
      if (content.size() == limit && file.read(limit, &more, 1) > 0) throw too_large(path, limit);
      return content;
    } catch (const OsError& error) {
      throw unreadable(path, error.what());
    }
  }

  void verify(const std::string& path, const FileEntry& entry) override {
    const fs::path place = plain(path);
    Sha256 digest;
    try {
      const OsFile file(place, false);
      check_size(path, file.size(), entry, [&] { return head_of(file); });
      std::string chunk(static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, entry.size)) + 1,
                        '\0');
      std::uint64_t from = 0;
      while (const std::size_t count = file.read(from, chunk.data(), chunk.size())) {
        digest.update(chunk.data(), count);
        from += count;
      }
    } catch (const OsError& error) {
      throw unreadable(path, error.what());
    }
    check_digest(path, digest.hex(), entry);
  }

  fs::path file(const std::string& path, const FileEntry& entry) override {
    fs::path place = plain(path);
    try {
      const OsFile file(place, false);
      check_size(path, file.size(), entry, [&] { return head_of(file); });
    } catch (const OsError& error) {
      throw unreadable(path, error.what());
    }
    return place;
  }

  bool has_changed() override {
    if (!is_mine()) return true;
    struct stat now = {};
    const bool there = ::stat((path_ / kManifest).c_str(), &now) == 0;
    return there && (now.st_ino != manifest_.st_ino || now.st_size != manifest_.st_size ||
                     now.st_mtim.tv_sec != manifest_.st_mtim.tv_sec ||
                     now.st_mtim.tv_nsec != manifest_.st_mtim.tv_nsec);
  }

 private:
  // Whether the folder at the path is the one that was opened.
  bool is_mine() const {
    struct stat now = {};
    return ::stat(path_.c_str(), &now) != 0 ||
           (now.st_dev == root_.st_dev && now.st_ino == root_.st_ino);
  }

  // Where a file lies, having looked at every part of the way for links.
  fs::path plain(const std::string& path) const {
    check_path(path);
    if (!is_mine()) {
      throw BundleError(cat("the bundle ", in_quotes(path_.native()),
                            " was replaced since it was opened; open it again."));
    }
    fs::path place = path_;
    struct stat status = {};
    for (const fs::path& part : fs::path(path)) {
      place /= part;
      if (::lstat(place.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) throw absent(path_, path);
        throw unreadable(path, OsError(errno, place).what());
      }
      if (S_ISLNK(status.st_mode)) {
        throw BundleError(cat(in_quotes(path),
                              " in the bundle is or lies behind a symbolic link; a bundle holds "
                              "plain files only: copy it with its links resolved (cp -rL)."));
      }
    }
    if (S_ISREG(status.st_mode)) return place;
    throw BundleError(cat(in_quotes(path), " in the bundle is not a plain file; export it again."));
  }

  fs::path path_;
  OpenFolder folder_;
  SharedLock tasks_;
  struct stat root_ = {}, manifest_ = {};
};

}  // namespace

std::unique_ptr<Store> open_folder(const fs::path& path) {
  return std::make_unique<FolderStore>(path);
}

}  // namespace lavin::core
