// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox
internal import Synchronization
internal import Trace

/// The record of a VM's execution: phases, trace, log messages and summary.
final class EventLog: Sendable {
  let log: Logger
  let trace: TraceWriter?
  /// The events for clients of the control socket, or nil if the VM has none.
  let feed: EventFeed?
  private let start: Int64
  private let remedy: @Sendable (FunctionWarning.Reason) -> String?
  /// The layers of confinement. Set once. No lock is taken inside it.
  private let layers = Mutex<[LayerState]>([])
  /// The interface to the IOMMU, or nil if the VM has no device. Set once. No lock is taken inside it.
  private let iommu = Mutex<IOMMUChoice?>(nil)
  /// The service manager, or nil if there is none.
  private let service: ServiceManager?
  /// The phases with their times in microseconds since `start`. Taken by each thread that reaches a phase. No
  /// lock is taken inside it.
  private let phases = Mutex<[(name: String, time: Int64)]>([])

  /// The time in microseconds that the service manager grants for the return of the devices.
  private static let returnTime: Int64 = 120_000_000

  /// - Parameters:
  ///   - log: The logger of messages.
  ///   - path: The path of the trace file, or nil.
  ///   - file: The open trace file, or nil. Without a path and a file, there is no trace.
  ///   - start: The start time of the program, in microseconds of the monotonic clock.
  ///   - service: The service manager, or nil.
  ///   - feed: Receives each event while it is wanted, or nil.
  ///   - remedy: Returns the advice for a warning's reason, or nil if there is none.
  ///   - confine: Called by the thread that writes the trace, before anything else.
  init(
    log: Logger, trace path: String?, file: consuming OwnedDescriptor? = nil, start: Int64,
    service: ServiceManager? = nil, feed: EventFeed? = nil,
    remedy: @escaping @Sendable (FunctionWarning.Reason) -> String? = { _ in nil },
    confine: @escaping @Sendable () throws(KernelError) -> Void = {}
  ) throws(KernelError) {
    self.log = log
    self.remedy = remedy
    self.start = start
    self.service = service
    self.feed = feed
    if let file {
      trace = try TraceWriter(file, path: "(descriptor 'trace')", start: start, confine: confine) {
        log.warning("\($0)")
      }
      return
    }
    guard let path else {
      trace = nil
      return
    }
    trace = try TraceWriter(path: path, start: start, confine: confine) { log.warning("\($0)") }
  }

  /// Starts the thread that writes the trace. Until then, records wait in memory.
  func startTrace() throws(KernelError) { try trace?.begin() }

  /// Adds an event to the trace and to the feed.
  private func record(_ event: @autoclosure () -> TraceEvent, flush: Bool = false) {
    trace?.record(event(), flush: flush)
    guard let feed, feed.isWanted else { return }
    feed.add(TraceRecord(time: Clock.microseconds() - start, event: event()).line)
  }

  /// Records the layers of confinement.
  func note(_ layers: [LayerState]) {
    self.layers.withLock { $0 = layers }
    for state in layers {
      record(
        .layer(
          name: state.layer.rawValue, state.obstacle == nil ? .active : .off,
          text: state.obstacle ?? state.gap ?? ""))
    }
  }

  /// Records the interface to the IOMMU.
  func note(_ choice: IOMMUChoice) {
    iommu.withLock { $0 = choice }
    record(.iommu(choice.interface, text: choice.reason))
  }

  /// Records that a phase has been reached.
  func phase(_ name: String) {
    let time = Clock.microseconds() - start
    phases.withLock { $0.append((name, time)) }
    record(.phase(name: name), flush: true)
  }

  /// Records that the guest is about to execute its first instruction.
  func guestStarts() {
    phase("first-instruction")
    service?.send(.ready, status: "The guest runs.")
  }

  /// Informs the service manager that the guest has a time to power off, in microseconds.
  func stopWaits(_ time: Int64) {
    service?.send(
      .stopWaits(time + Self.returnTime),
      status: "The power button is pressed. The guest has \(time / 1_000_000) s to power off.")
  }

  /// Records the end of the guest.
  func guestEnds(_ outcome: Outcome) {
    phase(outcome.name)
    service?.send(.stopping, status: "The devices are returned to the host after: \(outcome.name).")
  }

  /// Returns the observer of an assigned function's events.
  func observer(of device: String) -> FunctionObserver {
    { [self] event, microseconds in
      if case .warning(let warning) = event {
        let advice = warning.reason.flatMap(remedy).map { "; \($0)" } ?? ""
        log.warning("device \(device): \(warning)\(advice)")
      }
      record(TraceEvent(device, event, microseconds: microseconds))
    }
  }

  /// Records that a piece of guest RAM has been mapped for devices.
  func pinned(iova: UInt64, size: UInt64, microseconds: Int64) {
    memory(.map, iova: iova, size: size, microseconds: microseconds)
  }

  /// Records that a region of guest RAM has been unmapped from devices.
  func unpinned(iova: UInt64, size: UInt64, microseconds: Int64) {
    memory(.unmap, iova: iova, size: size, microseconds: microseconds)
  }

  /// Records that a region of guest RAM has been mapped for a device in another process, or unmapped.
  func shared(
    _ operation: TraceEvent.MapOperation, device: String, iova: UInt64, size: UInt64, microseconds: Int64
  ) {
    record(.share(operation, device: device, iova: iova, size: size, microseconds: microseconds))
  }

  private func memory(
    _ operation: TraceEvent.MapOperation, iova: UInt64, size: UInt64, microseconds: Int64
  ) {
    record(.memory(operation, iova: iova, size: size, microseconds: microseconds))
  }

  /// Returns the summary of a VM's execution.
  func summary(_ functions: [FunctionStatus], outcome: Outcome) -> String {
    var lines = ["summary: \(outcome.name)"]
    for state in layers.withLock({ $0 }) { lines.append("  \(state)") }
    if let choice = iommu.withLock({ $0 }) {
      lines.append("  iommu: \(choice.interface.rawValue) (\(choice.reason))")
    }
    for function in functions {
      let one = function.statistics
      lines.append(
        "  \(function.address): windows opened \(one.windowsOpened) of \(one.windows), "
          + "slots added \(one.slotsAdded), "
          + "\(one.bytesMapped) bytes mapped, \(one.trappedAccesses) trapped accesses "
          + "(\(one.deniedAccesses) denied), \(one.closes) closes, "
          + "vectors used \(one.vectorsUsed) of \(one.vectors)")
    }
    var before: Int64 = 0
    for (name, time) in phases.withLock({ $0 }) {
      lines.append("  \(Self.milliseconds(time)) ms (+\(Self.milliseconds(time - before)))  \(name)")
      before = time
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func milliseconds(_ microseconds: Int64) -> String {
    let thousandths = String(abs(microseconds) % 1000)
    return "\(microseconds / 1000)." + String(repeating: "0", count: 3 - thousandths.count) + thousandths
  }
}
