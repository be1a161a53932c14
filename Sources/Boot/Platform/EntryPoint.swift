// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Seams

/// How the boot processor enters a kernel that has been loaded.
public enum EntryPoint: Sendable, Equatable {
  /// The 64-bit Linux boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"):
  /// long mode, identity page tables at `cr3`, RSI pointing to `boot_params`.
  case linux64(rip: GuestAddress, rsi: GuestAddress, cr3: GuestAddress)
  /// The PVH boot protocol (Xen's docs/misc/pvh.pandoc): 32-bit protected mode without paging,
  /// EBX pointing to `hvm_start_info`.
  case pvh32(eip: GuestAddress, ebx: GuestAddress)

  /// The registers to set.
  public var initialState: CPUState { CPUState(self) }
  /// 32-bit protected mode without paging; EAX holds the boot loader's magic number and EBX the
  /// multiboot information (Multiboot Specification 0.6.96 §3.2).
  case multiboot32(eip: GuestAddress, ebx: GuestAddress)
}
