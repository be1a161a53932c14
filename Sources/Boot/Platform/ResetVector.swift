// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// The code at the reset vector: a few instructions that reset the machine.
///
/// Linux on hardware-reduced ACPI does not use the FADT's reset register. Without EFI it switches to real
/// mode and jumps to FFFF:0000 (arch/x86/kernel/reboot.c, BOOT_BIOS).
public enum ResetVector {
  /// Real-mode code that writes the reset register and then halts forever.
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

  /// Writes the code at the reset vector.
  public static func install(in memory: GuestMemory) throws(BootError) {
    try memory.store(code, at: PlatformLayout.resetVector)
  }
}
