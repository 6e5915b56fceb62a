// Zip files of stored entries, right or with the faults that a test asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lavin::core {

struct ZipPart {
  std::string name, content;
  bool zip64 = false;
  std::uint16_t method = 0, flags = 0;
  std::uint32_t mode = 0100644;
  std::uint32_t crc_error = 0, local_signature = 0x04034b50;
  std::optional<std::string> local_name = {};
  std::optional<std::uint64_t> stated_size = {}, stated_offset = {};  // in the directory
};

std::string zip_of(const std::vector<ZipPart>& parts);

}  // namespace lavin::core
