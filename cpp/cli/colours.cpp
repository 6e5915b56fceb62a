#include "colours.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>

#ifdef LAVIN_HAS_LCMS2
#include <lcms2.h>
#endif
#include "exif.h"
#include "png_text.h"

namespace {

using Chromaticities = std::array<double, 8>;  // x and y of white, red, green, blue
constexpr Chromaticities kSrgb{0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06};
constexpr double kSrgbGamma = 0.45455;
constexpr Chromaticities kAdobe{0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06};
constexpr double kAdobeGamma = 2.19921875;  // Adobe RGB (1998), 4.3.4

// What a file says of its colours; nothing at all for sRGB.
struct Said {
  Bytes icc;
  std::optional<Chromaticities> primaries;
  std::optional<double> power;  // linear = value ** power; none for sRGB's curve
  std::string fault;            // why it is of no use
  std::string refusal;          // why the picture cannot be read
  bool numbers() const { return primaries || power; }
};

#ifdef LAVIN_HAS_PNG
// ITU-T H.273's codes of primaries and transfer.
Said of_codes(unsigned primaries, unsigned transfer) {
  static const std::map<unsigned, Chromaticities> kPrimaries{
      {1, kSrgb},
      {2, kSrgb},
      {5, kSrgb},
      {6, kSrgb},
      {7, kSrgb},
      {9, {0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046}},
      {11, {0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060}},
      {12, {0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060}}};
  static const std::map<unsigned, double> kPowers{
      // 0: sRGB's curve
      {1, 0}, {2, 0}, {6, 0}, {13, 0}, {14, 0}, {15, 0}, {4, 2.2}, {5, 2.8}, {8, 1.0}};
  Said said;
  const auto colours = kPrimaries.find(primaries);
  const auto power = kPowers.find(transfer);
  if (transfer == 16 || transfer == 18) {
    said.refusal = "it is HDR, which lavin-run tone-maps and lavin_cli does not; save it as sRGB";
  } else if (colours == kPrimaries.end() || power == kPowers.end()) {
    said.fault = "H.273 primaries " + std::to_string(primaries) + " and transfer " +
                 std::to_string(transfer) + " are unknown";
  } else {
    if (colours->second != kSrgb) said.primaries = colours->second;
    if (power->second != 0) said.power = power->second;
  }
  return said;
}

// The profile in an iCCP chunk: a name, 0, the method 0, and zlib's stream.
Bytes profile_in(const Part& part) {
  const unsigned char* end = part.data + part.size;
  const unsigned char* from = std::find(part.data, end, 0);
  if (end - from < 3) return {};
  from += 2;
  return inflated(from, static_cast<std::size_t>(end - from));
}

Said of_png(const std::vector<Part>& parts) {
  std::map<std::string, const Part*> chunks;
  for (const Part& part : parts) {
    if (part.name == "IDAT") break;
    chunks.emplace(part.name, &part);
  }
  if (chunks.count("cICP") != 0 && chunks["cICP"]->size >= 2) {
    return of_codes(chunks["cICP"]->data[0], chunks["cICP"]->data[1]);
  }
  Said said;
  if (chunks.count("iCCP") != 0) said.icc = profile_in(*chunks["iCCP"]);
  if (!said.icc.empty() || chunks.count("sRGB") != 0) return said;
  Chromaticities primaries = kSrgb;
  double gamma = kSrgbGamma;
  const bool has_gamma = chunks.count("gAMA") != 0 && chunks["gAMA"]->word(0) != 0;
  if (has_gamma) gamma = static_cast<double>(chunks["gAMA"]->word(0)) / 1e5;
  if (chunks.count("cHRM") != 0 && chunks["cHRM"]->size >= 32) {
    for (std::size_t i = 0; i < 8; ++i) {
      primaries.at(i) = static_cast<double>(chunks["cHRM"]->word(4 * i)) / 1e5;
    }
  }
  const bool like_srgb = std::equal(primaries.begin(), primaries.end(), kSrgb.begin(),
                                    [](double a, double b) { return std::abs(a - b) <= 2e-3; });
  if (like_srgb && std::abs(gamma - kSrgbGamma) < 1e-4) return said;
  said.primaries = primaries;
  if (has_gamma) said.power = 1 / gamma;
  return said;
}
#endif

// The profile in segments APP2, each "ICC_PROFILE", 0, its number from 1 on, and how many.
Said of_jpeg(const std::vector<Part>& parts) {
  const std::string mark("ICC_PROFILE\0", 12);
  std::map<unsigned, const Part*> pieces;
  std::size_t count = 0;
  for (const Part& part : parts) {
    if (part.name != "\xE2" || !part.begins(mark) || part.size < 14) continue;
    pieces.emplace(part.data[12], &part);
    count = part.data[13];
  }
  Said said;
  if (pieces.size() != count) return said;
  for (const auto& [number, part] : pieces) {
    said.icc.insert(said.icc.end(), part->data + 14, part->data + part->size);
  }
  return said;
}

Said said_in(const Bytes& file, Space space) {
  const std::vector<Part> parts = parts_of(file.data(), file.size());
  if (parts.empty()) return {};
#ifdef LAVIN_HAS_PNG
  if (parts[0].name == "IHDR") return of_png(parts);
#endif
  Said said = of_jpeg(parts);
  if (said.icc.empty() && space == Space::rgb && says_adobe_rgb(parts)) {
    said.primaries = kAdobe;
    said.power = kAdobeGamma;
  }
  return said;
}

std::size_t sample_bytes(Space space) {
  return space == Space::grey ? 1 : space == Space::wide_grey ? 2 : space == Space::rgb ? 3 : 4;
}

// Without a profile, in Pillow's whole numbers.
Bytes plain_rgb(Space space, const Bytes& samples) {
  const std::size_t step = sample_bytes(space), count = samples.size() / step;
  if (space == Space::rgb) return samples;
  Bytes rgb(3 * count);
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned char* from = samples.data() + step * i;
    unsigned char* to = rgb.data() + 3 * i;
    if (space == Space::grey) {
      std::memset(to, *from, 3);
    } else if (space == Space::wide_grey) {
      std::uint16_t grey = 0;
      std::memcpy(&grey, from, 2);
      std::memset(to, static_cast<int>(std::nearbyint(grey * (255.0 / 65535.0))), 3);
    } else {
      const int light = 255 - from[3];
      for (int c = 0; c < 3; ++c) {
        const int product = from[c] * light + 128;
        to[c] = static_cast<unsigned char>(std::max(light - (((product >> 8) + product) >> 8), 0));
      }
    }
  }
  return rgb;
}

