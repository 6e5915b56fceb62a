// A bundle as one zip file of stored entries, its manifest at the top or in the only top folder
// with one.
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "base/os_file.h"
#include "base/sha256.h"
#include "base/zip.h"
#include "bundle/paths.h"
#include "bundle/store.h"
#include "bundle/store_errors.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

// Where macOS's archiver puts what it keeps about the files of a zip.
constexpr std::string_view kOfMacos = "__MACOSX/";

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

// What the manifest does not list is never read: it may be compressed and of any name.
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

  bool has_changed() override { return false; }  // an open file stays as it was

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
    std::string head(kHead, '\0');
    std::ifstream file(path, std::ios::binary);
    file.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<std::size_t>(file.gcount()));
    const std::string what = stand_in(head);
    if (!what.empty()) throw BundleError(cat(in_quotes(path.native()), " ", what));
    throw BundleError(cat(in_quotes(path.native()),
                          " is neither a bundle folder nor a readable zip of one: ", reason, "."));
  }

  static WorkError unwritable(const fs::path& path) {
    return WorkError(cat("cannot write the temporary file ", in_quotes(path.native()),
                         "; make room there or set TMPDIR to another folder."));
  }

  // Find the entries' paths in the bundle, having refused every unsafe one. What cannot be part of
  // a bundle is left out.
  void check_entries() {
    const std::string zip = in_quotes(path_.filename().native());
    const std::uint64_t size = zip_.file_size();
    std::uint64_t sum = 0;
    bool fits = true;
    for (const ZipEntry& entry : zip_.entries()) {
      if (entry.is_folder()) continue;
      check_inside(entry.name);
      fits = fits && entry.packed <= size - sum;
      sum += fits ? entry.packed : 0;
    }
    const std::string top = find_top(zip);
    std::vector<std::string> names;
    for (const ZipEntry& entry : zip_.entries()) {
      if (entry.is_folder() || entry.name.compare(0, top.size(), top) != 0) continue;
      std::string name = entry.name.substr(top.size());
      if (!is_path(name)) continue;
      if (S_ISLNK(entry.mode)) throw BundleError(cat(what(entry), " is a symbolic link."));
      names.push_back(name);
      entries_[std::move(name)] = &entry;
    }
    check_paths(names);
    if (!fits || zip_.overlaps()) {
      throw BundleError(
          cat("the entries of ", zip, " overlap; the zip file is damaged or hostile."));
    }
  }

  // What the paths of the bundle's own entries begin with: nothing, or its only folder.
  std::string find_top(const std::string& zip) const {
    std::set<std::string> tops;
    for (const ZipEntry& entry : zip_.entries()) {
      if (entry.name == kManifest) return "";
      const std::size_t slash = entry.name.find('/');
      if (slash == 0 || slash == std::string::npos) continue;
      std::string top = entry.name.substr(0, slash + 1);
      if (entry.name == top + kManifest && top != kOfMacos) tops.insert(std::move(top));
    }
    if (tops.size() > 1) {
      const auto name = [](const std::string& top) {
        return in_quotes(top.substr(0, top.size() - 1));
      };
      throw BundleError(cat(zip, " holds several bundles, ", name(*tops.begin()), " and ",
                            name(*std::next(tops.begin())), "; make a zip of each."));
    }
    return tops.empty() ? "" : *tops.begin();
  }

  std::string what(const ZipEntry& entry) const {
    return cat("the entry ", in_quotes(entry.name), " of ", in_quotes(path_.filename().native()));
  }

  const ZipEntry& entry_at(const std::string& path) const {
    const auto found = entries_.find(path);
    if (found == entries_.end()) throw absent(path_, path);
    const ZipEntry& entry = *found->second;
    if (entry.method != 0 || entry.size != entry.packed) {
      throw BundleError(cat(what(entry),
                            " is compressed; a bundle's zip only stores: make it with "
                            "zip -0 or with lavin_deploy.bundle.pack."));
    }
    if (entry.flags & 1) throw BundleError(cat(what(entry), " is encrypted."));
    return entry;
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

  std::string head_of(const std::string& path, const ZipEntry& entry) const {
    std::string head;
    if (entry.size > kChunk) return head;  // no pointer and no page is so large
    read_chunks(path, entry,
                [&](const char* chunk, std::size_t size) { head.append(chunk, size); });
    return head.substr(0, kHead);
  }

  // Verify an entry, writing it to `stream` if there is one.
  void copy(const std::string& path, const FileEntry& entry, std::ostream* stream) const {
    const ZipEntry& source = entry_at(path);
    check_size(path, source.size, entry, [&] { return head_of(path, source); });
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
