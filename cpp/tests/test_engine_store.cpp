// Engines in a bundle: found only where every part fits.
#include <cstdlib>

#include "device/engine_store.h"
#include "device/tensorrt_library.h"
#include "engine_files.h"
#include "support.h"
#include "toy_graphs.h"

namespace lavin::core {
namespace {

constexpr const char* kSteps = "step-16x24-p2";

class EngineStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    variant = toy::variant(toy::Kind::kJoint);
    variant.weights = {"graphs/b.weights", "graphs/a.weights"};
    manifest.defaults.precision = "fp32";
    for (const std::string& file : variant.weights) manifest.files[file].sha256 = file;
    for (const Graph& graph : variant.graphs) manifest.files[graph.file].sha256 = graph.file;
    bundle = folder.path() / "toy.lavin";
    std::filesystem::create_directories(bundle);
    step = &variant.graph("step", toy::kSize, toy::kPairs);
    identity.graph = graph_label(*step);
    identity.precision = "fp32";
    identity.dialect = "native";
    identity.onnx = onnx_digest(manifest, variant, *step);
    identity.library = "tensorrt-rtx";
    identity.version = "1.7.1.116";
    identity.capabilities = {"8.9", "12.0"};
    wanted.onnx = identity.onnx;
    wanted.library = identity.library;
    wanted.version = identity.version;
    wanted.gpu.name = "Ada";
    wanted.gpu.capability = {8, 9};
  }

  std::string find() const { return EngineStore(bundle, manifest).find(variant, *step, wanted); }
  std::string fault() const {
    return sentence_of([this] { find(); });
  }
  std::string mend() const {
    return "; run: lavin-build " + bundle.string() + " --target tensorrt-rtx.";
  }

  TemporaryFolder folder;
  std::filesystem::path bundle;
  Variant variant;
  Manifest manifest;
  const Graph* step = nullptr;
  Identity identity;
  EngineNeeds wanted;
};

TEST_F(EngineStoreTest, GivesAnEngineBack) {
  keep_engine(bundle, identity, "plan");
  EXPECT_EQ(find(), "plan");
  EXPECT_EQ(identity.graph, kSteps);
}

TEST_F(EngineStoreTest, KnowsTheDigestOfAGraph) {
  const std::string sums = "graphs/step.onnxgraphs/a.weightsgraphs/b.weights";
  EXPECT_EQ(identity.onnx, digest(sums.data(), sums.size()));
}

TEST_F(EngineStoreTest, RefusesWhatIsStaleOrForeign) {
  const std::string begin = "the engine for step-16x24-p2 cannot be used: ";
  const auto refused = [&](const std::function<void(Identity&)>& change) {
    std::filesystem::remove_all(bundle / "engines");
    Identity other = identity;
    change(other);
    keep_engine(bundle, other, "plan");
    return fault();
  };
  EXPECT_EQ(refused([](Identity& its) { its.onnx = "0"; }),
            begin + "it was built from another graph than the bundle has now" + mend());
  EXPECT_EQ(refused([](Identity& its) { its.library = "tensorrt"; }),
            begin + "it was built by tensorrt, here is tensorrt-rtx" + mend());
  EXPECT_EQ(refused([](Identity& its) { its.version = "1.6.0.1"; }),
            begin + "it was built by tensorrt-rtx 1.6.0.1, here is 1.7.1.116" + mend());
  EXPECT_EQ(refused([](Identity& its) {
              its.capabilities = {"7.5", "8.0"};
            }),
            begin +
                "it was built for compute capability 7.5, 8.0, the GPU is Ada, compute "
                "capability 8.9" +
                mend());
  EXPECT_EQ(
      refused([](Identity& its) { its.stripped = true; }),
      begin + "it was built without weights, which only the Python package puts back" + mend());
}

TEST_F(EngineStoreTest, TellsOfEveryFault) {
  identity.version = "1.6.0.1";
  keep_engine(bundle, identity, "plan");
  identity.version = "1.5.0.1";
  identity.onnx = "0";
  keep_engine(bundle, identity, "plan");
  EXPECT_EQ(fault(),
            "the engine for step-16x24-p2 cannot be used: it was built from another graph than the "
            "bundle has now and it was built by tensorrt-rtx 1.5.0.1, here is 1.7.1.116; another: "
            "it was built by tensorrt-rtx 1.6.0.1, here is 1.7.1.116" +
                mend());
}

