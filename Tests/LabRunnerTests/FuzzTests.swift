// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite("Mutated images")
struct FuzzTests {
  private let mutator: ImageMutator

  init() throws { mutator = try ImageMutator([]) }

  /// The text of an input, which is equal for equal inputs.
  private func text(_ seed: UInt64, _ iteration: UInt64) -> String {
    String(describing: mutator.input(seed: seed, iteration: iteration))
  }

  @Test("an iteration depends on the seed and its number alone")
  func repeats() {
    let all = (0..<200).map { text(7, $0) }
    #expect((0..<200).reversed().map { text(7, $0) } == all.reversed())
    #expect(Set(all).count > 190)
    #expect(text(8, 0) != all[0])
  }

  @Test("kernels of every format are loaded and are refused")
  func outcomes() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "fuzz-\(UUID().uuidString)")
    try directory.makeDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }  // only litter
    let loader = try ImageLoader(directory: directory.path)
    var kinds: Set<String> = []
    for iteration in 0..<1500 as Range<UInt64> {
      kinds.insert(try loader.load(mutator.input(seed: 3, iteration: iteration), iteration))
    }
    #expect(
      kinds.isSuperset(of: ["loaded", "truncated", "damaged", "kernelTooLarge", "notRegular", "notAKernel"]),
      "\(kinds)")
  }

  @Test("a case is found by its name", arguments: ["fuzz-guest-20-1", "fuzz-guest-300-77"])
  func names(name: String) {
    #expect(GuestFuzz(named: name)?.asCase.name == name)
    #expect(GuestFuzz(named: "fuzz-guest") == nil)
  }
}
