// Whether the parts of a manifest fit each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bundle/manifest.h"

namespace lavin::core {

// A manifest and what only its checks need, in the order of the text.
struct ManifestParts {
  struct Validation {
    std::string name, folder;
    std::int64_t samples;
  };

  Manifest manifest;
  std::vector<std::string> files;
  std::vector<Table> tables;
  std::vector<std::int64_t> chunks;  // of each variant's streams; 1 where it has none
  std::vector<Validation> validation;
};

// BundleError: the parts contradict each other.
void check(const ManifestParts& parts);

// "128x128 with 1 pair and 8 frames".
std::string place(std::optional<int> height, std::optional<int> width, std::optional<int> pairs,
                  std::optional<int> frames);
std::string place(const Graph& graph);

}  // namespace lavin::core
