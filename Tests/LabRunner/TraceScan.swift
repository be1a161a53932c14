// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Reads a trace of any length, piece by piece, and judges the order of what it tells.
struct TraceScan {
  private(set) var records = 0
  /// Windows that went from one state to another.
  private(set) var gates = 0
  /// At most twenty.
  private(set) var faults: [String] = []
  private var resets: [String: Int] = [:]
  private var reasons: [String: Int] = [:]
  private var warnings: [String: Int] = [:]
  private var open: Set<Trace.Window> = []
  /// How many containers have a window.
  private var mapped: [Trace.Window: Int] = [:]
  /// Devices whose memory bit is off.
  private var off: Set<String> = []

  /// Counts by kind.
  var summary: String {
    func list(_ counts: [String: Int]) -> String {
      counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }
    let told = warnings.isEmpty ? "" : "; warnings: \(list(warnings))"
    return "\(records) records, \(gates) gate events (\(list(reasons))), resets: \(list(resets))\(told)"
  }

  mutating func read(_ file: URL) throws {
    let handle = try FileHandle(forReadingFrom: file)
    defer { try? handle.close() }  // nothing was written
    var rest: [UInt8] = []
    while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
      rest += piece
      var start = 0
      while let end = rest[start...].firstIndex(of: 10) {
        take(TraceLine(rest[start..<end]))
        start = end + 1
      }
      rest.removeFirst(start)
    }
  }

  private mutating func fault(_ text: String) { if faults.count < 20 { faults.append(text) } }

  /// Takes the next record.
  mutating func take(_ line: TraceLine) {
    records += 1
    switch line["event"] {
    case "gate": gate(line)
    case "dma" where line["what"] == "bar": map(line)
    case "command": command(line)
    case "reset":
      let why = line["why"] ?? "?"
      resets[why, default: 0] += 1
      if let device = line["device"] { requireClosed(device, "it was reset (\(why))", line) }
    case "warning": warnings[line["text"] ?? "?", default: 0] += 1
    default: break
    }
  }

  private func window(_ line: TraceLine) -> Trace.Window {
    Trace.Window(
      device: line["device"] ?? "?", bar: line["bar"].flatMap { Int($0) } ?? -1,
      index: line["window"].flatMap { Int($0) } ?? -1)
  }

  private mutating func gate(_ line: TraceLine) {
    gates += 1
    reasons[line["why"] ?? "?", default: 0] += 1
    let window = window(line)
    if line["to"] == "open" {
      if off.contains(window.device) {
        fault("\(window) opened while its memory bit was off, at \(line.time)")
      }
      open.insert(window)
    } else if line["from"] == "open" {
      if mapped[window, default: 0] > 0 { fault("\(window) closed with an IOVA left, at \(line.time)") }
      open.remove(window)
    }
  }

  private mutating func map(_ line: TraceLine) {
    var window = window(line)
    for _ in 0..<(line["windows"].flatMap { Int($0) } ?? 1) {
      mapped[window, default: 0] += line["op"] == "map" ? 1 : -1
      if mapped[window] == 0 { mapped[window] = nil }
      window.index += 1
    }
  }

  private mutating func command(_ line: TraceLine) {
    guard let device = line["device"], let new = line["new"].flatMap({ Int($0.dropFirst(2), radix: 16) })
    else {
      return
    }
    if new & 2 != 0 {
      off.remove(device)
    } else {
      off.insert(device)
      requireClosed(device, "its memory bit went off", line)
    }
  }

  private mutating func requireClosed(_ device: String, _ text: String, _ line: TraceLine) {
    for window in open where window.device == device {
      fault("\(window) was open when \(text), at \(line.time)")
    }
    for window in mapped.keys where window.device == device {
      fault("\(window) had an IOVA when \(text), at \(line.time)")
    }
  }
}

/// One record: names and values, found in one pass without decoding what nobody asks for.
struct TraceLine {
  private var fields: [(name: String, value: String)] = []

  init(_ bytes: ArraySlice<UInt8>) {
    var index = bytes.startIndex
    var name: String?
    while index < bytes.endIndex {
      switch bytes[index] {
      case 0x22:  // a string, in which a backslash hides what follows
        var end = index + 1
        while end < bytes.endIndex, bytes[end] != 0x22 { end += bytes[end] == 0x5C ? 2 : 1 }
        end = min(end, bytes.endIndex)
        add(&name, String(decoding: bytes[(index + 1)..<end], as: UTF8.self))
        index = end + 1
      case 0x2D, 0x30...0x39:
        var end = index
        while end < bytes.endIndex, bytes[end] != 0x2C, bytes[end] != 0x7D { end += 1 }
        add(&name, String(decoding: bytes[index..<end], as: UTF8.self))
        index = end
      default: index += 1
      }
    }
  }

  private mutating func add(_ name: inout String?, _ text: String) {
    if let known = name {
      fields.append((known, text))
      name = nil
    } else {
      name = text
    }
  }

  subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

  /// Microseconds.
  var time: String { self["time"] ?? "?" }
}
