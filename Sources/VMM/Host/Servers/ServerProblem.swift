// SPDX-License-Identifier: Apache-2.0

public import Linux
public import VFIOUser

/// A reason why a device in another process cannot be used.
public enum ServerProblem: Error, Equatable, CustomStringConvertible {
  /// This process cannot connect to the socket.
  case connect(DeviceName, KernelError)
  /// A request to the process failed.
  case connection(DeviceName, ConnectionError)
  /// The RAM of the VM is private memory, or the VM has no port.
  case notShared(DeviceName)
  /// Every thread that receives messages has a device.
  case noReader(DeviceName)

  /// The device.
  public var device: DeviceName {
    switch self {
    case .connect(let device, _), .connection(let device, _), .notShared(let device), .noReader(let device):
      device
    }
  }

  /// The device, the operation and the cause.
  public var description: String { "device \(device): \(cause)" }

  private var cause: String {
    switch self {
    case .connect(_, let error): error.description
    case .connection(_, let error): error.cause.description
    case .notShared: "the RAM of the VM is not shared memory"
    case .noReader: "the VM has no free thread for its messages"
    }
  }
}
