// SPDX-License-Identifier: Apache-2.0

/// The registers of a processor at the first instruction of the guest.
///
/// All other registers are zero. The values are those that a VM entry accepts on VMX and SVM.
public struct CPUState: Sendable, Equatable {
  /// A segment register with its hidden part, as `struct kvm_segment` has it.
  public struct Segment: Sendable, Equatable {
    /// Linear address.
    public var base: UInt64 = 0
    /// The last offset, in bytes whatever the granularity.
    public var limit: UInt32 = 0xFFFF_FFFF
    /// Index into the GDT times eight.
    public var selector: UInt16
    /// Intel SDM volume 3, tables 3-1 and 3-2.
    public var type: UInt8
    /// P: the segment is present.
    public var present: UInt8 = 1
    /// DPL: descriptor privilege level.
    public var dpl: UInt8 = 0
    /// D/B: 32-bit operands.
    public var db: UInt8
    /// S: code or data rather than a system segment.
    public var s: UInt8 = 1
    /// L: 64-bit code.
    public var l: UInt8 = 0
    /// G: the limit in the descriptor counts pages.
    public var g: UInt8 = 1

    /// Describes a segment.
    public init(
      base: UInt64 = 0, limit: UInt32 = 0xFFFF_FFFF, selector: UInt16, type: UInt8, present: UInt8 = 1,
      dpl: UInt8 = 0, db: UInt8, s: UInt8 = 1, l: UInt8 = 0, g: UInt8 = 1
    ) {
      (self.base, self.limit, self.selector, self.type) = (base, limit, selector, type)
      (self.present, self.dpl, self.db, self.s) = (present, dpl, db, s)
      (self.l, self.g) = (l, g)
    }
  }

  /// A descriptor table register.
  public struct Table: Sendable, Equatable {
    /// Linear address.
    public var base: UInt64
    /// The last offset, in bytes.
    public var limit: UInt16

    /// Describes a table.
    public init(base: UInt64, limit: UInt16) {
      self.base = base
      self.limit = limit
    }
  }

  /// Instruction pointer.
  public var rip: UInt64
  /// Address of `boot_params`.
  public var rsi: UInt64 = 0
  /// Address of the PVH start info or of the multiboot information.
  public var rbx: UInt64 = 0
  /// Magic number of a multiboot loader.
  public var rax: UInt64 = 0
  /// Bit 1 is always set; interrupts are off.
  public var rflags: UInt64 = 2
  /// Intel SDM volume 3 §2.5.
  public var cr0: UInt64
  /// GPA of the top page table.
  public var cr3: UInt64 = 0
  /// Intel SDM volume 3 §2.5.
  public var cr4: UInt64 = 0
  /// IA32_EFER.
  public var efer: UInt64 = 0
  /// The code segment.
  public var cs: Segment
  /// For DS, ES, FS, GS and SS alike.
  public var data: Segment
  /// The task register; a busy TSS, because VM entry insists on one.
  public var tr: Segment
  /// The local descriptor table register, unusable.
  public var ldt: Segment
  /// The GDT, which holds `cs` and `data` at their selectors.
  public var gdt: Table
  /// Empty: an exception before the kernel has its own IDT is a triple fault.
  public var idt = Table(base: 0, limit: 0)

  /// Describes the processor.
  public init(
    rip: UInt64, cr0: UInt64, cs: Segment, data: Segment, tr: Segment, ldt: Segment, gdt: Table
  ) {
    self.rip = rip
    self.cr0 = cr0
    self.cs = cs
    self.data = data
    self.tr = tr
    self.ldt = ldt
    self.gdt = gdt
  }
}