TEST_F(EngineStoreTest, NamesTheCommandWhereThereIsNone) {
  EXPECT_EQ(fault(),
            "the bundle 'toy.lavin' has no engine for step-16x24-p2 (fp32, native)" + mend());
  manifest.defaults.precision = "fp16";
  EXPECT_NE(fault().find(" --precision fp32."), std::string::npos);
}

TEST_F(EngineStoreTest, NoticesDamage) {
  const auto place = keep_engine(bundle, identity, "plan");
  std::ofstream(place / "engine.plan") << "plam";
  EXPECT_NE(fault().find("its file is damaged"), std::string::npos);
  std::filesystem::remove(place / "engine.plan");
  EXPECT_NE(fault().find("its file is damaged"), std::string::npos);
  std::ofstream(place / "engine.json") << "{";
  EXPECT_NE(fault().find("has no engine"), std::string::npos);
}

TEST_F(EngineStoreTest, PassesWhatAKilledBuildLeft) {
  const auto place = keep_engine(bundle, identity, "plan");
  std::filesystem::rename(place, place.parent_path() / ".step.0123.tmp");
  EXPECT_TRUE(EngineStore(bundle, manifest).records().empty());
}

TEST_F(EngineStoreTest, TakesNoPackedBundle) {
  const std::filesystem::path zip = folder.path() / "toy.zip";
  std::ofstream(zip.string()) << "zip";
  EXPECT_EQ(sentence_of([&] { EngineStore(zip, manifest); }),
            cat("'", zip.string(),
                "' is a packed bundle, which cannot hold engines; unzip it and name the folder."));
}

TEST_F(EngineStoreTest, LetsCompatibleEnginesRunElsewhere) {
  const auto fits = [&](const std::function<void(Identity&)>& change, const std::string& version,
                        std::pair<int, int> capability) {
    Identity made = identity;
    change(made);
    EngineNeeds here = wanted;
    here.version = version;
    here.gpu.capability = capability;
    return here.differences(made).empty();
  };
  const auto versions = [](Identity& its) { its.version_compatible = true; };
  const auto hardware = [](Identity& its) { its.hardware_compatible = true; };
  const auto any = [](Identity& its) { its.capabilities = {"any"}; };
  EXPECT_TRUE(fits(versions, "1.9.0.1", {8, 9}));
  EXPECT_TRUE(fits(versions, "1.10.0.1", {8, 9}));
  EXPECT_FALSE(fits(versions, "1.6.0.1", {8, 9}));
  EXPECT_FALSE(fits(versions, "2.0.0.1", {8, 9}));
  EXPECT_TRUE(fits(hardware, "1.7.1.116", {9, 0}));
  EXPECT_FALSE(fits(hardware, "1.7.1.116", {7, 5}));
  EXPECT_TRUE(fits(any, "1.7.1.116", {7, 5}));
  EXPECT_TRUE(fits(hardware, "1.7.1", {12, 0}));
}

TEST(EngineVersions, MayLackTheirLastNumber) {
  EXPECT_TRUE(same_version("10.3.0", "10.3.0.26"));
  EXPECT_TRUE(same_version("10.3.0.26", "10.3.0"));
  EXPECT_FALSE(same_version("10.3.0.26", "10.3.0.30"));
  EXPECT_FALSE(same_version("10.3.0", "10.3.01.26"));
  EXPECT_FALSE(same_version("10.3", "10.3.0.26"));
}

TEST(EngineVersions, DecideTheDialect) {
  EXPECT_EQ(dialect_of("tensorrt", "10.3.0.26"), "portable");
  EXPECT_EQ(dialect_of("tensorrt", "10.14.1.48"), "portable");
  EXPECT_EQ(dialect_of("tensorrt", "10.15.0.1"), "native");
  EXPECT_EQ(dialect_of("tensorrt", "11.0.0.1"), "native");
  EXPECT_EQ(dialect_of("tensorrt-rtx", "1.0.0.21"), "native");
}

}  // namespace
}  // namespace lavin::core
