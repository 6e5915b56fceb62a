// A bundle as one zip file of stored entries, its manifest at the top or in the only top folder.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include "base/os_file.h"
#include "base/sha256.h"
#include "base/zip.h"
#include "bundle/paths.h"
#include "bundle/store.h"
#include "bundle/store_errors.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

// A new folder for extracted files, deleted with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const char* parent = std::getenv("TMPDIR");
    path_ = fs::path(parent != nullptr && *parent != '\0' ? parent : "/tmp") / "lavin-XXXXXX";
    std::string name = path_.native();
    if (::mkdtemp(name.data()) == nullptr) {
      throw WorkError(cat("cannot make a temporary folder: ", OsError(errno, path_).what(),
                          "; set TMPDIR to a folder that can be written to."));
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class ZipStore : public Store {
 public:
  explicit ZipStore(const fs::path& path) try : path_(path), zip_(path) {
    check_entries();
  } catch (const ZipError& error) {
    refuse(path, error.what());
  } catch (const OsError& error) {
    refuse(path, error.what());
  }

  const fs::path& path() const override { return path_; }

  std::string read(const std::string& path, std::uint64_t limit) override {
    const ZipEntry& entry = entry_at(path);
    if (entry.size > limit) throw too_large(path, limit);
    std::string content;
    content.reserve(static_cast<std::size_t>(entry.size));  // `check_entries` saw that it fits
    read_chunks(path, entry,
                [&](const char* chunk, std::size_t size) { content.append(chunk, size); });
    return content;
  }

  void verify(const std::string& path, const FileEntry& entry) override {
    copy(path, entry, nullptr);
  }

  fs::path file(const std::string& path, const FileEntry& entry) override {
    check_path(path);
    const std::lock_guard<std::mutex> lock(extracting_);
    if (extracted_ == nullptr) extracted_ = std::make_unique<TemporaryFolder>();
    const fs::path target = extracted_->path() / path;
    std::error_code error;
    if (fs::exists(target, error)) return target;
    fs::create_directories(target.parent_path(), error);
    const fs::path part = target.parent_path() / ("." + target.filename().native() + ".tmp");
    {
      std::ofstream stream(part, std::ios::binary | std::ios::trunc);
      copy(path, entry, &stream);
      stream.close();
      if (!stream) throw unwritable(part);
    }
    fs::rename(part, target, error);
    if (error) throw unwritable(target);
    return target;
  }

 private:
  [[noreturn]] static void refuse(const fs::path& path, std::string_view reason) {
    throw BundleError(cat(in_quotes(path.native()),
                          " is neither a bundle folder nor a readable zip of one: ", reason, "."));
  }

  static WorkError unwritable(const fs::path& path) {
    return WorkError(cat("cannot write the temporary file ", in_quotes(path.native()),
                         "; make room there or set TMPDIR to another folder."));
  }

  // Refuse every unsafe entry and find the others' paths in the bundle.
  void check_entries() {
    const std::string zip = in_quotes(path_.filename().native());
    const std::uint64_t size = zip_.file_size();
    std::vector<std::string> names;
    std::set<std::string> tops;
    std::uint64_t sum = 0;
    bool fits = true, at_top = false;
    for (const ZipEntry& entry : zip_.entries()) {
      if (entry.is_folder()) continue;
      const std::string what = cat("the entry ", in_quotes(entry.name), " of ", zip);
      if (entry.method != 0 || entry.size != entry.packed) {
        throw BundleError(cat(what,
                              " is compressed; a bundle's zip only stores: make it with "
                              "zip -0 or with lavin_deploy.bundle.pack."));
      }
      if (entry.flags & 1) throw BundleError(cat(what, " is encrypted."));
      if (S_ISLNK(entry.mode)) throw BundleError(cat(what, " is a symbolic link."));
      names.push_back(entry.name);
      tops.insert(entry.name.substr(0, entry.name.find('/')));
      at_top = at_top || entry.name == kManifest;
      fits = fits && entry.size <= size - sum;
      sum += fits ? entry.size : 0;
    }
    check_paths(names);
    if (!fits || zip_.overlaps()) {
      throw BundleError(
          cat("the entries of ", zip, " overlap; the zip file is damaged or hostile."));
    }
    const std::string top = tops.size() == 1 ? *tops.begin() + "/" : "";
    const bool below = !at_top && !top.empty() &&
                       std::find(names.begin(), names.end(), top + kManifest) != names.end();
    for (const ZipEntry& entry : zip_.entries()) {
      if (!entry.is_folder()) entries_[entry.name.substr(below ? top.size() : 0)] = &entry;
    }
  }

  const ZipEntry& entry_at(const std::string& path) const {
    const auto entry = entries_.find(path);
    if (entry == entries_.end()) throw absent(path_, path);
    return *entry->second;
  }

  template <typename Take>
  void read_chunks(const std::string& path, const ZipEntry& entry, const Take& take) const {
    try {
      zip_.read(entry, take);
    } catch (const ZipError& error) {
      throw unreadable(path, error.what());
    } catch (const OsError& error) {
      throw unreadable(path, error.what());
    }
  }

  // Verify an entry, writing it to `stream` if there is one.
  void copy(const std::string& path, const FileEntry& entry, std::ostream* stream) const {
    const ZipEntry& source = entry_at(path);
    check_size(path, source.size, entry);
    Sha256 digest;
    read_chunks(path, source, [&](const char* chunk, std::size_t size) {
      digest.update(chunk, size);
      if (stream != nullptr) stream->write(chunk, static_cast<std::streamsize>(size));
    });
    check_digest(path, digest.hex(), entry);
  }

  fs::path path_;
  Zip zip_;
  std::map<std::string, const ZipEntry*> entries_;
  std::mutex extracting_;
  std::unique_ptr<TemporaryFolder> extracted_;
};

}  // namespace

std::unique_ptr<Store> open_zip(const fs::path& path) {
  return std::make_unique<ZipStore>(path);
}

}  // namespace lavin::core
