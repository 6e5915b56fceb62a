#include "device/engine_store.h"

#include <algorithm>
#include <fstream>
#include <optional>

#include "base/errors.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/shared_lock.h"
#include "base/text.h"

namespace lavin::core {

namespace {

namespace fs = std::filesystem;

constexpr const char *kPlan = "engine.plan", *kRecord = "engine.json", *kTemporary = ".tmp";
constexpr const char* kAny = "any";
constexpr std::uintmax_t kLargestRecord = 1 << 20;
constexpr std::size_t kChunk = std::size_t{16} << 20;

// The numbers of "10.3.0.26"; parts that are none count as 0.
std::vector<long> numbers(const std::string& version) {
  std::vector<long> parts = {0};
  for (const char letter : version) {
    if (letter == '.') {
      parts.push_back(0);
    } else if (letter >= '0' && letter <= '9' && parts.back() < 1'000'000) {
      parts.back() = 10 * parts.back() + (letter - '0');
    }
  }
  return parts;
}

bool version_fits(const EngineNeeds& needs, const Identity& identity) {
  if (same_version(identity.version, needs.version)) return true;
  const std::vector<long> mine = numbers(needs.version), its = numbers(identity.version);
  return identity.version_compatible && mine[0] == its[0] && mine >= its;
}

bool capability_fits(const Gpu& gpu, const Identity& identity) {
  const std::string mine = cat(gpu.capability.first, ".", gpu.capability.second);
  for (const std::string& built : identity.capabilities) {
    if (built == kAny || built == mine) return true;
  }
  return identity.hardware_compatible && gpu.capability >= std::pair(8, 0);
}

Identity read_identity(const Value& value) {
  Identity identity;
  identity.graph = value.at("graph").text();
  identity.precision = value.at("precision").text();
  identity.dialect = value.at("dialect").text();
  identity.onnx = value.at("onnx").text();
  identity.library = value.at("library").text();
  identity.version = value.at("version").text();
  const auto options = value.find("options");
  if (!options) {
    identity.capabilities = {kAny};
    return identity;
  }
  if (const auto built = options->find("capabilities")) {
    for (const Value& each : built->list()) identity.capabilities.push_back(each.text());
  } else {
    identity.capabilities = {kAny};
  }
  const std::pair<bool*, const char*> flags[] = {
      {&identity.version_compatible, "version_compatible"},
      {&identity.hardware_compatible, "hardware_compatible"},
      {&identity.stripped, "stripped"}};
  for (const auto& [flag, name] : flags) {
    if (const auto option = options->find(name)) *flag = option->boolean();
  }
  return identity;
}

std::optional<EngineStore::Record> read_record(const fs::path& folder) {
  std::error_code fault;
  const std::uintmax_t size = fs::file_size(folder / kRecord, fault);
  if (fault || size > kLargestRecord) return std::nullopt;
  std::string text(static_cast<std::size_t>(size), '\0');
  std::ifstream file(folder / kRecord, std::ios::binary);
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) return std::nullopt;
  try {
    const Json json = parse_json(text, kRecord);
    const Value value(json, kRecord);
    const Value plan = value.at("plan");
    return EngineStore::Record{folder, read_identity(value.at("identity")),
                               FileEntry{plan.at("size").size(), plan.at("sha256").text()}};
  } catch (const BundleError&) {
    return std::nullopt;
  }
}

// The plan, or nothing where it is not what the record says.
std::optional<std::string> read_plan(const EngineStore::Record& record) {
  std::error_code fault;
  const std::uintmax_t size = fs::file_size(record.folder / kPlan, fault);
  if (fault || size != record.plan.size) return std::nullopt;
  std::ifstream file(record.folder / kPlan, std::ios::binary);
  std::string plan(static_cast<std::size_t>(size), '\0');
  Sha256 digest;
  for (std::size_t start = 0; start < plan.size(); start += kChunk) {
    const std::size_t chunk = std::min(kChunk, plan.size() - start);
    if (!file.read(plan.data() + start, static_cast<std::streamsize>(chunk))) return std::nullopt;
    digest.update(plan.data() + start, chunk);
  }
  if (digest.hex() != record.plan.sha256) return std::nullopt;
  return plan;
}

std::vector<fs::path> folders_in(const fs::path& parent) {
  std::vector<fs::path> folders;
  std::error_code fault;
  for (fs::directory_iterator each(parent, fault), end; !fault && each != end;
       each.increment(fault)) {
    if (fs::is_directory(each->path(), fault)) folders.push_back(each->path());
    fault.clear();
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

bool is_temporary(const fs::path& folder) {
  const std::string name = folder.filename().string(), ending = kTemporary;
  return name.size() >= ending.size() &&
         name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace

bool same_version(const std::string& one, const std::string& other) {
  if (one == other) return true;
  const bool first = one.size() < other.size();
  const std::string &brief = first ? one : other, &full = first ? other : one;
  return std::count(brief.begin(), brief.end(), '.') >= 2 &&
         full.compare(0, brief.size() + 1, brief + ".") == 0;
}

std::vector<std::string> EngineNeeds::differences(const Identity& identity) const {
  std::vector<std::string> faults;
  if (identity.onnx != onnx) {
    faults.push_back("it was built from another graph than the bundle has now");
  }
  if (identity.library != library) {
    faults.push_back(cat("it was built by ", identity.library, ", here is ", library));
  } else if (!version_fits(*this, identity)) {
    faults.push_back(
        cat("it was built by ", library, " ", identity.version, ", here is ", version));
  }
  if (!capability_fits(gpu, identity)) {
    faults.push_back(cat("it was built for compute capability ", join(identity.capabilities, ", "),
                         ", the GPU is ", gpu.text()));
  }
  return faults;
}

std::string graph_label(const Graph& graph) {
  std::string label = graph.name;
  if (graph.height.value_or(0) != 0) label += cat("-", *graph.height, "x", graph.width.value_or(0));
  if (graph.pairs.value_or(0) != 0) label += cat("-p", *graph.pairs);
  if (graph.frames.value_or(0) != 0) label += cat("-f", *graph.frames);
  return label;
}

std::string onnx_digest(const Manifest& manifest, const Variant& variant, const Graph& graph) {
  std::vector<std::string> paths = variant.weights;
  std::sort(paths.begin(), paths.end());
  paths.insert(paths.begin(), graph.file);
  Sha256 digest;
  for (const std::string& path : paths) {
    const std::string& sum = manifest.files.at(path).sha256;
    digest.update(sum.data(), sum.size());
  }
  return digest.hex();
}

EngineStore::EngineStore(std::filesystem::path bundle, const Manifest& manifest)
    : bundle_(std::move(bundle)), manifest_(manifest) {
  std::error_code fault;
  if (!fs::is_directory(bundle_, fault)) {
    throw InputError(cat(in_quotes(bundle_.string()),
                         " is a packed bundle, which cannot hold engines; unzip it and name the "
                         "folder."));
  }
}

std::vector<EngineStore::Record> EngineStore::records() const {
  std::vector<Record> complete;
  for (const fs::path& library : folders_in(bundle_ / "engines")) {
    for (const fs::path& folder : folders_in(library)) {
      if (is_temporary(folder)) continue;
      if (auto record = read_record(folder)) complete.push_back(std::move(*record));
    }
  }
  return complete;
}

std::string EngineStore::find(const Variant& variant, const Graph& graph,
                              const EngineNeeds& needs) const {
  const std::string label = graph_label(graph);
  std::string command = cat("run: lavin-build ", bundle_.string(), " --target ", needs.library);
  if (variant.precision != manifest_.defaults.precision) {
    command += cat(" --precision ", variant.precision);
  }
  std::vector<std::string> faults;
  const SharedLock no_builder_removes_any(bundle_ / "engines");
  for (const Record& record : records()) {
    const Identity& its = record.identity;
    if (its.graph != label || its.precision != variant.precision ||
        its.dialect != variant.dialect) {
      continue;
    }
    std::vector<std::string> differences = needs.differences(its);
    if (differences.empty() && its.stripped) {
      differences = {"it was built without weights, which only the Python package puts back"};
    } else if (differences.empty()) {
      if (auto plan = read_plan(record)) return std::move(*plan);
      differences = {"its file is damaged"};
    }
    std::string fault = join(differences, " and ");
    if (std::find(faults.begin(), faults.end(), fault) == faults.end()) {
      faults.push_back(std::move(fault));
    }
  }
  if (faults.empty()) {
    throw BundleError(cat("the bundle ", in_quotes(bundle_.filename().string()),
                          " has no engine for ", label, " (", variant.precision, ", ",
                          variant.dialect, "); ", command, "."));
  }
  throw BundleError(cat("the engine for ", label, " cannot be used: ", join(faults, "; another: "),
                        "; ", command, "."));
}

}  // namespace lavin::core
