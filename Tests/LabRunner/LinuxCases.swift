// SPDX-License-Identifier: Apache-2.0

/// Debian guests that use the devices they were given.
enum LinuxCases {
  static let all: [Case] = [
    Case("nvme", "kernel 6.12 reads its whole drive") { bench in
      let guest = LinuxGuest(devices: [Address.bigDrive], steps: ["nvme-sha256"])
      let lines = try guest.run(bench)
      return lines.lines.first ?? ""
    },
  ]
}
