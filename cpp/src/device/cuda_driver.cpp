// Not run on a GPU yet.
#include "device/cuda_driver.h"

#include <cstring>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

constexpr unsigned kThreads = 256;  // of a block

template <typename Handle>
void* pointer(Handle handle) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(handle));
}

template <typename Handle>
Handle handle(void* pointer) {
  return static_cast<Handle>(reinterpret_cast<std::uintptr_t>(pointer));
}

}  // namespace

CudaDriver::CudaDriver(int index, const std::string& library) : cuda_(library) {
  cuda_.ask(cuda_.init, 0U);
  int device = 0;
  cuda_.ask(cuda_.device_get, &device, index);
  cuda_.ask(cuda_.primary_retain, &context_, device);
  enter();
  try {
    cuda_.ask(cuda_.stream_create, &stream_, kStreamNonBlocking);
    cuda_.ask(cuda_.module_load, &module_, kElementwisePtx);
    cuda_.ask(cuda_.module_function, &affine_, module_, "affine");
    cuda_.ask(cuda_.module_function, &update_, module_, "update");
  } catch (...) {
    close();
    throw;
  }
}

CudaDriver::~CudaDriver() {
  close();
}

void CudaDriver::enter() {
  cuda_.ask(cuda_.set_current, context_);
}

Address CudaDriver::allocate(std::size_t size) {
  Address start = 0;
  cuda_.ask(cuda_.memory_allocate, &start, size);
  memory_[start] = size;
  return start;
}

void CudaDriver::upload(Address target, const Array& array) {
  if (array.bytes() == 0) return;
  const auto before = staging_.find(target);
  if (before != staging_.end()) synchronize();  // the copy before may still read it
  void* const place = staging(target, array.bytes());
  std::memcpy(place, array.data(), array.bytes());
  cuda_.ask(cuda_.copy_up, target, place, array.bytes(), stream_);
}

void CudaDriver::download(Address source, std::size_t size) {
  if (size == 0) return;
  void* const place = staging(source, size);
  cuda_.ask(cuda_.copy_down, place, source, size, stream_);
}

void CudaDriver::collect(Address source, Array& array) {
  const auto copy = staging_.find(source);
  if (array.bytes() == 0) return;
  if (copy == staging_.end() || copy->second.size < array.bytes()) {
    throw WorkError("the device was asked for more than was downloaded.");
  }
  std::memcpy(array.data(), copy->second.place, array.bytes());
}

void CudaDriver::copy(Address target, Address source, std::size_t size) {
  cuda_.ask(cuda_.copy_across, target, source, size, stream_);
}

// The values are those of elementwise.cu's parameters, in their order and types.
void CudaDriver::affine(Address target, Address source, const AffineNumbers& numbers) {
  AffineNumbers own = numbers;
  long long stride = numbers.stride;
  void* values[] = {&source, &target,  &own.channels, &own.length,
                    &stride, &own.add, &own.factor,   &own.shift};
  start(affine_, static_cast<std::size_t>(own.channels) * static_cast<std::size_t>(own.length),
        values);
}

void CudaDriver::update(Address z, Address velocity, Address null, const UpdateNumbers& numbers) {
  UpdateNumbers own = numbers;
  void* values[] = {&z, &velocity, &null, &own.weight, &own.span, &own.length};
  start(update_, static_cast<std::size_t>(own.length), values);
}

CapturedGraph CudaDriver::capture(const std::function<void()>& work) {
  cuda_.ask(cuda_.capture_begin, stream_, kCaptureThreadLocal);
  void* graph = nullptr;
  try {
    work();
  } catch (...) {
    // The error that ended it says more than what this may say.
    if (cuda_.capture_end.call(stream_, &graph) == 0 && graph != nullptr) {
      cuda_.graph_destroy.call(graph);
    }
    throw;
  }
  cuda_.ask(cuda_.capture_end, stream_, &graph);
  void* executable = nullptr;
  const int status = cuda_.graph_instantiate.call(&executable, graph, 0ULL);
  cuda_.graph_destroy.call(graph);
  cuda_.check(cuda_.graph_instantiate.name, status);
  graphs_.insert(executable);
  return handle<CapturedGraph>(executable);
}

void CudaDriver::launch(CapturedGraph captured) {
  cuda_.ask(cuda_.graph_launch, pointer(captured), stream_);
}

Event CudaDriver::mark() {
  void* event = nullptr;
  cuda_.ask(cuda_.event_create, &event, 0U);  // CU_EVENT_DEFAULT, which takes times
  events_.insert(event);
  again(handle<Event>(event));
  return handle<Event>(event);
}

void CudaDriver::again(Event event) {
  cuda_.ask(cuda_.event_record, pointer(event), stream_);
}

double CudaDriver::between(Event first, Event last) {
  float milliseconds = 0;
  cuda_.ask(cuda_.event_elapsed, &milliseconds, pointer(first), pointer(last));
  return static_cast<double>(milliseconds) / 1e3;
}

void CudaDriver::synchronize() {
  cuda_.ask(cuda_.stream_synchronize, stream_);
}

void CudaDriver::release(Address start) {
  const auto block = memory_.find(start);
  if (block == memory_.end()) return;
  const auto first = staging_.lower_bound(start);
  const auto last = staging_.lower_bound(start + block->second);
  for (auto each = first; each != last; ++each) cuda_.host_free.call(each->second.place);
  staging_.erase(first, last);
  memory_.erase(block);
  cuda_.ask(cuda_.memory_free, start);
}

void CudaDriver::release(CapturedGraph captured) {
  if (graphs_.erase(pointer(captured)) == 0) return;
  cuda_.ask(cuda_.graph_exec_destroy, pointer(captured));
}

void CudaDriver::release(Event event) {
  if (events_.erase(pointer(event)) == 0) return;
  cuda_.ask(cuda_.event_destroy, pointer(event));
}

void* CudaDriver::staging(Address address, std::size_t size) {
  Staging& staging = staging_[address];
  if (staging.size >= size) return staging.place;
  synchronize();  // a copy before may still use what is there
  if (staging.place != nullptr) cuda_.ask(cuda_.host_free, staging.place);
  staging = {};
  cuda_.ask(cuda_.host_allocate, &staging.place, size, 0U);
  staging.size = size;
  return staging.place;
}

void CudaDriver::start(void* kernel, std::size_t count, void** values) {
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  cuda_.ask(cuda_.launch_kernel, kernel, blocks, 1U, 1U, kThreads, 1U, 1U, 0U, stream_, values,
            nullptr);
}

// Everything is tried, whatever fails, for nobody can be told.
void CudaDriver::close() noexcept {
  if (cuda_.set_current.call(context_) != 0) return;  // the driver is gone, and all with it
  if (stream_ != nullptr) cuda_.stream_synchronize.call(stream_);
  for (void* graph : graphs_) cuda_.graph_exec_destroy.call(graph);
  for (void* event : events_) cuda_.event_destroy.call(event);
  for (const auto& each : memory_) cuda_.memory_free.call(each.first);
  for (const auto& each : staging_) {
    if (each.second.place != nullptr) cuda_.host_free.call(each.second.place);
  }
  if (module_ != nullptr) cuda_.module_unload.call(module_);
  if (stream_ != nullptr) cuda_.stream_destroy.call(stream_);
}

}  // namespace lavin::core
