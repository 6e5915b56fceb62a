#include "runtime/stream.h"

#include <new>
#include <utility>

#include "base/errors.h"

namespace lavin::core {

Stream::Stream(std::function<Picture(const Picture&)> work, std::size_t capacity, bool drop)
    : work_(std::move(work)), capacity_(capacity), drop_(drop), worker_([this] { run(); }) {}

Stream::~Stream() {
  {
    const std::lock_guard guard(mutex_);
    closing_ = finished_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

template <typename Ready>
bool Stream::wait(std::unique_lock<std::mutex>& lock, int timeout_ms, Ready ready) {
  if (timeout_ms < 0) {
    changed_.wait(lock, ready);
    return true;
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  return changed_.wait_until(lock, until, ready);
}

bool Stream::push(Picture frame, std::int64_t id, int timeout_ms) {
  std::unique_lock lock(mutex_);
  if (!drop_ &&
      !wait(lock, timeout_ms, [this] { return finished_ || frames_.size() < capacity_; })) {
    return false;
  }
  if (finished_)
    throw InputError("the stream was finished and takes no more frames; open another.");
  if (frames_.size() == capacity_) {
    frames_.pop_front();
    ++dropped_;
  }
  frames_.push_back({id, std::move(frame), 0, ""});
  lock.unlock();
  changed_.notify_all();
  return true;
}

Stream::Pulled Stream::pull(const std::function<bool(const Item&)>& look, int timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto over = [this] { return finished_ && frames_.empty() && !working_; };
  if (!wait(lock, timeout_ms, [&] { return !answers_.empty() || over(); })) {
    return Pulled::kTimeout;
  }
  if (answers_.empty()) return Pulled::kEnd;
  if (look(answers_.front())) answers_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return Pulled::kItem;
}

void Stream::finish() {
  {
    const std::lock_guard guard(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

std::uint64_t Stream::dropped() const {
  const std::lock_guard guard(mutex_);
  return dropped_;
}

void Stream::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      return closing_ || (finished_ && frames_.empty()) ||
             (!frames_.empty() && answers_.size() < capacity_);
    });
    if (closing_ || frames_.empty()) return;
    // The item moves from list to list as it is, so that nothing can fail on the way.
    std::list<Item> at_work;
    at_work.splice(at_work.begin(), frames_, frames_.begin());
    working_ = true;
    lock.unlock();
    changed_.notify_all();
    answer(at_work.front());
    lock.lock();
    working_ = false;
    answers_.splice(answers_.end(), at_work);
    changed_.notify_all();
  }
}

void Stream::answer(Item& item) noexcept {
  const auto fail = [&item](int code, const char* message) {
    item.fault = code;
    item.picture = Picture();
    try {
      item.message = message;
    } catch (...) {
      item.message.clear();  // there is no memory for a sentence either
    }
  };
  try {
    item.picture = work_(item.picture);
  } catch (const Error& error) {
    fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    fail(1, "there is not enough memory; close other models or pictures.");
  } catch (const std::exception& error) {
    fail(1, error.what());
  } catch (...) {
    fail(1, "the computation failed for an unknown reason.");
  }
}

}  // namespace lavin::core
