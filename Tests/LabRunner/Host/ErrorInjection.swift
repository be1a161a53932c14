// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Simulates errors that a device reports, with the kernel's module aer_inject.
enum ErrorInjection {
  /// An uncorrectable error (PCIe 6.0 §7.8.4.2), with its default severity.
  enum Kind: UInt32, CaseIterable {
    /// Completion Timeout, which is not fatal. The host's kernel does not reset the device.
    case nonFatal = 0x4000
    /// Malformed TLP, which is fatal. The host's kernel resets the bus of the device.
    case fatal = 0x40000
  }

  /// Reports an error of a device to the host's kernel.
  static func inject(_ kind: Kind, _ address: String, _ context: CaseContext) throws {
    try Command.output(["modprobe", "--dirname", context.manifest.modules, "aer_inject"])
    let parts = address.split { ":.".contains($0) }.compactMap { UInt8($0, radix: 16) }
    guard parts.count == 4 else { throw Failed("'\(address)': invalid PCI address") }
    // `struct aer_error_inj`: bus, device, function, the two status registers, four words of log, domain.
    var bytes = Data(parts[1...] + [0])
    for word in [kind.rawValue, 0, 0, 1, 2, 3, UInt32(parts[0])] {
      unsafe withUnsafeBytes(of: word.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }
    let handle = try FileHandle(forWritingTo: URL(filePath: "/dev/aer_inject"))
    try handle.write(contentsOf: bytes)
    try handle.close()
  }
}
