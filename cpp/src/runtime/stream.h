// Frames in, answers out, in order, with a worker thread and two bounded queues between.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "base/picture.h"

namespace lavin::core {

// Answers frames by `work` in a thread of its own. Pushing and pulling are safe from any thread.
class Stream {
 public:
  // An answer, or why there is none.
  struct Item {
    std::int64_t id = 0;
    Picture picture;
    int fault = 0;  // code of the error
    std::string message;
  };
  enum class Pulled { kItem, kTimeout, kEnd };

  // `capacity` frames wait at most, and as many answers; with `drop` the oldest frame makes room.
  Stream(std::function<Picture(const Picture&)> work, std::size_t capacity, bool drop);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Give a frame. Waits for room for so many milliseconds, below 0 for as long as it takes; false:
  // there was none. InputError: the stream was finished.
  bool push(Picture frame, std::int64_t id, int timeout_ms);
  // Show the next answer to `look`, which returns whether it is taken; waits as push does.
  Pulled pull(const std::function<bool(const Item&)>& look, int timeout_ms);
  // No further frame comes.
  void finish();
  std::uint64_t dropped() const;

 private:
  void run();
  void answer(Item& item) noexcept;
  template <typename Ready>
  bool wait(std::unique_lock<std::mutex>& lock, int timeout_ms, Ready ready);

  std::function<Picture(const Picture&)> work_;
  std::size_t capacity_;
  bool drop_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Item> frames_, answers_;
  bool working_ = false, finished_ = false, closing_ = false;
  std::uint64_t dropped_ = 0;
  std::thread worker_;
};

}  // namespace lavin::core
