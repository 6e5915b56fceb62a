#include "base/zip.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "base/zip_directory.h"

namespace lavin::core {
namespace {

constexpr std::uint64_t kHeaderSize = 30;
constexpr std::uint64_t kMostDirectory = 64 << 20;
constexpr std::size_t kChunk = std::size_t{1} << 20;

// The checksum of zip files, in chunks, eight bytes at a time.
class Crc32 {
 public:
  void update(const char* chunk, std::size_t size) {
    static const Tables kTables = tables();
    std::string_view text(chunk, size);
    for (; text.size() >= 8; text.remove_prefix(8)) {
      const std::uint64_t word = little(text, 0, 8) ^ sum_;
      std::uint32_t sum = 0;
      for (std::size_t i = 0; i < 8; ++i) sum ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
      sum_ = sum;
    }
    for (const char letter : text) {
      sum_ = sum_ >> 8 ^ kTables[0][(sum_ ^ static_cast<unsigned char>(letter)) & 0xff];
    }
  }
  std::uint32_t value() const { return ~sum_; }

 private:
  using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

  static Tables tables() {
    Tables tables;
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t sum = i;
      for (int bit = 0; bit < 8; ++bit) sum = sum & 1 ? sum >> 1 ^ 0xedb88320 : sum >> 1;
      tables[0][i] = sum;
    }
    for (std::size_t table = 1; table < 8; ++table) {
      for (std::size_t i = 0; i < 256; ++i) {
        const std::uint32_t sum = tables[table - 1][i];
        tables[table][i] = sum >> 8 ^ tables[0][sum & 0xff];
      }
    }
    return tables;
  }

  std::uint32_t sum_ = 0xffffffff;
};

}  // namespace

Zip::Zip(const std::filesystem::path& path) : file_(path, true), size_(file_.size()) {
  constexpr std::uint64_t kTail = (1 << 16) + 22 + 20 + 56;
  const std::uint64_t tail = std::min(size_, kTail);
  const ZipDirectory directory =
      find_directory(bytes(size_ - tail, static_cast<std::size_t>(tail)), size_);
  if (directory.size > kMostDirectory) throw ZipError("its central directory is over 64 MiB");
  entries_ = read_directory(bytes(directory.start, static_cast<std::size_t>(directory.size)),
                            directory.base);
  find_ends(directory.start);
}

void Zip::find_ends(std::uint64_t directory) {
  std::vector<ZipEntry*> order;
  for (ZipEntry& entry : entries_) order.push_back(&entry);
  std::sort(order.begin(), order.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->offset > b->offset; });
  std::uint64_t end = directory;
  for (ZipEntry* entry : order) {
    entry->end = end;
    end = entry->offset;
  }
}

bool Zip::overlaps() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const ZipEntry& entry) {
    const std::uint64_t room = entry.end > entry.offset ? entry.end - entry.offset : 0;
    const std::uint64_t header = kHeaderSize + entry.name.size();
    return room < header || entry.packed > room - header;
  });
}

std::string Zip::bytes(std::uint64_t from, std::size_t size) const {
  std::string text(size, '\0');
  if (file_.read(from, text.data(), size) < size) throw ZipError("the file ends too early");
  return text;
}

// Where the content begins, having compared the local header with the directory.
std::uint64_t Zip::content_of(const ZipEntry& entry) const {
  if (entry.flags & 0x20) throw ZipError("compressed patched data (flag bit 5)");
  if (entry.flags & 0x40) throw ZipError("strong encryption (flag bit 6)");
  if (entry.end < entry.offset || entry.end - entry.offset < kHeaderSize) {
    throw ZipError("Truncated file header");
  }
  const std::string header = bytes(entry.offset, kHeaderSize);
  if (header.compare(0, 4, "PK\3\4") != 0) throw ZipError("Bad magic number for file header");
  const auto name_size = static_cast<std::size_t>(little(header, 26, 2));
  const std::string name = bytes(entry.offset + kHeaderSize, name_size);
  if (name != entry.name) {
    throw ZipError(cat("File name in directory ", in_quotes(entry.name), " and header b",
                       in_quotes(name), " differ."));
  }
  const std::uint64_t head = kHeaderSize + name_size + little(header, 28, 2);
  const std::uint64_t room = entry.end - entry.offset;
  if (head > room || entry.size > room - head) throw ZipError("it overlaps another entry");
  return entry.offset + head;
}

void Zip::read(const ZipEntry& entry,
               const std::function<void(const char* chunk, std::size_t size)>& take) const {
  const std::uint64_t from = content_of(entry);
  std::string chunk(static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, entry.size)), '\0');
  Crc32 sum;
  for (std::uint64_t done = 0; done < entry.size; done += chunk.size()) {
    if (entry.size - done < chunk.size()) chunk.resize(static_cast<std::size_t>(entry.size - done));
    if (file_.read(from + done, chunk.data(), chunk.size()) < chunk.size()) {
      throw ZipError("the file ends too early");
    }
    sum.update(chunk.data(), chunk.size());
    take(chunk.data(), chunk.size());
  }
  if (sum.value() != entry.crc) throw ZipError(cat("Bad CRC-32 for file ", in_quotes(entry.name)));
}

}  // namespace lavin::core
