// SPDX-License-Identifier: Apache-2.0

/// A progress line on a terminal during the preparation of guest RAM. It appears after one second.
struct ProgressLine {
  /// The total number of bytes.
  let total: UInt64
  /// The operation on the bytes, as a participle: `pinned`.
  let verb: String
  /// The start time in microseconds.
  let start: Int64
  /// True if the guest's console is on the same terminal. The line is then written only once, because an
  /// update would overwrite the guest's output.
  let isShared: Bool
  private var shown: Int64?

  /// The delay before the first line, in microseconds.
  private static let delay: Int64 = 1_000_000
  /// The minimum interval between updates, in microseconds.
  private static let interval: Int64 = 200_000

  init(total: UInt64, verb: String, start: Int64, isShared: Bool) {
    self.total = total
    self.verb = verb
    self.start = start
    self.isShared = isShared
  }

  /// Returns the text to write now, or nil for none. A line ends with CR and LF, because the terminal may be
  /// raw.
  ///
  /// - Parameters:
  ///   - done: The number of bytes that are done.
  ///   - time: The current time in microseconds, on the same clock as `start`.
  mutating func text(done: UInt64, at time: Int64) -> String? {
    if isShared {
      guard shown == nil, done < total, time - start >= Self.delay else { return nil }
      shown = time
      return "\(words(done)) so far\r\n"
    }
    guard let last = shown else {
      guard done < total, time - start >= Self.delay else { return nil }
      shown = time
      return words(done)
    }
    guard done == total || time - last >= Self.interval else { return nil }
    shown = time
    return "\r\(words(done))\(done == total ? "\r\n" : "")"
  }

  /// Returns the text to write if the operation ends before all bytes are done, or nil for none.
  func end(done: UInt64) -> String? { shown != nil && !isShared && done < total ? "\r\n" : nil }

  private func words(_ done: UInt64) -> String {
    // The length of the line is constant, so that an update covers the previous line.
    let unit: (shift: UInt64, name: String) = total >= 64 << 30 ? (30, "GiB") : (20, "MiB")
    let all = String(total >> unit.shift)
    let part = String(done >> unit.shift)
    let room = String(repeating: " ", count: max(0, all.utf8.count - part.utf8.count))
    return "sluice: guest RAM: \(room)\(part) of \(all) \(unit.name) \(verb)"
  }
}
