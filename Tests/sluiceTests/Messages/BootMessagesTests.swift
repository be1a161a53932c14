// SPDX-License-Identifier: Apache-2.0

import Boot
import GuestMemory
import Linux
import Testing

@testable import sluice

@Suite struct BootMessagesTests {
  private static let kernel = BootFile(.kernel, path: "/k")
  private static let formats =
    "use a bzImage with boot protocol 2.12 or newer, a 64-bit ELF file with a PVH note, or a multiboot "
    + "(version 1) kernel"

  @Test(
    "an error of a kernel, an initrd or the tables has subject, cause and remedy",
    arguments: [
      (
        .unreadable(kernel, KernelError("open /k", errno: KernelError.accessDenied)),
        "kernel /k: open /k: Permission denied; check the path and its permissions"
      ),
      (.notRegular(kernel), "kernel /k: not a regular file; copy its contents to a regular file"),
      (.empty(kernel), "kernel /k: the file is empty; copy or build it again"),
      (
        .truncated(BootFile(.initrd, path: "/i"), has: 10, needs: 30),
        "initrd /i: the file is truncated: it has 10 bytes, but its headers need 30 (20 missing); copy or "
          + "build it again"
      ),
      (.notAKernel(path: "/k"), "kernel /k: unknown format; \(formats)"),
      (
        .oldProtocol(path: "/k", version: 0x0206),
        "kernel /k: boot protocol 2.6 is older than 2.12 (Linux 3.8); use a newer kernel"
      ),
      (
        .no64BitEntry(path: "/k"),
        "kernel /k: no 64-bit entry point (XLF_KERNEL_64); use an x86-64 kernel, not a 32-bit one"
      ),
      (
        .damaged(path: "/k", reason: "it has no end"),
        "kernel /k: the file is damaged: it has no end; copy or build it again"
      ),
      (
        .unsupportedFeatures(path: "/k", flags: 4),
        "kernel /k: its multiboot header requires unsupported features (flags 0x4, bit 2 is a video mode); "
          + "build the kernel without these flags in its multiboot header"
      ),
      (
        .loadAddressTooLow(path: "/k", reason: "the segment at 0x1000 is below 1 MiB"),
        "kernel /k: the segment at 0x1000 is below 1 MiB; build the kernel with a load address of 1 MiB or "
          + "above"
      ),
      (.wrongELF(path: "/k", reason: "an odd file"), "kernel /k: an odd file; \(formats)"),
      (
        .noPVHNote(path: "/k"),
        "kernel /k: an ELF file without a PVH note (Xen note of type 18); use the bzImage, or build the "
          + "kernel with CONFIG_PVH=y"
      ),
      (
        .kernelInReservedAddresses(path: "/k", end: 0x200_0000),
        "kernel /k: it needs RAM up to 0x2000000, but the host reserves IOVAs below that for a "
          + "device's IOMMU group (/sys/kernel/iommu_groups/*/reserved_regions); use another device, or a "
          + "kernel with another load address"
      ),
      (
        .kernelTooLarge(path: "/k", end: 0x500_0000, memory: 64 << 20),
        "kernel /k: it needs RAM up to 0x5000000 (80 MiB), but the guest has 64 MiB, of which at most 3072 "
          + "MiB are below 4 GiB; give a larger --memory"
      ),
      (
        .initrdTooLarge(path: "/i", size: 100 << 20, room: 40 << 20, memory: 64 << 20, needed: 124 << 20),
        "initrd /i: its size is 100 MiB, but only 40 MiB of the guest's 64 MiB are free above the kernel; "
          + "give at least --memory 124M"
      ),
      (
        .initrdBeyondKernelLimit(path: "/i", size: 3 << 30, limit: 0x7FFF_FFFF),
        "initrd /i: its size is 3072 MiB, but this kernel accepts an initrd only between the kernel's end "
          + "and 0x7fffffff; use a smaller initrd (more memory does not help)"
      ),
      (
        .commandLineTooLong(length: 3000, limit: 2047),
        "kernel command line: 3000 bytes, but this kernel accepts at most 2047; shorten --append"
      ),
      (
        .unsupportedCPUCount(256),
        "ACPI tables: the number of CPUs is 256, not between 1 and 255; give a number from 1 to 255 with "
          + "--cpus"
      ),
      (
        .unusablePCIWindow(0..<16),
        "64-bit PCI window 0x0–0x10: it is below 4 GiB or overlaps guest RAM; give a smaller --memory"
      ),
      (
        .tablesTooLarge(size: 200_000, room: 131_072),
        "ACPI tables: their size is 200000 bytes, but only 131072 bytes are reserved for them; give a "
          + "smaller --cpus"
      ),
    ] as [(BootError, String)])
  func message(_ error: BootError, _ text: String) {
    #expect(error.message == text)
  }

  @Test("an error about RAM that lacks the first MiB names the missing range")
  func memoryTooSmall() throws {
    let memory = try GuestMemory(size: 4096)
    let missing = try #require(
      #expect(throws: GuestMemory.OutOfRange.self) { try memory.load(UInt8.self, at: GuestAddress(0x8000)) })
    #expect(
      BootError.memoryTooSmall(missing).message
        == "guest RAM: too small: 1 bytes at GPA 0x8000 are not in guest RAM; give a larger --memory"
    )
  }

  @Test("the memory size that an initrd needs is rounded up to MiB")
  func rounded() {
    let error = BootError.initrdTooLarge(path: "/i", size: 1, room: 0, memory: 1 << 20, needed: 2 << 20 | 1)
    #expect(error.remedy == "give at least --memory 3M")
  }
}
