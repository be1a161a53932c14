// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The terminal on standard input. The handlers of fault signals (``SignalFD``) also restore its settings.
public struct Terminal: Sendable {
  /// Creates an instance, or returns nil if standard input is not a terminal.
  public init?() {
    guard cl_is_terminal(0) else { return nil }
  }

  /// Makes the terminal raw. Returns false in the background, where the settings belong to another process.
  public func enter() -> Bool { cl_terminal_enter() > 0 }

  /// Restores the settings from before ``enter()``, except in the background.
  public func restore() { cl_terminal_leave() }

  /// True if a descriptor (1: standard output, 2: standard error) is a terminal.
  public static func isTerminal(_ number: Int32) -> Bool { cl_is_terminal(number) }
}
