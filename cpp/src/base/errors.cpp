#include "base/errors.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"

namespace lavin::core {
namespace {

// How many insertions, deletions and replacements of a byte make one text of the other.
std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view unknown, const std::vector<std::string>& names) {
  std::string nearest;
  std::size_t least = 0;
  for (const std::string& name : names) {
    const std::size_t longest = std::max(unknown.size(), name.size());
    if (std::min(unknown.size(), name.size()) < (longest + 1) / 2) continue;  // too far apart
    const std::size_t distance = edit_distance(unknown, name);
    if (2 * distance > longest || (!nearest.empty() && distance >= least)) continue;
    nearest = name;
    least = distance;
  }
  return nearest;
}

InputError unknown_name(std::string_view kind, std::string_view unknown,
                        std::vector<std::string> accepted) {
  std::sort(accepted.begin(), accepted.end());
  const std::string nearest = nearest_name(unknown, accepted);
  const std::string hint = nearest.empty() ? "" : cat(" Did you mean ", in_quotes(nearest), "?");
  return InputError(cat("unknown ", kind, " ", in_quotes(unknown), ".", hint,
                        " Accepted: ", accepted.empty() ? "none" : join(accepted, ", "), "."));
}

}  // namespace lavin::core
