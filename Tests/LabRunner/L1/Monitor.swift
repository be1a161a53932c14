// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The monitor of the QEMU that is L1, on L1's third serial port.
///
/// It echoes and edits as for a terminal: what it says is not looked at, only what it does.
enum Monitor {
  private static let port = "/dev/ttyS2"

  static func send(_ commands: String...) throws {
    try Command.output(["stty", "-F", port, "raw", "-echo"])
    let handle = try FileHandle(forUpdating: URL(filePath: port))
    // What it has said so far must not come back to it.
    try Command.output(["stty", "-F", port, "raw", "-echo"])
    for command in [""] + commands {
      try handle.write(contentsOf: Data((command + "\n").utf8))
      usleep(200_000)
    }
    try Command.output(["stty", "-F", port, "-echo", "raw"])
    try handle.close()
  }
}
