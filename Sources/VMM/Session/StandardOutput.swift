// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The guest's serial output on standard output. It never makes a vCPU wait.
final class StandardOutput: Sendable {
  let stream = Output(1)

  /// The maximum time in milliseconds that the end of a VM waits for a reader to accept a byte.
  private static let timeout: Int32 = 1000

  /// Writes a byte. Returns false if the byte must stay in the transmitter.
  func write(_ byte: UInt8) -> Bool { stream.write(byte) }

  /// Sends the bytes that the guest left in the transmitter at the end of the VM. The bytes are lost if the
  /// reader accepts none of them.
  func drain(_ serial: Serial) {
    while !serial.transmit(), stream.waitForRoom(Self.timeout) {}
  }
}
