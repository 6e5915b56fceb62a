// Show the model a task by example pairs, instead of naming a stored one.
//
//     in_context BUNDLE QUERY.ppm ANSWER.ppm INPUT.ppm TARGET.ppm [INPUT.ppm TARGET.ppm ...]
//
// The pairs' latents are kept by the model: a loop over queries with equal pairs encodes them once.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "lavin/lavin.hpp"
#include "ppm.h"

namespace {

// A PPM file's picture, freed with it.
class Ppm {
 public:
  explicit Ppm(const std::string& path) {
    char error[PPM_ERROR];
    if (!ppm_read(path.c_str(), &picture_, error, sizeof error)) throw std::runtime_error(error);
  }
  Ppm(Ppm&& other) noexcept : picture_(other.picture_) { other.picture_.data = nullptr; }
  Ppm(const Ppm&) = delete;
  Ppm& operator=(const Ppm&) = delete;
  ~Ppm() { std::free(picture_.data); }
  lavin::View view() const { return {picture_.data, picture_.width, picture_.height}; }

 private:
  ppm_picture picture_{};
};

void write(const std::string& path, lavin::Picture& picture) {
  char error[PPM_ERROR];
  const ppm_picture pixels{picture.width(), picture.height(), picture.data()};
  if (!ppm_write(path.c_str(), &pixels, error, sizeof error)) throw std::runtime_error(error);
}

void answer(const std::vector<std::string>& arguments) {
  lavin::Model model(arguments[0]);
  const Ppm query(arguments[1]);

  // A request looks at its pictures and does not copy them, so they live here as long as it.
  std::vector<Ppm> pictures;
  for (std::size_t i = 3; i < arguments.size(); ++i) pictures.emplace_back(arguments[i]);
  lavin::Request request;
  for (std::size_t i = 0; i < pictures.size(); i += 2) {
    request.pairs.emplace_back(pictures[i].view(), pictures[i + 1].view());
  }

  lavin::Result result = model.run(request, query.view());
  write(arguments[2], result.image);

  double seconds = 0.0;
  for (const double part : result.seconds) seconds += part;
  std::cerr << model.describe() << '\n'
            << request.pairs.size() << " pairs, at " << result.target.width() << " x "
            << result.target.height() << ", " << seconds << " s\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 5 || arguments.size() % 2 == 0) {
    std::cerr << "usage: in_context BUNDLE QUERY.ppm ANSWER.ppm INPUT.ppm TARGET.ppm "
                 "[INPUT.ppm TARGET.ppm ...]\n";
    return LAVIN_INVALID;
  }
  try {
    answer(arguments);
    return LAVIN_OK;
  } catch (const lavin::Error& error) {
    std::cerr << "in_context: " << error.what() << '\n';
    return error.status();
  } catch (const std::exception& error) {
    std::cerr << "in_context: " << error.what() << '\n';
    return LAVIN_FAILED;
  }
}
