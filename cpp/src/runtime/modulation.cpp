#include "runtime/modulation.h"

#include <cstring>

#include "base/errors.h"

namespace lavin::core {

Modulation::Modulation(Backend& backend)
    : backend_(backend), graph_(backend.variant.graph("modulation")) {
  const auto& tables = backend.bundle.manifest().tables;
  const auto entry = tables.find("modulation");
  if (entry == tables.end()) return;
  const Table& table = entry->second;
  const Array rows = backend.bundle.array(table.file);
  if (graph_.outputs.empty() || graph_.outputs[0].shape.empty()) {
    throw BundleError(
        cat(in_quotes(graph_.file), " gives no row of factors; export the bundle again."));
  }
  const std::int64_t length = graph_.outputs[0].shape.back();
  const Shape shape = {static_cast<std::int64_t>(table.grid.size()), length};
  if (rows.shape() != shape || rows.dtype() != "float32") {
    throw BundleError(cat(in_quotes(table.file), " is ", rows.dtype(), " ", rows.shape(),
                          " where float32 ", shape, " belongs; export the bundle again."));
  }
  const std::size_t count = rows.count() / table.grid.size();
  for (std::size_t i = 0; i < table.grid.size(); ++i) {
    Array row({1, length});
    std::memcpy(row.data(), rows.floats() + i * count, row.bytes());
    rows_.insert_or_assign(static_cast<float>(table.grid[i]), std::move(row));
  }
}

const Array& Modulation::row(float t) {
  const auto entry = rows_.find(t);
  if (entry != rows_.end()) return entry->second;
  Array time(Shape{1});
  time.floats()[0] = t;
  return rows_.emplace(t, backend_.infer_one(graph_, {{"t", &time}})).first->second;
}

}  // namespace lavin::core
