// An open bundle, ready to run.
#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "answerer.h"
#include "backend.h"
#include "bundle.h"
#include "modulation.h"

namespace lavin::core {

// A bundle, its back end and what the last request computed. Whoever uses it holds `lock`.
class Model {
 public:
  Model(const std::string& path, const BackendChoice& choice)
      : bundle_(open(path, choice)),
        backend_(make_backend(*bundle_, choice)),
        modulation_(*backend_),
        description_(backend_->choice.empty() ? backend_->describe() : backend_->choice) {}

  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  const Bundle& bundle() const { return *bundle_; }
  const std::string& description() const { return description_; }

  // What answers frames by a request.
  std::unique_ptr<Answerer> answerer(const Request& request) {
    return std::make_unique<Answerer>(*backend_, modulation_, request);
  }

  // Answer one frame. Equal requests, one after the other, share what they compute.
  Answer run(Request request, const Picture& frame) {
    if (!answerer_ || !(request == request_)) {
      answerer_ = answerer(request);
      request_ = std::move(request);
    }
    return answerer_->answer(frame);
  }

 private:
  // The bundle; while it is verified, the library that will most likely run it is loaded.
  static std::unique_ptr<Bundle> open(const std::string& path, const BackendChoice& choice) {
    const auto work = [&choice] {
      if (choice.name != "tensorrt") preload_onnxruntime(choice.library);
    };
    const auto loading = std::async(std::launch::async, work);
    return Bundle::open(path);
  }

  std::mutex mutex_;
  std::unique_ptr<Bundle> bundle_;
  std::unique_ptr<Backend> backend_;
  Modulation modulation_;
  std::string description_;
  Request request_;
  std::unique_ptr<Answerer> answerer_;
};

}  // namespace lavin::core
