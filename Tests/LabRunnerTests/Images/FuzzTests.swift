// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite("Mutated images")
struct FuzzTests {
  private let mutator: ImageMutator

  init() throws { mutator = try ImageMutator([]) }

  /// Returns the text of an input. Equal inputs have equal texts.
  private func text(_ seed: UInt64, _ iteration: UInt64) -> String {
    String(describing: mutator.input(seed: seed, iteration: iteration))
  }

  @Test("an iteration depends only on the seed and its number")
  func repeats() {
    let all = (0..<200).map { text(7, $0) }
    #expect((0..<200).reversed().map { text(7, $0) } == all.reversed())
    #expect(Set(all).count > 190)
    #expect(text(8, 0) != all[0])
  }

  @Test("loads some mutated kernels, and rejects others with every expected error")
  func outcomes() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "fuzz-\(UUID().uuidString)")
    try directory.makeDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }  // only a leftover
    let loader = try ImageLoader(directory: directory.path)
    var kinds: Set<String> = []
    for iteration in 0..<1500 as Range<UInt64> {
      kinds.insert(try loader.load(mutator.input(seed: 3, iteration: iteration), iteration))
    }
    #expect(
      kinds.isSuperset(of: ["loaded", "truncated", "damaged", "kernelTooLarge", "notRegular", "notAKernel"]),
      "\(kinds)")
  }

  @Test("finds a case by its name", arguments: ["fuzz-guest-20-1", "fuzz-guest-300-77"])
  func names(name: String) {
    #expect(GuestFuzz(named: name)?.asCase.name == name)
    #expect(GuestFuzz(named: "fuzz-guest") == nil)
  }
}
