// SPDX-License-Identifier: Apache-2.0

/// What of a process is resident, by its `/proc/PID/smaps`.
struct MemoryMaps: Equatable {
  /// In KiB.
  private(set) var guestRAM = 0
  private(set) var rest = 0

  /// - Parameter smallest: What is as large as that, in KiB, is guest RAM: no monitor has anything else of that size.
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
