// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A pseudo-terminal whose slave end is a program's standard input.
final class Terminal {
  private let master: FileHandle
  let slave: FileHandle

  init() throws {
    var (first, second): (Int32, Int32) = (-1, -1)
    // SAFETY: both pointers refer to variables of this frame. The name, the settings and the size are null.
    guard unsafe openpty(&first, &second, nil, nil, nil) == 0 else {
      throw LabError("openpty: errno \(errno)")
    }
    master = FileHandle(fileDescriptor: first, closeOnDealloc: true)
    slave = FileHandle(fileDescriptor: second, closeOnDealloc: true)
  }

  /// The command before a program that makes its standard input its controlling terminal, as in a login.
  ///
  /// The shell reports a status of 128 plus the signal. `setsid` does not.
  static let foreground = ["setsid", "--ctty", "--wait", "sh", "-c", "\"$@\"; exit $?", "sh"]

  func type(_ text: String) { master.write(Data(text.utf8)) }

  /// Returns all settings in the format of `stty -g`.
  func settings() throws -> String {
    try Command.output(["stty", "-g", "-F", "/proc/\(getpid())/fd/\(slave.fileDescriptor)"])
  }
}
