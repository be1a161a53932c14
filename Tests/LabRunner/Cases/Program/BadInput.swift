// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A command line that must fail: how, and with which words.
struct BadInput {
  let label: String
  /// What stands before `sluice`: a program that changes the surroundings and then runs the rest.
  var wrapper: [String] = []
  let arguments: [String]
  /// The exit statuses that are right.
  var statuses: [Int32] = [1]
  /// Every one must be in the message, in whatever case.
  let words: [String]

  /// What is wrong with how it failed; nil when nothing is.
  func fault(_ bench: CaseContext) throws -> String? {
    let name = label.replacing(" ", with: "-").replacing("/", with: "-")
    let child = try bench.start(wrapper + [bench.manifest.sluice] + arguments, as: name)
    let status: Int32
    do {
      status = try child.wait(within: 30)
    } catch let error as Failed {
      return "\(label): \(error)"
    }
    let said = child.errors.trimmingCharacters(in: .whitespacesAndNewlines)
    guard statuses.contains(status) else {
      return "\(label): status \(status), expected \(statuses); it said '\(said)'"
    }
    let lower = said.lowercased()
    let missing = words.filter { !lower.contains($0.lowercased()) }
    return missing.isEmpty ? nil : "\(label): no '\(missing.joined(separator: "', '"))' in '\(said)'"
  }

  /// Tries each; throws what was wrong with any of them.
  static func check(_ inputs: [BadInput], _ bench: CaseContext) throws -> String {
    guard bench.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let faults = try inputs.compactMap { try $0.fault(bench) }
    for fault in faults { bench.note(fault) }
    try bench.require(
      faults.isEmpty, "\(faults.count) of \(inputs.count) wrong, first: \(faults.first ?? "")")
    return "\(inputs.count) inputs"
  }
}
