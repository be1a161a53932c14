// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Seams

/// The registers of the boot processor at the kernel's first instruction. The other processors wait for INIT
/// and SIPI.
extension CPUState {
  /// __BOOT_CS of the Linux boot protocol.
  static let codeSelector: UInt16 = 0x10
  /// __BOOT_DS of the Linux boot protocol.
  static let dataSelector: UInt16 = 0x18

  private enum Bits {
    static let cr0ProtectedMode: UInt64 = 1 << 0
    static let cr0ExtensionType: UInt64 = 1 << 4
    static let cr0Paging: UInt64 = 1 << 31
    static let cr4PhysicalAddressExtension: UInt64 = 1 << 5
    static let eferLongModeEnable: UInt64 = 1 << 8
    static let eferLongModeActive: UInt64 = 1 << 10
    /// Execute and read, accessed.
    static let codeType: UInt8 = 0xB
    /// Read and write, accessed.
    static let dataType: UInt8 = 0x3
    /// Busy TSS; 32-bit or 64-bit, depending on the mode.
    static let busyTSS: UInt8 = 0xB
    /// Local descriptor table.
    static let ldtType: UInt8 = 0x2
  }

  /// Creates the state that an entry point requires.
  init(_ entry: EntryPoint) {
    self.init(
      rip: 0, cr0: Bits.cr0ProtectedMode | Bits.cr0ExtensionType,
      cs: Segment(selector: Self.codeSelector, type: Bits.codeType, db: 1),
      data: Segment(selector: Self.dataSelector, type: Bits.dataType, db: 1),
      tr: Segment(limit: 0x67, selector: 0, type: Bits.busyTSS, db: 0, s: 0, g: 0),
      ldt: Segment(limit: 0, selector: 0, type: Bits.ldtType, present: 0, db: 0, s: 0, g: 0),
      gdt: Table(base: PlatformLayout.gdt.rawValue, limit: 4 * 8 - 1))
    switch entry {
    case .linux64(let rip, let rsi, let cr3):
      self.rip = rip.rawValue
      self.rsi = rsi.rawValue
      self.cr3 = cr3.rawValue
      cr0 |= Bits.cr0Paging
      cr4 = Bits.cr4PhysicalAddressExtension
      efer = Bits.eferLongModeEnable | Bits.eferLongModeActive
      cs.l = 1
      cs.db = 0
    case .pvh32(let eip, let ebx):
      rip = eip.rawValue
      rbx = ebx.rawValue
    case .multiboot32(let eip, let ebx):
      rip = eip.rawValue
      rbx = ebx.rawValue
      rax = 0x2BAD_B002
    }
  }

  /// The bytes of the GDT at `PlatformLayout.gdt`.
  var gdtBytes: [UInt8] {
    var bytes: [UInt8] = []
    for descriptor in [0, 0, cs.descriptor, data.descriptor] { bytes.append(little: descriptor) }
    return bytes
  }
}

extension CPUState.Segment {
  /// The descriptor in the GDT (Intel SDM volume 3 §3.4.5).
  var descriptor: UInt64 {
    let limit = UInt64(g == 1 ? limit >> 12 : limit)
    let access = UInt64(type) | UInt64(s) << 4 | UInt64(dpl) << 5 | UInt64(present) << 7
    let flags = UInt64(l) << 1 | UInt64(db) << 2 | UInt64(g) << 3
    return limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | access << 40
      | (limit >> 16 & 0xF) << 48 | flags << 52 | (base >> 24 & 0xFF) << 56
  }
}
