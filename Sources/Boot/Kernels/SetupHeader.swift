// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Seams

/// The setup header of a bzImage (Documentation/arch/x86/boot.rst, "Details of Header Fields").
struct SetupHeader: Equatable {
  /// Major number in the high byte.
  let version: UInt16
  /// Sectors of 512 bytes between the boot sector and the protected-mode kernel.
  let setupSectors: UInt64
  /// Length of the protected-mode kernel, in bytes.
  let payloadSize: UInt64
  /// Bit 0, LOADED_HIGH: the protected-mode kernel does not belong below 1 MiB.
  let loadFlags: UInt8
  /// Bits of what the kernel supports (XLF_*).
  let extendedLoadFlags: UInt16
  /// What a relocatable kernel's address must be a multiple of.
  let kernelAlignment: UInt64
  let isRelocatable: Bool
  /// Longest command line in bytes, without its NUL.
  let commandLineLimit: UInt64
  /// Highest GPA that an initrd may use.
  let initrdLimit: UInt64
  /// GPA where the kernel would like to be.
  let preferredAddress: UInt64
  /// Bytes of RAM that the kernel uses from its address on before it reads the memory map.
  let initSize: UInt64
  /// The header's own bytes, from `start` on, as far as this kernel has it.
  let bytes: [UInt8]

  /// Where the header starts in the file and in `boot_params`.
  static let start = 0x1F1
  /// Where the fields end that every kernel of protocol 2.12 has.
  static let minimumEnd = 0x264
  /// Where `boot_params` has the next field after the header (edd_mbr_sig_buffer).
  static let maximumEnd = 0x290

  static let oldestVersion: UInt16 = 0x020C
  /// From this version on the kernel takes the RSDP's address from `boot_params`.
  static let acpiVersion: UInt16 = 0x020E
  private static let bootFlag: UInt16 = 0xAA55
  private static let signature: UInt32 = 0x5372_6448  // "HdrS"

  /// XLF_KERNEL_64: there is a 64-bit entry at offset 0x200 of the protected-mode kernel.
  var has64BitEntry: Bool { extendedLoadFlags & 1 << 0 != 0 }
  /// XLF_CAN_BE_LOADED_ABOVE_4G: kernel, `boot_params`, command line and initrd can.
  var canBeAbove4GiB: Bool { extendedLoadFlags & 1 << 1 != 0 }

  /// Whether these first bytes of a file have the boot flag and the header's signature.
  static func isPresent(in file: [UInt8]) -> Bool {
    file.little(UInt16.self, at: 0x1FE) == bootFlag && file.little(UInt32.self, at: 0x202) == signature
  }

  /// Whether a file that ends here could be the start of a bzImage: all of them are PE files
  /// too, or have the boot flag.
  static func couldBecomeOne(_ file: [UInt8]) -> Bool {
    file.starts(with: [0x4D, 0x5A]) || file.little(UInt16.self, at: 0x1FE) == bootFlag
  }

  /// Reads the header from the first bytes of a file in which it is present, and checks that
  /// this is a kernel that can be started in 64-bit mode.
  init(_ file: [UInt8], path: String) throws(BootError) {
    /// A field; one that is not there counts as zero, and the version says which must be.
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
      throw .damaged(path: path, reason: "it wants to be below 1 MiB (LOADED_HIGH is clear)")
    }
    guard payloadSize > 0x200 else {
      throw .damaged(path: path, reason: "its protected-mode part has \(payloadSize) bytes")
    }
  }

  /// Offset of the protected-mode kernel in the file.
  var payloadOffset: UInt64 { (setupSectors + 1) * 512 }

  /// Where to load the protected-mode kernel.
  ///
  /// Every 64-bit kernel moves itself up to `preferredAddress` when it finds itself lower, so a
  /// lower place saves nothing even for a relocatable one.
  func loadAddress(path: String) throws(BootError) -> UInt64 {
    let lowest = PlatformLayout.highMemory.rawValue
    let aligned = kernelAlignment > 0 && kernelAlignment & (kernelAlignment - 1) == 0
    if preferredAddress >= lowest, !isRelocatable || !aligned || preferredAddress % kernelAlignment == 0 {
      return preferredAddress
    }
    guard isRelocatable, aligned else {
      throw .damaged(
        path: path,
        reason: "it wants to be at \(preferredAddress.hexadecimal) and cannot be moved")
    }
    let wanted = max(preferredAddress, lowest)
    // An address that high does not fit anyway, which the caller says.
    return wanted <= .max - kernelAlignment ? wanted.roundedUp(to: kernelAlignment) : wanted
  }
}
