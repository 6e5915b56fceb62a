#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "small_bundle.h"
#include "support.h"
#include "zip_writer.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDamaged = "; the bundle is damaged: copy or export it again.";

void write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// A temporary folder in which a test makes bundles.
class Stores : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "lavin-test-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    place_ = name;
    files_ = small_files();
    files_["manifest.json"] = small_manifest(files_).dump();
  }
  void TearDown() override { fs::remove_all(place_); }

  fs::path folder() const {
    const fs::path path = place_ / "small.lavin";
    for (const auto& [name, content] : files_) write(path / name, content);
    return path;
  }

  fs::path zip(const std::function<void(std::vector<ZipPart>&)>& change = {},
               const std::string& top = "") const {
    std::vector<ZipPart> parts;
    for (const auto& [name, content] : files_) parts.push_back({top + name, content});
    if (change) change(parts);
    write(place_ / "small.zip", zip_of(parts));
    return place_ / "small.zip";
  }

  static std::string refused(const fs::path& path) {
    return sentence_of([&] { Bundle::open(path.native()); });
  }

  fs::path place_;
  Files files_;
};

// The part of that name.
ZipPart& part(std::vector<ZipPart>& parts, const std::string& name) {
  for (ZipPart& candidate : parts) {
    if (candidate.name == name) return candidate;
  }
  throw std::out_of_range(name);
}

TEST_F(Stores, FoldersAreOpened) {
  const fs::path path = folder();
  const auto bundle = Bundle::open(path.native() + "/");
  EXPECT_EQ(bundle->path(), path);
  EXPECT_EQ(bundle->manifest_text(), files_["manifest.json"]);
  EXPECT_EQ(bundle->read("graphs/step.onnx"), files_["graphs/step.onnx"]);
  const Variant& variant = bundle->variant("", "");
  EXPECT_EQ(variant.precision, "fp32");
  EXPECT_EQ(bundle->graph_file(variant, variant.graph("modulation")),
            path / "graphs/modulation.onnx");
  EXPECT_EQ(sentence_of([&] { bundle->read("graphs/other"); }),
            "the bundle 'small.lavin' lists no file 'graphs/other'.");
  EXPECT_EQ(
      sentence_of([&] { bundle->variant("fp16", "portable"); }),
      "the bundle 'small.lavin' has no fp16 portable variant; it has: fp32 native. Choose one "
      "of them or export it with lavin-export.");
  EXPECT_EQ(sentence_of([&] { bundle->array("tables/modulation.npy"); }),
            "'tables/modulation.npy' is not a .npy array of numbers: it does not begin with a .npy "
            "header.");
}

TEST_F(Stores, PathsThatAreNoBundles) {
  const fs::path path = folder();
  const std::string near = (place_ / "small").native();
  EXPECT_EQ(refused(near), cat("there is no bundle at ", in_quotes(near),
                               "; give a folder NAME.lavin or a zip of one. Did you mean ",
                               in_quotes(path.native()), "?"));
  EXPECT_EQ(refused("/nonexistent"),
            "there is no bundle at '/nonexistent'; give a folder NAME.lavin or a zip of one.");
  EXPECT_EQ(refused(place_), cat(in_quotes(place_.native()),
                                 " is not a bundle: it has no 'manifest.json'; copy or export it "
                                 "again."));
  fs::rename(path, place_ / ".small.lavin.12.tmp");
  EXPECT_EQ(refused(place_ / ".small.lavin.12.tmp"),
            "'.small.lavin.12.tmp' is what an unfinished export left; delete it and export again.");
}

TEST_F(Stores, OfABundleThatWasReplacedNothingMoreIsRead) {
  const fs::path path = folder();
  const auto bundle = Bundle::open(path.native());
  write(path / "graphs/step.onnx", "another");
  EXPECT_EQ(sentence_of([&] { bundle->read("graphs/step.onnx"); }),
            "'graphs/step.onnx' in the bundle 'small.lavin' was changed since it was opened; open "
            "it again.");
  fs::rename(path, place_ / "before");
  folder();
  EXPECT_EQ(sentence_of([&] { bundle->read("graphs/step.onnx"); }),
            cat("the bundle ", in_quotes(path.native()),
                " was replaced since it was opened; open it again."));
}

