// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Testing

@testable import Boot

@Suite("Error descriptions")
struct BootErrorTests {
  static let kernel = BootFile(.kernel, path: "/k")

  @Test(
    "each description names its file or table, and the cause",
    arguments: [
      (.unreadable(kernel, KernelError("open /k", errno: KernelError.accessDenied)), ["/k", "ermission"]),
      (.notRegular(kernel), ["/k: not a regular file"]),
      (.empty(kernel), ["/k: the file is empty"]),
      (.truncated(kernel, has: 10, needs: 30), ["/k", "10 bytes", "30", "20 missing"]),
      (.truncated(kernel, has: 30, needs: 10), ["/k", "0 missing"]),
      (.notAKernel(path: "/k"), ["/k: unknown format"]),
      (.oldProtocol(path: "/k", version: 0x0206), ["/k", "2.6", "2.12"]),
      (.no64BitEntry(path: "/k"), ["/k", "XLF_KERNEL_64"]),
      (.damaged(path: "/k", reason: "why"), ["/k: the file is damaged: why"]),
      (.unsupportedFeatures(path: "/k", flags: 4), ["/k", "flags 0x4", "video mode"]),
      (.loadAddressTooLow(path: "/k", reason: "too low"), ["/k: too low"]),
      (.wrongELF(path: "/k", reason: "an odd file"), ["/k: an odd file"]),
      (.noPVHNote(path: "/k"), ["/k", "type 18"]),
      (
        .kernelTooLarge(path: "/k", end: 0x500_0000, memory: 64 << 20),
        ["/k", "80 MiB", "64 MiB"]
      ),
      (.kernelTooLarge(path: "/k", end: .max, memory: 1), ["/k", "1 bytes"]),
      (
        .initrdTooLarge(path: "/i", size: 100 << 20, room: 40 << 20, memory: 64 << 20, needed: 124 << 20),
        ["/i", "100 MiB", "40 MiB", "64 MiB"]
      ),
      (
        .initrdBeyondKernelLimit(path: "/i", size: 3 << 30, limit: 0x7FFF_FFFF),
        ["/i", "3072 MiB", "0x7fffffff"]
      ),
      (.commandLineTooLong(length: 3000, limit: 2047), ["kernel command line: ", "3000", "2047"]),
      (.unsupportedCPUCount(256), ["ACPI tables: ", "256", "255"]),
      (.unusablePCIWindow(0..<16), ["0x0", "0x10", "4 GiB"]),
      (.tablesTooLarge(size: 200_000, room: 131_072), ["ACPI tables: ", "200000", "131072"]),
    ] as [(BootError, [String])])
  func messages(error: BootError, parts: [String]) {
    for part in parts { #expect(error.description.contains(part), "\(part) in: \(error)") }
  }

  @Test("an error about RAM that lacks the first MiB names the missing range")
  func memoryTooSmall() throws {
    let scratch = try Scratch()
    let path = try scratch.file("vmlinux", FakeELF().bytes)
    let error = try #require(failure(path, memory: try GuestMemory(size: 0x1_0000)))
    #expect(error.description.contains("the guest has 65536 bytes"))
    do throws(BootError) {
      _ = try ACPI.install(Platform(cpus: 1, pciWindow64: 0..<0), in: try memory(size: 0x8_0000))
      Issue.record("the tables were installed")
    } catch {
      #expect(error.description.hasPrefix("guest RAM: too small: ") && error.description.contains("0xe0000"))
    }
  }

  @Test("a kernel that fits into the size of guest RAM fails because of reserved addresses")
  func reserved() {
    func error(_ end: UInt64) -> BootError { .noRoom(path: "/k", end: end, memory: 64 << 20) }
    #expect(error(64 << 20) == .kernelInReservedAddresses(path: "/k", end: 64 << 20))
    #expect(error(64 << 20 + 1) == .kernelTooLarge(path: "/k", end: 64 << 20 + 1, memory: 64 << 20))
    #expect(
      BootError.noRoom(path: "/k", end: 4 << 30, memory: 8 << 30)
        == .kernelTooLarge(path: "/k", end: 4 << 30, memory: 8 << 30))
  }

  private func memory(size: UInt64) throws(BootError) -> GuestMemory {
    do throws(GuestMemory.AllocationError) { return try GuestMemory(size: size) } catch {
      throw .empty(Self.kernel)
    }
  }
}
