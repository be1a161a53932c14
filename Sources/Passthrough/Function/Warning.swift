// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// The kinds of warnings about a function. Each is logged once, because a guest can repeat the failure.
struct Warning: OptionSet, Sendable {
  let rawValue: UInt32

  /// An access to configuration space failed.
  static let configRead = Warning(rawValue: 1 << 0)
  static let configWrite = Warning(rawValue: 1 << 1)
  static let command = Warning(rawValue: 1 << 2)
  /// A reset is not possible, failed, or changed COMMAND.
  static let noReset = Warning(rawValue: 1 << 3)
  static let reset = Warning(rawValue: 1 << 4)
  static let restore = Warning(rawValue: 1 << 5)
  /// A window has no mapping of the BAR, no memory slot or no IOVA.
  static let mapping = Warning(rawValue: 1 << 6)
  static let slot = Warning(rawValue: 1 << 7)
  static let address = Warning(rawValue: 1 << 8)
  /// A kind of interrupt cannot be turned on or off.
  static let intx = Warning(rawValue: 1 << 9)
  static let enable = Warning(rawValue: 1 << 10)
  static let disable = Warning(rawValue: 1 << 11)
  /// The host has fewer vectors than the guest requests.
  static let count = Warning(rawValue: 1 << 12)
  /// A vector has no eventfd, no route, no irqfd or no host vector.
  static let event = Warning(rawValue: 1 << 13)
  static let route = Warning(rawValue: 1 << 14)
  static let connection = Warning(rawValue: 1 << 15)
  static let trigger = Warning(rawValue: 1 << 16)
  /// A vector cannot be masked.
  static let mask = Warning(rawValue: 1 << 17)
  /// The pending bits cannot be read.
  static let pending = Warning(rawValue: 1 << 18)
}

/// The failure of an interrupt to work as the guest has configured it. The VM continues.
struct InterruptFailure: Error, Equatable {
  /// The kind of failure, for ``FunctionState/warn(_:_:)``.
  let warning: Warning
  let error: OperationError
}
