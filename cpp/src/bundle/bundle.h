// Open, check and read a bundle: a folder NAME.lavin/ or one stored zip file of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/array.h"
#include "bundle/manifest.h"
#include "bundle/store.h"

namespace lavin::core {

// A verified bundle, open for reading. The zip form keeps extracted files in a temporary folder for
// as long as it lives.
class Bundle {
 public:
  // Open a bundle and verify all of it.
  // BundleError: it is missing, unfinished, damaged, unsafe, or of an unknown format.
  static std::unique_ptr<Bundle> open(const std::string& path);

  const std::filesystem::path& path() const { return store_->path(); }
  const Manifest& manifest() const { return manifest_; }
  const std::string& manifest_text() const { return text_; }

  // The content of a listed file. BundleError: it is not listed, or can no longer be read.
  std::string read(const std::string& path) const;
  // The array in a listed .npy file; pickles are refused. BundleError: it is none.
  Array array(const std::string& path) const;
  // The first variant of that precision ("": the default) and dialect ("": any).
  const Variant& variant(const std::string& precision, const std::string& dialect) const;
  // The ONNX file of a graph, its external weights in place beside it.
  std::filesystem::path graph_file(const Variant& variant, const Graph& graph) const;

 private:
  Bundle(std::unique_ptr<Store> store, Manifest manifest, std::string text)
      : store_(std::move(store)), manifest_(std::move(manifest)), text_(std::move(text)) {}
  const FileEntry& listed(const std::string& path) const;

  std::unique_ptr<Store> store_;
  Manifest manifest_;
  std::string text_;
};

}  // namespace lavin::core
