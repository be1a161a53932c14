// SPDX-License-Identifier: Apache-2.0

/// An error of a library, for the user of the command line.
protocol AdvisedError: CustomStringConvertible {
  /// The next step for the user, or nil if the cause alone says it.
  var remedy: String? { get }
}

extension AdvisedError {
  /// The facts and the remedy: `subject: operation: cause; remedy`.
  var message: String { remedy.map { "\(self); \($0)" } ?? description }
}
