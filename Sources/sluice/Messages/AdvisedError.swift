// SPDX-License-Identifier: Apache-2.0

/// A library's error, with advice for the user of the command line.
protocol AdvisedError: CustomStringConvertible {
  /// The next step for the user, or nil if the cause suggests none.
  var remedy: String? { get }
}

extension AdvisedError {
  /// The facts and the remedy: `subject: operation: cause; remedy`.
  var message: String { remedy.map { "\(self); \($0)" } ?? description }
}
