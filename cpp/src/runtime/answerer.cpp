#include "runtime/answerer.h"

#include <chrono>
#include <cstring>

#include "base/errors.h"
#include "base/parallel.h"
#include "runtime/letterbox.h"
#include "runtime/sampler.h"

namespace lavin::core {

namespace {

// Adds the seconds of its life to a stage.
class Timer {
 public:
  explicit Timer(double& stage) : stage_(stage) {}
  ~Timer() { stage_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& stage_;
  Clock::time_point start_ = Clock::now();
};

// Graph after graph, with arrays on the host.
class OnHost : public Frames {
 public:
  OnHost(Codec codec, Sampler sampler, Array noise, const Settings& settings)
      : codec_(codec),
        sampler_(std::move(sampler)),
        noise_(std::move(noise)),
        grid_(settings.grid),
        guidance_(settings.guidance) {}

  Array answer(const Picture& picture, Picture& target, Seconds& seconds) override {
    Array query, latents;
    {
      const Timer timer(seconds.encode);
      query = codec_.encode(picture);
    }
    {
      const Timer timer(seconds.sample);
      latents = sampler_.sample(noise_, query, grid_, guidance_);
    }
    const Timer timer(seconds.decode);
    target = codec_.decode(latents);
    return latents;
  }

 private:
  Codec codec_;
  Sampler sampler_;
  Array noise_;
  Grid grid_;
  double guidance_;
};

}  // namespace

Answerer::Answerer(Backend& backend, Modulation& modulation, const Request& request)
    : backend_(backend), modulation_(modulation), num_pairs_(request.num_pairs) {
  const Manifest& manifest = backend.bundle.manifest();
  if (request.task.empty() == request.pairs.empty()) {
    throw InputError("give either the name of a stored task or example pairs.");
  }
  if (request.task.empty()) {
    context_ = given_pairs(request.pairs);
    settings_ = make_settings(manifest, nullptr, request);
  } else {
    const StoredTask task = read_task(backend.bundle, request.task);
    settings_ = make_settings(manifest, &task, request);
    context_ = stored_context(backend.bundle, task);
  }
  sizes_ = request.size ? std::vector<Size>{check_size(manifest, *request.size)} : manifest.sizes();
  std::vector<Shape> shapes;
  for (const Size size : sizes_) {
    counts_[size] = count_pairs(size);
    shapes.push_back(latent_shape(manifest, size));
  }
  if (!settings_.noise.empty()) check_noise(settings_.noise, shapes);
}

Answer Answerer::answer(const Picture& frame) {
  Answer answer;
  Seconds& seconds = answer.seconds;
  const Size size = choose_size(sizes_, frame.size());
  const Letterbox box(frame.size(), size);
  Frames* ready = nullptr;
  {
    const Timer timer(seconds.setup);
    auto frames = prepared_.find(size);
    if (frames == prepared_.end()) frames = prepared_.emplace(size, prepare(size)).first;
    ready = frames->second.get();
  }
  Picture fitted;
  {
    const Timer timer(seconds.preprocess);
    fitted = box.forward(frame);
  }
  answer.pairs = counts_.at(size);
  answer.latents = ready->answer(fitted, answer.target, seconds);
  const Timer timer(seconds.postprocess);
  answer.image = box.backward(answer.target);
  return answer;
}

std::unique_ptr<Frames> Answerer::prepare(Size size) {
  const int count = counts_.at(size);
  Codec codec(backend_, size);  // which sees that the graphs are of the manifest's sizes
  const Array pairs = context_->latents(codec, count);
  const Shape shape = latent_shape(backend_.bundle.manifest(), size);
  Array noise(shape);
  if (settings_.noise.empty()) {
    noise = normal(settings_.seed, shape);
  } else {
    check_noise(settings_.noise, {shape});
    std::memcpy(noise.data(), settings_.noise.data(), noise.bytes());
  }
  const auto row = [this](float time) -> const Array& { return modulation_.row(time); };
  auto resident = backend_.resident(row, {size, pairs, noise, settings_.grid, settings_.guidance});
  if (resident) return resident;
  Sampler sampler(backend_, modulation_, size, count);
  std::vector<const Graph*> graphs = sampler.graphs(settings_.guidance);
  for (const Graph* graph : codec.graphs()) graphs.push_back(graph);
  side_by_side(2, [&](std::size_t part) {
    part == 0 ? backend_.prepare(graphs) : sampler.take_pairs(pairs, settings_.guidance);
  });
  return std::make_unique<OnHost>(codec, std::move(sampler), std::move(noise), settings_);
}

int Answerer::count_pairs(Size size) const {
  return choose_pairs(backend_.bundle.manifest(), size, context_->available(), num_pairs_,
                      context_->preferred());
}

}  // namespace lavin::core
