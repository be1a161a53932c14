// SPDX-License-Identifier: Apache-2.0

import Boot

extension BootError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .unreadable: "check the path and its permissions"
    case .notRegular: "copy its contents to a regular file"
    case .empty, .truncated, .damaged: "copy or build it again"
    case .unsupportedFeatures: "build the kernel without these flags in its multiboot header"
    case .loadAddressTooLow: "build the kernel with a load address of 1 MiB or above"
    case .notAKernel, .wrongELF:
      "use a bzImage with boot protocol 2.12 or newer, a 64-bit ELF file with a PVH note, or a multiboot "
        + "(version 1) kernel"
    case .oldProtocol: "use a newer kernel"
    case .no64BitEntry: "use an x86-64 kernel, not a 32-bit one"
    case .noPVHNote: "use the bzImage, or build the kernel with CONFIG_PVH=y"
    case .kernelInReservedAddresses: "use another device, or a kernel with another load address"
    case .kernelTooLarge, .memoryTooSmall: "give a larger --memory"
    case .initrdTooLarge(_, _, _, _, let needed):
      "give at least --memory \(needed >> 20 + (needed & 0xF_FFFF == 0 ? 0 : 1))M"
    case .initrdBeyondKernelLimit: "use a smaller initrd (more memory does not help)"
    case .commandLineTooLong: "shorten --append"
    case .unsupportedCPUCount: "give a number from 1 to 255 with --cpus"
    case .unusablePCIWindow: "give a smaller --memory"
    case .tablesTooLarge: "give a smaller --cpus"
    }
  }
}
