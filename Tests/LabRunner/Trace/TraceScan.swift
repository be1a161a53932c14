// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A check of the order of events in a trace of any length. It reads the trace in pieces.
struct TraceScan {
  private(set) var records = 0
  /// The number of changes of a window's state.
  private(set) var gates = 0
  /// The violations, at most twenty.
  private(set) var faults: [String] = []
  private var resets: [String: Int] = [:]
  private var reasons: [String: Int] = [:]
  private var warnings: [String: Int] = [:]
  private var open: Set<TraceRecord.Window> = []
  /// The number of containers that map each window.
  private var mapped: [TraceRecord.Window: Int] = [:]
  /// The devices whose memory bit is clear.
  private var off: Set<String> = []
  /// The state in its slot of each device behind a port.
  private var slots: [String: String] = [:]
  /// The number of times that a device became each state.
  private(set) var lives: [String: Int] = [:]
  /// The devices whose slot has not been reset since it was contained.
  private var contained: Set<String> = []
  /// The devices that have not been reset since their slot was contained. Some devices have no reset.
  private var awaitingReset: Set<String> = []
  /// The number of resets by the slot that ended a containment.
  private(set) var containedResets = 0

  /// The states in which a port forwards nothing to its function. A device that leaves still works.
  private static let closedSlots: Set<String> = ["present", "contained", "resetting", "gone"]

  /// The number of windows that are open or have an IOVA.
  var remaining: Int { open.union(mapped.keys).count }

  /// The numbers of records by kind.
  var summary: String {
    func list(_ counts: [String: Int]) -> String {
      counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }
    let reported = warnings.isEmpty ? "" : "; warnings: \(list(warnings))"
    return "\(records) records, \(gates) gate events (\(list(reasons))), resets: \(list(resets))"
      + (lives.isEmpty ? "" : ", slots: \(list(lives))") + reported
  }

  mutating func read(_ file: URL) throws {
    let handle = try FileHandle(forReadingFrom: file)
    defer { try? handle.close() }  // the file is only read
    var rest: [UInt8] = []
    while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
      rest += piece
      var start = 0
      while let end = rest[start...].firstIndex(of: 10) {
        take(try TraceRecord(line: rest[start..<end]))
        start = end + 1
      }
      rest.removeFirst(start)
    }
  }

  private mutating func fault(_ text: String) { if faults.count < 20 { faults.append(text) } }

  /// Checks the next record.
  mutating func take(_ record: TraceRecord) {
    records += 1
    switch record.event {
    case "gate": gate(record)
    case "dma" where record.what == "bar": map(record)
    case "command": command(record)
    case "reset":
      let why = record.why ?? "?"
      resets[why, default: 0] += 1
      if let device = record.device {
        requireClosed(device, "its device was reset (\(why))", record)
        if why == "slot", awaitingReset.remove(device) != nil { containedResets += 1 }
      }
    case "interrupts", "vector": requireUncontained(record)
    case "slot": slot(record)
    case "warning": warnings[record.text ?? "?", default: 0] += 1
    default: break
    }
  }

  private mutating func gate(_ record: TraceRecord) {
    gates += 1
    reasons[record.why ?? "?", default: 0] += 1
    guard let window = record.namedWindow else {
      return fault("a gate event names no window, at \(record.time)")
    }
    if record.to != "closed", let slot = slots[window.device], Self.closedSlots.contains(slot) {
      fault("\(window) became \(record.to ?? "?") while its slot was \(slot), at \(record.time)")
    }
    if record.to == "open" {
      if off.contains(window.device) {
        fault("\(window) opened while its device's memory bit was clear, at \(record.time)")
      }
      open.insert(window)
    } else if record.from == "open" {
      if mapped[window, default: 0] > 0 { fault("\(window) closed while it had an IOVA, at \(record.time)") }
      open.remove(window)
    }
  }

  private mutating func map(_ record: TraceRecord) {
    guard var window = record.namedWindow else {
      return fault("a dma event names no window, at \(record.time)")
    }
    for _ in 0..<(record.windows ?? 1) {
      mapped[window, default: 0] += record.op == "map" ? 1 : -1
      if mapped[window] == 0 { mapped[window] = nil }
      window.index += 1
    }
  }

  /// Follows the life of a device behind a port. The windows are closed before a state that forbids them is reported.
  private mutating func slot(_ record: TraceRecord) {
    guard let device = record.device, let state = record.state else {
      return fault("a slot event has no device or state, at \(record.time)")
    }
    lives[state, default: 0] += 1
    switch state {
    case "contained":
      contained.insert(device)
      awaitingReset.insert(device)
    case "resetting": contained.remove(device)
    case "enabled":
      if contained.contains(device) {
        fault("\(device) was enabled before the reset of its slot, at \(record.time)")
      }
    case "gone":
      contained.remove(device)
      awaitingReset.remove(device)
    default: break
    }
    if slots[device] == "gone", state != "present", state != "enabled" {
      fault("\(device) became \(state) in its slot after it was gone, at \(record.time)")
    }
    slots[device] = state
    if Self.closedSlots.contains(state) { requireClosed(device, "its slot became \(state)", record) }
  }

  /// Checks that no access of the guest to configuration space or to the MSI-X table reaches a contained device.
  private mutating func requireUncontained(_ record: TraceRecord) {
    guard let device = record.device, slots[device] == "contained" else { return }
    fault("\(device) had the event '\(record.event)' while its slot was contained, at \(record.time)")
  }

  private mutating func command(_ record: TraceRecord) {
    requireUncontained(record)
    guard let device = record.device, let new = record.newCommand else {
      return fault("a command event has no device or value, at \(record.time)")
    }
    if new & 2 != 0 {
      off.remove(device)
    } else {
      off.insert(device)
      requireClosed(device, "its device's memory bit was cleared", record)
    }
  }

  private mutating func requireClosed(_ device: String, _ text: String, _ record: TraceRecord) {
    for window in open where window.device == device {
      fault("\(window) was open when \(text), at \(record.time)")
    }
    for window in mapped.keys where window.device == device {
      fault("\(window) had an IOVA when \(text), at \(record.time)")
    }
  }
}
