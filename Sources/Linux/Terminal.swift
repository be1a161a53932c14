// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Standard input in raw mode, put back when the owner goes.
public struct Terminal: ~Copyable, Sendable {
  private let saved: termios

  private init(saved: termios) { self.saved = saved }

  /// Makes standard input raw; nil where it is not a terminal, or where this process is in
  /// the background and so may not change it.
  public static func raw() -> Terminal? {
    var mode = termios()
    // SAFETY: termios is a plain struct that the call fills in.
    guard unsafe tcgetattr(STDIN_FILENO, &mode) == 0 else { return nil }
    guard tcgetpgrp(STDIN_FILENO) == getpgrp() else { return nil }
    let saved = mode
    // SAFETY: changes the struct in place.
    unsafe cfmakeraw(&mode)
    guard unsafe tcsetattr(STDIN_FILENO, TCSANOW, &mode) == 0 else { return nil }
    return Terminal(saved: saved)
  }

  /// Whether a descriptor (1: standard output, 2: standard error) is a terminal.
  public static func isTerminal(_ number: Int32) -> Bool { cl_is_terminal(number) }

  deinit {
    var mode = saved
    // SAFETY: the struct is the one that tcgetattr filled in. A terminal that has gone
    // needs no restoring.
    _ = unsafe tcsetattr(STDIN_FILENO, TCSANOW, &mode)
  }
}
