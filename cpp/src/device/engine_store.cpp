#include "device/engine_store.h"

#include <algorithm>
#include <fstream>
#include <optional>

#include "base/errors.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/text.h"

namespace lavin::core {

namespace {

namespace fs = std::filesystem;

constexpr const char *kPlan = "engine.plan", *kRecord = "engine.json", *kTemporary = ".tmp";
constexpr const char* kAny = "any";
constexpr std::uintmax_t kLargestRecord = 1 << 20;
constexpr std::size_t kPiece = std::size_t{16} << 20;

// The numbers of "10.3.0.26"; parts that are none count as 0.
std::vector<long> numbers(const std::string& version) {
  std::vector<long> found = {0};
  for (const char letter : version) {
    if (letter == '.') {
      found.push_back(0);
    } else if (letter >= '0' && letter <= '9' && found.back() < 1'000'000) {
      found.back() = 10 * found.back() + (letter - '0');
    }
  }
  return found;
}

bool version_fits(const Wanted& wanted, const Identity& found) {
  if (same_version(found.version, wanted.version)) return true;
  const std::vector<long> mine = numbers(wanted.version), its = numbers(found.version);
  return found.version_compatible && mine[0] == its[0] && mine >= its;
}

bool capability_fits(const Gpu& gpu, const Identity& found) {
  const std::string mine = cat(gpu.capability.first, ".", gpu.capability.second);
  for (const std::string& built : found.capabilities) {
    if (built == kAny || built == mine) return true;
  }
  return found.hardware_compatible && gpu.capability >= std::pair(8, 0);
}

Identity read_identity(const Value& value) {
  Identity found;
  found.graph = value.at("graph").text();
  found.precision = value.at("precision").text();
  found.dialect = value.at("dialect").text();
  found.onnx = value.at("onnx").text();
  found.library = value.at("library").text();
  found.version = value.at("version").text();
  const auto options = value.find("options");
  if (!options) {
    found.capabilities = {kAny};
    return found;
  }
  if (const auto built = options->find("capabilities")) {
    for (const Value& each : built->list()) found.capabilities.push_back(each.text());
  } else {
    found.capabilities = {kAny};
  }
  const std::pair<bool*, const char*> flags[] = {
      {&found.version_compatible, "version_compatible"},
      {&found.hardware_compatible, "hardware_compatible"},
      {&found.stripped, "stripped"}};
  for (const auto& [flag, name] : flags) {
    if (const auto given = options->find(name)) *flag = given->boolean();
  }
  return found;
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
  for (std::size_t start = 0; start < plan.size(); start += kPiece) {
    const std::size_t piece = std::min(kPiece, plan.size() - start);
    if (!file.read(plan.data() + start, static_cast<std::streamsize>(piece))) return std::nullopt;
    digest.update(plan.data() + start, piece);
  }
  if (digest.hex() != record.plan.sha256) return std::nullopt;
  return plan;
}

std::vector<fs::path> folders_in(const fs::path& parent) {
  std::vector<fs::path> found;
  std::error_code fault;
  for (fs::directory_iterator each(parent, fault), end; !fault && each != end;
       each.increment(fault)) {
    if (fs::is_directory(each->path(), fault)) found.push_back(each->path());
    fault.clear();
  }
  std::sort(found.begin(), found.end());
  return found;
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

std::vector<std::string> Wanted::differences(const Identity& found) const {
  std::vector<std::string> faults;
  if (found.onnx != onnx) {
    faults.push_back("it was built from another graph than the bundle has now");
  }
  if (found.library != library) {
    faults.push_back(cat("it was built by ", found.library, ", here is ", library));
  } else if (!version_fits(*this, found)) {
    faults.push_back(cat("it was built by ", library, " ", found.version, ", here is ", version));
  }
  if (!capability_fits(gpu, found)) {
    faults.push_back(cat("it was built for compute capability ", join(found.capabilities, ", "),
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
    throw InputError(cat(quoted(bundle_.string()),
                         " is a packed bundle, which cannot hold engines; unzip it and name the "
                         "folder."));
  }
}

std::vector<EngineStore::Record> EngineStore::records() const {
  std::vector<Record> found;
  for (const fs::path& library : folders_in(bundle_ / "engines")) {
    for (const fs::path& folder : folders_in(library)) {
      if (is_temporary(folder)) continue;
      if (auto record = read_record(folder)) found.push_back(std::move(*record));
    }
  }
  return found;
}

std::string EngineStore::find(const Variant& variant, const Graph& graph,
                              const Wanted& wanted) const {
  const std::string label = graph_label(graph);
  std::string mend = cat("run: lavin-build ", bundle_.string(), " --target ", wanted.library);
  if (variant.precision != manifest_.defaults.precision) {
    mend += cat(" --precision ", variant.precision);
  }
  std::vector<std::string> faults;
  for (const Record& record : records()) {
    const Identity& its = record.identity;
    if (its.graph != label || its.precision != variant.precision ||
        its.dialect != variant.dialect) {
      continue;
    }
    std::vector<std::string> found = wanted.differences(its);
    if (found.empty() && its.stripped) {
      found = {"it was built without weights, which only the Python package puts back"};
    } else if (found.empty()) {
      if (auto plan = read_plan(record)) return std::move(*plan);
      found = {"its file is damaged"};
    }
    std::string fault = join(found, " and ");
    if (std::find(faults.begin(), faults.end(), fault) == faults.end()) {
      faults.push_back(std::move(fault));
    }
  }
  if (faults.empty()) {
    throw BundleError(cat("the bundle ", quoted(bundle_.filename().string()), " has no engine for ",
                          label, " (", variant.precision, ", ", variant.dialect, "); ", mend, "."));
  }
  throw BundleError(cat("the engine for ", label, " cannot be used: ", join(faults, "; another: "),
                        "; ", mend, "."));
}

}  // namespace lavin::core
