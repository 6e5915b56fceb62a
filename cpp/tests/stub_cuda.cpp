// A libcuda.so.1 whose device is the host. Queued work runs when the stream is waited for, so that
// memory that goes too early is seen by the address sanitizer; a context must be the thread's, and
// what CUDA forbids while it captures is forbidden here.
#include "stub_cuda.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr int kNotReady = 600, kNoContext = 201, kUnsupported = 900, kInvalidated = 901;
using Work = std::vector<std::function<void()>>;
using Pointer = std::uint64_t;

thread_local void* current = nullptr;
int the_context = 0, the_stream = 0, the_module = 0;
bool capturing = false, spoiled = false;
Work pending, captured;
long long now = 0;

struct Event {
  bool recorded = false, passed = false;
  long long time = 0;
};

StubCuda& stub() {
  static StubCuda made;
  if (!made.queue) {
    made.queue = [](std::function<void()> work) {
      (capturing ? captured : pending).push_back(std::move(work));
    };
  }
  return made;
}

void flush() {
  Work work;
  work.swap(pending);
  for (const auto& each : work) {
    ++now;
    each();
  }
}

int forbid_capture(int status) {
  if (status != 0 || !capturing) return status;
  spoiled = true;
  return kUnsupported;
}

void* at(Pointer address) {
  return reinterpret_cast<void*>(address);
}

}  // namespace

int begin(const char* name, bool needs_context) {
  ++stub().calls[name];
  const auto failing = stub().failing.find(name);
  if (failing != stub().failing.end()) return failing->second;
  return needs_context && current != &the_context ? kNoContext : 0;
}

EXPORT StubCuda* stub_cuda() {
  return &stub();
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = &the_context;
  return device == 40 ? begin("cuDevicePrimaryCtxRetain", false) : kInvalid;
}
EXPORT int cuCtxSetCurrent(void* context) {
  current = context;
  return begin("cuCtxSetCurrent", false);
}
EXPORT int cuStreamCreate(void** stream, unsigned flags) {
  if (const int status = begin("cuStreamCreate")) return status;
  *stream = &the_stream;
  ++stub().live;
  return flags == 1 ? 0 : kInvalid;
}
EXPORT int cuStreamDestroy_v2(void*) {
  --stub().live;
  return begin("cuStreamDestroy_v2");
}
EXPORT int cuStreamSynchronize(void* stream) {
  if (const int status = forbid_capture(begin("cuStreamSynchronize"))) return status;
  if (stream != &the_stream) return kInvalid;
  flush();
  return 0;
}

EXPORT int cuModuleLoadData(void** module, const void* image) {
  if (const int status = begin("cuModuleLoadData")) return status;
  stub().ptx = static_cast<const char*>(image);
  *module = &the_module;
  ++stub().live;
  return 0;
}
EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
  if (const int status = begin("cuModuleGetFunction")) return status;
  static char names[2][8] = {"affine", "update"};
  *function = names[std::strcmp(name, names[0]) == 0 ? 0 : 1];
  return module == &the_module && std::strcmp(static_cast<char*>(*function), name) == 0 ? 0 : 500;
}
EXPORT int cuModuleUnload(void*) {
  --stub().live;
  return begin("cuModuleUnload");
}

EXPORT int cuMemAlloc_v2(Pointer* address, std::size_t size) {
  if (const int status = forbid_capture(begin("cuMemAlloc_v2"))) return status;
  if (size == 0) return kInvalid;
  void* const made = std::aligned_alloc(256, (size + 255) / 256 * 256);
  std::memset(made, 0x7f, size);
  *address = reinterpret_cast<Pointer>(made);
  ++stub().live;
  return 0;
}
EXPORT int cuMemFree_v2(Pointer address) {
  if (const int status = forbid_capture(begin("cuMemFree_v2"))) return status;
  std::free(at(address));
  --stub().live;
  return 0;
}
EXPORT int cuMemHostAlloc(void** place, std::size_t size, unsigned) {
  if (const int status = forbid_capture(begin("cuMemHostAlloc"))) return status;
  *place = std::malloc(size);
  ++stub().live;
  return 0;
}
EXPORT int cuMemFreeHost(void* place) {
  if (const int status = forbid_capture(begin("cuMemFreeHost"))) return status;
  std::free(place);
  --stub().live;
  return 0;
}

