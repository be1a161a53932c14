// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct ModuleMutantTests {
  @Test("replaces text that occurs once, and refuses other sources")
  func replacement() {
    let one = ModuleMutant.Replacement(old: "zap(all);", new: "")
    #expect(one.applied(to: "lock(); zap(all); unlock();") == "lock();  unlock();")
    #expect(one.applied(to: "lock(); unlock();") == nil)
    #expect(one.applied(to: "zap(all); zap(all);") == nil)
  }

  @Test("names the file and the text that is not found", arguments: ModuleMutant.allCases)
  func otherSource(mutant: ModuleMutant) throws {
    let source = FileManager.default.temporaryDirectory.appending(path: "source-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: source) }  // only a leftover
    let folder = source.appending(path: "drivers/vfio/pci")
    try folder.makeDirectory()
    for name in ["vfio_pci_core.c", "vfio_pci_dmabuf.c"] {
      try Data("int x;\n".utf8).write(to: folder.appending(path: name))
    }
    let error = #expect(throws: LabError.self) { try mutant.patch(source) }
    #expect(error?.description.contains("does not occur exactly once; compare") ?? false)
  }
}
