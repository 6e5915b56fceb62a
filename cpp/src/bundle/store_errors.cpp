#include "bundle/store_errors.h"

#include "base/text.h"

namespace lavin::core {

BundleError absent(const std::filesystem::path& bundle, const std::string& path) {
  const char* what = path == kManifest ? "is not a bundle: it" : "is incomplete: it";
  return BundleError(cat(in_quotes(bundle.native()), " ", what, " has no ", in_quotes(path),
                         "; copy or export it again."));
}

BundleError unreadable(const std::string& path, std::string_view reason) {
  return BundleError(cat(in_quotes(path), " in the bundle cannot be read: ", reason, "."));
}

BundleError too_large(const std::string& path, std::uint64_t limit) {
  return BundleError(cat(in_quotes(path), " in the bundle is larger than ", limit, " bytes."));
}

void check_size(const std::string& path, std::uint64_t size, const FileEntry& entry) {
  if (size == entry.size) return;
  throw BundleError(cat(in_quotes(path), " in the bundle has ", size,
                        " bytes where the manifest says ", entry.size,
                        "; the bundle is damaged: copy or export it again."));
}

void check_digest(const std::string& path, const std::string& digest, const FileEntry& entry) {
  if (digest == entry.sha256) return;
  throw BundleError(cat(in_quotes(path),
                        " in the bundle does not have the sha256 that the manifest says; the "
                        "bundle is damaged: copy or export it again."));
}

}  // namespace lavin::core
