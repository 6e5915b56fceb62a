// An open bundle, ready to run.
#pragma once

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "backends/choose.h"
#include "backends/onnxruntime_library.h"
#include "base/fair_mutex.h"
#include "base/parallel.h"
#include "bundle/bundle.h"
#include "runtime/answerer.h"
#include "runtime/modulation.h"

namespace lavin::core {

// A bundle, its back end and what the last request computed. Whoever uses it holds `lock`.
class Model {
 public:
  Model(const std::string& path, const BackendChoice& choice)
      : bundle_(open(path, choice)),
        backend_(make_backend(*bundle_, choice)),
        modulation_(*backend_),
        description_(backend_->choice.empty() ? backend_->describe() : backend_->choice) {}

  std::unique_lock<FairMutex> lock() { return std::unique_lock(mutex_); }
  const Bundle& bundle() const { return *bundle_; }
  const std::string& description() const { return description_; }

  // What answers frames by a request.
  std::unique_ptr<Answerer> answerer(const Request& request) {
    return std::make_unique<Answerer>(*backend_, modulation_, request);
  }

  // Answer one frame. What a request computes serves later equal ones; of the last few requests.
  Answer run(Request request, const Picture& frame) {
    auto entry = std::find_if(recent_.begin(), recent_.end(),
                              [&](const auto& pair) { return pair.first == request; });
    if (entry == recent_.end()) {
      auto fresh = answerer(request);
      if (recent_.size() == kRecent) recent_.pop_back();
      recent_.emplace_front(std::move(request), std::move(fresh));
      entry = recent_.begin();
    }
    recent_.splice(recent_.begin(), recent_, entry);  // the last used first
    return entry->second->answer(frame);
  }

 private:
  static constexpr std::size_t kRecent = 4;  // e.g. tasks that take turns

  // The bundle; while it is verified, the library that will most likely run it is loaded.
  static std::unique_ptr<Bundle> open(const std::string& path, const BackendChoice& choice) {
    check_backend_name(choice.name);
    std::unique_ptr<Bundle> bundle;
    side_by_side(2, [&](std::size_t part) {
      if (part == 0) {
        bundle = Bundle::open(path);
      } else if (choice.name != "tensorrt") {
        preload_onnxruntime(choice.library);
      }
    });
    return bundle;
  }

  FairMutex mutex_;
  std::unique_ptr<Bundle> bundle_;
  std::unique_ptr<Backend> backend_;
  Modulation modulation_;
  std::string description_;
  std::list<std::pair<Request, std::unique_ptr<Answerer>>> recent_;
};

}  // namespace lavin::core
