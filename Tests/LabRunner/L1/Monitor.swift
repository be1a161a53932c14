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

  /// Plugs a device in, and waits until L1's kernel has it.
  ///
  /// QEMU refuses the ID of a device whose removal has not ended. The kernel's removal ends before that, so the command is
  /// repeated.
  static func plug(_ device: String, at address: String) throws {
    let end = ContinuousClock.now + .seconds(40)
    var next = ContinuousClock.now
    while !URL(filePath: "/sys/bus/pci/devices/\(address)").exists {
      guard ContinuousClock.now < end else { throw Failed("device \(address): did not reappear within 40 s") }
      if ContinuousClock.now >= next {
        try send("device_add \(device)")
        next = .now + .seconds(5)
      }
      usleep(20_000)
    }
  }
}
