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

// BundleError: a file has another size, or another digest, than the manifest says.
void check_size(const std::string& path, std::uint64_t size, const FileEntry& entry);
void check_digest(const std::string& path, const std::string& digest, const FileEntry& entry);

}  // namespace lavin::core
