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

std::string stand_in(std::string_view head) {
  const auto begins = [](std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
  };
  if (begins(head, "version https://git-lfs")) {
    return "is a pointer of Git LFS and not the file itself; run 'git lfs pull' in its repository, "
           "or download the file.";
  }
  const std::size_t first = head.find_first_not_of("\xef\xbb\xbf \r\n\t");
  std::string text(first == std::string_view::npos ? "" : head.substr(first, 9));
  for (char& letter : text) letter = letter >= 'A' && letter <= 'Z' ? letter | 0x20 : letter;
  if (begins(text, "<!doctype") || begins(text, "<html")) {
    return "is a web page and not the file itself; download the file that the page offers.";
  }
  return "";
}

void check_stand_in(const std::string& path, std::string_view head) {
  const std::string what = stand_in(head);
  if (!what.empty()) throw BundleError(cat(in_quotes(path), " in the bundle ", what));
}

void refuse_size(const std::string& path, std::uint64_t size, const FileEntry& entry,
                 std::string_view head) {
  check_stand_in(path, head);
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
