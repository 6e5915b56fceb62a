#include "bundle/manifest_checks.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/errors.h"
#include "base/grids.h"
#include "base/limits.h"
#include "bundle/paths.h"

namespace lavin::core {
namespace {

std::string bucket_place(const Bucket& bucket) {
  return place(bucket.height, bucket.width, bucket.pairs, {});
}

// Every file that the manifest itself points to is listed.
void check_referenced(const Manifest& manifest) {
  std::set<std::string> lost;
  const auto look = [&](const std::string& file) {
    if (manifest.files.count(file) == 0) lost.insert(file);
  };
  for (const Variant& variant : manifest.variants) {
    for (const std::string& file : variant.weights) look(file);
    for (const Graph& graph : variant.graphs) look(graph.file);
  }
  for (const auto& [name, table] : manifest.tables) look(table.file);
  for (const TaskEntry& task : manifest.tasks) look(task.file);
  if (lost.empty()) return;
  throw BundleError(cat(kManifest, " points to ", in_quotes(*lost.begin()),
                        ", which its 'files' does not list; export the bundle again."));
}

void check_sizes(const Manifest& manifest) {
  const Latent& latent = manifest.latent;
  if (manifest.variants.empty() || manifest.buckets.empty()) {
    throw BundleError(cat(kManifest, " names no variant or no bucket; a bundle needs both."));
  }
  if (latent.channels < 1 || latent.downsample < 1 || latent.scale == 0) {
    throw BundleError(cat(kManifest, ": latent sizes and scale must be positive."));
  }
  if (latent.channels > limits::channels) {
    throw BundleError(cat(kManifest, ": latent.channels is ", latent.channels, "; at most ",
                          limits::channels, "."));
  }
  if (manifest.defaults.steps < 1) {
    throw BundleError(
        cat(kManifest, ": defaults.steps is ", manifest.defaults.steps, "; at least 1."));
  }
  const int cell = latent.downsample;
  bool has_default = false;
  for (const Bucket& bucket : manifest.buckets) {
    if (std::min({bucket.height, bucket.width, bucket.pairs}) < 1 || bucket.height % cell != 0 ||
        bucket.width % cell != 0) {
      throw BundleError(cat(kManifest, ": bucket ", bucket_place(bucket),
                            " is not a positive multiple of ", cell,
                            " pixels with at least one pair."));
    }
    if (std::max(bucket.height, bucket.width) > limits::pixels_a_side) {
      throw BundleError(cat(kManifest, ": bucket ", bucket_place(bucket), " has more than ",
                            limits::pixels_a_side, " pixels a side."));
    }
    has_default = has_default || manifest.defaults.size == Size{bucket.height, bucket.width};
  }
  if (has_default) return;
  const Size size = manifest.defaults.size;
  throw BundleError(
      cat(kManifest, ": defaults.size ", Shape{size.height, size.width}, " has no bucket."));
}

// No name is there twice.
template <typename Items, typename Name>
void check_unique(const char* kind, const Items& items, Name name) {
  std::map<std::string, int> counts;
  for (const auto& item : items) ++counts[name(item)];
  for (const auto& item : items) {
    if (counts[name(item)] == 1) continue;
    throw BundleError(cat(kManifest, " lists ", kind, " ", in_quotes(name(item)),
                          " twice; export the bundle again."));
  }
}

void check_validation(const std::vector<ManifestParts::Validation>& validation) {
  for (const auto& [name, folder, samples] : validation) {
    check_path(folder);
    if (samples < 1 || samples > limits::validation_samples) {
      throw BundleError(cat(kManifest, " declares ", samples, " validation samples of ",
                            in_quotes(name), "; a bundle has 1 to ", limits::validation_samples,
                            " of a task or does not name it."));
    }
  }
}

}  // namespace

std::string place(std::optional<int> height, std::optional<int> width, std::optional<int> pairs,
                  std::optional<int> frames) {
  std::vector<std::string> counts;
  if (pairs) counts.push_back(cat(*pairs, " pair", *pairs == 1 ? "" : "s"));
  if (frames) counts.push_back(cat(*frames, " frame", *frames == 1 ? "" : "s"));
  return cat(height ? cat(*height, "x", width.value_or(0)) : "any size",
             counts.empty() ? "" : " with ", join(counts, " and "));
}

std::string place(const Graph& graph) {
  return place(graph.height, graph.width, graph.pairs, graph.frames);
}

void check(const ManifestParts& parts) {
  const Manifest& manifest = parts.manifest;
  check_paths(parts.files);
  check_referenced(manifest);
  for (const Table& table : parts.tables) {
    if (!table.grid.empty()) continue;
    throw BundleError(cat(kManifest, ": the table ", in_quotes(table.file), " has an empty grid."));
  }
  try {
    check_grid(manifest.default_grid);
    for (const TaskEntry& task : manifest.tasks) check_task_name(task.name);
  } catch (const InputError& error) {
    throw BundleError(cat(kManifest, " is wrong: ", error.what()));
  }
  check_validation(parts.validation);
  check_sizes(manifest);
  check_unique("task", manifest.tasks, [](const TaskEntry& task) { return task.name; });
  check_unique("variant", manifest.variants,
               [](const Variant& item) { return cat(item.precision, " ", item.dialect); });
  check_unique("bucket", manifest.buckets, bucket_place);
  for (std::size_t i = 0; i < manifest.variants.size(); ++i) {
    check_unique("graph", manifest.variants[i].graphs,
                 [](const Graph& graph) { return cat(graph.name, " ", place(graph)); });
    const std::optional<int> every = manifest.variants[i].refresh_every;
    if (every && *every < 1) {
      throw BundleError(cat(kManifest, " has a refresh every ", *every, " steps; at least 1."));
    }
    if (parts.chunks[i] < 1) {
      throw BundleError(
          cat(kManifest, " has a stream of ", parts.chunks[i], " latents; at least 1."));
    }
  }
}

}  // namespace lavin::core
