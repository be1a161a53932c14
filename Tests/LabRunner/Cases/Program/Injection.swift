// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One run of the guest `inject` in which one call fails.
struct Injection {
  let row: InjectionTable.Row
  /// Which occurrence fails: the first, or a later one.
  let isFirst: Bool

  /// What became of the VM.
  enum Outcome: Equatable, CustomStringConvertible {
    /// The call was not made so often.
    case notReached(Int)
    /// The guest noticed nothing.
    case unharmed
    /// The guest noticed; the warning, or the check that failed where none is needed.
    case degraded(String)
    /// The VM ended with this line.
    case ended(String)
    /// What must not happen.
    case wrong(String)

    var description: String {
      switch self {
      case .notReached(let count): "not reached, made \(count) times"
      case .unharmed: "the VM lives"
      case .degraded(let text): "the VM lives: \(text)"
      case .ended(let text): "the VM ends: \(text)"
      case .wrong(let text): "WRONG: \(text)"
      }
    }
  }

  /// What a run left behind.
  struct Traces {
    var status: Int32
    var output: String
    var errors: String
  }

  private static let devices = [Address.edu, Address.sharedMemory, Address.bigDrive]

  /// Runs the guest, and judges.
  ///
  /// - Parameters:
  ///   - number: The ioctl's request.
  ///   - later: Which occurrence is the later one; of fewer the last is taken.
  ///   - made: For a row's name, how often a run makes the call, as far as that is known.
  func run(
    _ bench: CaseContext, request number: String, later: Int, made known: inout [String: Int]
  ) throws -> Outcome {
    var when = isFirst ? 1 : min(later, known[row.name] ?? later)
    while true {
      if !isFirst, when < 2 { return .notReached(when) }
      let traces: Traces
      do { traces = try attempt(bench, number, when) } catch let error as Failed {
        return .wrong("hang: \(error)")
      }
      let made = Self.count(traces.errors)
      if made < when, !isFirst {
        (known[row.name], when) = (made, made)
        continue
      }
      let outcome = made < when ? .notReached(made) : judge(traces)
      for device in Self.devices {
        do { try HostDevice(device).requireReleased() } catch { return .wrong("\(error)") }
      }
      return outcome
    }
  }

  private func attempt(_ bench: CaseContext, _ request: String, _ when: Int) throws -> Traces {
    let error = row.error.flatMap(InjectionTable.number) ?? 0
    // The first thread has the program's name.
    let thread = row.thread == "control" ? "sluice" : row.thread
    let guest = BareMetalGuest("inject", Self.devices, append: "rounds=\(isFirst ? 1 : 2)")
    let child = try bench.start(
      ["\(bench.manifest.programs)/inject", thread, row.call, request, "\(error)", "\(when)"]
        + guest.command(bench, as: "guest"), as: "guest")
    // More than the serial port's FIFO holds.
    try child.type(String(repeating: "x", count: 64))
    let status = try child.wait(within: 40)
    return Traces(status: status, output: child.output, errors: child.errors)
  }

  /// `inject: N calls`.
  static func count(_ errors: String) -> Int {
    errors.split(separator: "\n").last { $0.hasPrefix("inject: ") }
      .flatMap { Int($0.split(separator: " ")[1]) } ?? 0
  }

  /// Judges a run in which the call was failed.
  func judge(_ traces: Traces) -> Outcome {
    guard traces.status < 128 else { return .wrong("status \(traces.status), a signal") }
    let error = row.error.flatMap(InjectionTable.number) ?? 0
    // SAFETY: strerror returns a NUL-terminated string, which is copied at once.
    let reason = unsafe String(cString: strerror(error))
    let lines = traces.errors.split(separator: "\n").map(String.init)
    let said = lines.filter { $0.hasPrefix("sluice: ") }
    if let line = said.last(where: { !$0.hasPrefix("sluice: warning: ") }) {
      guard line.contains(reason) || line.contains("(\(row.error ?? ""))") else {
        return .wrong("it ends without the cause: \(line)")
      }
      let isDevice = row.request.hasPrefix("VFIO_DEVICE") || row.call.hasPrefix("p")
      guard !isDevice || row.call == "poll" || line.contains("device 0000:") else {
        return .wrong("it ends without the device: \(line)")
      }
      return .ended(line)
    }
    let report = BareMetalReport(traces.output)
    guard let fault = report.fault else {
      let warning = said.first { $0.contains(reason) }
      return warning.map { .degraded($0) } ?? .unharmed
    }
    if let warning = said.first(where: { $0.contains(reason) }) { return .degraded(warning) }
    return row.rule == .bus ? .degraded(fault) : .wrong("no warning: \(fault); \(said)")
  }
}
