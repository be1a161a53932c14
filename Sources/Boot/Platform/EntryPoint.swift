// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Seams

/// The boot processor's entry point into a loaded kernel.
public enum EntryPoint: Sendable, Equatable {
  /// The 64-bit Linux boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"):
  /// long mode, identity page tables at `cr3`, RSI points to `boot_params`.
  case linux64(rip: GuestAddress, rsi: GuestAddress, cr3: GuestAddress)
  /// The PVH boot protocol (Xen's docs/misc/pvh.pandoc): 32-bit protected mode without paging,
  /// EBX points to `hvm_start_info`.
  case pvh32(eip: GuestAddress, ebx: GuestAddress)
  /// The multiboot protocol (Multiboot Specification 0.6.96 §3.2): 32-bit protected mode without paging, EAX
  /// holds the boot loader's magic number, EBX points to the multiboot information.
  case multiboot32(eip: GuestAddress, ebx: GuestAddress)

  /// The boot processor's registers at the kernel's first instruction.
  public var initialState: CPUState { CPUState(self) }
}
