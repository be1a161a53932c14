// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The registers of the boot processor that a boot protocol fixes; the others are zero.
public struct CPUState: Sendable {
  /// A flat segment, as the hidden part of a segment register holds it (SDM vol. 3 §3.4.3).
  public struct Segment: Sendable {
    /// The selector.
    public var selector: UInt16
    /// The first byte; linear address.
    public var base: UInt64
    /// The last byte.
    public var limit: UInt32
    /// The type field: 0xB code, 0x3 data, 0xB busy TSS.
    public var type: UInt8
    /// Whether it is a code or data segment and not a system one.
    public var isCodeOrData: Bool
    /// 64-bit code (L).
    public var isLong: Bool
    /// 32-bit operands (D/B).
    public var isWide: Bool
    /// The limit counts pages (G).
    public var hasPageGranularity: Bool

    /// Makes a present segment of privilege 0.
    public init(
      selector: UInt16, base: UInt64 = 0, limit: UInt32 = 0xFFFF_FFFF, type: UInt8,
      isCodeOrData: Bool = true, isLong: Bool = false, isWide: Bool = false,
      hasPageGranularity: Bool = true
    ) {
      self.selector = selector
      self.base = base
      self.limit = limit
      self.type = type
      self.isCodeOrData = isCodeOrData
      self.isLong = isLong
      self.isWide = isWide
      self.hasPageGranularity = hasPageGranularity
    }

    var kernel: kvm_segment {
      var segment = kvm_segment()
      segment.base = base
      segment.limit = limit
      segment.selector = selector
      segment.type = type
      segment.present = 1
      segment.s = isCodeOrData ? 1 : 0
      segment.l = isLong ? 1 : 0
      segment.db = isWide ? 1 : 0
      segment.g = hasPageGranularity ? 1 : 0
      return segment
    }
  }

  /// Instruction pointer; linear address.
  public var rip: UInt64
  /// General registers that carry boot parameters.
  public var rsi: UInt64 = 0
  /// See ``rsi``.
  public var rbx: UInt64 = 0
  /// See ``rsi``.
  public var rax: UInt64 = 0
  /// Control registers and EFER.
  public var cr0: UInt64
  /// GPA of the page tables.
  public var cr3: UInt64 = 0
  /// See ``cr0``.
  public var cr4: UInt64 = 0
  /// See ``cr0``.
  public var efer: UInt64 = 0
  /// CS.
  public var code: Segment
  /// DS, ES, FS, GS and SS.
  public var data: Segment
  /// TR.
  public var task: Segment
  /// GDTR: linear address and limit.
  public var descriptorTable: (base: UInt64, limit: UInt16)

  /// Makes a state of what every protocol sets.
  public init(
    rip: UInt64, cr0: UInt64, code: Segment, data: Segment, task: Segment,
    descriptorTable: (base: UInt64, limit: UInt16)
  ) {
    self.rip = rip
    self.cr0 = cr0
    self.code = code
    self.data = data
    self.task = task
    self.descriptorTable = descriptorTable
  }

  func apply(to registers: inout kvm_sregs) {
    registers.cs = code.kernel
    registers.ds = data.kernel
    registers.es = data.kernel
    registers.fs = data.kernel
    registers.gs = data.kernel
    registers.ss = data.kernel
    registers.tr = task.kernel
    registers.gdt.base = descriptorTable.base
    registers.gdt.limit = descriptorTable.limit
    registers.idt.base = 0
    registers.idt.limit = 0
    registers.cr0 = cr0
    registers.cr3 = cr3
    registers.cr4 = cr4
    registers.efer = efer
  }
}
