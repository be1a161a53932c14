// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// The fixed addresses of the machine: guest-physical addresses, and the ports that the tables of ACPI name. Devices on
/// the port bus declare their own.
///
/// The rest of Sluice takes them from here, and the guest finds them through ACPI and E820.
public enum PlatformLayout {
  // MARK: Below 1 MiB: what the kernel is handed

  /// The GDT that the initial segment registers agree with.
  public static let gdt = GuestAddress(0x500)
  /// The multiboot information, its module list, memory map and strings; one page long.
  public static let multibootInfo = GuestAddress(0x1000)
  /// Where a multiboot kernel may have segments below 1 MiB: what else is there is for other kinds of kernels.
  public static let multibootLow: Range<UInt64> = 0x2000..<commandLine.rawValue
  /// The PVH start info, its module list and memory map (Xen's `hvm_start_info`).
  public static let pvhStartInfo = GuestAddress(0x6000)
  /// Linux's `boot_params`, the "zero page", one page long.
  public static let bootParameters = GuestAddress(0x7000)
  /// The page tables of the 64-bit entry: one PML4, one PDPT and four page directories.
  public static let pageTables = GuestAddress(0x9000)
  /// The kernel's command line, ended by a NUL.
  public static let commandLine = GuestAddress(0x2_0000)
  /// Room for the command line in bytes, its NUL included.
  public static let commandLineRoom = 0x1_0000
  /// Where conventional memory ends, as a PC with an extended BIOS data area has it.
  public static let lowMemoryEnd = GuestAddress(0x9_FC00)
  /// The RSDP: in the range that ACPI 6.5 §5.2.5.1 has the guest search, so that kernels which
  /// are not told its address find it too. The other tables follow it.
  public static let rsdp = GuestAddress(0xE_0000)
  /// Where the room for ACPI tables ends.
  public static let acpiEnd = resetVector
  /// The first instruction after a reset, at FFFF:0000 of real mode.
  public static let resetVector = GuestAddress(0xF_FFF0)
  /// The lowest place for a kernel.
  public static let highMemory = GuestAddress(0x10_0000)

  // MARK: The hole below 4 GiB

  /// The 32-bit window for BARs.
  public static let pciWindow32: Range<UInt64> = GuestMemory.holeStart..<0xE000_0000
  /// The last PCI bus. There is one bus, and the guest is told so in MCFG and _CRS.
  public static let lastBus: UInt8 = 0
  /// PCI Express configuration space (ECAM) of buses 0 to `lastBus`, 1 MiB each.
  public static let ecam: Range<UInt64> = 0xE000_0000..<0xE010_0000
  /// What is kept free for the ECAM of 256 buses; reserved in E820 and in the DSDT.
  public static let ecamReserved: Range<UInt64> = 0xE000_0000..<0xF000_0000
  /// The I/O APIC, which is KVM's.
  public static let ioapic = GuestAddress(0xFEC0_0000)
  /// The identity of the I/O APIC in the MADT.
  public static let ioapicIdentity: UInt8 = 0
  /// The page of the identity map that VT-x needs for real mode, below the firmware area (KVM_SET_IDENTITY_MAP_ADDR).
  public static let identityMap = GuestAddress(0xFFFB_C000)
  /// Three pages for the task state segment that VT-x needs for real mode (KVM_SET_TSS_ADDR).
  public static let taskState = GuestAddress(0xFFFB_D000)
  /// The local APIC, which is KVM's.
  public static let localAPIC = GuestAddress(0xFEE0_0000)
  /// Registers that answer by traps, Sluice's and KVM's: GPAs. A BAR over them does not hide them, as on a PC.
  public static let trapped: [Range<UInt64>] = [
    ecam, ioapic.rawValue..<ioapic.rawValue + 0x1000, localAPIC.rawValue..<localAPIC.rawValue + 0x1000,
  ]

  // MARK: I/O ports

  /// The sleep control register of hardware-reduced ACPI, one byte.
  public static let sleepControl: UInt16 = 0x600
  /// The sleep status register of hardware-reduced ACPI, one byte.
  public static let sleepStatus: UInt16 = 0x601
  /// The PCI configuration address register; the data register follows after four ports.
  public static let configAddress: UInt16 = 0xCF8
  /// The PCI configuration data register, four ports.
  public static let configData: ClosedRange<UInt16> = configAddress + 4...configAddress + 7
  /// The reset register, one byte. It shares its port with configuration mechanism #1, which
  /// answers only to 4-byte accesses of `configAddress`.
  public static let reset: UInt16 = 0xCF9
  /// What resets the machine when written to `reset`.
  public static let resetValue: UInt8 = 6

  /// The ports that I/O BARs take, above the ports of the PC's legacy devices.
  public static let ioWindow: Range<UInt64> = 0xC000..<0x1_0000

  // MARK: Interrupt lines and sleep states

  /// SLP_TYP of S5, soft off.
  public static let sleepTypeS5: UInt8 = 5
  /// What a guest writes to `sleepControl` for S5: SLP_EN (bit 5) and SLP_TYP (bits 4:2),
  /// ACPI 6.5 §4.8.3.7.
  public static let powerOffValue: UInt8 = 1 << 5 | sleepTypeS5 << 2

  /// The interrupt line of a function's INTx pin: 16 to 23, level-triggered, by the usual swizzle.
  ///
  /// - Parameters:
  ///   - slot: Device number, 0 to 31.
  ///   - pin: 0 for INTA# to 3 for INTD#.
  public static func gsi(slot: UInt8, pin: UInt8) -> UInt32 { 16 + (UInt32(slot) + UInt32(pin)) % 8 }
}
