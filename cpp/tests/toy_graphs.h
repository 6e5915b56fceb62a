// A model whose graphs are a few sums, in every kind of context, pairs in sequence or merged, and
// its answer in plain loops.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/array.h"
#include "base/picture.h"
#include "bundle/manifest.h"

namespace lavin::core::toy {

inline constexpr int kChannels = 2, kPairs = 2, kRows = 2, kColumns = 3, kCells = 6;
inline constexpr Size kSize = {16, 24};
inline constexpr float kOfQuery = 3;  // how much a step takes of a query beside keys and values
inline const Latent kLatentSpec = {0.25, 1.5, kChannels, 8};
enum class Kind { kJoint, kRefresh, kFrozen, kMergedRefresh, kMerged };

using Values = std::vector<float>;
using Compute = std::function<Outputs(const Feed&)>;

inline TensorSpec spec(const std::string& name, Shape shape) {
  return {name, "float32", std::move(shape)};
}
inline TensorSpec latents(const std::string& name, int frames) {
  return spec(name, {1, kChannels, frames, kRows, kColumns});
}

inline Graph graph(const std::string& name, bool pairs, std::vector<TensorSpec> inputs,
                   std::vector<TensorSpec> outputs) {
  Graph made;
  made.name = name;
  made.height = kSize.height;
  made.width = kSize.width;
  if (pairs) made.pairs = kPairs;
  made.file = "graphs/" + name + ".onnx";
  made.inputs = std::move(inputs);
  made.outputs = std::move(outputs);
  return made;
}

inline bool is_merged(Kind kind) {
  return kind == Kind::kMerged || kind == Kind::kMergedRefresh;
}
inline bool is_refreshed(Kind kind) {
  return kind == Kind::kRefresh || kind == Kind::kMergedRefresh;
}

inline Variant variant(Kind kind) {
  const TensorSpec row = spec("modulation", {1, 3}), velocity = latents("velocity", 1);
  const TensorSpec latent = latents("latent", 1), keys = spec("k.0", {kChannels, kCells});
  const TensorSpec pixels = spec("pixels", {1, 3, 1, kSize.height, kSize.width});
  Variant made;
  made.precision = "fp32";
  made.dialect = "native";
  made.context = kind == Kind::kJoint ? "joint" : "frozen";  // as exports write it
  if (is_merged(kind)) made.pairing = "merged";
  if (is_refreshed(kind)) made.refresh_every = 2;
  made.graphs = {graph("encoder", false, {pixels}, {latents("mean", 1)}),
                 graph("decoder", false, {latents("latents", 1)}, {pixels})};
  Graph modulation = graph("modulation", false, {spec("t", {1})}, {row});
  modulation.height.reset();
  modulation.width.reset();
  made.graphs.push_back(modulation);
  for (const bool null : {false, true}) {
    const std::string end = null ? "_null" : "";
    const TensorSpec context = latents("context", null ? 2 : 2 * kPairs + 1);
    if (kind == Kind::kJoint) {
      made.graphs.push_back(graph("step" + end, !null, {latent, context, row}, {velocity}));
      continue;
    }
    std::vector<TensorSpec> known = {latent, row, keys};
    if (is_merged(kind)) known.push_back(latents("query", 1));
    made.graphs.push_back(graph("step" + end, !null, known, {velocity}));
    if (is_refreshed(kind)) {
      made.graphs.push_back(
          graph("refresh" + end, !null, {latent, context, row}, {velocity, keys}));
    } else if (kind == Kind::kMerged) {
      const TensorSpec pairs = latents("context", null ? 1 : 2 * kPairs);
      made.graphs.push_back(graph("context" + end, !null, {pairs, row}, {keys}));
    } else {
      std::vector<TensorSpec> inputs = {latents("query", 1), row};
      if (!null) inputs.push_back(spec("pair_k.0", {kChannels, kCells}));
      made.graphs.push_back(graph("query" + end, !null, inputs, {keys}));
    }
  }
  if (kind == Kind::kFrozen) {
    made.graphs.push_back(graph("context", true, {latents("context", 2 * kPairs), row}, {keys}));
  }
  return made;
}

inline Values row_of(float t) {
  return {1 + t, 2 - t, t};
}

// Of (C, frames, cells): the sum of frames, each by its number from 1 on; the null branch's second.
inline Values weighted(const Values& context, bool null) {
  const std::size_t frames = context.size() / (kChannels * kCells);
  Values sum(kChannels * kCells, 0);
  for (std::size_t i = 0; i < context.size(); ++i) {
    const std::size_t frame = i / kCells % frames;
    const float weight = null ? (frame == 1 ? 1.0F : 5.0F) : 0.3F * static_cast<float>(frame + 1);
    sum[i / kCells / frames * kCells + i % kCells] += weight * context[i];
  }
  return sum;
}

// a x + b y, place by place.
inline Values mix(float a, const Values& x, float b, const Values& y) {
  Values made(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) made[i] = a * x[i] + b * y[i];
  return made;
}

inline Values encode(const Values& pixels) {  // the first pixel of each cell
  Values mean;
  for (std::size_t c = 0; c < kChannels; ++c) {
    for (std::size_t y = 0; y < kRows; ++y) {
      for (std::size_t x = 0; x < kColumns; ++x) {
        mean.push_back(pixels[(c * 16 + 8 * y) * 24 + 8 * x] + 0.1F * static_cast<float>(c));
      }
    }
  }
  return mean;
}

inline Values decode(const Values& latents) {
  Values pixels(3 * 16 * 24);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t channel = i / (16 * 24), y = i / 24 % 16, x = i % 24;
    pixels[i] = 0.1F * latents[(channel % kChannels) * kCells + y / 8 * kColumns + x / 8];
  }
  return pixels;
}

