// SPDX-License-Identifier: Apache-2.0

/// The resident memory of a process, from its `/proc/PID/smaps`.
struct MemoryMaps: Equatable {
  /// The owner of memory other than guest RAM.
  enum Owner: String, CaseIterable {
    /// Code and constants of the program and of shared libraries.
    case code
    /// The variables of the program and of shared libraries, also those that begin as zero.
    case data
    /// The heap that brk extends.
    case heap
    /// Other memory without a file: the heaps and stacks of threads, and large blocks.
    case anonymous
    /// Memory shared with the kernel, with a device or with another process.
    case shared
  }

  /// The resident guest RAM in KiB.
  private(set) var guestRAM = 0
  /// The other resident memory in KiB.
  private(set) var owners: [Owner: Int] = [:]
  /// All resident memory without guest RAM, in KiB.
  var rest: Int { owners.values.reduce(0, +) }

  /// - Parameters:
  ///   - text: The content of `/proc/PID/smaps`.
  ///   - smallest: The minimum size of a mapping of guest RAM, in KiB. No VMM has another mapping of this
  ///     size.
  init(smaps text: String, smallest: Int = 128 << 10) {
    var isGuestRAM = false
    var owner = Owner.anonymous
    // The end of a program's data, at which its variables begin that are zero.
    var end: Substring = ""
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count >= 5, words[0].contains("-"), !words[0].hasSuffix(":") {
        let bounds = words[0].split(separator: "-")
        let isNext = bounds.first == end
        owner = Self.owner(access: words[1], file: words.count > 5 ? words[5] : "", isAfterData: isNext)
        end = owner == .data || owner == .code ? bounds.last ?? "" : ""
        continue
      }
      guard words.count >= 2, let value = Int(words[1]) else { continue }
      switch words[0] {
      case "Size:": isGuestRAM = value >= smallest
      case "Rss:": if isGuestRAM { guestRAM += value } else { owners[owner, default: 0] += value }
      default: break
      }
    }
  }

  private static func owner(access: Substring, file: Substring, isAfterData: Bool) -> Owner {
    if access.hasSuffix("s") { return .shared }
    if file == "[heap]" { return .heap }
    if file.hasPrefix("/") { return access.hasPrefix("rw") ? .data : .code }
    return file.isEmpty && isAfterData ? .data : .anonymous
  }
}
