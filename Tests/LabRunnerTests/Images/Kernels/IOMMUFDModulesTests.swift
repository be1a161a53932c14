// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import LabRunner

@Suite struct IOMMUFDModulesTests {
  @Test("the copy of the span iterator has its functions, and no exports")
  func spanIterator() {
    let text = """
      #include <linux/export.h>
      EXPORT_SYMBOL_GPL(interval_tree_insert);

      #ifdef CONFIG_INTERVAL_TREE_SPAN_ITER
      void interval_tree_span_iter_first(void)
      {
      }
      EXPORT_SYMBOL_GPL(interval_tree_span_iter_first);

      void interval_tree_span_iter_next(void);
      #endif

      """
    #expect(
      IOMMUFDModules.spanIterator(in: text) == """
        #include <linux/interval_tree.h>
        void interval_tree_span_iter_first(void)
        {
        }

        void interval_tree_span_iter_next(void);

        """)
  }

  @Test(
    "a file without a complete span iterator is refused",
    arguments: ["", "#endif\n", "#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER\nvoid next(void);\n"])
  func otherSource(_ text: String) { #expect(IOMMUFDModules.spanIterator(in: text) == nil) }

  @Test(
    "the headers need their common part, the build programs and the compiler",
    arguments: [
      (
        """
        linux-base (>= 4.12~), linux-headers-6.12.95+deb12-common (= 6.12.95-1~bpo12+1), \
        linux-image-6.12.95+deb12-amd64 (= 6.12.95-1~bpo12+1) | \
        linux-image-6.12.95+deb12-amd64-unsigned (= 6.12.95-1~bpo12+1), linux-kbuild-6.12.95+deb12, gcc-12
        """, ["linux-headers-6.12.95+deb12-common", "linux-kbuild-6.12.95+deb12", "gcc-12"]
      ),
      (
        """
        gcc-14-for-host, linux-base-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), \
        linux-headers-7.3.4+deb13-common (= 7.3.4-1~bpo13+1), linux-kbuild-7.3.4+deb13
        """, ["gcc-14-for-host", "linux-headers-7.3.4+deb13-common", "linux-kbuild-7.3.4+deb13"]
      ),
    ])
  func dependencies(field: String, expected: [String]) {
    #expect(IOMMUFDModules.packages(in: AptFields("Depends: " + field).dependencies) == expected)
  }

  @Test("the first two numbers of a kernel's version decide whether it has iommufd")
  func versions() throws {
    func isNewEnough(_ version: String) throws -> Bool {
      try #require(KernelVersion(release: version)) >= IOMMUFDModules.firstVersion
    }
    #expect(try !isNewEnough("6.1.0-57-amd64"))
    #expect(try !isNewEnough("6.5.13"))
    #expect(try isNewEnough("6.6.1"))
    #expect(try isNewEnough("6.12.95+deb12-amd64"))
    #expect(try isNewEnough("7.3.4+deb13-amd64"))
    #expect(KernelVersion(release: "next-20261101") == nil)
  }
}