inline Values take(const Array& array) {
  return Values(array.floats(), array.floats() + array.count());
}
inline Array give(const Values& values, Shape shape) {
  Array made(std::move(shape));
  std::copy(values.begin(), values.end(), made.floats());
  return made;
}

// The graphs as functions of arrays.
inline std::map<std::string, Compute> computes(const Variant& variant) {
  std::map<std::string, Compute> made;
  for (const Graph& graph : variant.graphs) {
    made[graph.name] = [graph](const Feed& feed) {
      const auto in = [&](const char* name) { return take(*feed.at(name)); };
      const auto has = [&](const char* name) { return feed.count(name) != 0; };
      const bool null = graph.name.find("_null") != std::string::npos;
      std::map<std::string, Values> out;
      if (graph.name == "encoder") {
        out["mean"] = encode(in("pixels"));
      } else if (graph.name == "decoder") {
        out["pixels"] = decode(in("latents"));
      } else if (graph.name == "modulation") {
        out["modulation"] = row_of(in("t")[0]);
      } else if (has("latent")) {  // a step or a refresh
        const Values keys = has("k.0") ? in("k.0") : weighted(in("context"), null);
        const Values known = has("query") ? mix(1, keys, kOfQuery, in("query")) : keys;
        const float rate = in("modulation")[0];
        out["velocity"] = mix(rate, known, -rate, in("latent"));
        out["k.0"] = mix(1, keys, 0.1F * in("modulation")[2], keys);
      } else if (has("query")) {
        const Values query = in("query");
        out["k.0"] = mix(has("pair_k.0") ? 1 : 0, has("pair_k.0") ? in("pair_k.0") : query,
                         in("modulation")[0], query);
      } else {
        const Values sum = weighted(in("context"), false);
        out["k.0"] = mix(in("modulation")[1], sum, 0, sum);
      }
      Outputs outputs;
      for (const TensorSpec& each : graph.outputs) {
        outputs.emplace(each.name, give(out.at(each.name), each.shape));
      }
      return outputs;
    };
  }
  return made;
}

// The scaled latents of an answer, by loops that know nothing of graphs.
inline Values answer(Kind kind, const Picture& picture, const Values& pairs, const Values& noise,
                     const std::vector<float>& grid, float guidance) {
  Values query = encode(take(to_pixels(picture)));
  for (float& x : query) x = (x - 0.25F) * 1.5F;
  Values whole, null(2 * kChannels * kCells, 0);
  for (std::size_t c = 0; c < kChannels; ++c) {
    const auto from = pairs.begin() + static_cast<std::ptrdiff_t>(c * 2 * kPairs * kCells);
    whole.insert(whole.end(), from, from + 2 * kPairs * kCells);
    for (std::size_t i = 0; i < kCells; ++i) {
      whole.push_back(query[c * kCells + i]);
      null[(2 * c + 1) * kCells + i] = query[c * kCells + i];
    }
  }
  Values keys[2] = {weighted(whole, false), weighted(null, true)};
  if (kind == Kind::kMerged) {
    keys[0] = mix(1, weighted(pairs, false), kOfQuery, query);
    keys[1] = mix(kOfQuery, query, 0, query);
  }
  if (kind == Kind::kFrozen) {  // rows of the clean time are (2, 1, 1)
    keys[0] = mix(1, weighted(pairs, false), 2, query);
    keys[1] = mix(2, query, 0, query);
  }
  Values z = noise;
  Values kept[2];
  for (std::size_t step = 0; step + 1 < grid.size(); ++step) {
    const Values row = row_of(grid[step]);
    Values velocity[2];
    for (std::size_t branch = 0; branch < 2; ++branch) {
      const bool stale = is_refreshed(kind) && step % 2 != 0;
      const float of_query = stale && is_merged(kind) ? kOfQuery : 0;
      const Values known = mix(1, stale ? kept[branch] : keys[branch], of_query, query);
      velocity[branch] = mix(row[0], known, -row[0], z);
      if (!stale) kept[branch] = mix(1, known, 0.1F * row[2], known);
    }
    if (guidance == 1.0F) velocity[1] = velocity[0];
    const Values v = mix(guidance, velocity[0], 1 - guidance, velocity[1]);
    z = mix(1, z, grid[step + 1] - grid[step], v);
  }
  return z;
}

}  // namespace lavin::core::toy
