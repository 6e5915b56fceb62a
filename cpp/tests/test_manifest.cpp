#include "bundle/manifest.h"
#include "small_bundle.h"
#include "support.h"

namespace lavin::core {
namespace {

using Tree = nlohmann::ordered_json;

// The sentence about the small manifest after a change.
std::string refused(const std::function<void(Tree&)>& change) {
  Tree tree = small_manifest(small_files());
  change(tree);
  return sentence_of([&] { Manifest::from_text(tree.dump()); });
}

Manifest small() {
  return Manifest::from_text(small_manifest(small_files()).dump());
}

TEST(ManifestText, IsRead) {
  const Manifest manifest = small();
  EXPECT_EQ(manifest.name, "small");
  EXPECT_EQ(manifest.licence, "MIT");
  EXPECT_EQ(manifest.latent.shift, 0.5);
  EXPECT_EQ(manifest.latent.channels, 16);
  EXPECT_EQ(manifest.time_kind, "uniform");
  EXPECT_EQ(manifest.default_grid, (std::vector<double>{0, 0.5, 1}));
  EXPECT_EQ(manifest.defaults.guidance, 1);
  EXPECT_EQ(manifest.variants.at(0).refresh_every, 3);
  EXPECT_EQ(manifest.variants[0].weights, std::vector<std::string>{"graphs/fp32.weights"});
  EXPECT_EQ(manifest.variants[0].graphs.at(0).inputs.at(0).shape, (Shape{1, 3, 1, 16, 32}));
  EXPECT_EQ(manifest.tables.at("modulation").grid.size(), 2U);
  EXPECT_EQ(manifest.tasks.at(0).name, "depth");
  EXPECT_EQ(manifest.files.size(), small_files().size());
}

TEST(ManifestText, SizesAndPairs) {
  const Manifest manifest = small();
  EXPECT_EQ(manifest.sizes(), (std::vector<Size>{{16, 32}, {16, 16}}));
  EXPECT_EQ(manifest.pairs_at({16, 32}), (std::vector<int>{1, 2}));
  EXPECT_TRUE(manifest.pairs_at({32, 16}).empty());
}

TEST(ManifestText, GraphsAreFound) {
  Variant variant = small().variants.at(0);
  EXPECT_EQ(variant.graph("encoder", Size{16, 32}).file, "graphs/encoder.onnx");
  EXPECT_EQ(variant.graph("step", Size{16, 32}, 1).file, "graphs/step.onnx");
  EXPECT_EQ(variant.graph("modulation").file, "graphs/modulation.onnx");
  EXPECT_EQ(
      sentence_of([&] {
        variant.graph("step", Size{16, 32}, 2);
      }),
      "the fp32 native variant has no graph 'step' for 16x32 with 2 pairs; it has: 16x32 with "
      "1 pair.");
  EXPECT_EQ(sentence_of([&] { variant.graph("decoder"); }),
            "the fp32 native variant has no graph 'decoder' for any size; it has: none.");
  variant.graphs.push_back(variant.graphs[1]);
  variant.graphs.back().frames = 8;
  EXPECT_EQ(sentence_of([&] {
              variant.graph("step", Size{16, 32}, 1);
            }),
            "the fp32 native variant has 2 graphs 'step' for 16x32 with 1 pair; it has: 16x32 with "
            "1 pair, 16x32 with 1 pair and 8 frames.");
}

TEST(ManifestText, OtherFormatsAreRefused) {
  EXPECT_EQ(sentence_of([] { Manifest::from_text("[]"); }),
            "manifest.json holds no JSON object; export the bundle again.");
  const std::string rest =
      "; this version of lavin-deploy reads 1: export the bundle again, or install the version "
      "that wrote it.";
  for (const auto& [given, shown] : std::map<std::string, std::string>{
           {"2", "2"}, {"1.0", "1.0"}, {"true", "true"}, {"\"1\"", "'1'"}, {"null", "null"}}) {
    EXPECT_EQ(refused([&](Tree& tree) { tree["format_version"] = Tree::parse(given); }),
              "manifest.json has format_version " + shown + rest);
  }
  EXPECT_EQ(refused([](Tree& tree) { tree.erase("format_version"); }),
            "manifest.json has format_version null" + rest);
}

TEST(ManifestText, MissingAndWrongFieldsAreNamed) {
  EXPECT_EQ(refused([](Tree& tree) { tree.erase("latent"); }),
            "manifest.json lacks 'latent'; write the file again.");
  EXPECT_EQ(
      refused([](Tree& tree) { tree["variants"][0]["graphs"][0]["inputs"][0].erase("name"); }),
      "manifest.json: variants[0]: graphs[0]: inputs[0] lacks 'name'; write the file again.");
  EXPECT_EQ(refused([](Tree& tree) { tree["created_by"] = 3; }),
            "manifest.json: created_by is 3; it must be a text.");
  EXPECT_EQ(refused([](Tree& tree) { tree["source"] = "x"; }),
            "manifest.json: source is 'x'; it must be an object.");
  EXPECT_EQ(refused([](Tree& tree) { tree["time"]["kind"] = "cubic"; }),
            "manifest.json: time: kind is 'cubic'; it must be one of 'linear-quadratic', "
            "'uniform'.");
  EXPECT_EQ(refused([](Tree& tree) { tree["variants"][0]["refresh"]["error"]["3"] = "x"; }),
            "manifest.json: variants[0]: refresh: error: 3 is 'x'; it must be a finite number.");
  EXPECT_EQ(refused([](Tree& tree) { tree["report"] = nullptr; }),
            "manifest.json: report is null; it must be an object.");
  EXPECT_EQ(refused([](Tree& tree) { tree["defaults"]["size"] = {1}; }),
            "manifest.json: defaults: size is [1]; it must be a list of 2.");
}

TEST(ManifestText, PartsMustFitEachOther) {
  const auto is = [](const std::function<void(Tree&)>& change, const std::string& sentence) {
    EXPECT_EQ(refused(change), sentence);
  };
  is([](Tree& t) { t["files"].erase("graphs/step.onnx"); },
     "manifest.json points to 'graphs/step.onnx', which its 'files' does not list; export the "
     "bundle again.");
  is(
      [](Tree& t) {
        t["files"]["GRAPHS/step.onnx"] = {{"size", 1}, {"sha256", ""}};
      },
      "the bundle lists 'GRAPHS/step.onnx' twice (also as 'graphs/step.onnx').");
  is([](Tree& t) { t["tables"]["modulation"]["grid"] = Tree::array(); },
     "manifest.json: the table 'tables/modulation.npy' has an empty grid.");
  is(
      [](Tree& t) {
        t["time"]["default_grid"] = {0, 0.5};
      },
      "manifest.json is wrong: a time grid runs from 0 (noise) to 1 (data); this one runs from 0 "
      "to "
      "0.5.");
  is([](Tree& t) { t["tasks"][0]["name"] = "con"; },
     "manifest.json is wrong: 'con' cannot name a task; a name has 1 to 64 lower-case letters, "
     "digits, '_' and '-' and begins with a letter or a digit.");
  is([](Tree& t) { t["validation"]["depth"]["samples"] = 17; },
     "manifest.json declares 17 validation samples of 'depth'; a bundle has 1 to 16 of a task or "
     "does not name it.");
  is([](Tree& t) { t["buckets"] = Tree::array(); },
     "manifest.json names no variant or no bucket; a bundle needs both.");
  is([](Tree& t) { t["latent"]["scale"] = 0; },
     "manifest.json: latent sizes and scale must be positive.");
  is([](Tree& t) { t["defaults"]["steps"] = 0; },
     "manifest.json: defaults.steps is 0; at least 1.");
  is([](Tree& t) { t["buckets"][0]["width"] = 12; },
     "manifest.json: bucket 16x12 with 2 pairs is not a positive multiple of 8 pixels with at "
     "least one pair.");
  is(
      [](Tree& t) {
        t["defaults"]["size"] = {8, 8};
      },
      "manifest.json: defaults.size (8, 8) has no bucket.");
  is([](Tree& t) { t["tasks"].push_back(t["tasks"][0]); },
     "manifest.json lists task 'depth' twice; export the bundle again.");
  is([](Tree& t) { t["variants"].push_back(t["variants"][0]); },
     "manifest.json lists variant 'fp32 native' twice; export the bundle again.");
  is([](Tree& t) { t["buckets"].push_back(t["buckets"][1]); },
     "manifest.json lists bucket '16x32 with 2 pairs' twice; export the bundle again.");
  is([](Tree& t) { t["variants"][0]["graphs"].push_back(t["variants"][0]["graphs"][2]); },
     "manifest.json lists graph 'modulation any size' twice; export the bundle again.");
  is([](Tree& t) { t["variants"][0]["stream"]["chunk"] = 0; },
     "manifest.json has a stream of 0 latents; at least 1.");
}

}  // namespace
}  // namespace lavin::core
