// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Testing

@testable import Boot

@Suite("Messages of errors")
struct BootErrorTests {
  static let kernel = BootFile(.kernel, path: "/k")

  @Test(
    "Each names its file or number and says what to do",
    arguments: [
      (.unreadable(kernel, KernelError("open /k", errno: KernelError.accessDenied)), ["/k", "ermission"]),
      (.notRegular(kernel), ["/k", "not a regular file", "copy"]),
      (.empty(kernel), ["/k", "empty", "build it again"]),
      (.truncated(kernel, has: 10, needs: 30), ["/k", "10 bytes", "30", "20 missing"]),
      (.truncated(kernel, has: 30, needs: 10), ["/k", "0 missing"]),
      (.notAKernel(path: "/k"), ["/k", "bzImage", "PVH"]),
      (.oldProtocol(path: "/k", version: 0x0206), ["/k", "2.6", "2.12", "newer"]),
      (.no64BitEntry(path: "/k"), ["/k", "XLF_KERNEL_64", "x86-64"]),
      (.damaged(path: "/k", reason: "why"), ["/k", "why", "again"]),
      (.wrongELF(path: "/k", reason: "is odd"), ["/k is odd", "bzImage"]),
      (.noPVHNote(path: "/k"), ["/k", "type 18", "CONFIG_PVH"]),
      (
        .kernelTooLarge(path: "/k", end: 0x500_0000, memory: 64 << 20),
        ["/k", "80 MiB", "64 MiB", "--memory"]
      ),
      (.kernelTooLarge(path: "/k", end: .max, memory: 1), ["/k", "1 bytes", "--memory"]),
      (
        .initrdTooLarge(path: "/i", size: 100 << 20, room: 40 << 20, memory: 64 << 20, needed: 124 << 20),
        ["/i", "100 MiB", "40 MiB", "64 MiB", "--memory 124M"]
      ),
      (
        .initrdBeyondKernelLimit(path: "/i", size: 3 << 30, limit: 0x7FFF_FFFF),
        ["/i", "3072 MiB", "0x7fffffff", "smaller initrd"]
      ),
      (.commandLineTooLong(length: 3000, limit: 2047), ["3000", "2047", "--append"]),
      (.unsupportedCPUCount(256), ["256", "255", "--cpus"]),
      (.unusablePCIWindow(0..<16), ["0x0", "0x10", "4 GiB", "--memory"]),
      (.tablesTooLarge(size: 200_000, room: 131_072), ["200000", "131072", "--cpus"]),
    ] as [(BootError, [String])])
  func messages(error: BootError, parts: [String]) {
    for part in parts { #expect(error.description.contains(part), "\(part) in: \(error)") }
  }

  @Test("RAM without a first MiB is named by the place that is missing")
  func memoryTooSmall() throws {
    let scratch = try Scratch()
    let path = try scratch.file("vmlinux", FakeELF().bytes)
    let error = try #require(failure(path, memory: try GuestMemory(size: 0x1_0000)))
    #expect(error.description.contains("--memory"))
    do throws(BootError) {
      _ = try ACPI.install(Platform(cpus: 1, pciWindow64: 0..<0), in: try memory(size: 0x8_0000))
      Issue.record("installed")
    } catch {
      #expect(error.description.contains("0xe0000") && error.description.contains("--memory"))
    }
  }

  private func memory(size: UInt64) throws(BootError) -> GuestMemory {
    do throws(KernelError) { return try GuestMemory(size: size) } catch {
      throw .unreadable(Self.kernel, error)
    }
  }
}
