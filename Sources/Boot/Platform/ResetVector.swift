// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// What a PC runs after a reset: here a few instructions that reset the machine.
///
/// Linux on hardware-reduced ACPI does not use the FADT's reset register; without EFI it goes back
/// to real mode and jumps to FFFF:0000 (arch/x86/kernel/reboot.c, BOOT_BIOS).
public enum ResetVector {
  /// Real-mode code: write the reset register, then halt for good.
  private static let code: [UInt8] = {
    let port = PlatformLayout.reset
    return [
      0xBA, UInt8(port & 0xFF), UInt8(port >> 8),  // mov dx, port
      0xB0, PlatformLayout.resetValue,  // mov al, value
      0xEE,  // out dx, al
      0xF4,  // hlt
      0xEB, 0xFD,  // jmp to the hlt
    ]
  }()

  /// Puts the code where a processor in real mode starts.
  public static func install(in memory: GuestMemory) throws(BootError) {
    try memory.place(code, at: PlatformLayout.resetVector)
  }
}
