// The back end on a driver and a library that are stubs on the host. On a GPU nothing of this has
// run yet.
#include <cmath>
#include <thread>

#include "backends/device.h"
#include "backends/tensorrt.h"
#include "device/tensorrt_device.h"
#include "engine_files.h"
#include "host_device.h"
#include "runtime/flow.h"
#include "runtime/modulation.h"
#include "stub_engine.h"
#include "stub_fixture.h"
#include "support.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

// The stub's engines as functions for a HostDevice.
std::map<std::string, HostDevice::Compute> computes(const Variant& variant) {
  std::map<std::string, HostDevice::Compute> made;
  for (const Graph& graph : variant.graphs) {
    made[graph.name] = [&graph](const Feed& feed) {
      std::map<std::string, std::pair<const float*, std::size_t>> inputs;
      std::map<std::string, std::pair<float*, std::size_t>> outputs;
      Outputs arrays;
      for (const auto& [name, array] : feed) inputs[name] = {array->floats(), array->count()};
      for (const TensorSpec& spec : graph.outputs) {
        Array& array = arrays.emplace(spec.name, Array(spec.shape)).first->second;
        outputs[spec.name] = {array.floats(), array.count()};
      }
      stub::compute(inputs, outputs);
      return arrays;
    };
  }
  return made;
}

// A copy of the bundle that ships, with engines of the stub.
class OnABundle : public Tensorrt {
 protected:
  void SetUp() override {
    Tensorrt::SetUp();
    path = folder.path() / "edge.lavin";
    fs::copy(LAVIN_EDGE_BUNDLE, path, fs::copy_options::recursive);
    bundle = Bundle::open(path.string());
  }

  void build(const std::string& version = "10.16.0.1", const std::string& broken = "") {
    const Variant& variant = bundle->variant("", "native");
    for (const Graph& graph : variant.graphs) {
      std::vector<stub::Tensor> tensors;
      for (const TensorSpec& spec : graph.inputs) {
        tensors.push_back({spec.name, spec.dtype, spec.shape, true});
      }
      for (const TensorSpec& spec : graph.outputs) {
        tensors.push_back({spec.name, spec.dtype, spec.shape, false});
      }
      if (graph.name == broken) tensors[0].shape.back() += 1;
      Identity identity;
      identity.graph = graph_label(graph);
      identity.precision = variant.precision;
      identity.dialect = variant.dialect;
      identity.onnx = onnx_digest(bundle->manifest(), variant, graph);
      identity.library = "tensorrt";
      identity.version = version;
      identity.capabilities = {"8.9"};
      keep_engine(path, identity, stub::plan_of(tensors));
    }
  }

  std::unique_ptr<Backend> make() { return make_tensorrt(*bundle, "", ""); }

  // Three answers.
  static std::vector<Array> answers(Backend& backend, double guidance) {
    Modulation modulation(backend);
    const auto row = [&](float time) -> const Array& { return modulation.row(time); };
    const Array pairs = normal(1, {1, 16, 2, 16, 16}), noise = normal(2, {1, 16, 1, 16, 16});
    const Grid grid = uniform(3);
    const auto frames = backend.resident(row, {{128, 128}, pairs, noise, grid, guidance});
    std::vector<Array> found;
    for (std::uint64_t frame = 0; frame < 3; ++frame) {
      Picture target;
      Seconds seconds;
      found.push_back(frames->answer(made_picture(128, 128, frame), target, seconds));
      EXPECT_EQ(target.size(), (Size{128, 128}));
      EXPECT_GT(seconds.encode * seconds.sample * seconds.decode, 0);
    }
    return found;
  }

  TemporaryFolder folder;
  fs::path path;
  std::unique_ptr<Bundle> bundle;
};

TEST_F(OnABundle, AnswersAsTheHostDoes) {
  build();
  for (const double guidance : {1.0, 1.5}) {
    const auto backend = make();
    EXPECT_EQ(backend->describe(), "tensorrt 10.16.0.1 on Stub, compute capability 8.9");
    const Variant& variant = backend->variant;
    DeviceBackend host(*bundle, variant, std::make_unique<HostDevice>(variant, computes(variant)),
                       [](const Graph& graph) { return graph.file; });
    driver().calls.clear();
    const std::vector<Array> found = answers(*backend, guidance), right = answers(host, guidance);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equals(right[i])) << i;
    EXPECT_FALSE(found[0].equals(found[1]));
    EXPECT_LT(std::abs(found[0].floats()[100]), 100);
    EXPECT_EQ(driver().calls["cuGraphLaunch"], 2);  // of three frames
  }
}

TEST_F(OnABundle, WorksInAnyThread) {
  build();
  auto backend = make();
  const std::vector<Array> here = answers(*backend, 1);
  std::thread([&] {
    const std::vector<Array> there = answers(*backend, 1);
    EXPECT_TRUE(here[2].equals(there[2]));
    backend.reset();
  }).join();
}

