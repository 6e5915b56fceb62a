#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <thread>

namespace lavin::core {

namespace {

// The processors that the control group grants, rounded up; many where it grants all.
int quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double granted = 0, period = 0;
  if (!(file >> granted >> period) || granted <= 0 || period <= 0) return 1 << 16;
  return static_cast<int>(std::min(std::ceil(granted / period), 65536.0));
}

}  // namespace

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = "cpu " + std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max(1, std::min(static_cast<int>(cores.size()), quota()));
}

}  // namespace lavin::core
