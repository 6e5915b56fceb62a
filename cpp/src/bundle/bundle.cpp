#include "bundle/bundle.h"

#include <algorithm>

#include "base/errors.h"
#include "base/limits.h"
#include "base/npy.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "bundle/store_errors.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

// The path without slashes at its end.
fs::path tidy(fs::path path) {
  return path.has_filename() || !path.has_relative_path() ? path : path.parent_path();
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

}  // namespace

std::unique_ptr<Bundle> Bundle::open(const std::string& path) {
  const bool nul = path.find('\0') != std::string::npos;  // no file has such a name
  const fs::path place = tidy(path);
  if (nul || !is_there(place)) {
    const fs::path near = place.native() + ".lavin";
    const std::string hint =
        !nul && is_there(near) ? cat(" Did you mean ", in_quotes(near.native()), "?") : "";
    throw BundleError(cat("there is no bundle at ", in_quotes(path),
                          "; give a folder NAME.lavin or a zip of one.", hint));
  }
  std::error_code error;
  while (true) {
    auto store = fs::is_directory(place, error) ? open_folder(place) : open_zip(place);
    try {
      std::string text = store->read(kManifest, limits::manifest_bytes);
      check_stand_in(kManifest, std::string_view(text).substr(0, kHead));
      Manifest manifest = Manifest::from_text(text);
      std::vector<const std::pair<const std::string, FileEntry>*> files;
      for (const auto& file : manifest.files) files.push_back(&file);
      side_by_side(files.size(),
                   [&](std::size_t i) { store->verify(files[i]->first, files[i]->second); });
      return std::unique_ptr<Bundle>(
          new Bundle(std::move(store), std::move(manifest), std::move(text)));
    } catch (const BundleError&) {
      // Meanwhile by another process: then it is whole the next time.
      if (!store->has_changed()) throw;
    }
  }
}

std::string Bundle::read(const std::string& path) const {
  const FileEntry& entry = listed(path);
  std::string content = store_->read(path, entry.size);
  Sha256 digest;
  digest.update(content.data(), content.size());
  if (digest.hex() == entry.sha256) return content;
  throw BundleError(cat(in_quotes(path), " in the bundle ",
                        in_quotes(this->path().filename().native()),
                        " was changed since it was opened; open it again."));
}

Array Bundle::array(const std::string& path) const {
  return parse_npy(read(path), path);
}

const Variant& Bundle::variant(const std::string& precision, const std::string& dialect) const {
  const std::string& chosen = precision.empty() ? manifest_.defaults.precision : precision;
  std::vector<std::string> offered;
  for (const Variant& variant : manifest_.variants) {
    if (variant.precision == chosen && (dialect.empty() || variant.dialect == dialect)) {
      return variant;
    }
    offered.push_back(cat(variant.precision, " ", variant.dialect));
  }
  throw BundleError(cat("the bundle ", in_quotes(path().filename().native()), " has no ", chosen,
                        dialect.empty() ? "" : " " + dialect,
                        " variant; it has: ", offered.empty() ? "none" : join(offered, ", "),
                        ". Choose one of them or export it with lavin-export."));
}

fs::path Bundle::graph_file(const Variant& variant, const Graph& graph) const {
  for (const std::string& path : variant.weights) store_->file(path, listed(path));
  return store_->file(graph.file, listed(graph.file));
}

const FileEntry& Bundle::listed(const std::string& path) const {
  const auto entry = manifest_.files.find(path);
  if (entry != manifest_.files.end()) return entry->second;
  throw BundleError(cat("the bundle ", in_quotes(this->path().filename().native()),
                        " lists no file ", in_quotes(path), "."));
}

}  // namespace lavin::core
