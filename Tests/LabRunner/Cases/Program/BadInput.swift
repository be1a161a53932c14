// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A command line that must fail with a given exit status and given words.
struct BadInput {
  let label: String
  /// The words before `sluice`: a program that changes the user or the namespace and then executes the rest.
  var wrapper: [String] = []
  let arguments: [String]
  /// The expected exit statuses.
  var statuses: [Int32] = [1]
  /// Words that the message must contain, in upper or lower case.
  let words: [String]

  /// Runs the command line. Returns a description of an unexpected result, or nil if it fails as expected.
  func fault(_ context: CaseContext) throws -> String? {
    let name = label.replacing(" ", with: "-").replacing("/", with: "-")
    let child = try context.start(wrapper + [context.manifest.sluice] + arguments, as: name)
    let status: Int32
    do {
      status = try child.wait(within: 30)
    } catch let error as Failed {
      return "\(label): \(error)"
    }
    let said = child.errors.trimmingCharacters(in: .whitespacesAndNewlines)
    guard statuses.contains(status) else {
      return "\(label): status \(status), expected \(statuses); the message is '\(said)'"
    }
    let lower = said.lowercased()
    let missing = words.filter { !lower.contains($0.lowercased()) }
    return missing.isEmpty
      ? nil : "\(label): no '\(missing.joined(separator: "', '"))' in the message '\(said)'"
  }

  /// Runs every command line. Throws if a result is unexpected.
  static func check(_ inputs: [BadInput], _ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let faults = try inputs.compactMap { try $0.fault(context) }
    for fault in faults { context.note(fault) }
    try context.require(
      faults.isEmpty,
      "\(faults.count) of \(inputs.count) inputs have unexpected results, first: \(faults.first ?? "")")
    return "\(inputs.count) inputs"
  }
}
