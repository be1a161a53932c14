// SPDX-License-Identifier: Apache-2.0

/// The resident memory of a process, from its `/proc/PID/smaps`.
struct MemoryMaps: Equatable {
  /// The resident guest RAM in KiB.
  private(set) var guestRAM = 0
  /// All other resident memory in KiB.
  private(set) var rest = 0

  /// - Parameters:
  ///   - text: The content of `/proc/PID/smaps`.
  ///   - smallest: The minimum size of a mapping of guest RAM, in KiB. No VMM has another mapping of this
  ///     size.
  init(smaps text: String, smallest: Int = 128 << 10) {
    var isGuestRAM = false
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count >= 2, let value = Int(words[1]) else { continue }
      switch words[0] {
      case "Size:": isGuestRAM = value >= smallest
      case "Rss:": if isGuestRAM { guestRAM += value } else { rest += value }
      default: break
      }
    }
  }
}