namespace {
int copy(const char* name, void* target, const void* source, std::size_t size) {
  if (const int status = begin(name)) return status;
  stub().queue([=] { std::memcpy(target, source, size); });
  return 0;
}
}  // namespace

EXPORT int cuMemcpyHtoDAsync_v2(Pointer target, const void* source, std::size_t size, void*) {
  return copy("cuMemcpyHtoDAsync_v2", at(target), source, size);
}
EXPORT int cuMemcpyDtoHAsync_v2(void* target, Pointer source, std::size_t size, void*) {
  return copy("cuMemcpyDtoHAsync_v2", target, at(source), size);
}
EXPORT int cuMemcpyDtoDAsync_v2(Pointer target, Pointer source, std::size_t size, void*) {
  return copy("cuMemcpyDtoDAsync_v2", at(target), at(source), size);
}

EXPORT int cuStreamBeginCapture_v2(void*, int mode) {
  if (const int status = forbid_capture(begin("cuStreamBeginCapture_v2"))) return status;
  captured.clear();
  capturing = true;
  spoiled = false;
  return mode == 1 ? 0 : kInvalid;
}
EXPORT int cuStreamEndCapture(void*, void** graph) {
  const int status = begin("cuStreamEndCapture");
  capturing = false;
  *graph = nullptr;
  if (status != 0 || spoiled) return status != 0 ? status : kInvalidated;
  *graph = new Work(std::move(captured));
  ++stub().live;
  return 0;
}
EXPORT int cuGraphInstantiateWithFlags(void** made, void* graph, unsigned long long flags) {
  if (const int status = begin("cuGraphInstantiateWithFlags")) return status;
  *made = new Work(*static_cast<Work*>(graph));
  ++stub().live;
  return flags == 0 ? 0 : kInvalid;
}
EXPORT int cuGraphDestroy(void* graph) {
  delete static_cast<Work*>(graph);
  --stub().live;
  return begin("cuGraphDestroy");
}
EXPORT int cuGraphExecDestroy(void* graph) {
  delete static_cast<Work*>(graph);
  --stub().live;
  return begin("cuGraphExecDestroy");
}
EXPORT int cuGraphLaunch(void* graph, void*) {
  if (const int status = begin("cuGraphLaunch")) return status;
  for (const auto& work : *static_cast<Work*>(graph)) stub().queue(work);
  return 0;
}

EXPORT int cuEventCreate(void** event, unsigned) {
  if (const int status = begin("cuEventCreate")) return status;
  *event = new Event;
  ++stub().live;
  return 0;
}
EXPORT int cuEventDestroy_v2(void* event) {
  delete static_cast<Event*>(event);
  --stub().live;
  return begin("cuEventDestroy_v2");
}
EXPORT int cuEventRecord(void* event, void*) {
  if (const int status = begin("cuEventRecord")) return status;
  Event* const mine = static_cast<Event*>(event);
  mine->recorded = true;
  mine->passed = false;
  stub().queue([mine] {
    mine->passed = true;
    mine->time = now;
  });
  return 0;
}
EXPORT int cuEventElapsedTime(float* milliseconds, void* first, void* last) {
  if (const int status = begin("cuEventElapsedTime")) return status;
  const Event &a = *static_cast<Event*>(first), &b = *static_cast<Event*>(last);
  if (!a.recorded || !b.recorded) return kInvalid;
  if (!a.passed || !b.passed) return kNotReady;
  *milliseconds = static_cast<float>(b.time - a.time);
  return 0;
}
