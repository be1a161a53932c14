// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The file that `sluice run --trace` wrote. Its records have the order of the events.
struct Trace {
  let records: [TraceRecord]

  init(_ text: String) throws {
    records = try text.split(separator: "\n").map { try TraceRecord(line: Array($0.utf8)[...]) }
  }

  init(file: URL) throws {
    guard file.exists else { throw Failed("no trace was written") }
    try self.init(String(contentsOf: file, encoding: .utf8))
  }

  /// Returns the violations of 'no BAR is mapped before the guest's first access'.
  ///
  /// A window may open only because of an access, after the guest's first instruction. Its IOVA may be mapped
  /// only after it has opened.
  func violationsOfLaziness() -> [String] {
    var faults: [String] = []
    var hasStarted = false
    var touched: Set<TraceRecord.Window> = []
    for record in records {
      if record.event == "phase", record.name == "first-instruction" { hasStarted = true }
      let mapped = [record.openedWindow].compactMap { $0 } + record.mappedWindows
      if !hasStarted {
        faults += mapped.map { "\($0) was mapped before the guest's first instruction" }
      }
      if let window = record.openedWindow {
        if record.why != "access" { faults.append("\(window) opened because of \(record.why ?? "nothing")") }
        touched.insert(window)
      }
      for window in record.mappedWindows where !touched.contains(window) {
        faults.append("\(window) had an IOVA before its first access")
      }
    }
    if !hasStarted { faults.append("the trace has no phase first-instruction") }
    return faults
  }

  /// Returns the violations of 'the guest waits for the start reset of a device'.
  func violationsOfStarting() -> [String] {
    var used: Set<String> = []
    var faults: [String] = []
    for record in records {
      guard let device = record.device else { continue }
      if ["command", "gate", "interrupts"].contains(record.event) { used.insert(device) }
      guard record.event == "reset", record.why == "start", used.contains(device) else { continue }
      faults.append("at \(record.time) µs \(device) had its start reset after the guest had used the device")
    }
    return faults
  }

  /// Returns the violations of 'no bus is reset while a window of any device is open'.
  func faultsOfBusResets() -> [String] {
    var open: Set<TraceRecord.Window> = []
    var faults: [String] = []
    for record in records {
      if let window = record.openedWindow { open.insert(window) }
      if let window = record.closedWindow { open.remove(window) }
      guard record.event == "reset", record.method == "bus" else { continue }
      for window in open { faults.append("at \(record.time) µs a bus was reset with \(window) open") }
    }
    return faults
  }

  /// The windows that opened at least once.
  var openedWindows: Set<TraceRecord.Window> { Set(records.compactMap(\.openedWindow)) }

  /// The number of writes of COMMAND that cleared the memory bit.
  var clearingWrites: Int { records.count(where: \.clearsMemory) }

  /// Returns the violations of 'every window is closed and unmapped before COMMAND clears the memory bit'.
  func violationsOfClosing() -> [String] {
    var open: Set<TraceRecord.Window> = []
    var mapped: Set<TraceRecord.Window> = []
    var faults: [String] = []
    for record in records {
      if let window = record.openedWindow { open.insert(window) }
      if let window = record.closedWindow { open.remove(window) }
      mapped.formUnion(record.mappedWindows)
      mapped.subtract(record.unmappedWindows)
      guard record.clearsMemory, let device = record.device else { continue }
      for window in open where window.device == device {
        faults.append("at \(record.time) µs COMMAND became \(record.new ?? "?") with \(window) still open")
      }
      for window in mapped where window.device == device {
        faults.append(
          "at \(record.time) µs COMMAND became \(record.new ?? "?") with \(window) still mapped in the IOMMU")
      }
    }
    return faults
  }

  /// Returns the violations of 'no window of a device is mapped while the device is reset'.
  ///
  /// The record follows the reset. A window that closed for the reset reopens after the record.
  func faultsOfResetting() -> [String] {
    var standing: [String: Standing] = [:]
    var faults: [String] = []
    for record in records {
      guard let device = record.device else { continue }
      standing[device, default: Standing()].take(record)
      if record.event == "reset", let count = standing[device]?.count, count > 0 {
        faults.append("at \(record.time) µs \(device) was reset (\(record.why ?? "?")) with windows mapped")
      }
    }
    return faults
  }

  /// Returns the violations of 'no window of a device is mapped after the device is isolated or released'.
  func violationsOfRemoval(of device: String) -> [String] {
    var standing = Standing()
    var isGone = false
    for record in records where record.device == device {
      standing.take(record)
      if record.event == "device" { isGone = true }
      if isGone, standing.count > 0 {
        return [
          "at \(record.time) µs \(device) is isolated or released with \(standing.count) windows still mapped"
        ]
      }
    }
    return isGone ? [] : ["the trace has no record that \(device) was isolated or released"]
  }

  /// The windows of a device that are open, and the windows that the IOMMU maps for other devices.
  private struct Standing {
    var open: Set<TraceRecord.Window> = []
    var mapped: Set<TraceRecord.Window> = []

    var count: Int { open.count + mapped.count }

    mutating func take(_ record: TraceRecord) {
      if let window = record.openedWindow { open.insert(window) }
      if let window = record.closedWindow { open.remove(window) }
      mapped.formUnion(record.mappedWindows)
      mapped.subtract(record.unmappedWindows)
    }
  }
}
