// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Seams
import Testing

@testable import Boot

@Suite("Initial state")
struct InitialStateTests {
  @Test("64-bit Linux starts in long mode with paging, RSI and flat segments with the protocol's selectors")
  func linux() {
    let state = EntryPoint.linux64(
      rip: GuestAddress(0x100_0200), rsi: GuestAddress(0x7000), cr3: GuestAddress(0x9000)
    ).initialState
    #expect(state.rip == 0x100_0200 && state.rsi == 0x7000 && state.rbx == 0 && state.cr3 == 0x9000)
    #expect(state.cr0 == 0x8000_0011)
    #expect(state.cr4 == 0x20)
    #expect(state.efer == 0x500)
    #expect(state.rflags == 2)
    #expect(state.cs.selector == 0x10 && state.cs.l == 1 && state.cs.db == 0)
    #expect(state.data.selector == 0x18)
    #expect(state.cs.descriptor == 0x00AF_9B00_0000_FFFF)
    #expect(state.data.descriptor == 0x00CF_9300_0000_FFFF)
  }

  @Test("PVH starts in 32-bit protected mode without paging, with EBX")
  func pvh() {
    let state = EntryPoint.pvh32(eip: GuestAddress(0x10_0000), ebx: GuestAddress(0x6000)).initialState
    #expect(state.rip == 0x10_0000 && state.rbx == 0x6000 && state.rsi == 0)
    #expect(state.cr0 == 0x11 && state.cr3 == 0 && state.cr4 == 0 && state.efer == 0)
    #expect(state.cs.descriptor == 0x00CF_9B00_0000_FFFF)
    #expect(state.tr.type == 0xB && state.tr.present == 1 && state.tr.limit == 0x67 && state.tr.s == 0)
    #expect(state.ldt.present == 0)
  }

  @Test("the GDT in guest RAM has each descriptor at its selector")
  func gdt() throws {
    let scratch = try Scratch()
    let memory = try GuestMemory.mebibytes(64)
    let path = try scratch.file("vmlinuz", FakeLinux().bytes)
    let state = try KernelImage.load(path: path, commandLine: "", memory: memory).initialState
    #expect(state.gdt == CPUState.Table(base: 0x500, limit: 31))
    for segment in [state.cs, state.data] {
      #expect(
        try memory.load(UInt64.self, at: PlatformLayout.gdt + UInt64(segment.selector))
          == segment.descriptor)
    }
  }
}
