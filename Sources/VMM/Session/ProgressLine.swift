// SPDX-License-Identifier: Apache-2.0

/// What a terminal is told while guest RAM is made ready, once that has taken more than a second.
struct ProgressLine {
  /// Bytes in all.
  let total: UInt64
  /// What is done with them: `pinned`.
  let verb: String
  /// When it began; microseconds.
  let start: Int64
  /// Whether the guest's console is on the terminal too. Then one line is written and left alone, since one
  /// that is written over again and again would wipe out what the guest says.
  let isShared: Bool
  private var shown: Int64?

  /// Nobody looks before this; microseconds.
  private static let patience: Int64 = 1_000_000
  /// Nor more often than this.
  private static let interval: Int64 = 200_000

  init(total: UInt64, verb: String, start: Int64, isShared: Bool) {
    self.total = total
    self.verb = verb
    self.start = start
    self.isShared = isShared
  }

  /// What to write now; nil for nothing. The terminal may be in raw mode, so a line ends with both characters.
  ///
  /// - Parameters:
  ///   - done: Bytes.
  ///   - time: Microseconds, of the clock of `start`.
  mutating func text(done: UInt64, at time: Int64) -> String? {
    if isShared {
      guard shown == nil, done < total, time - start >= Self.patience else { return nil }
      shown = time
      return "\(words(done)) so far\r\n"
    }
    guard let last = shown else {
      guard done < total, time - start >= Self.patience else { return nil }
      shown = time
      return words(done)
    }
    guard done == total || time - last >= Self.interval else { return nil }
    shown = time
    return "\r\(words(done))\(done == total ? "\r\n" : "")"
  }

  /// What to write when it ends before all is done.
  func end(done: UInt64) -> String? { shown != nil && !isShared && done < total ? "\r\n" : nil }

  private func words(_ done: UInt64) -> String {
    // The number of digits stays, so that a line covers the one before it.
    let unit: (shift: UInt64, name: String) = total >= 64 << 30 ? (30, "GiB") : (20, "MiB")
    let all = String(total >> unit.shift)
    let part = String(done >> unit.shift)
    let room = String(repeating: " ", count: max(0, all.utf8.count - part.utf8.count))
    return "sluice: guest RAM: \(room)\(part) of \(all) \(unit.name) \(verb)"
  }
}
