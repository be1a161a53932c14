// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import Linux
import Testing

@testable import Boot

@Suite("Kernel and initrd files")
struct KernelFileTests {
  let scratch: Scratch
  let memory: GuestMemory

  init() throws {
    scratch = try Scratch()
    memory = try .mebibytes(64)
  }

  @Test("the error for a missing kernel names the file and the cause")
  func missing() throws {
    let path = "\(scratch.path)/none"
    let error = try #require(failure(path, memory: memory))
    guard case .unreadable(let file, let cause) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(file == BootFile(.kernel, path: path))
    #expect(cause.errno == KernelError.noEntry)
    #expect(error.description.hasPrefix("kernel \(path): open \(path): No such file"))
  }

  @Test("a directory is not a kernel")
  func directory() throws {
    let text = try #require(failure(scratch.path, memory: memory)).description
    #expect(text.contains("Is a directory"))
  }

  @Test("a FIFO without a writer and a device are refused without blocking", .timeLimit(.minutes(1)))
  func notRegular() throws {
    let fifo = "\(scratch.path)/fifo"
    #expect(unsafe mkfifo(fifo, 0o600) == 0)
    let kernel = try scratch.file("vmlinuz", FakeLinux().bytes)
    for error in [
      failure(fifo, memory: memory), failure(kernel, initrd: fifo, memory: memory),
      failure("/dev/zero", memory: memory),
    ] {
      guard case .notRegular = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
  }

  @Test("the error for an empty kernel says that the file is empty")
  func empty() throws {
    let path = try scratch.file("empty", [])
    #expect(
      try #require(failure(path, memory: memory)).description.hasPrefix("kernel \(path): the file is empty"))
  }

  @Test(
    "a file in another format is refused as not a kernel",
    arguments: ["#!/bin/sh\n", "\u{1F}\u{8B}gzip", "x", String(repeating: "text ", count: 1000)])
  func notAKernel(content: String) throws {
    let path = try scratch.file("text", Array(content.utf8))
    #expect(failure(path, memory: memory) == .notAKernel(path: path))
  }

  @Test("a bzImage that ends within its first sectors is reported as truncated")
  func cutEarly() throws {
    let path = try scratch.file("cut", Array(FakeLinux().bytes.prefix(100)))
    guard case .truncated(_, has: 100, _) = failure(path, memory: memory) else {
      Issue.record("the file was not reported as truncated")
      return
    }
  }

  @Test("the error for a missing or empty initrd names the file")
  func initrdFile() throws {
    let kernel = try scratch.file("vmlinuz", FakeLinux().bytes)
    let missing = try #require(failure(kernel, initrd: "\(scratch.path)/none", memory: memory))
    #expect(missing.description.hasPrefix("initrd \(scratch.path)/none: open "))
    let empty = try scratch.file("empty", [])
    #expect(
      try #require(failure(kernel, initrd: empty, memory: memory)).description
        .hasPrefix("initrd \(empty): the file is empty"))
  }

  @Test("the error for an initrd larger than RAM has the sizes and the sufficient size of RAM")
  func initrdTooLarge() throws {
    let kernel = try scratch.file("vmlinuz", FakeLinux().bytes)
    let initrd = try scratch.sparse("initrd", size: 100 << 20)
    let error = try #require(failure(kernel, initrd: initrd, memory: memory))
    #expect(
      error
        == .initrdTooLarge(
          path: initrd, size: 100 << 20, room: 40 << 20, memory: 64 << 20, needed: 124 << 20))
    #expect(
      failure(kernel, initrd: initrd, memory: try .mebibytes(124)) == nil, "the reported size is sufficient")
    #expect(failure(kernel, initrd: initrd, memory: try .mebibytes(123)) != nil)
  }

  @Test("an initrd above the kernel's limit is placed above 4 GiB if the kernel accepts that")
  func initrdAbove4GiB() throws {
    var kernel = FakeLinux()
    kernel.initrdLimit = 0x1FF_FFFF
    let initrd = try scratch.sparse("initrd", size: 16 << 20)
    let large = try GuestMemory.mebibytes(4096)
    let path = try scratch.file("vmlinuz", kernel.bytes)
    #expect(failure(path, initrd: initrd, memory: large) == nil)
    let page = try large.read(4096, at: PlatformLayout.bootParameters)
    #expect(page.little(UInt32.self, at: 0x218) == 0x3F00_0000)
    #expect(page.little(UInt32.self, at: 0x0C0) == 1)

    // The limit is the address of the last byte.
    kernel.initrdLimit = 0x3FF_FFFF
    let low = try scratch.file("vmlinuz", kernel.bytes)
    #expect(failure(low, initrd: initrd, memory: large) == nil)
    let lowPage = try large.read(4096, at: PlatformLayout.bootParameters)
    #expect(lowPage.little(UInt32.self, at: 0x218) == 0x300_0000)
    #expect(lowPage.little(UInt32.self, at: 0x21C) == 16 << 20 && lowPage.little(UInt32.self, at: 0x0C4) == 0)

    kernel.initrdLimit = 0x1FF_FFFF
    kernel.extendedLoadFlags = 1
    let fixed = try scratch.file("vmlinuz", kernel.bytes)
    guard
      case .initrdBeyondKernelLimit(_, _, limit: 0x1FF_FFFF) = failure(fixed, initrd: initrd, memory: large)
    else {
      Issue.record("the initrd was not refused")
      return
    }
  }

  @Test("RAM smaller than the first MiB is an error, not a trap", arguments: [4096, 65_536, 0x2_0000])
  func tinyMemory(size: UInt64) throws {
    let path = try scratch.file("vmlinuz", FakeLinux().bytes)
    #expect(failure(path, memory: try GuestMemory(size: size)) != nil)
    #expect(throws: BootError.self) {
      try ACPI.install(Platform(cpus: 1, pciWindow64: 0..<0), in: try GuestMemory(size: size))
    }
  }
}
