// Open, check and read a bundle: a folder NAME.lavin/ or one stored zip file of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "array.h"
#include "manifest.h"

namespace lavin::core {

// Where a bundle's bytes lie. Refuses what leads outside or is larger than it says.
class Store {
 public:
  virtual ~Store() = default;
  // The folder or the zip file.
  virtual const std::filesystem::path& path() const = 0;
  // A file's content. BundleError: it is absent or over `limit` bytes.
  virtual std::string read(const std::string& path, std::uint64_t limit) = 0;
  // BundleError: a file does not have the size and sha256 of `entry`. Safe from several threads.
  virtual void verify(const std::string& path, const FileEntry& entry) = 0;
  // A real file with the content; verified if it had to be extracted.
  virtual std::filesystem::path file(const std::string& path, const FileEntry& entry) = 0;
};

std::unique_ptr<Store> open_folder(const std::filesystem::path& path);
std::unique_ptr<Store> open_zip(const std::filesystem::path& path);

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

// The array in the bytes of a .npy file; `where` names it in messages.
Array parse_npy(std::string_view content, const std::string& where);

}  // namespace lavin::core
