// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The guest's power button. The DSDT describes it, with the interrupt that reports a press.
final class PowerButton: Sendable {
  /// The eventfd that raises `PlatformLayout.powerButtonGSI`.
  let interrupt: EventFD

  init() throws(KernelError) { interrupt = try EventFD() }

  /// Presses the button. A guest without a driver for it does not notice.
  func press() { interrupt.signal() }
}
