// SPDX-License-Identifier: Apache-2.0

internal import Passthrough

/// A source that the main thread serves. Its raw value is its token in the event loop.
enum EventSource: RawRepresentable, Equatable {
  /// A signal is pending.
  case signals
  /// The VM has ended.
  case shutdown
  /// The receiver of the serial port has room again.
  case serialRoom
  /// The transmitter of the serial port holds bytes that the console has not accepted.
  case serialBacklog
  /// Console input is readable.
  case input
  /// Console output is writable.
  case output
  /// Devices have been added to the VM.
  case arrivals
  /// The guest has ended an interrupt of a port's pin. The number is the port's index.
  case portPin(Int)
  /// A client of the control socket has requested an operation.
  case control
  /// The host's kernel has sent a notification about a function. The number is the function's index.
  case notification(DeviceNotification, Int)

  private static let fixed: [EventSource] = [
    .signals, .shutdown, .serialRoom, .serialBacklog, .input, .output, .arrivals, .control,
  ]

  init?(rawValue: UInt64) {
    let index = Int(truncatingIfNeeded: rawValue >> 8)
    switch rawValue & 0xFF {
    case 0xFD: self = .portPin(index)
    case 0xFE: self = .notification(.error, index)
    case 0xFF: self = .notification(.request, index)
    case let number where rawValue == number && number < UInt64(Self.fixed.count):
      self = Self.fixed[Int(number)]
    default: return nil
    }
  }

  var rawValue: UInt64 {
    switch self {
    case .signals: 0
    case .shutdown: 1
    case .serialRoom: 2
    case .serialBacklog: 3
    case .input: 4
    case .output: 5
    case .arrivals: 6
    case .portPin(let index): UInt64(index) << 8 | 0xFD
    case .control: 7
    case .notification(.error, let index): UInt64(index) << 8 | 0xFE
    case .notification(.request, let index): UInt64(index) << 8 | 0xFF
    }
  }
}
