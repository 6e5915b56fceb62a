#include "base/zip_directory.h"

#include <algorithm>

#include "base/text.h"

namespace lavin::core {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56, kEntrySize = 46;
constexpr std::uint64_t kInExtra = 0xffffffff;  // the number is in the zip64 field
constexpr unsigned kNewest = 63;                // version of the format, times ten

// Where the end record begins in the tail. With a comment behind it, the last one counts.
std::size_t find_end(std::string_view tail) {
  constexpr auto kSignature = "PK\5\6"sv;
  constexpr std::size_t kLongest = (1 << 16) + kEndSize;
  if (tail.size() >= kEndSize) {
    const std::string_view end = tail.substr(tail.size() - kEndSize);
    if (end.substr(0, 4) == kSignature && little(end, 20, 2) == 0) return tail.size() - kEndSize;
  }
  const std::size_t start = tail.rfind(kSignature);
  const std::size_t first = tail.size() > kLongest ? tail.size() - kLongest : 0;
  if (start == std::string_view::npos || start < first || tail.size() - start < kEndSize) {
    throw ZipError("File is not a zip file");
  }
  return start;
}

// Take sizes and offset from the zip64 field where the entry refers to it.
void read_extra(std::string_view extra, ZipEntry& entry) {
  while (extra.size() >= 4) {
    const std::uint64_t kind = little(extra, 0, 2), size = little(extra, 2, 2);
    if (size + 4 > extra.size()) throw ZipError("Corrupt extra field");
    std::string_view field = extra.substr(4, static_cast<std::size_t>(size));
    const auto take = [&field](std::uint64_t& number, const char* name) {
      if (number != kInExtra) return;
      if (field.size() < 8) throw ZipError(cat("Corrupt zip64 extra field. ", name, " not found."));
      number = little(field, 0, 8);
      field.remove_prefix(8);
    };
    if (kind == 1) {
      take(entry.size, "File size");
      take(entry.packed, "Compress size");
      take(entry.offset, "Header offset");
    }
    extra.remove_prefix(static_cast<std::size_t>(size) + 4);
  }
}

}  // namespace

ZipDirectory find_directory(std::string_view tail, std::uint64_t file_size) {
  const std::size_t end = find_end(tail);
  ZipDirectory directory;
  directory.size = little(tail, end + 12, 4);
  std::uint64_t offset = little(tail, end + 16, 4);
  std::uint64_t limit = file_size - (tail.size() - end);  // the directory ends there
  if (end >= kLocatorSize && tail.substr(end - kLocatorSize, 4) == "PK\6\7"sv) {
    const std::size_t locator = end - kLocatorSize;
    if (little(tail, locator + 4, 4) != 0 || little(tail, locator + 16, 4) > 1) {
      throw ZipError("zipfiles that span multiple disks are not supported");
    }
    if (locator >= kEnd64Size && tail.substr(locator - kEnd64Size, 4) == "PK\6\6"sv) {
      const std::size_t record = locator - kEnd64Size;
      directory.size = little(tail, record + 40, 8);
      offset = little(tail, record + 48, 8);
      limit -= kLocatorSize + kEnd64Size;
    }
  }
  if (directory.size > limit || offset > limit - directory.size) {
    throw ZipError("Bad offset for central directory");
  }
  directory.start = limit - directory.size;
  directory.base = directory.start - offset;
  return directory;
}

std::vector<ZipEntry> read_directory(std::string_view directory, std::uint64_t base) {
  std::vector<ZipEntry> entries;
  while (!directory.empty()) {
    if (directory.size() < kEntrySize) throw ZipError("Truncated central directory");
    if (directory.substr(0, 4) != "PK\1\2"sv) {
      throw ZipError("Bad magic number for central directory");
    }
    const std::uint64_t version = little(directory, 6, 2) & 0xff;
    if (version > kNewest) {
      throw ZipError(cat("zip file version ", version / 10, ".", version % 10));
    }
    ZipEntry entry;
    entry.flags = static_cast<std::uint16_t>(little(directory, 8, 2));
    entry.method = static_cast<std::uint16_t>(little(directory, 10, 2));
    entry.crc = static_cast<std::uint32_t>(little(directory, 16, 4));
    entry.packed = little(directory, 20, 4);
    entry.size = little(directory, 24, 4);
    entry.mode = static_cast<std::uint16_t>(little(directory, 40, 2));
    entry.offset = little(directory, 42, 4);
    const auto name = static_cast<std::size_t>(little(directory, 28, 2));
    const auto extra = static_cast<std::size_t>(little(directory, 30, 2));
    const auto comment = static_cast<std::size_t>(little(directory, 32, 2));
    directory.remove_prefix(kEntrySize);
    if (directory.size() < name + extra + comment) throw ZipError("Truncated central directory");
    entry.name = directory.substr(0, name);
    read_extra(directory.substr(name, extra), entry);
    entry.offset += base;
    if (entry.offset < base) throw ZipError("Bad offset of an entry");
    entries.push_back(std::move(entry));
    directory.remove_prefix(name + extra + comment);
  }
  return entries;
}

}  // namespace lavin::core
