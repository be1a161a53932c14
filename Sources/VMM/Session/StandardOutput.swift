// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The guest's serial line: standard output, which never makes a vCPU wait.
final class StandardOutput: Sendable {
  let stream = Output(1)

  /// The longest wait for a reader at the end of a VM, without a byte taken; milliseconds.
  private static let patience: Int32 = 1000

  /// Takes a byte; false if it has to stay in the transmitter.
  func write(_ byte: UInt8) -> Bool { stream.write(byte) }

  /// Sends what the guest left in the transmitter when it ended the VM. A reader that takes nothing loses it.
  func drain(_ serial: Serial) {
    while !serial.transmit(), stream.waitForRoom(Self.patience) {}
  }
}
