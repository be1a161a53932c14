// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One run of the guest `inject` in which one system call fails.
struct Injection {
  let row: InjectionTable.Row
  /// True if the first occurrence of the call fails, false if a later occurrence fails.
  let isFirst: Bool

  /// The outcome for the VM.
  enum Outcome: Equatable, CustomStringConvertible {
    /// The run did not reach the occurrence. The value is the number of calls.
    case notReached(Int)
    /// The guest did not notice the failure.
    case unharmed
    /// The guest or Sluice noticed the failure. The text is the warning, or the guest's failed check if the
    /// rule needs no warning.
    case degraded(String)
    /// The VM ended with this message.
    case ended(String)
    /// An outcome that must not occur.
    case wrong(String)

    var description: String {
      switch self {
      case .notReached(let count): "not reached, the call was made \(count) times"
      case .unharmed: "the VM continues"
      case .degraded(let text): "the VM continues: \(text)"
      case .ended(let text): "the VM ends: \(text)"
      case .wrong(let text): "WRONG: \(text)"
      }
    }
  }

  /// The exit status and the output of one run.
  struct Traces {
    var status: Int32
    var output: String
    var errors: String
  }

  private static let hostDevices = [Address.edu, Address.sharedMemory, Address.bigDrive]

  /// The devices of L1 in the VM.
  private var devices: [String] { row.needsServer ? [] : Self.hostDevices }

  /// Runs the guest and judges the result.
  ///
  /// - Parameters:
  ///   - context: The case's environment in L1.
  ///   - number: The number of the ioctl's request.
  ///   - later: The later occurrence that fails. If a run makes fewer calls, the last call fails.
  ///   - server: The name of the device in another process.
  ///   - known: The number of calls in a run, by the row's name, as far as it is known.
  func run(
    _ context: CaseContext, request number: String, later: Int, server: String,
    made known: inout [String: Int]
  ) throws -> Outcome {
    var when = isFirst ? 1 : min(later, known[row.name] ?? later)
    while true {
      if !isFirst, when < 2 { return .notReached(when) }
      let traces: Traces
      do { traces = try attempt(context, number, when, server) } catch let error as Failed {
        return .wrong("hang: \(error)")
      }
      let made = Self.count(traces.errors)
      if made < when, !isFirst {
        (known[row.name], when) = (made, made)
        continue
      }
      let outcome = made < when ? .notReached(made) : judge(traces)
      for device in devices {
        do { try HostDevice(device).requireReleased() } catch { return .wrong("\(error)") }
      }
      return outcome
    }
  }

  private func attempt(
    _ context: CaseContext, _ request: String, _ when: Int, _ server: String
  ) throws -> Traces {
    let error = row.error.flatMap(InjectionTable.number) ?? 0
    // The control thread is the first thread, which has the program's name.
    let thread = row.thread == "control" ? "sluice" : row.thread
    let mapsBARs = context.manifest.iommu != "iommufd" || L1Runner.isAtLeast(IOMMUFDCases.dmaBuffers)
    let peers = mapsBARs ? "" : "peers=0"
    let guest =
      row.needsServer
      ? BareMetalGuest("edu-dma", [server])
      : BareMetalGuest("inject", devices, append: "rounds=\(isFirst ? 1 : 2) \(peers)")
    let child = try context.start(
      ["\(context.manifest.programs)/inject", thread, row.call, request, "\(error)", "\(when)"]
        + guest.command(context, as: "guest"), as: "guest")
    // More bytes than the serial port's FIFO holds.
    try child.type(String(repeating: "x", count: 64))
    let status = try child.wait(within: 40)
    return Traces(status: status, output: child.output, errors: child.errors)
  }

  /// Returns N of the last line `inject: N calls`, or 0 if there is none.
  static func count(_ errors: String) -> Int {
    errors.split(separator: "\n").last { $0.hasPrefix("inject: ") }
      .flatMap { Int($0.split(separator: " ")[1]) } ?? 0
  }

  /// Judges a run in which the call failed.
  func judge(_ traces: Traces) -> Outcome {
    let outcome = judgeEffect(traces)
    guard row.rule == .none else { return outcome }
    switch outcome {
    case .degraded(let text), .ended(let text): return .wrong("the failure has an effect: \(text)")
    case .notReached, .unharmed, .wrong: return outcome
    }
  }

  private func judgeEffect(_ traces: Traces) -> Outcome {
    guard traces.status < 128 else { return .wrong("status \(traces.status), a signal") }
    let error = row.error.flatMap(InjectionTable.number) ?? 0
    // SAFETY: strerror returns a NUL-terminated string, which is copied at once.
    var reason = unsafe String(cString: strerror(error))
    if row.needsServer, error == EPIPE || error == ECONNRESET {
      reason = "the other process has closed the connection"
    }
    let lines = traces.errors.split(separator: "\n").map(String.init)
    let said = lines.filter { $0.hasPrefix("sluice: ") }
    if let line = said.last(where: { !$0.hasPrefix("sluice: warning: ") }) {
      guard line.contains(reason) || line.contains("(\(row.error ?? ""))") else {
        return .wrong("the last message lacks the cause: \(line)")
      }
      let isDevice = row.request.hasPrefix("VFIO_DEVICE") || row.call.hasPrefix("p")
      guard !isDevice || row.call == "poll" || devices.contains(where: { line.contains("device \($0)") })
      else {
        return .wrong("the last message lacks the device: \(line)")
      }
      return .ended(line)
    }
    let report = BareMetalReport(traces.output)
    guard let fault = report.fault else {
      let warning = said.first { $0.contains(reason) }
      return warning.map { .degraded($0) } ?? .unharmed
    }
    if let warning = said.first(where: { $0.contains(reason) }) { return .degraded(warning) }
    return row.rule == .bus ? .degraded(fault) : .wrong("no warning has the cause: \(fault); \(said)")
  }
}
