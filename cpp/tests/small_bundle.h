// A small valid manifest that tests change.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace lavin::core {

using Files = std::map<std::string, std::string>;  // contents by path

// The files of a small bundle but its manifest. They are no ONNX files.
Files small_files();

// Its manifest, with sizes and digests of `files`.
nlohmann::ordered_json small_manifest(const Files& files);

}  // namespace lavin::core
