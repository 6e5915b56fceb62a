// Independent parts of work, side by side.
#pragma once

#include <cstddef>
#include <functional>

namespace lavin::core {

// Run work(0), ..., work(count - 1) in as many threads as there are processors, four at most, and
// wait for all. What the first of them by number threw is thrown again.
void side_by_side(std::size_t count, const std::function<void(std::size_t)>& work);

}  // namespace lavin::core
