// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Seams
internal import Trace

/// The interrupts of a function in the host. At most one of INTx, MSI and MSI-X is on. The others keep their
/// eventfds.
struct Interrupts<B: Backend> {
  /// The kind that reaches the guest.
  private(set) var mode = TraceEvent.InterruptMode.none
  /// The kind that is on in the device. It remains the old kind if that could not be turned off.
  private var inDevice = TraceEvent.InterruptMode.none
  /// The INTx pin, or nil if the function has none or is not yet placed on the guest's bus.
  var intx: INTxPin<B>?
  var msi: Vectors<B>?
  var msix: Vectors<B>?
  /// The number of vectors that were requested.
  private(set) var requestedCount = 0
  /// The number of requested vectors that the host has.
  private(set) var count = 0

  /// The number of vectors that have been used.
  var used: Int { (msi?.used ?? 0) + (msix?.used ?? 0) }

  /// Turns the active kind off and another kind on. No vector is connected afterwards.
  ///
  /// - Parameters:
  ///   - new: The kind to turn on, or `none` to leave all kinds off.
  ///   - count: The number of vectors that the guest can unmask.
  /// - Throws: The cause if the new kind is not on. ``mode`` is then `none`.
  mutating func turn(_ new: TraceEvent.InterruptMode, count: Int) throws(InterruptFailure) {
    if let failure = turnOff(), inDevice != .none { throw failure }
    do throws(OperationError) {
      switch new {
      case .none: break
      case .intx:
        defer { if intx?.isOn == true { inDevice = .intx } }
        try intx?.enable()
      case .msi: self.count = try msi?.enable(count: count) ?? 0
      case .msix: self.count = try msix?.enable(count: count) ?? 0
      }
    } catch { throw InterruptFailure(warning: new == .intx ? .intx : .enable, error: error) }
    (mode, inDevice) = (new, new)
    requestedCount = count
  }

  /// Turns interrupts off: first in the device, then in KVM. KVM's part is done even if the device's part
  /// fails.
  ///
  /// - Returns: The first failure, or nil. The next call that turns interrupts on or off retries the failed
  ///   steps.
  mutating func turnOff() -> InterruptFailure? {
    var failure: OperationError?
    do throws(OperationError) { try silence() } catch { failure = error }
    // Disconnect the other kinds too: an earlier attempt may have failed.
    do throws(OperationError) { try intx?.disconnect() } catch { failure = failure ?? error }
    do throws(OperationError) { try msi?.disconnectAll() } catch { failure = failure ?? error }
    do throws(OperationError) { try msix?.disconnectAll() } catch { failure = failure ?? error }
    mode = .none
    (requestedCount, count) = (0, 0)
    return failure.map { InterruptFailure(warning: .disable, error: $0) }
  }

  /// Turns interrupts off in the device at the end of a VM. KVM's state does not change.
  mutating func silence() throws(OperationError) {
    switch inDevice {
    case .none: break
    case .intx: try intx?.disable()
    case .msi: try msi?.disable()
    case .msix: try msix?.disable()
    }
    inDevice = .none
  }

  /// True if a vector of the active kind raises the guest's interrupt.
  func isConnected(_ vector: Int) -> Bool {
    switch mode {
    case .none, .intx: false
    case .msi: msi?.isConnected(vector) ?? false
    case .msix: msix?.isConnected(vector) ?? false
    }
  }

  /// Connects a vector of the active kind. Returns nil if the host has fewer vectors. Otherwise returns true
  /// if the vector had no trigger before.
  mutating func connect(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool? {
    guard vector < count else { return nil }
    return try mode == .msix ? msix?.connect(vector, message) : msi?.connect(vector, message)
  }

  /// Masks a vector of the active kind. Returns false if the vector was already masked or no vectors are
  /// active.
  mutating func disconnect(_ vector: Int) throws(InterruptFailure) -> Bool {
    guard isConnected(vector) else { return false }
    do throws(OperationError) {
      return try mode == .msix ? msix?.disconnect(vector) ?? false : msi?.disconnect(vector) ?? false
    } catch { throw InterruptFailure(warning: .mask, error: error) }
  }

  /// Sets another message for a vector of the active kind. The result has the same meaning as in
  /// ``connect(_:_:)``.
  mutating func route(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool? {
    guard vector < count else { return nil }
    return try mode == .msix ? msix?.route(vector, message) : msi?.route(vector, message)
  }
}
