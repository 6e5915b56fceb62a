#include "base/errors.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "base/utf8.h"

namespace lavin::core {
namespace {

using Letters = std::u32string;

// Code points; a byte that is no UTF-8 counts as a letter of its own.
Letters letters_of(std::string_view text) {
  Letters letters;
  while (!text.empty()) {
    const Letter letter = first_letter(text);
    letters += letter.code;
    text.remove_prefix(letter.bytes);
  }
  return letters;
}

// difflib.SequenceMatcher(None, left, right).ratio(): Ratcliff and Obershelp's matching blocks.
class Matcher {
 public:
  explicit Matcher(Letters right) : right_(std::move(right)) {
    for (std::size_t at = 0; at < right_.size(); ++at) places_[right_[at]].push_back(at);
    if (right_.size() < 200) return;
    const std::size_t most = right_.size() / 100 + 1;  // popular letters begin no block
    for (auto item = places_.begin(); item != places_.end();) {
      item = item->second.size() > most ? places_.erase(item) : std::next(item);
    }
  }

  double ratio(const Letters& left) const {
    const std::size_t total = left.size() + right_.size();
    if (total == 0) return 1;
    return 2.0 * static_cast<double>(matches(left)) / static_cast<double>(total);
  }

  // What `ratio` cannot exceed.
  double most(const Letters& left) const {
    const std::size_t total = left.size() + right_.size();
    if (total == 0) return 1;
    return 2.0 * static_cast<double>(std::min(left.size(), right_.size())) /
           static_cast<double>(total);
  }

 private:
  struct Span {
    std::size_t left, left_end, right, right_end;
  };
  struct Block {
    std::size_t left, right, size;
  };

  std::size_t matches(const Letters& left) const {
    std::size_t sum = 0;
    std::vector<Span> open = {{0, left.size(), 0, right_.size()}};
    while (!open.empty()) {
      const Span span = open.back();
      open.pop_back();
      const Block block = longest(left, span);
      if (block.size == 0) continue;
      sum += block.size;
      open.push_back({span.left, block.left, span.right, block.right});
      open.push_back(
          {block.left + block.size, span.left_end, block.right + block.size, span.right_end});
    }
    return sum;
  }

  // The longest common block, of those the earliest in `left`, then the earliest in `right_`.
  Block longest(const Letters& left, const Span& span) const {
    Block best = {span.left, span.right, 0};
    std::map<std::size_t, std::size_t> lengths;  // of blocks that end before a place of `right_`
    for (std::size_t i = span.left; i < span.left_end; ++i) {
      std::map<std::size_t, std::size_t> longer;
      const auto places = places_.find(left[i]);
      if (places != places_.end()) {
        for (const std::size_t j : places->second) {
          if (j < span.right || j >= span.right_end) continue;
          const auto before = lengths.find(j);
          const std::size_t size = (before == lengths.end() ? 0 : before->second) + 1;
          longer[j + 1] = size;
          if (size > best.size) best = {i + 1 - size, j + 1 - size, size};
        }
      }
      lengths.swap(longer);
    }
    while (best.left > span.left && best.right > span.right &&
           left[best.left - 1] == right_[best.right - 1]) {
      best = {best.left - 1, best.right - 1, best.size + 1};
    }
    while (best.left + best.size < span.left_end && best.right + best.size < span.right_end &&
           left[best.left + best.size] == right_[best.right + best.size]) {
      ++best.size;
    }
    return best;
  }

  Letters right_;
  std::map<char32_t, std::vector<std::size_t>> places_;
};

}  // namespace

std::string nearest_name(std::string_view given, const std::vector<std::string>& names) {
  constexpr double kCutoff = 0.6;
  const Matcher matcher(letters_of(given));
  std::pair<double, std::string> best = {0, ""};
  for (const std::string& name : names) {
    const Letters letters = letters_of(name);
    if (matcher.most(letters) < kCutoff) continue;
    const double ratio = matcher.ratio(letters);
    if (ratio >= kCutoff) best = std::max(best, std::pair(ratio, name));
  }
  return best.second;
}

InputError unknown_name(std::string_view kind, std::string_view given,
                        std::vector<std::string> accepted) {
  std::sort(accepted.begin(), accepted.end());
  const std::string near = nearest_name(given, accepted);
  const std::string hint = near.empty() ? "" : cat(" Did you mean ", repr(near), "?");
  return InputError(cat("unknown ", kind, " ", repr(given), ".", hint,
                        " Accepted: ", accepted.empty() ? "none" : join(accepted, ", "), "."));
}

}  // namespace lavin::core
