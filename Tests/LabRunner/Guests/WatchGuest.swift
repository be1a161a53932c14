// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of the guest `watch`, which prints the values that it reads from its devices. The runner acts as the
/// host.
final class WatchGuest {
  let context: CaseContext
  let child: Child
  let label: String
  /// The number of bytes of output that have been searched.
  private var seen = 0

  /// Starts the guest and waits until it reads its devices.
  convenience init(_ context: CaseContext, _ devices: [String], strange: Int = 0, as label: String = "guest")
    throws
  {
    try self.init(context, BareMetalGuest("watch", devices, append: "strange=\(strange)"), as: label)
  }

  /// Starts a configured guest and waits until it reads its devices.
  ///
  /// - Parameters:
  ///   - context: The case's environment in L1.
  ///   - guest: A run of the guest `watch`.
  ///   - label: The name of the run's files.
  init(_ context: CaseContext, _ guest: BareMetalGuest, as label: String = "guest") throws {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    (self.context, self.label) = (context, label)
    child = try context.start(guest.command(context, as: label), as: label)
    try child.expect("\nwatching", within: 30)
    seen = child.output.utf8.count
  }

  /// Returns the value that a device's register had at the start.
  func value(of device: Int = 1) throws -> String {
    let values = child.output.split(whereSeparator: \.isNewline).filter { $0.contains(" has ") }
    guard values.count >= device, let value = values[device - 1].split(separator: " ").last else {
      throw Failed("the guest found \(values.count) devices; \(child.lastMessage)")
    }
    return String(value)
  }

  /// Waits for the next new line with a prefix and skips other lines. Returns the text after the prefix.
  func next(_ prefix: String, within seconds: Int = 15) throws -> String {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
      let isRunning = child.isRunning  // checked before reading, so that the last output counts
      var lines = child.output.utf8.dropFirst(seen).split(separator: 10, omittingEmptySubsequences: false)
      lines.removeLast()  // incomplete or empty
      for line in lines {
        seen += line.count + 1
        let text = String(line) ?? ""
        if text.hasPrefix("not ok") { throw Failed(text) }
        if text.hasPrefix(prefix) {
          return text.dropFirst(prefix.count).trimmingCharacters(in: .whitespacesAndNewlines)
        }
      }
      guard isRunning else { throw Failed("the VM ended before '\(prefix)'; \(child.lastMessage)") }
      guard ContinuousClock.now < end else { throw Failed("no '\(prefix)' within \(seconds) s") }
      usleep(20_000)
    }
  }

  /// Waits until a device reads a value. Returns the other values that it read before.
  @discardableResult
  func expect(_ device: Int = 1, reads value: String, within seconds: Int = 15) throws -> [String] {
    var others: [String] = []
    let end = ContinuousClock.now + .seconds(seconds)
    repeat {
      let read = try next("# device \(device) reads ", within: seconds)
      if read == value { return others }
      others.append(read)
    } while ContinuousClock.now < end
    throw Failed("device \(device) did not read \(value) within \(seconds) s but \(others)")
  }

  /// Requires that the guest answers and that its number of reads increases.
  func requireAlive() throws {
    func count() throws -> Int {
      try child.type("c")
      return Int(try next("# count ")) ?? 0
    }
    let before = try count()
    let after = try count()
    try context.require(after > before, "the guest made no progress after \(before) reads")
  }

  /// Returns the values that the guest reads from a device's register, COMMAND and identity.
  func state(_ device: Int = 1) throws -> (value: String, command: String, identity: String) {
    try child.type("s")
    let words = try next("# state \(device) reads ").split(separator: " ").map(String.init)
    guard words.count == 5 else {
      throw Failed("the guest printed '\(words.joined(separator: " "))' for the state")
    }
    return (words[0], words[2], words[4])
  }

  /// Requires that the first device reads all-ones everywhere, and that the second device, if any, and the VM work.
  func requireRemoved(hasOther: Bool = true) throws {
    let end = ContinuousClock.now + .seconds(10)
    var state = try state()
    // The host may notice the removal before the guest does.
    while state.value != "ffffffff", ContinuousClock.now < end { state = try self.state() }
    try context.require(
      state == ("ffffffff", "ffff", "ffffffff"),
      "the device reads \(state.value), COMMAND \(state.command), identity \(state.identity)")
    if hasOther {
      let other = try self.state(2)
      try context.require(try other.value == value(of: 2), "the other device reads \(other.value)")
    }
    try requireAlive()
  }

  /// Ends the guest and requires a report without failures. Returns the trace.
  func finish() throws -> Trace {
    try child.type("q")
    let status = try child.wait(within: 20)
    let report = BareMetalReport(child.output)
    if let fault = report.fault { throw Failed("\(fault) (status \(status)); \(child.lastMessage)") }
    try context.require(status == 1, "exit status \(status), expected 1; \(child.lastMessage)")
    return try Trace(file: context.file("\(label).jsonl"))
  }
}
