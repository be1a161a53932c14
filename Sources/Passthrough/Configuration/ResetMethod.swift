// SPDX-License-Identifier: Apache-2.0

internal import Linux
public import Seams
internal import Trace

/// The method by which a function can be reset.
public enum ResetMethod: Sendable, Equatable {
  /// The kernel resets the function alone (VFIO_DEVICE_RESET).
  case function
  /// The kernel resets the whole bus, whose groups this VM owns (VFIO_DEVICE_PCI_HOT_RESET).
  ///
  /// - Parameter isAlone: True if the reset affects no other device of the VM.
  case bus(isAlone: Bool)
  /// No reset is available. The warning states the cause.
  case none(FunctionWarning)

  /// Selects the best method that a device supports.
  ///
  /// - Parameters:
  ///   - device: The device to reset.
  ///   - devices: The host addresses of the VM's devices.
  public init(_ device: some PCIDevice, devices: [String]) {
    if device.hasReset {
      self = .function
      return
    }
    guard let scope = device.busResetScope else {
      self = .none("no reset is available: the guest receives the device in its present state")
      return
    }
    if let obstacle = Self.obstacle(scope) {
      self = .none(obstacle)
    } else {
      self = .bus(isAlone: scope.count { devices.contains($0.address) } <= 1)
    }
  }

  /// Returns a warning with the reason why this VM may not reset a bus, or nil if it may.
  private static func obstacle(_ scope: [ResetDependent]) -> FunctionWarning? {
    let foreign = scope.filter { !$0.isOwned }
    if foreign.isEmpty { return nil }
    let names = foreign.map { "\($0.address) (group \($0.group))" }.joined(separator: ", ")
    return FunctionWarning(
      "only a bus reset is available, and it would also reset \(names): the guest receives the device in its "
        + "present state", .foreignDevices(foreign.map(\.address)))
  }

  /// True if the function can be reset while the VM runs: the reset affects no other device of the VM, whose
  /// windows may be open.
  var isSafeWhileRunning: Bool {
    switch self {
    case .function: true
    case .bus(let isAlone): isAlone
    case .none: false
    }
  }

  /// Resets a device by this method and reports the reset. Does nothing if no reset is available.
  ///
  /// Every affected window is already closed. While the guest runs, only the function's own windows are
  /// affected (``isSafeWhileRunning``). At the start and at the end of the VM, the windows of all functions
  /// may be affected.
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
