// ONNX Runtime itself, on the graphs of the toy bundle.
#include <cstdlib>

#include "backends/choose.h"
#include "backends/onnxruntime.h"
#include "backends/onnxruntime_library.h"
#include "base/threads.h"
#include "support.h"

namespace lavin::core {
namespace {

class OnnxRuntime : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnxruntime()) GTEST_SKIP() << "no ONNX Runtime; name its file in LAVIN_ONNXRUNTIME";
    bundle = Bundle::open(golden("toy.lavin"));
    backend = make_onnxruntime(*bundle, bundle->variant("", ""), 1, "");
  }
  const Graph& graph(const char* name) { return backend->variant.graph(name, Size{32, 32}); }

  std::unique_ptr<Bundle> bundle;
  std::unique_ptr<Backend> backend;
};

TEST_F(OnnxRuntime, RunsAGraph) {
  const Array pixels = to_pixels(Picture(32, 32));  // black: -1
  const Array mean = backend->infer_one(graph("encoder"), {{"pixels", &pixels}});
  ASSERT_EQ(mean.shape(), (Shape{1, 16, 1, 4, 4}));
  for (std::size_t i = 0; i < mean.count(); ++i) {
    EXPECT_FLOAT_EQ(mean.floats()[i], i < 3 * 16 ? -1.0F : 0.0F);
  }
}

TEST_F(OnnxRuntime, SaysWhatItIs) {
  EXPECT_EQ(backend->describe().substr(0, 12), "onnxruntime ");
  EXPECT_NE(backend->describe().find(" on the CPU, 1 threads"), std::string::npos);
}

TEST_F(OnnxRuntime, RefusesOtherInputs) {
  const Array pixels({1, 3, 1, 32, 16}), t(Shape{1});
  EXPECT_EQ(
      sentence_of([&] {
        backend->infer(graph("encoder"), {{"pixels", &pixels}});
      }),
      "the input 'pixels' of the graph 'encoder' is float32 (1, 3, 1, 32, 32); given: float32 "
      "(1, 3, 1, 32, 16).");
  EXPECT_EQ(sentence_of([&] {
              backend->infer(graph("encoder"), {{"t", &t}});
            }),
            "the graph 'encoder' takes the inputs 'pixels'; given: 't'.");
}

TEST_F(OnnxRuntime, RefusesAGraphThatIsNotTheManifests) {
  Variant variant = backend->variant;
  for (Graph& each : variant.graphs) {
    if (each.name == "encoder") each.outputs[0].shape[1] = 8;
  }
  const auto other = make_onnxruntime(*bundle, variant, 1, "");
  EXPECT_EQ(sentence_of([&] {
              other->prepare({&variant.graph("encoder", Size{32, 32})});
            }),
            "'graphs/encoder-32-32.onnx' has 'mean' float32 (1, 16, 1, 4, 4) where the manifest "
            "says 'mean' float32 (1, 8, 1, 4, 4); export the bundle again.");
}

TEST_F(OnnxRuntime, RefusesAFileThatIsNoGraph) {
  Variant variant = backend->variant;
  for (Graph& each : variant.graphs) {
    if (each.name == "encoder") each.file = "tables/modulation.npy";
  }
  const auto other = make_onnxruntime(*bundle, variant, 1, "");
  testing::internal::CaptureStderr();
  const std::string sentence = sentence_of([&] {
    other->prepare({&variant.graph("encoder", Size{32, 32})});
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");  // the sentence says it all
  EXPECT_NE(sentence.find("cannot load 'tables/modulation.npy'"), std::string::npos) << sentence;
}

TEST_F(OnnxRuntime, HasBoundsForThreads) {
  const std::string sentence =
      sentence_of([&] { make_onnxruntime(*bundle, backend->variant, -1, ""); });
  EXPECT_NE(sentence_of([&] { make_onnxruntime(*bundle, backend->variant, 257, ""); }), "");
  EXPECT_EQ(sentence, "threads is -1; give 1 to 256, or nothing for all cores.");
  EXPECT_GE(physical_cores(), 1);
}

TEST(OnnxRuntimeLibrary, IsNamedWhereItIsMissing) {
  const std::string sentence = sentence_of([] { OrtLibrary("/nowhere/libonnxruntime.so"); });
  EXPECT_NE(sentence.find("the back end 'onnxruntime' needs ONNX Runtime's shared library"),
            std::string::npos);
  EXPECT_NE(sentence.find("/nowhere/libonnxruntime.so"), std::string::npos);
  EXPECT_NE(sentence.find("LAVIN_ONNXRUNTIME"), std::string::npos);
  EXPECT_NE(sentence_of([] { OrtLibrary("libm.so.6"); }).find("is not ONNX Runtime"),
            std::string::npos);
}

TEST(Backends, HaveKnownNames) {
  const auto bundle = Bundle::open(golden("toy.lavin"));
  BackendChoice choice;
  choice.name = "onnx";
  EXPECT_EQ(sentence_of([&] { make_backend(*bundle, choice); }),
            "unknown backend 'onnx'. Accepted: auto, onnxruntime, tensorrt.");
}

}  // namespace
}  // namespace lavin::core
