// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// The outcome of a VM.
public enum Outcome: Sendable, Equatable {
  /// The guest powered off (ACPI S5).
  case powerOff
  /// The guest requested a reset.
  case reset
  /// The guest reported a panic (pvpanic).
  case panic
  /// A vCPU had a triple fault.
  case tripleFault
  /// The guest wrote to the debug exit port.
  case debugExit(UInt32)
  /// The user typed Ctrl-A x, or a client of the control socket requested the end.
  case quit
  /// A signal requested the end.
  case signal(Int32)
  /// Sluice could not continue.
  case failure(RunError)

  /// Returns the process's exit status.
  ///
  /// - Parameter hasDebugExit: True if a value V that the guest writes gives the status 2V + 1, as with
  ///   QEMU's isa-debug-exit. Every other outcome then has an even status.
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

  /// Returns the process's exit status after a failure.
  public static func failureStatus(hasDebugExit: Bool) -> Int32 { hasDebugExit ? 6 : 1 }

  /// True if the user or a signal requested the end. The shutdown then waits for no reader.
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

/// The request to end a VM. Only the first request counts.
final class ShutdownRequest: Sendable {
  /// The first outcome. Taken by any thread for a short time. No lock is taken inside it.
  private let first = Mutex<Outcome?>(nil)
  /// Set after `first`. vCPU threads read it between calls of KVM_RUN.
  private let over = Atomic<Bool>(false)
  private let event: EventFD

  init() throws(KernelError) { event = try EventFD() }

  /// The descriptor for the event loop. It becomes readable when the VM ends.
  var number: Int32 { event.number }

  /// True if the VM has ended.
  var isOver: Bool { over.load(ordering: .acquiring) }

  /// The outcome, or nil if the VM has not ended.
  var outcome: Outcome? { first.withLock { $0 } }

  /// Ends the VM, unless it has already ended.
  func end(_ outcome: Outcome) {
    first.withLock { first in
      if first == nil { first = outcome }
    }
    over.store(true, ordering: .releasing)
    event.signal()
  }
}
