#include "zip_writer.h"

namespace lavin::core {
namespace {

// A little-endian number.
std::string little(std::uint64_t number, int bytes) {
  std::string text;
  for (; bytes > 0; --bytes, number >>= 8U) text += static_cast<char>(number & 0xffU);
  return text;
}

std::uint32_t crc_of(const std::string& text) {
  std::uint32_t sum = 0xffffffff;
  for (const char letter : text) {
    sum ^= static_cast<unsigned char>(letter);
    for (int bit = 0; bit < 8; ++bit) sum = sum & 1U ? sum >> 1U ^ 0xedb88320U : sum >> 1U;
  }
  return ~sum;
}

// What the local header and the directory have in common, up to the length of the name.
std::string common(const ZipPart& part, std::uint64_t size, const std::string& name) {
  const std::uint64_t shown = part.zip64 ? 0xffffffffU : size;
  return little(20, 2) + little(part.flags, 2) + little(part.method, 2) + little(0, 4) +
         little(crc_of(part.content) ^ part.crc_error, 4) + little(shown, 4) + little(shown, 4) +
         little(name.size(), 2);
}

}  // namespace

std::string zip_of(const std::vector<ZipPart>& parts) {
  std::string zip, directory;
  for (const ZipPart& part : parts) {
    const std::uint64_t offset = part.stated_offset.value_or(zip.size());
    const std::uint64_t size = part.stated_size.value_or(part.content.size());
    const std::string local = part.local_name.value_or(part.name);
    zip += little(part.local_signature, 4) + common(part, part.content.size(), local) +
           little(0, 2) + local + part.content;
    const std::string extra = part.zip64 ? little(1, 2) + little(24, 2) + little(size, 8) +
                                               little(size, 8) + little(offset, 8)
                                         : "";
    directory += "PK\1\2" + little(20, 2) + common(part, size, part.name) +
                 little(extra.size(), 2) + little(0, 6) + little(part.mode << 16U, 4) +
                 little(part.zip64 ? 0xffffffffU : offset, 4) + part.name + extra;
  }
  return zip + directory + "PK\5\6" + little(0, 4) + little(parts.size(), 2) +
         little(parts.size(), 2) + little(directory.size(), 4) + little(zip.size(), 4) +
         little(0, 2);
}

}  // namespace lavin::core
