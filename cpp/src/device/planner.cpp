#include "device/planner.h"

#include <algorithm>
#include <memory>

#include "base/errors.h"
#include "device/planner_branch.h"

namespace lavin::core {

using namespace buffer;

namespace {

constexpr float kClean = 1.0F;  // the time whose row modulates a frozen context

Place at(const std::string& name) {
  return {name, 0};
}

void check(const std::string& name, std::size_t one, std::size_t other) {
  if (one == other) return;
  throw BundleError(cat("the graphs of the bundle disagree about ", in_quotes(name), ", which is ",
                        one, " bytes for one and ", other,
                        " for another; export the bundle again."));
}

}  // namespace

Planner::Planner(const Variant& variant, const Latent& latent, Size size, int pairs)
    : variant_(variant),
      latent_(latent),
      size_(size),
      pairs_(pairs),
      cells_((size.height / latent.downsample) * (size.width / latent.downsample)) {}

Program Planner::program(const Grid& grid, double guidance) {
  buffers_.clear();
  const Graph &encoder = graph("encoder"), &decoder = graph("decoder");
  const Graph& step = graph("step", true);
  const auto folded =
      std::find_if(step.inputs.begin(), step.inputs.end(),
                   [](const TensorSpec& spec) { return spec.name == "modulation"; });
  if (folded == step.inputs.end()) {
    throw BundleError(
        "the step graph takes the time itself, not a row of the folded timestep, which a loop on "
        "the device needs; export without --without.");
  }
  if (decoder.outputs.size() != 1) {
    throw BundleError(cat("the graph 'decoder' has ", decoder.outputs.size(),
                          " outputs where one belongs; export the bundle again."));
  }
  row_bytes_ = tensor_bytes(*folded);
  row_stride_ = aligned(row_bytes_);
  Program program;
  program.row_stride = row_stride_;
  program.times.assign(grid.begin(), grid.end() - 1);
  program.times.push_back(kClean);
  const std::size_t clean = program.times.size() - 1;
  need(kRows, row_stride_ * program.times.size());
  need(kNoise, latent_bytes(1));
  need(kLatent, latent_bytes(1));
  need(kVelocity, latent_bytes(1));

  const bool with_null = guidance != 1.0;
  std::vector<std::unique_ptr<Branch>> branches;
  branches.push_back(Branch::make(*this, false));
  if (with_null) branches.push_back(Branch::make(*this, true));
  const auto extend = [](Operations& all, Operations more) {
    for (Operation& each : more) all.push_back(std::move(each));
  };

  for (const auto& branch : branches) extend(program.once, branch->once(clean));
  program.encode = {run(encoder, {{"pixels", at(kPixels)}}, {{"mean", at(kMean)}})};
  for (const auto& branch : branches) extend(program.encode, branch->place_query());

  program.sample = {Copy{at(kLatent), at(kNoise), latent_bytes(1)}};
  for (const auto& branch : branches) extend(program.sample, branch->begin(clean));
  for (std::size_t index = 0; index < clean; ++index) {
    for (const auto& branch : branches) program.sample.push_back(branch->velocity(index));
    const UpdateNumbers numbers{static_cast<float>(guidance), grid[index + 1] - grid[index],
                                latent_.channels * cells_};
    program.sample.push_back(
        Update{at(kLatent), at(kVelocity), at(with_null ? kNullVelocity : kVelocity), numbers});
  }

  program.decode = {affine(at(kUnscaled), at(kLatent), 1, 0, static_cast<float>(1 / latent_.scale),
                           static_cast<float>(latent_.shift)),
                    run(decoder, {{"latents", at(kUnscaled)}}, {{"pixels", at(kAnswer)}})};
  program.buffers = buffers_;
  return program;
}

const Graph& Planner::graph(const std::string& name, bool pairs) const {
  return variant_.graph(name, size_, pairs ? std::optional<int>(pairs_) : std::nullopt);
}

Place Planner::need(const std::string& name, std::size_t size) {
  check(name, buffers_.emplace(name, size).first->second, size);
  return at(name);
}

Run Planner::run(const Graph& graph, const Places& inputs, const Places& outputs) {
  Places tensors;
  const auto place = [&](const std::vector<TensorSpec>& specs, const Places& places) {
    for (const TensorSpec& spec : specs) {
      const auto entry = places.find(spec.name);
      if (entry == places.end()) {
        throw BundleError(cat("the graph ", in_quotes(graph.name), " has a tensor ",
                              in_quotes(spec.name),
                              " that this version does not know; export the bundle again."));
      }
      const Place& where = entry->second;
      if (where.buffer == kRows) {  // one of several
        check(spec.name, row_bytes_, tensor_bytes(spec));
        tensors[spec.name] = where;
      } else {
        tensors[spec.name] = need(where.buffer, tensor_bytes(spec));
      }
    }
  };
  place(graph.inputs, inputs);
  place(graph.outputs, outputs);
  return {&graph, tensors};
}

Place Planner::row(std::size_t step) const {
  return {kRows, step * row_stride_};
}

std::size_t Planner::latent_bytes(int frames) const {
  return sizeof(float) * static_cast<std::size_t>(latent_.channels) *
         static_cast<std::size_t>(frames) * static_cast<std::size_t>(cells_);
}

// Into one frame of a tensor (1, C, frames, h, w), the one at `target`.
Affine Planner::affine(Place target, Place source, int frames, float add, float factor,
                       float shift) {
  need(target.buffer, latent_bytes(frames));
  need(source.buffer, latent_bytes(1));
  const std::int64_t stride = static_cast<std::int64_t>(frames) * cells_;
  return {
      std::move(target), std::move(source), {latent_.channels, cells_, stride, add, factor, shift}};
}

// The encoder's mean, scaled, as the last frame of a context.
Affine Planner::scaled_query(const std::string& name, int frames) {
  const std::size_t before =
      static_cast<std::size_t>(frames - 1) * static_cast<std::size_t>(cells_);
  return affine({name, sizeof(float) * before}, at(kMean), frames,
                static_cast<float>(-latent_.shift), static_cast<float>(latent_.scale), 0);
}

}  // namespace lavin::core
