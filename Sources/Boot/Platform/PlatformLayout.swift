// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// The fixed guest-physical addresses of the machine, and the I/O ports that its ACPI tables name. Devices on
/// the port bus declare their own ports.
///
/// The rest of Sluice uses these constants. The guest finds the addresses through ACPI and E820.
public enum PlatformLayout {
  // MARK: Below 1 MiB: data passed to the kernel

  /// The GDT. It matches the initial segment registers.
  public static let gdt = GuestAddress(0x500)
  /// The multiboot information, its module list, memory map and strings; one page long.
  public static let multibootInfo = GuestAddress(0x1000)
  /// The addresses below 1 MiB allowed for segments of a multiboot kernel. The other structures in this range
  /// are for other kinds of kernels.
  public static let multibootLow: Range<UInt64> = 0x2000..<commandLine.rawValue
  /// The PVH start info, its module list and memory map (Xen's `hvm_start_info`).
  public static let pvhStartInfo = GuestAddress(0x6000)
  /// Linux's `boot_params`, the "zero page", one page long.
  public static let bootParameters = GuestAddress(0x7000)
  /// The page tables of the 64-bit entry: one PML4, one PDPT and four page directories.
  public static let pageTables = GuestAddress(0x9000)
  /// The kernel's command line, ended by a NUL.
  public static let commandLine = GuestAddress(0x2_0000)
  /// The space for the command line in bytes, including its NUL.
  public static let commandLineRoom = 0x1_0000
  /// The end of conventional memory, as on a PC with an extended BIOS data area.
  public static let lowMemoryEnd = GuestAddress(0x9_FC00)
  /// The RSDP. It is in the range that guests search (ACPI 6.5 §5.2.5.1), so that a kernel finds it even if
  /// its boot protocol does not pass the address. The other tables follow it.
  public static let rsdp = GuestAddress(0xE_0000)
  /// The end of the space for ACPI tables.
  public static let acpiEnd = resetVector
  /// The first instruction after a reset, at FFFF:0000 of real mode.
  public static let resetVector = GuestAddress(0xF_FFF0)
  /// The lowest load address of a kernel.
  public static let highMemory = GuestAddress(0x10_0000)

  // MARK: The hole below 4 GiB

  /// The 32-bit window for BARs.
  public static let pciWindow32: Range<UInt64> = GuestMemory.holeStart..<0xE000_0000
  /// PCI Express configuration space (ECAM) of 256 buses, 1 MiB each. MCFG and _CRS describe the buses that exist.
  /// E820 and the DSDT reserve all of it.
  public static let ecam: Range<UInt64> = 0xE000_0000..<0xF000_0000
  /// The I/O APIC, emulated by KVM.
  public static let ioapic = GuestAddress(0xFEC0_0000)
  /// The ID of the I/O APIC in the MADT.
  public static let ioapicIdentity: UInt8 = 0
  /// The page of the identity map that VT-x needs for real mode, below the firmware area
  /// (KVM_SET_IDENTITY_MAP_ADDR).
  public static let identityMap = GuestAddress(0xFFFB_C000)
  /// Three pages for the task state segment that VT-x needs for real mode (KVM_SET_TSS_ADDR).
  public static let taskState = GuestAddress(0xFFFB_D000)
  /// The local APIC, emulated by KVM.
  public static let localAPIC = GuestAddress(0xFEE0_0000)
  /// The GPAs of registers that Sluice or KVM emulates. A BAR at these addresses does not hide them, as on a
  /// PC.
  public static let trapped: [Range<UInt64>] = [
    ecam, ioapic.rawValue..<ioapic.rawValue + 0x1000, localAPIC.rawValue..<localAPIC.rawValue + 0x1000,
  ]

  // MARK: I/O ports

  /// The sleep control register of hardware-reduced ACPI, one byte.
  public static let sleepControl: UInt16 = 0x600
  /// The sleep status register of hardware-reduced ACPI, one byte.
  public static let sleepStatus: UInt16 = 0x601
  /// The PCI configuration address register, four ports. The data register follows it.
  public static let configAddress: UInt16 = 0xCF8
  /// The PCI configuration data register, four ports.
  public static let configData: ClosedRange<UInt16> = configAddress + 4...configAddress + 7
  /// The reset register, one byte. Configuration mechanism #1 includes this port, but responds only to 4-byte
  /// accesses of `configAddress`.
  public static let reset: UInt16 = 0xCF9
  /// The value that resets the machine when the guest writes it to `reset`.
  public static let resetValue: UInt8 = 6

  /// The ports for I/O BARs, above the ports of a PC's legacy devices.
  public static let ioWindow: Range<UInt64> = 0xC000..<0x1_0000

  // MARK: GSIs and sleep states

  /// SLP_TYP of S5, soft off.
  public static let sleepTypeS5: UInt8 = 5
  /// The value that a guest writes to `sleepControl` for S5: SLP_EN (bit 5) and SLP_TYP (bits 4:2),
  /// ACPI 6.5 §4.8.3.7.
  public static let powerOffValue: UInt8 = 1 << 5 | sleepTypeS5 << 2

  /// The edge-triggered GSI of the power button.
  public static let powerButtonGSI: UInt32 = 5

  /// Returns the GSI of a function's INTx pin: 16 to 23, level-triggered, with the usual swizzle.
  ///
  /// - Parameters:
  ///   - slot: The PCI slot (device number), 0 to 31.
  ///   - pin: 0 for INTA# to 3 for INTD#.
  public static func gsi(slot: UInt8, pin: UInt8) -> UInt32 { 16 + (UInt32(slot) + UInt32(pin)) % 8 }
}
