// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import Testing

@testable import KVM

@Suite final class RunPageTests {
  private let memory: Mapping
  private let page: RunPage

  init() throws {
    memory = try Mapping(anonymous: 8192)
    page = RunPage(memory)
  }

  @Test("each width is stored and loaded, up to the end of the page and not beyond")
  func bounds() {
    for width in 1...8 {
      let last = 8192 - UInt64(width)
      let value: UInt64 = 0x8877_6655_4433_2211
      page.store(last, width: width, value)
      #expect(page.load(last, width: width) == value & UInt64.max >> UInt64(64 - width * 8))
      for beyond in [last + 1, 8192, 8193, .max, .max - 3] as [UInt64] {
        page.store(beyond, width: width, 0)
        #expect(page.load(beyond, width: width) == .max)
      }
    }
    for width in [0, -1, 9] { #expect(page.load(0, width: width) == .max) }
  }

  @Test("the fields match struct kvm_run")
  func fields() {
    page.store(8, width: 4, UInt64(KVM_EXIT_IO))
    #expect(page.exitReason == KVM_EXIT_IO && page.isAccess)
    // direction, size, port, count, data_offset.
    for (offset, width, value) in [(32, 1, 1), (33, 1, 4), (34, 2, 0xCF8), (36, 4, 3), (40, 8, 4096)] {
      page.store(UInt64(offset), width: width, UInt64(value))
    }
    let access = page.portAccess
    #expect(access.address == 0xCF8 && access.width == 4 && access.count == 3 && access.write)
    #expect(access.offset == 4096)
    page.setImmediateExit(true)
    #expect(page.load(1, width: 1) == 1)
    page.setImmediateExit(false)
    #expect(page.load(1, width: 1) == 0)
    page.store(8, width: 4, UInt64(KVM_EXIT_HLT))
    #expect(!page.isAccess)
  }

  @Test("an access whose data lies beyond the page reads all-ones and writes nothing")
  func access() {
    page.store(33, width: 1, 4)
    page.store(36, width: 4, 2)
    page.store(40, width: 8, 8188)
    let access = VirtualCPU.Access(page.portAccess, in: page)
    access.complete(0x1234_5678)
    #expect(access.value() == 0x1234_5678)
    access.complete(0xFFFF, 1)
    #expect(access.value(1) == .max)
  }
}
