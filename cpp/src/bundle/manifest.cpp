#include "bundle/manifest.h"

#include <algorithm>
#include <functional>

#include "base/errors.h"
#include "base/json.h"
#include "bundle/manifest_checks.h"

namespace lavin::core {
namespace {

// The items of a list, or of none, each read by `read`.
template <typename Read>
auto all(const std::optional<Value>& list, Read read) {
  std::vector<decltype(read(*list))> items;
  if (list) {
    for (const Value& item : list->list()) items.push_back(read(item));
  }
  return items;
}

std::optional<int> given_integer(const Value& object, std::string_view key) {
  const auto value = object.find_value(key);
  return value ? std::optional(value->integer()) : std::nullopt;
}

std::string text_of(const Value& value) {
  return value.text();
}
double number_of(const Value& value) {
  return value.number();
}

void check_text(const std::optional<Value>& value) {
  if (value) value->text();
}

TensorSpec read_tensor(const Value& value) {
  TensorSpec tensor;
  tensor.name = value.at("name").text();
  tensor.dtype = value.at("dtype").text();
  tensor.shape = all(value.at("shape"), std::mem_fn(&Value::long_integer));
  return tensor;
}

Graph read_graph(const Value& value) {
  Graph graph;
  graph.name = value.at("name").text();
  graph.height = given_integer(value, "height");
  graph.width = given_integer(value, "width");
  graph.pairs = given_integer(value, "pairs");
  graph.frames = given_integer(value, "frames");
  graph.file = value.at("file").text();
  graph.inputs = all(value.at("inputs"), read_tensor);
  graph.outputs = all(value.at("outputs"), read_tensor);
  return graph;
}

int read_refresh(const Value& value) {
  const int every = value.at("every").integer();
  if (const auto error = value.find("error")) {
    for (const auto& [steps, distance] : error->entries()) distance.number();
  }
  return every;
}

// Latents of a chunk.
std::int64_t read_stream(const Value& value) {
  const std::int64_t chunk = value.at("chunk").long_integer();
  all(value.at("frames"), std::mem_fn(&Value::long_integer));
  for (const char* key : {"encoder", "decoder"}) {
    const Value boundary_error = value.at(key);
    boundary_error.at("l2").number();
    boundary_error.at("max").number();
  }
  return chunk;
}

void read_variant(const Value& value, ManifestParts& parts) {
  Variant variant;
  variant.precision = value.at("precision").text();
  variant.dialect = value.at("dialect").text();
  if (const auto context = value.find("context")) variant.context = context->text();
  if (const auto pairing = value.find("pairing")) variant.pairing = pairing->text();
  if (const auto refresh = value.find_value("refresh"))
    variant.refresh_every = read_refresh(*refresh);
  const auto stream = value.find_value("stream");
  parts.chunks.push_back(stream ? read_stream(*stream) : 1);
  variant.weights = all(value.find("weights"), text_of);
  variant.graphs = all(value.at("graphs"), read_graph);
  all(value.find("islands"), text_of);
  parts.manifest.variants.push_back(std::move(variant));
}

Bucket read_bucket(const Value& value) {
  const int height = value.at("height").integer();
  const int width = value.at("width").integer();
  return {height, width, value.at("pairs").integer()};
}

Latent read_latent(const Value& value) {
  Latent latent;
  latent.shift = value.at("shift").number();
  latent.scale = value.at("scale").number();
  if (const auto channels = value.find("channels")) latent.channels = channels->integer();
  if (const auto downsample = value.find("downsample")) latent.downsample = downsample->integer();
  return latent;
}

void read_time(const Value& value, Manifest& manifest) {
  check_text(value.find("convention"));
  manifest.time_kind = value.at("kind").one_of({"linear-quadratic", "uniform"});
  manifest.default_grid = all(value.at("default_grid"), number_of);
  check_text(value.find("guidance"));
}

Defaults read_defaults(const Value& value) {
  Defaults defaults;
  defaults.steps = value.at("steps").integer();
  if (const auto guidance = value.find("guidance")) defaults.guidance = guidance->number();
  defaults.precision = value.at("precision").text();
  defaults.pairs = value.at("pairs").integer();
  const std::vector<Value> size = value.at("size").list(2);
  defaults.size.height = size[0].integer();
  defaults.size.width = size[1].integer();
  return defaults;
}

TaskEntry read_task(const Value& value) {
  const std::string name = value.at("name").text();
  return {name, value.at("file").text()};
}

void read_tables(const Value& value, ManifestParts& parts) {
  for (const auto& [name, item] : value.entries()) {
    const std::string file = item.at("file").text();
    const Table table = {file, all(item.at("grid"), number_of)};
    parts.tables.push_back(table);
    parts.manifest.tables[name] = table;
  }
}

void read_files(const Value& value, ManifestParts& parts) {
  for (const auto& [path, item] : value.entries()) {
    const std::uint64_t size = item.at("size").size();
    parts.files.push_back(path);
    parts.manifest.files[path] = {size, item.at("sha256").text()};
  }
}

// Fields in the order of the Python dataclass, so that the first fault is the same.
ManifestParts read(const Value& root) {
  ManifestParts parts;
  Manifest& manifest = parts.manifest;
  manifest.name = root.at("name").text();
  root.at("created_by").text();
  manifest.licence = root.at("licence").text();
  const Value source = root.at("source");
  source.at("kind").text();
  source.at("sha256").text();
  root.at("model").check_object();
  manifest.latent = read_latent(root.at("latent"));
  read_time(root.at("time"), manifest);
  check_text(root.find("layout"));
  manifest.defaults = read_defaults(root.at("defaults"));
  manifest.buckets = all(root.at("buckets"), read_bucket);
  for (const Value& variant : root.at("variants").list()) read_variant(variant, parts);
  read_tables(root.at("tables"), parts);
  manifest.tasks = all(root.find("tasks"), read_task);
  if (const auto selftest = root.find("selftest")) selftest->check_object();
  if (const auto validation = root.find("validation")) {
    for (const auto& [name, item] : validation->entries()) {
      const std::string folder = item.at("folder").text();
      parts.validation.push_back({name, folder, item.at("samples").long_integer()});
    }
  }
  if (const auto report = root.find("report")) report->check_object();
  if (const auto files = root.find("files")) read_files(*files, parts);
  return parts;
}

}  // namespace

Manifest Manifest::from_text(std::string_view text) {
  const Json json = parse_json(text, kManifest);
  if (json.kind != Json::Kind::kObject) {
    throw BundleError(cat(kManifest, " holds no JSON object; export the bundle again."));
  }
  const Json* version = json.find("format_version");
  if (version == nullptr || version->kind != Json::Kind::kInteger ||
      version->integer != kFormatVersion) {
    throw BundleError(cat(kManifest, " has format_version ",
                          version == nullptr ? "null" : excerpt(*version),
                          "; this version of lavin-deploy reads ", kFormatVersion,
                          ": export the bundle again, or install the version that wrote it."));
  }
  ManifestParts parts = read(Value(json, kManifest));
  check(parts);
  return std::move(parts.manifest);
}

std::vector<Size> Manifest::sizes() const {
  std::vector<Size> sizes;
  for (const Bucket& bucket : buckets) {
    const Size size = {bucket.height, bucket.width};
    if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  }
  std::stable_partition(sizes.begin(), sizes.end(),
                        [this](Size size) { return size == defaults.size; });
  return sizes;
}

std::vector<int> Manifest::pairs_at(Size size) const {
  std::vector<int> pairs;
  for (const Bucket& bucket : buckets) {
    if (size == Size{bucket.height, bucket.width}) pairs.push_back(bucket.pairs);
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

std::string listed(const std::vector<TensorSpec>& tensors) {
  std::vector<std::string> parts;
  for (const TensorSpec& tensor : tensors) {
    parts.push_back(cat(in_quotes(tensor.name), " ", tensor.dtype, " ", tensor.shape));
  }
  return parts.empty() ? "none" : join(parts, ", ");
}

bool same_tensors(std::vector<TensorSpec> mine, std::vector<TensorSpec> its) {
  const auto by_name = [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; };
  std::sort(mine.begin(), mine.end(), by_name);
  std::sort(its.begin(), its.end(), by_name);
  return std::equal(mine.begin(), mine.end(), its.begin(), its.end(),
                    [](const TensorSpec& a, const TensorSpec& b) {
                      return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
                    });
}

ContextKind Variant::context_kind() const {
  if (context == "joint") return ContextKind::kJoint;
  if (refresh_every) return ContextKind::kRefresh;
  return pairing == "merged" ? ContextKind::kMerged : ContextKind::kFrozen;
}

const Graph& Variant::graph(std::string_view name, std::optional<Size> size,
                            std::optional<int> pairs) const {
  const auto height = size ? std::optional(size->height) : std::nullopt;
  const auto width = size ? std::optional(size->width) : std::nullopt;
  std::vector<const Graph*> named, fitting;
  for (const Graph& graph : graphs) {
    if (graph.name != name) continue;
    named.push_back(&graph);
    if (graph.height == height && graph.width == width && graph.pairs == pairs) {
      fitting.push_back(&graph);
    }
  }
  if (fitting.size() == 1) return *fitting[0];
  std::vector<std::string> places;
  for (const Graph* graph : fitting.empty() ? named : fitting) places.push_back(place(*graph));
  throw BundleError(cat("the ", precision, " ", dialect, " variant has ",
                        fitting.empty() ? std::string("no graph") : cat(fitting.size(), " graphs"),
                        " ", in_quotes(name), " for ", place(height, width, pairs, {}),
                        "; it has: ", places.empty() ? "none" : join(places, ", "), "."));
}

Shape latent_shape(const Manifest& manifest, Size size) {
  const int cell = manifest.latent.downsample;
  return {1, manifest.latent.channels, 1, size.height / cell, size.width / cell};
}

}  // namespace lavin::core
