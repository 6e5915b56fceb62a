// TensorRT or TensorRT-RTX, by way of a module of liblavin; see tensorrt_module.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "device/tensorrt_module.h"

namespace lavin::core {

// A library that is installed, with the module that opens it.
struct Library {
  std::string target;   // "tensorrt" or "tensorrt-rtx"
  std::string version;  // e.g. "10.3.0.26"
  const LavinTrtTable* table = nullptr;

  // The dialect that its ONNX parser takes whole: native, or portable before.
  std::string dialect() const;
};

// native or portable; TensorRT-RTX counts versions apart and is native.
std::string dialect_of(const std::string& target, const std::string& version);

// Files of modules, those that are preferred first.
const std::vector<std::string>& module_files();

// The library of the module in that file, which lies beside liblavin or where the system finds it;
// nothing where there is no such file. InputError: the module or its library cannot be opened.
std::optional<Library> load_library(const std::string& file);

}  // namespace lavin::core
