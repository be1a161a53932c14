// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// How a VM ended.
public enum Outcome: Sendable, Equatable {
  /// The guest switched itself off (ACPI S5).
  case powerOff
  /// The guest asked for a reset.
  case reset
  /// The guest reported a panic (pvpanic).
  case panic
  /// A CPU of the guest had a triple fault.
  case tripleFault
  /// The guest wrote to the debug exit port.
  case debugExit(UInt32)
  /// The user typed Ctrl-A x.
  case quit
  /// A signal asked for the end.
  case signal(Int32)
  /// Sluice could not go on.
  case failure(RunError)

  /// The process's exit status.
  ///
  /// - Parameter hasDebugExit: True if a value V that the guest writes becomes 2V + 1, as with QEMU's isa-debug-exit.
  ///   Every other end has an even status then.
  public func exitStatus(hasDebugExit: Bool) -> Int32 {
    switch self {
    case .powerOff, .quit: 0
    case .panic: 4
    case .debugExit(let value): Int32(truncatingIfNeeded: (value << 1 | 1) & 0xFF)
    case .failure: Self.failureStatus(hasDebugExit: hasDebugExit)
    case .reset: hasDebugExit ? 8 : 3
    case .tripleFault: hasDebugExit ? 10 : 5
    case .signal(let number): hasDebugExit ? 12 : 128 + number
    }
  }

  /// The process's exit status after a failure.
  public static func failureStatus(hasDebugExit: Bool) -> Int32 { hasDebugExit ? 6 : 1 }

  /// True if the user or a signal asked for the end, which then waits for no reader.
  var isRequested: Bool {
    switch self {
    case .quit, .signal: true
    default: false
    }
  }

  /// The name in the trace and the summary.
  public var name: String {
    switch self {
    case .powerOff: "power-off"
    case .quit: "quit"
    case .failure: "failure"
    case .reset: "reset"
    case .panic: "panic"
    case .tripleFault: "triple-fault"
    case .debugExit(let value): "debug-exit \(value)"
    case .signal(let number): "signal \(number)"
    }
  }
}

/// The end of a VM: the first reason given is the one that counts.
final class ShutdownRequest: Sendable {
  /// Taken by any thread for a moment; nothing is locked inside it.
  private let first = Mutex<Outcome?>(nil)
  /// Written once, after `first`; read by vCPU threads between runs.
  private let over = Atomic<Bool>(false)
  private let event: EventFD

  init() throws(KernelError) { event = try EventFD() }

  /// Readable from the end on; for the event loop.
  var number: Int32 { event.number }

  /// Whether the VM has ended.
  var isOver: Bool { over.load(ordering: .acquiring) }

  /// The outcome, once it is over.
  var outcome: Outcome? { first.withLock { $0 } }

  /// Ends the VM, unless it has ended already.
  func end(_ outcome: Outcome) {
    first.withLock { first in
      if first == nil { first = outcome }
    }
    over.store(true, ordering: .releasing)
    event.signal()
  }
}
