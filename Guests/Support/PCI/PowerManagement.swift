// SPDX-License-Identifier: Apache-2.0

/// A function's power management capability (PCI Power Management 1.2 §3.2; PCIe 6.0 §7.5.2).
struct PowerManagement {
  private let function: PCIFunction
  /// The offset of the control and status register.
  private let control: UInt16

  private static let identity: UInt8 = 0x01
  private static let stateMask: UInt16 = 3

  enum State {
    static let d0: UInt16 = 0
    static let d3hot: UInt16 = 3
  }

  init?(_ function: PCIFunction) {
    guard let capability = function.capability(Self.identity) else { return nil }
    self.function = function
    control = capability + 4
  }

  /// True if the transition from D3hot to D0 keeps the function's state (No_Soft_Reset).
  var hasNoSoftReset: Bool { function.load16(control) & 1 << 3 != 0 }

  var state: UInt16 { function.load16(control) & Self.stateMask }

  /// Changes the power state and waits for the time that the specification requires.
  func enter(_ state: UInt16) {
    function.store16(control, function.load16(control) & ~Self.stateMask | state)
    Time.wait(milliseconds: 10)
  }
}
