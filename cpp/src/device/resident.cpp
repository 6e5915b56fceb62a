#include "device/resident.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace lavin::core {

using namespace buffer;

Resident::Resident(Device& device, Program program, const EngineOf& engine, const RowOf& row,
                   const Array& noise, const Array& pairs)
    : device_(device), program_(std::move(program)), latents_(noise.shape()) {
  for (const Graph* graph : program_.graphs()) engines_[graph->file] = &engine(*graph);
  for (const Operation& operation : program_.decode) {
    const Run* run = std::get_if<Run>(&operation);
    if (run != nullptr) pixels_ = run->graph->outputs.at(0).shape;
  }
  const auto [offsets, size] = program_.offsets();
  device_.enter();
  start_ = device_.allocate(size);
  for (const auto& [name, offset] : offsets) addresses_[name] = start_ + offset;
  try {
    upload_constants(row, noise, pairs);
  } catch (...) {
    give_back();
    throw;
  }
}

Resident::~Resident() {
  give_back();
}

Array Resident::answer(const Picture& picture, Picture& target, Seconds& seconds) {
  device_.enter();
  if (ready_ && !loop_ && fault_.empty()) capture();
  mark(0);
  upload(kPixels, to_pixels(picture));
  queue(program_.encode);
  mark(1);
  if (loop_) {
    device_.launch(*loop_);
  } else {
    queue(program_.sample);
  }
  mark(2);
  queue(program_.decode);
  Array pixels(pixels_), latents(latents_);
  device_.download(at({kAnswer}), pixels.bytes());
  device_.download(at({kLatent}), latents.bytes());
  mark(3);
  device_.synchronize();
  ready_ = true;
  device_.collect(at({kAnswer}), pixels);
  device_.collect(at({kLatent}), latents);
  seconds.encode = device_.between(events_[0], events_[1]);
  seconds.sample = device_.between(events_[1], events_[2]);
  seconds.decode = device_.between(events_[2], events_[3]);
  target = to_picture(pixels);
  return latents;
}

void Resident::upload_constants(const RowOf& row, const Array& noise, const Array& pairs) {
  for (std::size_t index = 0; index < program_.times.size(); ++index) {
    const Array& values = row(program_.times[index]);
    if (aligned(values.bytes()) != program_.row_stride) {
      throw BundleError(cat("a row of the folded timestep has ", values.bytes(),
                            " bytes, which the step graph does not take; export the bundle "
                            "again."));
    }
    device_.enter();  // what gives the rows may have run something
    device_.upload(at({kRows, index * program_.row_stride}), values);
  }
  upload(kNoise, noise);
  // The query's frame, if any, is the last of the context and comes with a picture.
  Shape shape = pairs.shape();
  const auto channels = static_cast<std::size_t>(shape.at(1));
  const std::size_t filled = pairs.bytes() / channels;
  const std::size_t frame = filled / static_cast<std::size_t>(shape.at(2));
  const std::size_t whole = program_.buffers.at(kContext) / channels;
  shape[2] = static_cast<std::int64_t>(whole / frame);
  Array context = Array::zeros(shape);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    std::memcpy(context.data() + channel * whole, pairs.data() + channel * filled,
                std::min(filled, whole));
  }
  upload(kContext, context);
  const auto null = program_.buffers.find(kNullContext);
  if (null != program_.buffers.end()) {
    upload(kNullContext, Array::zeros({static_cast<std::int64_t>(null->second / sizeof(float))}));
  }
  queue(program_.once);
  device_.synchronize();
}

void Resident::upload(const std::string& buffer, const Array& array) {
  const std::size_t size = program_.buffers.at(buffer);
  if (array.bytes() != size) {
    throw WorkError(
        cat(in_quotes(buffer), " has ", array.bytes(), " bytes where the graphs take ", size, "."));
  }
  device_.upload(at({buffer}), array);
}

void Resident::capture() {
  try {
    loop_ = device_.capture([this] { queue(program_.sample); });
  } catch (const WorkError& error) {
    fault_ = cat("the sampler loop is queued, not captured: ", error.what());
  }
}

void Resident::mark(std::size_t which) {
  if (which == events_.size()) {
    events_.push_back(device_.mark());
  } else {
    device_.again(events_[which]);
  }
}

void Resident::queue(const Operations& operations) {
  for (const Operation& operation : operations) {
    std::visit([this](const auto& each) { queue(each); }, operation);
  }
}

void Resident::queue(const Run& run) {
  std::map<std::string, Address> tensors;
  for (const auto& [name, place] : run.tensors) tensors[name] = at(place);
  device_.run(*engines_.at(run.graph->file), tensors);
}

void Resident::queue(const Copy& copy) {
  device_.copy(at(copy.target), at(copy.source), copy.size);
}

void Resident::queue(const Affine& affine) {
  device_.affine(at(affine.target), at(affine.source), affine.numbers);
}

void Resident::queue(const Update& update) {
  device_.update(at(update.z), at(update.velocity), at(update.null), update.numbers);
}

void Resident::give_back() noexcept {
  try {
    device_.enter();
    device_.synchronize();
  } catch (const std::exception&) {  // what failed was told when it did
  }
  try {
    if (loop_) device_.release(*loop_);
    for (const Event event : events_) device_.release(event);
    device_.release(start_);
  } catch (const std::exception&) {
  }
}

}  // namespace lavin::core
