// SPDX-License-Identifier: Apache-2.0

/// The registers of a vCPU at the guest's first instruction.
///
/// All other registers are zero. A VM entry accepts these values on VMX and SVM.
public struct CPUState: Sendable, Equatable {
  /// A segment register with its hidden part, as in `struct kvm_segment`.
  public struct Segment: Sendable, Equatable {
    /// Linear address.
    public var base: UInt64 = 0
    /// The last offset in bytes, whatever the granularity.
    public var limit: UInt32 = 0xFFFF_FFFF
    /// The GDT index times eight.
    public var selector: UInt16
    /// The segment type (Intel SDM volume 3, tables 3-1 and 3-2).
    public var type: UInt8
    /// P: the segment is present.
    public var present: UInt8 = 1
    /// DPL: descriptor privilege level.
    public var dpl: UInt8 = 0
    /// D/B: 32-bit operands.
    public var db: UInt8
    /// S: the segment is a code or data segment, not a system segment.
    public var s: UInt8 = 1
    /// L: 64-bit code.
    public var l: UInt8 = 0
    /// G: the limit in the descriptor is in units of pages.
    public var g: UInt8 = 1

    /// Creates a segment.
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

    /// Creates a descriptor table register.
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
  /// The magic number of a multiboot loader.
  public var rax: UInt64 = 0
  /// Bit 1 is always set. Interrupts are disabled.
  public var rflags: UInt64 = 2
  /// CR0 (Intel SDM volume 3 §2.5).
  public var cr0: UInt64
  /// GPA of the top page table.
  public var cr3: UInt64 = 0
  /// CR4 (Intel SDM volume 3 §2.5).
  public var cr4: UInt64 = 0
  /// IA32_EFER.
  public var efer: UInt64 = 0
  /// The code segment.
  public var cs: Segment
  /// The segment for DS, ES, FS, GS and SS.
  public var data: Segment
  /// The task register. It holds a busy TSS because a VM entry requires one.
  public var tr: Segment
  /// The local descriptor table register. It is unusable.
  public var ldt: Segment
  /// The GDT register. The GDT holds `cs` and `data` at their selectors.
  public var gdt: Table
  /// The IDT register. The IDT is empty, so an exception before the kernel loads its IDT causes a triple
  /// fault.
  public var idt = Table(base: 0, limit: 0)

  /// Creates the state of a vCPU.
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