TEST_F(Stores, ABundleThatChangesWhileItIsOpenedIsOpenedAgain) {
  const fs::path path = folder();
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int number = 0; !done; ++number) {
      const std::string name = number % 2 ? "graphs/one" : "graphs/two";
      Files files = small_files();
      files[name] = std::string(20000, 'x');
      const std::string manifest = small_manifest(files).dump();
      write(path / name, files[name]);
      write(place_ / "manifest.json", manifest);
      fs::rename(place_ / "manifest.json", path / "manifest.json");
      fs::remove(path / (number % 2 ? "graphs/two" : "graphs/one"));
    }
  });
  std::string said;
  for (int round = 0; round < 200 && said.empty(); ++round) {
    said = sentence_of([&] { Bundle::open(path.native()); });
  }
  done = true;
  writer.join();
  EXPECT_EQ(said, "");
}

TEST_F(Stores, AReaderHoldsWhatItsTasksHave) {
  const fs::path path = folder();
  fs::create_directories(path / "tasks");
  const int handle = ::open((path / "tasks").c_str(), O_RDONLY | O_DIRECTORY);
  auto bundle = Bundle::open(path.native());
  EXPECT_NE(::flock(handle, LOCK_EX | LOCK_NB), 0);
  bundle.reset();
  EXPECT_EQ(::flock(handle, LOCK_EX | LOCK_NB), 0);
  ::close(handle);
}

TEST_F(Stores, DamagedFilesOfFoldersAreRefused) {
  const fs::path path = folder(), step = path / "graphs/step.onnx";
  fs::remove(step);
  EXPECT_EQ(refused(path), cat(in_quotes(path.native()),
                               " is incomplete: it has no "
                               "'graphs/step.onnx'; copy or export it again."));
  write(step, "short");
  EXPECT_EQ(refused(path),
            cat("'graphs/step.onnx' in the bundle has 5 bytes where the manifest says "
                "27",
                kDamaged));
  std::string other = files_["graphs/step.onnx"];
  other[0] = 'W';
  write(step, other);
  EXPECT_EQ(refused(path), cat("'graphs/step.onnx' in the bundle does not have the sha256 that the "
                               "manifest says",
                               kDamaged));
}

TEST_F(Stores, OnlyPlainFilesOfFoldersAreRead) {
  const fs::path path = folder(), step = path / "graphs/step.onnx";
  const std::string link =
      "'graphs/step.onnx' in the bundle is or lies behind a symbolic link; a bundle holds plain "
      "files only: copy it with its links resolved (cp -rL).";
  const std::string not_plain =
      "'graphs/step.onnx' in the bundle is not a plain file; export it again.";
  fs::rename(step, place_ / "step");
  fs::create_symlink(place_ / "step", step);
  EXPECT_EQ(refused(path), link);
  fs::remove(step);
  fs::create_directory(step);
  EXPECT_EQ(refused(path), not_plain);
  fs::remove(step);
  ASSERT_EQ(mkfifo(step.c_str(), 0600), 0);
  EXPECT_EQ(refused(path), not_plain);
  fs::remove(step);
  fs::rename(place_ / "step", step);
  EXPECT_EQ(refused(path), "");
  fs::rename(path / "graphs", place_ / "graphs");
  fs::create_directory_symlink(place_ / "graphs", path / "graphs");
  EXPECT_NE(refused(path).find(" lies behind a symbolic link"), std::string::npos);
}

TEST_F(Stores, UnreadableFilesAreNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const fs::path path = folder(), step = path / "graphs/step.onnx";
  fs::permissions(step, fs::perms::none);
  EXPECT_EQ(refused(path), cat("'graphs/step.onnx' in the bundle cannot be read: [Errno 13] "
                               "Permission denied: ",
                               in_quotes(step.native()), "."));
}

TEST_F(Stores, ReadingKeepsToTheLimit) {
  folder();
  for (const auto& store : {open_folder(place_ / "small.lavin"), open_zip(zip())}) {
    const std::string& content = files_["graphs/step.onnx"];
    EXPECT_EQ(store->read("graphs/step.onnx", content.size()), content);
    EXPECT_EQ(sentence_of([&] { store->read("graphs/step.onnx", 3); }),
              "'graphs/step.onnx' in the bundle is larger than 3 bytes.");
    EXPECT_THROW(store->read("../small.zip", 3), BundleError);
  }
}

