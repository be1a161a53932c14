// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Simulates errors that a device reports, with the kernel's module aer_inject.
enum ErrorInjection {
  /// Completion Timeout (PCIe 6.0 §7.8.4.2, bit 14), which is not fatal by default.
  private static let completionTimeout: UInt32 = 1 << 14

  static func inject(_ address: String, _ context: CaseContext) throws {
    try Command.output(["modprobe", "--dirname", context.manifest.modules, "aer_inject"])
    let parts = address.split { ":.".contains($0) }.compactMap { UInt8($0, radix: 16) }
    guard parts.count == 4 else { throw Failed("'\(address)': invalid PCI address") }
    // `struct aer_error_inj`: bus, device, function, the two status registers, four words of log, domain.
    var bytes = Data(parts[1...] + [0])
    for word in [completionTimeout, 0, 0, 1, 2, 3, UInt32(parts[0])] {
      unsafe withUnsafeBytes(of: word.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }
    let handle = try FileHandle(forWritingTo: URL(filePath: "/dev/aer_inject"))
    try handle.write(contentsOf: bytes)
    try handle.close()
  }
}