#ifdef LAVIN_HAS_LCMS2
struct Release {
  void operator()(void* profile) const { cmsCloseProfile(profile); }
};
using Profile = std::unique_ptr<void, Release>;

bool is_grey(Space space) {
  return space == Space::grey || space == Space::wide_grey;
}

Profile built(const Said& said, Space space) {
  double srgb[] = {2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};
  cmsToneCurve* curve = said.power ? cmsBuildGamma(nullptr, *said.power)
                                   : cmsBuildParametricToneCurve(nullptr, 4, srgb);
  if (curve == nullptr) return nullptr;
  const Chromaticities xy = said.primaries.value_or(kSrgb);
  const cmsCIExyY white{xy[0], xy[1], 1};
  const cmsCIExyYTRIPLE primaries{{xy[2], xy[3], 1}, {xy[4], xy[5], 1}, {xy[6], xy[7], 1}};
  cmsToneCurve* curves[] = {curve, curve, curve};
  Profile profile(is_grey(space) ? cmsCreateGrayProfile(cmsD50_xyY(), curve)
                                 : cmsCreateRGBProfile(&white, &primaries, curves));
  cmsFreeToneCurve(curve);
  return profile;
}

// By LittleCMS, with Pillow's choices; "" or why it cannot be.
std::string convert(const Said& said, Space space, const Bytes& samples, Bytes& rgb) {
  const Profile source = said.icc.empty()
                             ? built(said, space)
                             : Profile(cmsOpenProfileFromMem(
                                   said.icc.data(), static_cast<cmsUInt32Number>(said.icc.size())));
  if (source == nullptr) return "it cannot be opened";
  const cmsColorSpaceSignature held = cmsGetColorSpace(source.get());
  const cmsColorSpaceSignature needed = is_grey(space)        ? cmsSigGrayData
                                        : space == Space::rgb ? cmsSigRgbData
                                                              : cmsSigCmykData;
  if (held != needed) return "it is for another kind of colour";
  const cmsUInt32Number format = space == Space::grey        ? TYPE_GRAY_8
                                 : space == Space::wide_grey ? TYPE_GRAY_16
                                 : space == Space::rgb       ? TYPE_RGB_8
                                                             : TYPE_CMYK_8;
  const Profile target(cmsCreate_sRGBProfile());
  const std::unique_ptr<std::remove_pointer_t<cmsHTRANSFORM>, void (*)(cmsHTRANSFORM)> transform(
      cmsCreateTransform(source.get(), format, target.get(), TYPE_RGB_8, INTENT_PERCEPTUAL,
                         is_grey(space) ? cmsFLAGS_NOOPTIMIZE : 0),
      [](cmsHTRANSFORM made) {
        if (made != nullptr) cmsDeleteTransform(made);
      });
  if (transform == nullptr) return "it holds no way to sRGB";
  const std::size_t step = sample_bytes(space), count = samples.size() / step;
  rgb.resize(3 * count);
  constexpr std::size_t kMost = 1U << 20U;  // pixels at a time
  for (std::size_t at = 0; at < count; at += kMost) {
    cmsDoTransform(transform.get(), samples.data() + step * at, rgb.data() + 3 * at,
                   static_cast<cmsUInt32Number>(std::min(kMost, count - at)));
  }
  return "";
}
#else
std::string convert(const Said&, Space, const Bytes&, Bytes&) {
  return "-";
}
#endif

}  // namespace

Converted to_srgb(const Bytes& file, Space space, const Bytes& samples) {
  Said said = said_in(file, space);
  Converted converted;
  if (!said.refusal.empty()) {
    converted.fault = said.refusal;
    return converted;
  }
  if (said.fault.empty() && (!said.icc.empty() || said.numbers())) {
    said.fault = convert(said, space, samples, converted.rgb);
    if (said.fault.empty()) return converted;
    if (said.fault == "-") {
      converted.fault =
          "it has colours of its own, which take LittleCMS (lcms2), and this build has none; "
          "save it as sRGB";
      return converted;
    }
  }
  if (!said.fault.empty()) {
    converted.notice = std::string("its colours are taken as ") +
                       (space == Space::cmyk ? "the plain complement of RGB" : "sRGB") +
                       "; the profile is of no use (" + said.fault + ")";
  }
  converted.rgb = plain_rgb(space, samples);
  return converted;
}
