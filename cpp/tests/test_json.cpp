#include "base/json.h"
#include "support.h"

namespace lavin::core {
namespace {

// The sentence about a text that is no JSON, and about one value of JSON.
std::string refused(const std::string& text) {
  return sentence_of([&] { parse_json(text, "x.json"); });
}
std::string refused(const std::string& text, const std::function<void(const Value&)>& use) {
  const Json json = parse_json(text, "x.json");
  return sentence_of([&] { use(Value(json, "x.json")); });
}

TEST(JsonText, OnlyTheStandardIsAccepted) {
  for (const std::string& text :
       {std::string(), std::string(" "), std::string("{"), std::string("{} x"), std::string("NaN"),
        std::string("[Infinity]"), std::string("[-Infinity]"), std::string("01"),
        std::string("{'a':1}"), std::string("[1,]"), std::string("// x\n1"), std::string("\"\n\""),
        std::string("\"\xff\""), std::string("1\0", 2), std::string("\"\\ud800\"")}) {
    EXPECT_EQ(refused(text).rfind("x.json is not valid JSON (", 0), 0U) << text;
  }
  EXPECT_EQ(refused("[1"),
            "x.json is not valid JSON (wrong syntax at byte 3); write the file again.");
  EXPECT_EQ(refused("1e999"),
            "x.json is not valid JSON (a number is too large); write the file again.");
  EXPECT_EQ(refused("{\"a\":1,\"b\":2,\"a\":3}"),
            "x.json is not valid JSON (a key is repeated); write the file again.");
  EXPECT_EQ(refused("{\"a\":{\"b\":1},\"b\":{}}"), "");
}

TEST(JsonText, DepthAndCountAreBounded) {
  EXPECT_EQ(refused(std::string(200, '[') + std::string(200, ']')), "");
  EXPECT_EQ(refused(std::string(201, '[') + std::string(201, ']')),
            "x.json is not valid JSON (nested deeper than 200); write the file again.");
  EXPECT_EQ(refused(std::string(1'000'000, '[')).rfind("x.json is not valid JSON", 0), 0U);
  std::string many = "[0";
  for (int i = 0; i < 1'000'000; ++i) many += ",0";
  EXPECT_EQ(refused(many + "]"),
            "x.json is not valid JSON (more than 1000000 values); write the file again.");
}

TEST(JsonText, ExcerptIsWhatWasWritten) {
  const std::string text =
      R"( {"b": [1, -2.5, 1e-7, null, true, false], "a": {"it's": []}, "c": 99999999999999999999} )";
  EXPECT_EQ(excerpt(parse_json(text, "x")),
            "{'b': [1, -2.5, 1e-7, null, true, false], 'a': {'it's': [...");
  EXPECT_EQ(excerpt(parse_json("99999999999999999999", "x")), "99999999999999999999");
}

TEST(JsonValue, FieldsAndPaths) {
  const Json json = parse_json(R"({"a": {"b": [{"c": 7}]}, "n": null})", "x.json");
  const Value root(json, "x.json");
  const Value c = root.at("a").at("b").list()[0].at("c");
  EXPECT_EQ(c.integer(), 7);
  EXPECT_EQ(c.where(), "x.json: a: b[0]: c");
  EXPECT_FALSE(root.find("z"));
  EXPECT_TRUE(root.find("n"));
  EXPECT_FALSE(root.find_value("n"));
  EXPECT_EQ(root.entries()[1].first, "n");
  EXPECT_EQ(sentence_of([&] { root.at("z"); }), "x.json lacks 'z'; write the file again.");
  EXPECT_EQ(sentence_of([&] { c.at("z"); }), "x.json: a: b[0]: c is 7; it must be an object.");
}

TEST(JsonValue, TypesAreStrict) {
  EXPECT_EQ(refused("1", [](const Value& v) { v.text(); }), "x.json is 1; it must be a text.");
  EXPECT_EQ(refused("1.0", [](const Value& v) { v.integer(); }),
            "x.json is 1.0; it must be a whole number.");
  EXPECT_EQ(refused("true", [](const Value& v) { v.integer(); }),
            "x.json is true; it must be a whole number.");
  EXPECT_EQ(refused("0", [](const Value& v) { v.boolean(); }),
            "x.json is 0; it must be true or false.");
  EXPECT_EQ(refused("true", [](const Value& v) { v.number(); }),
            "x.json is true; it must be a finite number.");
  EXPECT_EQ(refused("1e300", [](const Value& v) { v.number(); }),
            "x.json is 1e300; it must be a finite number.");
  EXPECT_EQ(refused("{}", [](const Value& v) { v.list(); }), "x.json is {}; it must be a list.");
  EXPECT_EQ(refused("[1]", [](const Value& v) { v.list(2); }),
            "x.json is [1]; it must be a list of 2.");
  EXPECT_EQ(refused("\"z\"",
                    [](const Value& v) {
                      v.one_of({"a", "b"});
                    }),
            "x.json is 'z'; it must be one of 'a', 'b'.");
}

TEST(JsonValue, NumbersKeepTheirRange) {
  EXPECT_EQ(refused("2147483648", [](const Value& v) { v.integer(); }),
            "x.json is 2147483648; it must be a whole number from -2147483648 to 2147483647.");
  EXPECT_EQ(refused("9223372036854775808", [](const Value& v) { v.long_integer(); }),
            "x.json is 9223372036854775808; it must be a whole number from -9223372036854775808 "
            "to 9223372036854775807.");
  EXPECT_EQ(refused("-1", [](const Value& v) { v.size(); }),
            "x.json is -1; it must be a whole number from 0 to 9223372036854775807.");
  const Json big = parse_json("18446744073709551616", "x");
  EXPECT_EQ(Value(big, "x").number(), 18446744073709551616.0);
  const Json whole = parse_json("3", "x");
  EXPECT_EQ(Value(whole, "x").number(), 3.0);
}

TEST(JsonValue, LongValuesAreShortened) {
  const std::string y(70, 'y');
  EXPECT_EQ(refused("\"" + y + "\"", [](const Value& v) { v.integer(); }),
            "x.json is '" + y.substr(0, 56) + "...; it must be a whole number.");
  EXPECT_EQ(refused("\"" + y.substr(0, 58) + "\"", [](const Value& v) { v.integer(); }),
            "x.json is '" + y.substr(0, 58) + "'; it must be a whole number.");
  std::string accents;
  for (int i = 0; i < 30; ++i) accents += "\xc3\xa9";  // the 57th byte would end within a letter
  EXPECT_EQ(refused("\"x" + accents + "\"", [](const Value& v) { v.integer(); }),
            "x.json is 'x" + accents.substr(0, 54) + "...; it must be a whole number.");
}

}  // namespace
}  // namespace lavin::core
