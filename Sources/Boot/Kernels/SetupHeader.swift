// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Seams

/// The setup header of a bzImage (Documentation/arch/x86/boot.rst, "Details of Header Fields").
struct SetupHeader: Equatable {
  /// The boot protocol version. The high byte is the major number.
  let version: UInt16
  /// The number of 512-byte sectors between the boot sector and the protected-mode kernel.
  let setupSectors: UInt64
  /// The length of the protected-mode kernel, in bytes.
  let payloadSize: UInt64
  /// The load flags. Bit 0 (LOADED_HIGH) means that the protected-mode kernel loads at 1 MiB or above.
  let loadFlags: UInt8
  /// The kernel's extended load flags (XLF_*).
  let extendedLoadFlags: UInt16
  /// The required alignment of a relocatable kernel's address, in bytes.
  let kernelAlignment: UInt64
  let isRelocatable: Bool
  /// The longest command line in bytes, without its NUL.
  let commandLineLimit: UInt64
  /// The highest GPA that an initrd may use.
  let initrdLimit: UInt64
  /// The preferred load address (GPA).
  let preferredAddress: UInt64
  /// The size of the RAM in bytes, from the load address on, that the kernel uses before it reads the memory
  /// map.
  let initSize: UInt64
  /// The header's bytes from `start` on. Their number depends on the kernel.
  let bytes: [UInt8]

  /// The offset of the header in the file and in `boot_params`.
  static let start = 0x1F1
  /// The end of the fields that every kernel of protocol 2.12 has.
  static let minimumEnd = 0x264
  /// The offset of the next field after the header in `boot_params` (edd_mbr_sig_buffer).
  static let maximumEnd = 0x290

  static let oldestVersion: UInt16 = 0x020C
  /// The first version in which the kernel reads the RSDP's address from `boot_params`.
  static let acpiVersion: UInt16 = 0x020E
  private static let bootFlag: UInt16 = 0xAA55
  private static let signature: UInt32 = 0x5372_6448  // "HdrS"

  /// True if the protected-mode kernel has a 64-bit entry at offset 0x200 (XLF_KERNEL_64).
  var has64BitEntry: Bool { extendedLoadFlags & 1 << 0 != 0 }
  /// True if kernel, `boot_params`, command line and initrd can be above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G).
  var canBeAbove4GiB: Bool { extendedLoadFlags & 1 << 1 != 0 }

  /// True if the first bytes of a file contain the boot flag and the header's signature.
  static func isPresent(in file: [UInt8]) -> Bool {
    file.little(UInt16.self, at: 0x1FE) == bootFlag && file.little(UInt32.self, at: 0x202) == signature
  }

  /// True if a file without a setup header could be a truncated bzImage. Every bzImage is also a PE file or
  /// has the boot flag.
  static func couldBeTruncated(_ file: [UInt8]) -> Bool {
    file.starts(with: [0x4D, 0x5A]) || file.little(UInt16.self, at: 0x1FE) == bootFlag
  }

  /// Creates the header from the first bytes of a file that contains one. Checks that the kernel can start in
  /// 64-bit mode.
  init(_ file: [UInt8], path: String) throws(BootError) {
    /// Reads a field. A field beyond the end of the file reads as zero; the version determines which fields
    /// exist.
    func field<Value: FixedWidthInteger>(_ offset: Int, _: Value.Type = Value.self) -> Value {
      file.little(at: offset) ?? 0
    }
    version = field(0x206)
    guard version >= Self.oldestVersion else { throw .oldProtocol(path: path, version: version) }
    guard file.count >= Self.minimumEnd else {
      throw .truncated(
        BootFile(.kernel, path: path), has: UInt64(file.count), needs: UInt64(Self.minimumEnd))
    }
    extendedLoadFlags = field(0x236)
    loadFlags = field(0x211)
    let sectors: UInt8 = field(0x1F1)
    setupSectors = sectors == 0 ? 4 : UInt64(sectors)  // "if setup_sects is 0, the real value is 4"
    payloadSize = UInt64(field(0x1F4, UInt32.self)) * 16
    kernelAlignment = UInt64(field(0x230, UInt32.self))
    isRelocatable = field(0x234, UInt8.self) != 0
    commandLineLimit = UInt64(field(0x238, UInt32.self))
    initrdLimit = UInt64(field(0x22C, UInt32.self))
    preferredAddress = field(0x258)
    initSize = UInt64(field(0x260, UInt32.self))
    let end = min(0x202 + Int(field(0x201, UInt8.self)), Self.maximumEnd, file.count)
    bytes = Array(file[Self.start..<max(end, Self.minimumEnd)])
    guard has64BitEntry else { throw .no64BitEntry(path: path) }
    guard loadFlags & 1 != 0 else {
      throw .loadAddressTooLow(path: path, reason: "it must load below 1 MiB (LOADED_HIGH is clear)")
    }
    guard payloadSize > 0x200 else {
      throw .damaged(path: path, reason: "its protected-mode kernel has only \(payloadSize) bytes")
    }
  }

  /// Offset of the protected-mode kernel in the file.
  var payloadOffset: UInt64 { (setupSectors + 1) * 512 }

  /// Returns the load address of the protected-mode kernel (GPA).
  ///
  /// A 64-bit kernel that starts below `preferredAddress` moves itself up to it. A lower load address
  /// therefore saves no memory, even for a relocatable kernel.
  func loadAddress(path: String) throws(BootError) -> UInt64 {
    let lowest = PlatformLayout.highMemory.rawValue
    let hasValidAlignment = kernelAlignment > 0 && kernelAlignment & (kernelAlignment - 1) == 0
    if preferredAddress >= lowest,
      !isRelocatable || !hasValidAlignment || preferredAddress % kernelAlignment == 0
    {
      return preferredAddress
    }
    guard isRelocatable, hasValidAlignment else {
      throw .loadAddressTooLow(
        path: path,
        reason: "its load address \(preferredAddress.hexadecimal) is below 1 MiB, and it cannot be relocated")
    }
    let wanted = max(preferredAddress, lowest)
    // The caller rejects such a high address, because it is not in RAM.
    return wanted <= .max - kernelAlignment ? wanted.roundedUp(to: kernelAlignment) : wanted
  }
}
