// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A bug in a copy of the tree, to check that the comparison detects it.
struct PlantedBug {
  let name: String
  /// The file to change.
  let file: String
  /// The text to replace. It occurs once in the file.
  let text: String
  let replacement: String
  /// Patterns of keys. A difference of at least one matching key must be unexplained.
  let keys: [String]

  static let all = [
    PlantedBug(
      name: "bar-size", file: "Sources/PCI/BAR.swift", text: "let mask = ~(size - 1)",
      replacement: "let mask = ~(size * 2 - 1)", keys: ["sizing.*", "bar.*"]),
    PlantedBug(
      name: "lost-mask-bit", file: "Sources/PCI/MSIXTable.swift",
      text: "isEnabled && !isFunctionMasked && !isMasked(vector)",
      replacement: "isEnabled && !isFunctionMasked", keys: ["msix.*"]),
    PlantedBug(
      name: "zero-for-all-ones", file: "Sources/Passthrough/Function/MemoryAccess.swift",
      text: """
            guard gate.isEffective else {
              statistics.deniedAccesses += 1
              return .max
        """,
      replacement: """
            guard gate.isEffective else {
              statistics.deniedAccesses += 1
              return 0
        """, keys: ["read.off.*"]),
  ]

  /// Builds Sluice with the bug from a copy of the tree. The file has the name of the bug.
  func build(_ workspace: Workspace) throws {
    let directory = workspace.planted
    let copy = directory.appending(path: "tree")
    try copy.makeDirectory()
    // -a keeps the modification times, so that only the file of the previous bug is compiled again.
    for part in ["Package.swift", "Sources", "Tests"] {
      try Command.output(["cp", "-a", "--", workspace.tree.appending(path: part).path, copy.path])
    }
    let target = copy.appending(path: file)
    let source = try String(contentsOf: target, encoding: .utf8)
    let parts = source.components(separatedBy: text)
    guard parts.count == 2 else {
      throw Failed("bug '\(name)': \(file): \(parts.count - 1) matches for the text to replace, expected 1")
    }
    try Data(parts.joined(separator: replacement).utf8).write(to: target)
    printLine("lab: building Sluice with the bug '\(name)'")
    let build = directory.appending(path: "build").path
    try Command.output(
      [
        "swift", "build", "-c", "release", "--static-swift-stdlib", "--product", "sluice", "--scratch-path",
        build,
      ], in: copy, mergingErrors: true)
    let result = directory.appending(path: name)
    try result.removeIfPresent()
    try FileManager.default.copyItem(at: URL(filePath: "\(build)/release/sluice"), to: result)
  }

  /// The case that runs the probe guest under Sluice with the bug and under the peer.
  var comparison: Case { ComparisonCases.planted(name) }

  /// Returns whether the comparison detected the bug, as the event of a case.
  func verdict(_ comparison: Comparison?) -> Event {
    let reported = (comparison?.unexplained ?? []).map(\.key).filter { key in
      keys.contains { Pattern.matches($0, key) }
    }
    return reported.isEmpty
      ? Event(.fail, "planted-\(name)", text: "not detected: none of \(keys.joined(separator: ", "))")
      : Event(.pass, "planted-\(name)", text: "detected by \(reported.prefix(3).joined(separator: ", "))")
  }
}
