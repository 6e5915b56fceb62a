#include "bundle/task.h"

#include <cmath>

#include "base/errors.h"
#include "base/json.h"

namespace lavin::core {

namespace {

const std::string& task_file(const Bundle& bundle, const std::string& name) {
  std::vector<std::string> names;
  for (const TaskEntry& entry : bundle.manifest().tasks) {
    if (entry.name == name) return entry.file;
    names.push_back(entry.name);
  }
  throw unknown_name("task", name, names);
}

bool is_finite(const Array& array) {
  for (std::size_t i = 0; i < array.count(); ++i) {
    if (!std::isfinite(array.floats()[i])) return false;
  }
  return true;
}

}  // namespace

StoredTask read_task(const Bundle& bundle, const std::string& name) {
  StoredTask task;
  task.file = task_file(bundle, name);
  const Json json = parse_json(bundle.read(task.file), task.file);
  const Value data(json, task.file);
  task.name = data.at("name").text();
  if (const auto text = data.find("description")) text->text();
  for (const Value& pair : data.at("pairs").list()) {
    for (const char* field : {"id", "input", "target"}) pair.at(field).text();
    ++task.pairs;
  }
  if (const auto flag = data.find("deterministic")) flag->boolean();
  if (const auto steps = data.find_value("steps")) task.steps = steps->integer();
  if (const auto guidance = data.find_value("guidance")) task.guidance = guidance->number();
  if (const auto count = data.find_value("num_pairs")) task.num_pairs = count->integer();
  if (const auto rendering = data.find("rendering")) rendering->check_object();
  if (const auto view = data.find_value("view"))
    view->one_of({"overlay", "target", "side-by-side"});
  if (task.name != name || task.pairs == 0 || task.steps.value_or(1) < 1 ||
      task.num_pairs.value_or(1) < 1) {
    throw BundleError(cat(task.file, " must have the name ", in_quotes(name),
                          ", at least one pair, and steps and num_pairs of at least 1; create the "
                          "task again with lavin-task create."));
  }
  return task;
}

Array read_context(const Bundle& bundle, const StoredTask& task, Size size) {
  const std::string folder =
      task.file.substr(0, task.file.size() - std::string("task.json").size());
  const std::string path = cat(folder, "context-", size.height, "x", size.width, ".npy");
  if (bundle.manifest().files.count(path) == 0) {
    throw BundleError(cat("the task ", in_quotes(task.name), " has no context for ", size.height,
                          "x", size.width, "; create it again with lavin-task create."));
  }
  Array context = bundle.array(path);
  Shape shape = latent_shape(bundle.manifest(), size);
  shape[2] = 2 * std::int64_t{task.pairs};
  if (context.shape() != shape || context.dtype() != "float32" || !is_finite(context)) {
    throw BundleError(cat(in_quotes(path), " is ", context.dtype(), " ", context.shape(),
                          " where finite float32 ", shape,
                          " belongs; create the task again with lavin-task create."));
  }
  return context;
}

}  // namespace lavin::core
