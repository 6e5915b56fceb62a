// A driver's library on the host, for tests: what it answers, what it counts, and its stream.
#pragma once

#include <functional>
#include <map>
#include <string>

struct StubCuda {
  // What it is.
  int version = 13000, devices = 1, major = 8, minor = 9;
  std::map<std::string, int> failing;  // statuses by function

  // What was asked of it.
  std::map<std::string, int> calls;
  int live = 0;  // allocations, events, graphs, streams and modules that were not given back
  std::string ptx;

  // Queue work on the stream, or put it into the graph that is captured.
  std::function<void(std::function<void()>)> queue;
};

extern "C" StubCuda* stub_cuda();

// Of the stub itself.
#define EXPORT extern "C" __attribute__((visibility("default")))
inline constexpr int kInvalid = 1;  // CUDA_ERROR_INVALID_VALUE
// The status of a call: what the test wants, then what the state of things allows.
int begin(const char* name, bool needs_context = true);
