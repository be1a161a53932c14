// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Seams
internal import Trace

/// A function's interrupts in the host. At most one of INTx, MSI and MSI-X is on. The others keep their eventfds.
struct Interrupts<B: Backend> {
  /// The kind that reaches the guest.
  private(set) var mode = TraceEvent.InterruptMode.none
  /// The kind that is on in the device: still the old one if it could not be turned off.
  private var inDevice = TraceEvent.InterruptMode.none
  /// The pin's way, once the function has its place on the bus.
  var intx: INTxPin<B>?
  var msi: Vectors<B>?
  var msix: Vectors<B>?
  /// How many vectors of it were asked for.
  private(set) var asked = 0
  /// How many of them the host has.
  private(set) var count = 0

  /// How many vectors have been used.
  var used: Int { (msi?.used ?? 0) + (msix?.used ?? 0) }

  /// Turns the kind that is on off, and another one on; no vector is connected then.
  ///
  /// - Parameter count: How many vectors the guest can unmask.
  /// - Throws: Why the new kind is not on; ``mode`` is `none` then.
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
    asked = count
  }

  /// Turns interrupts off: first in the device, then on their path to the guest, whether or not the device has
  /// taken the first.
  ///
  /// - Returns: Why that is not complete, or nil. The rest is done when interrupts are next turned on or off.
  mutating func turnOff() -> InterruptFailure? {
    var failure: OperationError?
    do throws(OperationError) { try silence() } catch { failure = error }
    // Those of the other kinds as well: an earlier attempt may have failed.
    do throws(OperationError) { try intx?.disconnect() } catch { failure = failure ?? error }
    do throws(OperationError) { try msi?.disconnectAll() } catch { failure = failure ?? error }
    do throws(OperationError) { try msix?.disconnectAll() } catch { failure = failure ?? error }
    mode = .none
    (asked, count) = (0, 0)
    return failure.map { InterruptFailure(warning: .disable, error: $0) }
  }

  /// Turns interrupts off in the device, and leaves KVM as it is: for the end of a VM.
  mutating func silence() throws(OperationError) {
    switch inDevice {
    case .none: break
    case .intx: try intx?.disable()
    case .msi: try msi?.disable()
    case .msix: try msix?.disable()
    }
    inDevice = .none
  }

  /// True if a vector of the kind that is on raises the guest's interrupt.
  func isConnected(_ vector: Int) -> Bool {
    switch mode {
    case .none, .intx: false
    case .msi: msi?.isConnected(vector) ?? false
    case .msix: msix?.isConnected(vector) ?? false
    }
  }

  /// Connects a vector of the kind that is on. Returns nil if the host has fewer vectors, else true if the device has
  /// only now been given its event.
  mutating func connect(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool? {
    guard vector < count else { return nil }
    return try mode == .msix ? msix?.connect(vector, message) : msi?.connect(vector, message)
  }

  /// Masks a vector of the kind that is on. Returns false if it was masked, or if its kind is off in the host.
  mutating func disconnect(_ vector: Int) throws(InterruptFailure) -> Bool {
    guard isConnected(vector) else { return false }
    do throws(OperationError) {
      return try mode == .msix ? msix?.disconnect(vector) ?? false : msi?.disconnect(vector) ?? false
    } catch { throw InterruptFailure(warning: .mask, error: error) }
  }

  /// Gives a vector of the kind that is on another message; returns as ``connect(_:_:)`` does.
  mutating func route(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool? {
    guard vector < count else { return nil }
    return try mode == .msix ? msix?.route(vector, message) : msi?.route(vector, message)
  }
}