TEST_F(Stores, ZipsAreOpened) {
  for (const std::string& top : {std::string(), std::string("small.lavin/")}) {
    for (const bool zip64 : {false, true}) {
      const fs::path path = zip(
          [&](std::vector<ZipPart>& parts) {
            for (ZipPart& each : parts) each.zip64 = zip64;
            parts.push_back({top + "folder/", ""});
          },
          top);
      const auto bundle = Bundle::open(path.native());
      EXPECT_EQ(bundle->read("graphs/step.onnx"), files_["graphs/step.onnx"]);
    }
  }
  const std::string whole = zip_of({{"a", "1"}, {"b", "2"}});
  write(place_ / "prefix.zip", "#!/bin/sh\n" + whole);
  EXPECT_EQ(open_zip(place_ / "prefix.zip")->read("b", 9), "2");
  write(place_ / "comment.zip", whole.substr(0, whole.size() - 2) + std::string("\3\0abc", 5));
  EXPECT_EQ(open_zip(place_ / "comment.zip")->read("a", 9), "1");
}

TEST_F(Stores, ZipsAreExtractedForAsLongAsTheyLive) {
  auto bundle = Bundle::open(zip().native());
  const Variant& variant = bundle->variant("fp32", "native");
  const fs::path file = bundle->graph_file(variant, variant.graph("modulation"));
  EXPECT_EQ(file.filename(), "modulation.onnx");
  EXPECT_EQ(fs::file_size(file), files_["graphs/modulation.onnx"].size());
  EXPECT_TRUE(fs::exists(file.parent_path() / "fp32.weights"));
  EXPECT_EQ(bundle->graph_file(variant, variant.graph("modulation")), file);
  bundle.reset();
  EXPECT_FALSE(fs::exists(file.parent_path().parent_path()));
}

TEST_F(Stores, UnsafeEntriesOfZipsAreRefused) {
  const std::string name = "graphs/step.onnx";
  const auto with = [&](const std::function<void(ZipPart&)>& change) {
    return refused(zip([&](std::vector<ZipPart>& parts) { change(part(parts, name)); }));
  };
  EXPECT_EQ(
      with([](ZipPart& p) { p.method = 8; }),
      "the entry 'graphs/step.onnx' of 'small.zip' is compressed; a bundle's zip only stores: "
      "make it with zip -0 or with lavin_deploy.bundle.pack.");
  EXPECT_EQ(with([](ZipPart& p) { p.flags = 1; }),
            "the entry 'graphs/step.onnx' of 'small.zip' is encrypted.");
  EXPECT_EQ(with([](ZipPart& p) { p.mode = 0120777; }),
            "the entry 'graphs/step.onnx' of 'small.zip' is a symbolic link.");
  EXPECT_EQ(with([](ZipPart& p) { p.name = "../x"; }).find("the path '../x' is not allowed"), 0U);
  EXPECT_EQ(with([](ZipPart& p) { p.name = "graphs/STEP.onnx"; }),
            cat(in_quotes((place_ / "small.zip").native()),
                " is incomplete: it has no 'graphs/step.onnx'; copy or export it again."));
  EXPECT_EQ(with([](ZipPart& p) {
              p.name = "graphs/ENCODER.onnx";
            }).find("the bundle lists 'graphs/ENCODER.onnx' twice"),
            0U);
}

