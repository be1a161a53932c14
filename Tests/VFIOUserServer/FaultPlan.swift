// SPDX-License-Identifier: Apache-2.0

/// A fault that a server injects at a message.
package enum Fault: Equatable, Sendable {
  /// The reply is sent after a delay in milliseconds.
  case late(Int32)
  /// The reply has one byte less.
  case short
  /// The reply has another ID.
  case wrongID
  /// The reply is an error with an error number (errno.h).
  case error(UInt32)
  /// The reply is sent twice.
  case duplicate
  /// Reads of configuration space return all-ones until the device is reset.
  case allOnes
  /// The next interrupt is not signalled.
  case lostInterrupt
  /// The next interrupt is signalled twice.
  case doubledInterrupt
  /// Vector 0 is signalled before the message is handled.
  case earlyInterrupt
  /// The server reads and writes an IOVA outside RAM before the message is handled.
  case strayDMA
  /// The server sends no reply from this message on, and keeps the connection open.
  case hang
  /// The process ends, and leaves its socket's file.
  case crash
  /// Accesses to a BAR get no reply from this message on.
  case deadBAR(Int)

  /// Parses the text of a fault. Returns nil if it is invalid.
  init?(_ words: [Substring]) {
    switch (words.first, words.dropFirst().first, words.count) {
    case ("late", let number?, 2):
      guard let milliseconds = Int32(number), milliseconds >= 0 else { return nil }
      self = .late(milliseconds)
    case ("short", nil, 1): self = .short
    case ("wrong-id", nil, 1): self = .wrongID
    case ("error", nil, 1): self = .error(5)
    case ("error", let number?, 2):
      guard let number = UInt32(number), number > 0 else { return nil }
      self = .error(number)
    case ("duplicate", nil, 1): self = .duplicate
    case ("all-ones", nil, 1): self = .allOnes
    case ("lost-interrupt", nil, 1): self = .lostInterrupt
    case ("doubled-interrupt", nil, 1): self = .doubledInterrupt
    case ("early-interrupt", nil, 1): self = .earlyInterrupt
    case ("stray-dma", nil, 1): self = .strayDMA
    case ("hang", nil, 1): self = .hang
    case ("crash", nil, 1): self = .crash
    case ("dead-bar", let number?, 2):
      guard let bar = Int(number), 0..<6 ~= bar else { return nil }
      self = .deadBAR(bar)
    default: return nil
    }
  }
}

/// The faults of a server: one rule per line, `at N: FAULT`, `every N: FAULT` or `rate P: FAULT`.
///
/// The server counts the commands of its clients from 1 on, VERSION included. A rule with `rate` applies to each message
/// with the probability P. Text after `#` is a comment.
package struct FaultPlan: Equatable, Sendable {
  /// The messages to which a rule applies.
  enum Trigger: Equatable, Sendable {
    case at(UInt64)
    case every(UInt64)
    case rate(Double)
  }

  /// A rule.
  struct Rule: Equatable, Sendable {
    let trigger: Trigger
    let fault: Fault
  }

  /// A line that is no rule.
  package struct InvalidLine: Error, Equatable, CustomStringConvertible {
    /// The number of the line, from 1 on.
    package let number: Int
    /// The line's text.
    package let text: String
    /// The line and the permitted forms.
    package var description: String {
      "line \(number): '\(text)' is not a rule; write 'at N: FAULT', 'every N: FAULT' or 'rate P: FAULT'"
    }
  }

  let rules: [Rule]

  /// Parses a plan. The empty text has no faults.
  package init(_ text: String) throws(InvalidLine) {
    var rules: [Rule] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let content = line.prefix { $0 != "#" }
      if content.allSatisfy({ $0 == " " }) { continue }
      guard let rule = Rule(content) else { throw InvalidLine(number: index + 1, text: String(line)) }
      rules.append(rule)
    }
    self.rules = rules
  }
}

extension FaultPlan.Rule {
  /// Parses a line. Returns nil if it is invalid.
  fileprivate init?(_ line: Substring) {
    let halves = line.split(separator: ":", omittingEmptySubsequences: false)
    guard halves.count == 2 else { return nil }
    let words = halves[0].split(separator: " ")
    guard words.count == 2, let fault = Fault(halves[1].split(separator: " ")) else { return nil }
    self.fault = fault
    switch words[0] {
    case "at":
      guard let number = UInt64(words[1]), number > 0 else { return nil }
      trigger = .at(number)
    case "every":
      guard let number = UInt64(words[1]), number > 0 else { return nil }
      trigger = .every(number)
    case "rate":
      guard let rate = Double(words[1]), 0...1 ~= rate else { return nil }
      trigger = .rate(rate)
    default: return nil
    }
  }
}
