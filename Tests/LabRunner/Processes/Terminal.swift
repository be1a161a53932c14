// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A pseudo-terminal whose slave end is a program's standard input.
final class Terminal {
  private let master: FileHandle
  let slave: FileHandle

  init() throws {
    var (first, second): (Int32, Int32) = (-1, -1)
    // SAFETY: both pointers are to variables of this frame; no name, settings or size are asked for.
    guard unsafe openpty(&first, &second, nil, nil, nil) == 0 else {
      throw LabError("a pseudo-terminal: errno \(errno)")
    }
    master = FileHandle(fileDescriptor: first, closeOnDealloc: true)
    slave = FileHandle(fileDescriptor: second, closeOnDealloc: true)
  }

  /// What stands in front of a program to make its standard input its controlling terminal, as in a login.
  ///
  /// The shell is there for the status: it says 128 and the signal, where `setsid` does not.
  static let foreground = ["setsid", "--ctty", "--wait", "sh", "-c", "\"$@\"; exit $?", "sh"]

  func type(_ text: String) { master.write(Data(text.utf8)) }

  /// Every setting, as `stty -g` prints it.
  func settings() throws -> String {
    try Command.output(["stty", "-g", "-F", "/proc/\(getpid())/fd/\(slave.fileDescriptor)"])
  }
}