TEST_F(OnABundle, RunsSingleGraphs) {
  build();
  const auto backend = make();
  const Graph& graph = backend->variant.graph("encoder", Size{128, 128});
  const Array pixels = normal(4, {1, 3, 1, 128, 128});
  const Array first = backend->infer_one(graph, {{"pixels", &pixels}});
  EXPECT_TRUE(
      first.equals(computes(backend->variant).at("encoder")({{"pixels", &pixels}}).at("mean")));
  EXPECT_TRUE(first.equals(backend->infer_one(graph, {{"pixels", &pixels}})));
}

TEST_F(OnABundle, GoesOnWhereTheLoopCannotBeCaptured) {
  build();
  const auto backend = make();
  driver().failing["cuGraphInstantiateWithFlags"] = 801;
  const std::vector<Array> queued = answers(*backend, 1);
  driver().failing.clear();
  const std::vector<Array> launched = answers(*backend, 1);
  for (std::size_t i = 0; i < queued.size(); ++i) EXPECT_TRUE(queued[i].equals(launched[i]));
}

TEST_F(OnABundle, TellsWhyAnEngineFails) {
  build("10.16.0.1", "encoder");
  const auto backend = make();
  const Graph& encoder = backend->variant.graph("encoder", Size{128, 128});
  EXPECT_EQ(sentence_of([&] { backend->prepare({&encoder}); }),
            "the engine of 'graphs/encoder-128x128.onnx' takes or gives 'pixels' float32 (1, 3, 1, "
            "128, 129) where the manifest says 'pixels' float32 (1, 3, 1, 128, 128); build it "
            "again with lavin-build.");
  driver().failing["enqueueV3"] = 1;
  const Graph& modulation = backend->variant.graph("modulation");
  const Array t = floats({1}, {0.5F});
  EXPECT_EQ(sentence_of([&] {
              backend->infer_one(modulation, {{"t", &t}});
            }),
            "tensorrt 10.16.0.1 on Stub, compute capability 8.9 refused to run an engine (an "
            "address is missing).");
}

TEST_F(OnABundle, DoesNotLoadWhatIsNoEngine) {
  TensorrtDevice device(find_gpu(), *load_library(kModule));
  EXPECT_EQ(sentence_of([&] { device.load("no plan"); }),
            "tensorrt 10.16.0.1 on Stub, compute capability 8.9 does not load the engine (no magic "
            "number); build it again with lavin-build.");
}

TEST_F(OnABundle, TellsOfMissingEnginesBeforeTheFirstFrame) {
  EXPECT_NE(sentence_of([&] { make(); })
                .find("has no engine for modulation (fp32, native); run: "
                      "lavin-build "),
            std::string::npos);
  build("10.15.0.1");
  EXPECT_NE(sentence_of([&] { make(); })
                .find("it was built by tensorrt 10.15.0.1, here is "
                      "10.16.0.1"),
            std::string::npos);
}

TEST_F(OnABundle, AsksTheGpuBeforeAnythingElse) {
  Machine machine;
  machine.gpu = []() -> Gpu { throw InputError("no GPU here."); };
  machine.library = [](const std::string&) -> std::optional<Library> {
    ADD_FAILURE() << "a library was opened without a GPU";
    return std::nullopt;
  };
  EXPECT_EQ(sentence_of([&] { make_tensorrt(*bundle, "", "", machine); }), "no GPU here.");
}

TEST_F(OnABundle, TakesTheLibraryThatTheEnginesAreOf) {
  const EngineStore store(path, bundle->manifest());
  Machine machine;
  machine.library = [](const std::string& file) -> std::optional<Library> {
    const bool rtx = file.find("rtx") != std::string::npos;
    const bool late = file.find("11") != std::string::npos;
    return Library{rtx ? "tensorrt-rtx" : "tensorrt", rtx ? "1.7.1" : late ? "11.1.0" : "10.3.0"};
  };
  EXPECT_EQ(choose_library(store, machine).version, "11.1.0");
  build();
  EXPECT_EQ(choose_library(store, machine).version, "10.3.0");
  machine.library = [](const std::string& file) -> std::optional<Library> {
    if (file == kModule) return std::nullopt;
    throw InputError(file.find("rtx") != std::string::npos ? "no RTX." : "no TensorRT.");
  };
  EXPECT_EQ(sentence_of([&] { choose_library(store, machine); }), "no TensorRT. Or: no RTX.");
  machine.library = [](const std::string&) -> std::optional<Library> { return std::nullopt; };
  EXPECT_NE(sentence_of([&] { choose_library(store, machine); }).find("and there is none; build"),
            std::string::npos);
}

}  // namespace
}  // namespace lavin::core
