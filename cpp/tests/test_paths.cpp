#include "bundle/paths.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST(Paths, GoodOnesAreAccepted) {
  const std::vector<std::string> good = {
      "manifest.json", "graphs/a-1x2.onnx",  "a+@-_.b", "_a/0", "com/console/nul1",
      "com10.txt",     std::string(240, 'x')};
  for (const std::string& path : good) EXPECT_NO_THROW(check_path(path)) << path;
}

TEST(Paths, OthersAreRefused) {
  const std::vector<std::string> bad = {"",
                                        "/",
                                        "/a",
                                        "a/",
                                        "a//b",
                                        "..",
                                        "../a",
                                        "a/../b",
                                        ".",
                                        "a/.b",
                                        "-a",
                                        "+a",
                                        "a.",
                                        "a/b./c",
                                        "a b",
                                        "a\\b",
                                        "c:a",
                                        "con",
                                        "CON",
                                        "a/Nul",
                                        "aux.txt.x",
                                        "com1",
                                        "LPT9.a",
                                        "prn.",
                                        "\xc3\xa9",
                                        "a\n",
                                        std::string("a\0", 2),
                                        std::string(241, 'x'),
                                        "com0/x"};
  for (const std::string& path : bad) EXPECT_THROW(check_path(path), BundleError) << path;
  EXPECT_EQ(sentence_of([] { check_path("../x"); }),
            "the path '../x' is not allowed in a bundle: paths are relative, stay inside it and "
            "consist of letters, digits, '_', '.', '+', '@' and '-' between '/'.");
}

TEST(Paths, ListsHaveEveryFileOnce) {
  EXPECT_NO_THROW(check_paths({"a/b", "a/c", "ab"}));
  EXPECT_EQ(sentence_of([] {
              check_paths({"DATA.md", "data.MD"});
            }),
            "the bundle lists 'data.MD' twice (also as 'DATA.md').");
  EXPECT_EQ(sentence_of([] {
              check_paths({"A/b/c", "a/B"});
            }),
            "'a/B' is a file of the bundle and the folder of 'A/b/c'.");
  EXPECT_THROW(check_paths({"a", "../b"}), BundleError);
}

TEST(Paths, NamesOfTasks) {
  for (const std::string& name :
       {std::string("depth"), std::string("low_light-2"), std::string("0"), std::string(64, 'a')}) {
    EXPECT_NO_THROW(check_task_name(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("Depth"), std::string("-a"),
        std::string("a.b"), std::string("a b"), std::string("nul"), std::string("com1")}) {
    EXPECT_THROW(check_task_name(name), InputError) << name;
  }
  EXPECT_EQ(sentence_of([] { check_task_name("A"); }),
            "'A' cannot name a task; a name has 1 to 64 lower-case letters, digits, '_' and '-' "
            "and begins with a letter or a digit.");
}

}  // namespace
}  // namespace lavin::core
