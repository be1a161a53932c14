// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Which kind of interrupt of a function is on in the host: the one that the guest has chosen.
public enum InterruptMode: String, Sendable {
  /// None.
  case none
  /// The pin.
  case intx
  /// MSI.
  case msi
  /// MSI-X.
  case msix
}

/// A function's interrupts in the host. One kind is on at a time; the other's ways are kept.
struct Interrupts {
  /// Which kind is on.
  private(set) var mode = InterruptMode.none
  /// The pin's way, once the function has its place on the bus.
  var line: Line?
  var msi: Vectors?
  var msix: Vectors?
  /// How many vectors of it were asked for.
  private(set) var asked = 0
  /// How many of them the host has.
  private(set) var count = 0

  /// How many vectors have been used.
  var used: Int { (msi?.used ?? 0) + (msix?.used ?? 0) }

  /// Turns the kind that is on off, and another one on; no vector is connected then.
  ///
  /// - Parameter count: How many vectors the guest can unmask.
  mutating func turn(_ new: InterruptMode, count: Int) throws(KernelError) {
    try turnOff()
    switch new {
    case .none: break
    case .intx: try line?.enable()
    case .msi: self.count = try msi?.enable(count: count) ?? 0
    case .msix: self.count = try msix?.enable(count: count) ?? 0
    }
    mode = new
    asked = count
  }

  /// Turns interrupts off: first in the device, then on their way to the guest, whether or not the device has
  /// taken the first.
  mutating func turnOff() throws(KernelError) {
    defer {
      mode = .none
      (asked, count) = (0, 0)
    }
    var failure: KernelError?
    do throws(KernelError) { try silence() } catch { failure = error }
    switch mode {
    case .none: break
    case .intx: try line?.disconnect()
    case .msi: try msi?.disconnectAll()
    case .msix: try msix?.disconnectAll()
    }
    if let failure { throw failure }
  }

  /// Turns interrupts off in the device, and leaves KVM as it is: for the end of a VM.
  mutating func silence() throws(KernelError) {
    switch mode {
    case .none: break
    case .intx: try line?.disable()
    case .msi: try msi?.disable()
    case .msix: try msix?.disable()
    }
  }

  /// Connects a vector of the kind that is on; nil where the host has not so many, else whether the device has
  /// only now been given its event.
  mutating func connect(_ vector: Int, _ message: InterruptMessage) throws(KernelError) -> Bool? {
    guard vector < count else { return nil }
    return try mode == .msix ? msix?.connect(vector, message) : msi?.connect(vector, message)
  }

  /// Masks a vector of the kind that is on.
  mutating func disconnect(_ vector: Int) throws(KernelError) -> Bool {
    try mode == .msix ? msix?.disconnect(vector) ?? false : msi?.disconnect(vector) ?? false
  }

  /// Gives a vector of the kind that is on another message.
  func route(_ vector: Int, _ message: InterruptMessage) throws(KernelError) -> Bool {
    try mode == .msix ? msix?.route(vector, message) ?? false : msi?.route(vector, message) ?? false
  }
}
