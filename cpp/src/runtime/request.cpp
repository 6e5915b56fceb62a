#include "runtime/request.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace lavin::core {

namespace {

std::string text(Size size) {
  return cat(size.height, "x", size.width);
}

template <typename Items, typename Text>
std::string listed(const Items& items, Text one, const char* between = ", ") {
  std::vector<std::string> parts;
  for (const auto& item : items) parts.push_back(one(item));
  return join(parts, between);
}

bool same(const Picture& a, const Picture& b) {
  return a.size() == b.size() && a.data == b.data;
}

}  // namespace

bool Request::operator==(const Request& other) const {
  return task == other.task && steps == other.steps && guidance == other.guidance &&
         seed == other.seed && noise == other.noise && num_pairs == other.num_pairs &&
         size == other.size &&
         std::equal(pairs.begin(), pairs.end(), other.pairs.begin(), other.pairs.end(),
                    [](const auto& a, const auto& b) {
                      return same(a.first, b.first) && same(a.second, b.second);
                    });
}

Settings make_settings(const Manifest& manifest, const StoredTask* task, const Request& request) {
  const Defaults& defaults = manifest.defaults;
  int steps = request.steps;
  if (steps == 0) steps = task != nullptr ? task->steps.value_or(defaults.steps) : defaults.steps;
  Settings settings;
  const std::optional<double> hint = task != nullptr ? task->guidance : std::nullopt;
  settings.guidance = request.guidance ? *request.guidance : hint.value_or(defaults.guidance);
  check_weight(settings.guidance);
  settings.grid = choose_grid(manifest, steps);
  settings.seed = request.seed;
  settings.noise = request.noise;
  return settings;
}

Grid choose_grid(const Manifest& manifest, int steps) {
  const Grid grid = check_grid(manifest.default_grid);
  return steps == static_cast<int>(grid.size()) - 1 ? grid : grid_for(steps, manifest.time_kind);
}

Size check_size(const Manifest& manifest, Size size) {
  const std::vector<Size> sizes = manifest.sizes();
  if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) {
    throw InputError(
        cat("the bundle has no size ", text(size), "; it has: ", listed(sizes, text), "."));
  }
  return size;
}

Size choose_size(const std::vector<Size>& sizes, Size frame) {
  const double aspect = std::log(static_cast<double>(frame.width) / frame.height);
  const auto distance = [aspect](Size size) {
    const double its = std::log(static_cast<double>(size.width) / size.height);
    return std::nearbyint(std::fabs(its - aspect) * 1e6);
  };
  return *std::min_element(sizes.begin(), sizes.end(),
                           [&](Size a, Size b) { return distance(a) < distance(b); });
}

int choose_pairs(const Manifest& manifest, Size size, int available, int requested, int preferred) {
  const std::vector<int> accepted = manifest.pairs_at(size);
  const std::string accepted_text =
      listed(accepted, [](int count) { return std::to_string(count); });
  std::vector<int> usable;
  std::copy_if(accepted.begin(), accepted.end(), std::back_inserter(usable),
               [available](int count) { return count <= available; });
  const auto is_usable = [&usable](int count) {
    return std::find(usable.begin(), usable.end(), count) != usable.end();
  };
  if (usable.empty()) {
    throw InputError(cat("there are ", available, " example pairs and the bundle takes ",
                         accepted_text, " at ", text(size), "; give more pairs."));
  }
  if (requested != 0) {
    if (is_usable(requested)) return requested;
    throw InputError(cat("cannot use ", requested, " pairs: there are ", available,
                         " and the bundle takes ", accepted_text, " at ", text(size), "."));
  }
  return is_usable(preferred) ? preferred : usable.back();
}

void check_noise(const std::vector<float>& noise, const std::vector<Shape>& shapes) {
  if (!std::all_of(noise.begin(), noise.end(), [](float value) { return std::isfinite(value); })) {
    throw InputError("noise holds a value that is not finite; draw it anew.");
  }
  const auto fits = [&](const Shape& shape) { return element_count(shape) == noise.size(); };
  if (std::none_of(shapes.begin(), shapes.end(), fits)) {
    const std::string needed = listed(
        shapes, [](const Shape& s) { return cat(s); }, " or ");
    throw InputError(cat("noise has ", noise.size(), " values; this run needs ", needed, "."));
  }
}

}  // namespace lavin::core
