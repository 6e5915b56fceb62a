// Sentences that both forms of a bundle share.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "bundle/manifest.h"

namespace lavin::core {

inline constexpr std::size_t kChunk = std::size_t{1} << 20;  // bytes read at a time

BundleError absent(const std::filesystem::path& bundle, const std::string& path);
BundleError unreadable(const std::string& path, std::string_view reason);
BundleError too_large(const std::string& path, std::uint64_t limit);

inline constexpr std::size_t kHead = 200;  // bytes of a file's beginning that tell what it is

// What lies in a file's place by its first bytes (a pointer of Git LFS, a web page), as the rest of
// a sentence that begins with the file's name; empty for anything else.
std::string stand_in(std::string_view head);

// BundleError: a file's first bytes are those of something in its place.
void check_stand_in(const std::string& path, std::string_view head);

[[noreturn]] void refuse_size(const std::string& path, std::uint64_t size, const FileEntry& entry,
                              std::string_view head);

// BundleError: a file has another size, or another digest, than the manifest says; `head` gives its
// first bytes.
template <typename Head>
void check_size(const std::string& path, std::uint64_t size, const FileEntry& entry,
                const Head& head) {
  if (size != entry.size) refuse_size(path, size, entry, head());
}
void check_digest(const std::string& path, const std::string& digest, const FileEntry& entry);

}  // namespace lavin::core
