// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The monitor of the QEMU that emulates L1, on L1's third serial port.
///
/// The monitor echoes and edits its input as on a terminal. Its output is ignored.
enum Monitor {
  private static let port = "/dev/ttyS2"

  static func send(_ commands: String...) throws {
    try Command.output(["stty", "-F", port, "raw", "-echo"])
    let handle = try FileHandle(forUpdating: URL(filePath: port))
    // The terminal must not echo the earlier output of the monitor to the monitor.
    try Command.output(["stty", "-F", port, "raw", "-echo"])
    for command in [""] + commands {
      try handle.write(contentsOf: Data((command + "\n").utf8))
      usleep(200_000)
    }
    try Command.output(["stty", "-F", port, "-echo", "raw"])
    try handle.close()
  }
}