TEST_F(Stores, WhatPeoplePutIntoZipsIsIgnored) {
  for (const std::string top : {"", "small.lavin/", "Mein B\xc3\xbcndel (Kopie).lavin/"}) {
    for (const bool first : {true, false}) {
      const auto path = zip(
          [&](std::vector<ZipPart>& parts) {
            std::vector<ZipPart> strange;
            for (const auto& [name, content] : files_) {
              strange.push_back({"__MACOSX/" + name, "no part of it"});
            }
            for (const std::string name :
                 {".DS_Store", "Thumbs.db", "._manifest.json", "notes.txt",
                  "Gr\xc3\xbc\xc3\x9f"
                  "e an alle.txt",
                  "graphs/.DS_Store", "con.txt", "12:30.txt", "x\\y", "\xff\xfe"}) {
              strange.push_back({top + name, "no part of it"});
            }
            strange.push_back({top + "graphs/" + std::string(300, 'x'), "no part of it"});
            for (std::size_t i = 0; i < strange.size(); i += 2) {
              strange[i].method = 8;
              strange[i].flags = 1;
            }
            parts.insert(first ? parts.begin() : parts.end(), strange.begin(), strange.end());
          },
          top);
      const auto bundle = Bundle::open(path.native());
      EXPECT_EQ(bundle->manifest_text(), files_["manifest.json"]);
      for (const auto& [name, entry] : bundle->manifest().files) {
        EXPECT_EQ(bundle->read(name), files_[name]);
      }
      EXPECT_THROW(bundle->read("notes.txt"), BundleError);
    }
  }
  EXPECT_EQ(
      refused(zip(
          [](std::vector<ZipPart>& parts) { parts.push_back({"other.lavin/manifest.json", "{}"}); },
          "small.lavin/")),
      "'small.zip' holds several bundles, 'other.lavin' and 'small.lavin'; make a zip of "
      "each.");
  for (const std::string name : {"../evil", "/evil", "a/../../evil", "..\\evil", "c:/evil"}) {
    EXPECT_EQ(refused(zip([&](std::vector<ZipPart>& parts) {
                parts.push_back({name, "x"});
              })).find(cat("the path ", in_quotes(name), " is not allowed in a bundle")),
              0U);
  }
}

TEST_F(Stores, DamagedEntriesOfZipsAreRefused) {
  const std::string name = "graphs/step.onnx";
  const auto with = [&](const std::function<void(ZipPart&)>& change) {
    return refused(zip([&](std::vector<ZipPart>& parts) { change(part(parts, name)); }));
  };
  const std::string unreadable = "'graphs/step.onnx' in the bundle cannot be read: ";
  const std::string overlap =
      "the entries of 'small.zip' overlap; the zip file is damaged or hostile.";
  EXPECT_EQ(with([](ZipPart& p) { p.crc_error = 1; }),
            unreadable + "Bad CRC-32 for file 'graphs/step.onnx'.");
  EXPECT_EQ(with([](ZipPart& p) { p.local_name = "graphs/stop.onnx"; }),
            unreadable +
                "File name in directory 'graphs/step.onnx' and header b'graphs/stop.onnx' "
                "differ..");
  EXPECT_EQ(with([](ZipPart& p) { p.local_signature = 0; }),
            unreadable + "Bad magic number for file header.");
  EXPECT_EQ(with([](ZipPart& p) { p.flags = 0x20; }),
            unreadable + "compressed patched data (flag bit 5).");
  EXPECT_EQ(with([](ZipPart& p) { p.content[0] = 'W'; }),
            cat("'graphs/step.onnx' in the bundle does not have the sha256 that the manifest says",
                kDamaged));
  EXPECT_EQ(
      with([](ZipPart& p) { p.content += "!"; }),
      cat("'graphs/step.onnx' in the bundle has 28 bytes where the manifest says 27", kDamaged));
  EXPECT_EQ(with([](ZipPart& p) { p.stated_size = 1 << 30; }), overlap);
  EXPECT_EQ(with([](ZipPart& p) {
              p.stated_size = ~std::uint64_t{0};
              p.zip64 = true;
            }),
            overlap);
  EXPECT_EQ(with([](ZipPart& p) { p.stated_size = 200; }), overlap);  // reaches into the next
  EXPECT_EQ(with([](ZipPart& p) { p.stated_offset = 0; }), overlap);
}

TEST_F(Stores, FilesThatAreNoZipsAreRefused) {
  const std::string whole = zip_of({{"a", "1"}});
  const fs::path path = place_ / "x.zip";
  const std::string begin =
      cat(in_quotes(path.native()), " is neither a bundle folder nor a readable zip of one: ");
  write(path, "");
  EXPECT_EQ(refused(path), begin + "File is not a zip file.");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(path, whole.substr(0, size));
    EXPECT_EQ(refused(path), begin + "File is not a zip file.");
  }
  std::string wrong = whole;
  wrong[wrong.size() - 7] = 1;  // the directory's offset
  write(path, wrong);
  EXPECT_EQ(refused(path), begin + "Bad offset for central directory.");
  wrong = whole;
  wrong[wrong.size() - 22 - 47] ^= 1;  // the directory's first letter
  write(path, wrong);
  EXPECT_EQ(refused(path), begin + "Bad magic number for central directory.");
}

}  // namespace
}  // namespace lavin::core
