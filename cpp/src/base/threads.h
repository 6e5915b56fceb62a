// How many threads are worth while.
#pragma once

namespace lavin::core {

// Physical cores this process may use, within a container's quota; at least 1.
int physical_cores();

}  // namespace lavin::core
