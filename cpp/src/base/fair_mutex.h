// A mutex that serves who came first, so that a busy stream does not keep others waiting.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace lavin::core {

class FairMutex {
 public:
  void lock() {
    std::unique_lock held(mutex_);
    const std::uint64_t ticket = next_++;
    changed_.wait(held, [&] { return served_ == ticket; });
  }
  void unlock() {
    {
      const std::lock_guard held(mutex_);
      ++served_;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0, served_ = 0;
};

}  // namespace lavin::core
