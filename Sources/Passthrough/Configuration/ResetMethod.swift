// SPDX-License-Identifier: Apache-2.0

internal import Linux
public import Seams
internal import Trace

/// How a function can be reset.
public enum ResetMethod: Sendable, Equatable {
  /// By the kernel, alone (VFIO_DEVICE_RESET).
  case function
  /// With all of its bus, whose groups this VM has (VFIO_DEVICE_PCI_HOT_RESET).
  ///
  /// - Parameter isAlone: No other device of the VM is reset by it.
  case bus(isAlone: Bool)
  /// Not at all; says why, and what to do.
  case none(String)

  /// Finds the best one that a device has.
  ///
  /// - Parameter devices: The addresses of the VM's devices.
  public init(_ device: some PCIDevice, devices: [String]) {
    if device.hasReset {
      self = .function
      return
    }
    guard let scope = device.busResetScope else {
      self = .none("it has no reset: the guest gets it in the state it is in")
      return
    }
    if let obstacle = Self.obstacle(scope) {
      self = .none(obstacle)
    } else {
      self = .bus(isAlone: scope.count { devices.contains($0.address) } <= 1)
    }
  }

  /// Why the reset of a bus is not for this VM, and what to do; nil where it is.
  private static func obstacle(_ scope: [ResetDependent]) -> String? {
    let foreign = scope.filter { !$0.isOwned }
    if foreign.isEmpty { return nil }
    let names = foreign.map { "\($0.address) (group \($0.group))" }.joined(separator: ", ")
    return "it has no reset but that of its bus, which would also reset \(names): give the VM "
      + "\(foreign.count == 1 ? "that device" : "those devices") too; until then the guest gets it in the "
      + "state it is in"
  }

  /// Whether it can be reset while the VM runs: without another device of the VM being reset too, whose
  /// windows may be open.
  var isSafeWhileRunning: Bool {
    switch self {
    case .function: true
    case .bus(let isAlone): isAlone
    case .none: false
    }
  }

  /// Resets a device this way and reports it; does nothing where there is no way.
  ///
  /// Every window that it reaches is closed by now: those of the function alone where it is for a guest that
  /// runs (``isForGuest``), else those of all the VM's functions.
  func perform(
    on device: some PCIDevice, _ reason: TraceEvent.ResetReason, _ observe: FunctionObserver
  ) throws(OperationError) {
    let start = Clock.microseconds()
    let reach: TraceEvent.ResetMethod
    switch self {
    case .function:
      try device.reset()
      reach = .function
    case .bus:
      try device.resetBus()
      reach = .bus
    case .none: return
    }
    observe(.reset(reason, reach), Clock.microseconds() - start)
  }
}
