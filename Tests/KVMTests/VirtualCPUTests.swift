// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Seams
import Testing

@testable import KVM

/// The initial state of a vCPU and its exits from the guest. Skipped if this machine has no KVM or does not
/// permit its use.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct VirtualCPUTests {
  private typealias Output = TinyGuest.Output

  @Test("the guest starts with the general, table and control registers of its state")
  func state() throws {
    let moves: [[UInt8]] = [
      [], [0x89, 0xD8], [0x89, 0xF0],  // eax; ebx; esi
      [0x0F, 0x20, 0xC0], [0x0F, 0x20, 0xD8], [0x0F, 0x20, 0xE0],  // cr0, cr3, cr4
      [0x8C, 0xC8], [0x8C, 0xD8], [0x8C, 0xD0],  // cs, ds, ss
      [0x9C, 0x58],  // pushf; pop eax
    ]
    var code: [UInt8] = [0xBC] + TinyGuest.bytes(0x8000)  // mov esp, 0x8000
    for (index, move) in moves.enumerated() { code += move + TinyGuest.out(UInt8(0x10 + index)) }
    code += [0x0F, 0x01, 0x05] + TinyGuest.bytes(0x3000)  // sgdt [0x3000]
    code += [0x0F, 0x01, 0x0D] + TinyGuest.bytes(0x3008)  // sidt [0x3008]
    let guest = try TinyGuest(code) { state in
      state.rax = 0x2BAD_B002
      state.rbx = 0x1111_0000
      state.rsi = 0x2222_0000
      state.cr3 = 0x9000
      state.cr4 = 0x20
      state.rflags = 3
      state.idt = .init(base: 0x4000, limit: 0x7FF)
    }
    let values = try guest.run().map(\.value)
    #expect(values.prefix(6) == [0x2BAD_B002, 0x1111_0000, 0x2222_0000, 0x11, 0x9000, 0x20])
    #expect(values.dropFirst(6).prefix(3).map { $0 & 0xFFFF } == [0x10, 0x18, 0x18])
    #expect(values.last == 3)
    #expect(try guest.memory.load(UInt16.self, at: GuestAddress(0x3000)) == 31)
    #expect(try guest.memory.load(UInt32.self, at: GuestAddress(0x3002)) == 0x500)
    #expect(try guest.memory.load(UInt16.self, at: GuestAddress(0x3008)) == 0x7FF)
    #expect(try guest.memory.load(UInt32.self, at: GuestAddress(0x300A)) == 0x4000)
  }

  @Test("memory is write-back by default, and string operations are fast")
  func memoryType() throws {
    let rdmsr: [UInt8] = [0x0F, 0x32]
    let guest = try TinyGuest(
      TinyGuest.count(0x2FF) + rdmsr + TinyGuest.out(0x10) + TinyGuest.count(0x1A0) + rdmsr
        + TinyGuest.out(0x11))
    let values = try guest.run().map(\.value)
    #expect(values[0] == 0x806 && values[1] & 1 == 1)
  }

  @Test("a string instruction is one access with a value for each repetition")
  func strings() throws {
    // cld; mov esi, 0x2000; mov ecx, 4; mov edx, 0x3f8; rep outsb
    var code: [UInt8] = [0xFC, 0xBE] + TinyGuest.bytes(0x2000) + TinyGuest.count(4)
    code += [0xBA] + TinyGuest.bytes(0x3F8) + [0xF3, 0x6E]
    let guest = try TinyGuest(code)
    try guest.memory.write([1, 2, 3, 4], at: GuestAddress(0x2000))
    let outputs = try guest.run()
    #expect(outputs == [1, 2, 3, 4].map { Output(port: 0x3F8, value: $0) })
    // cld; mov edi, 0x2000; mov ecx, 4; mov edx, 0x3f8; rep insw
    code = [0xFC, 0xBF] + TinyGuest.bytes(0x2000) + TinyGuest.count(4)
    code += [0xBA] + TinyGuest.bytes(0x3F8) + [0x66, 0xF3, 0x6D]
    let reader = try TinyGuest(code)
    var next: UInt64 = 1
    while next <= 4 {
      guard case .port(let access) = reader.cpu.run() else { continue }
      guard !access.isWrite, access.width == 2, access.address == 0x3F8 else {
        throw OperationError("another access")
      }
      for index in 0..<access.count {
        access.complete(next << 8 | next, index)
        next += 1
      }
    }
    #expect(try reader.run() == [])
    #expect(try reader.memory.read(8, at: GuestAddress(0x2000)) == [1, 1, 2, 2, 3, 3, 4, 4])
  }

  @Test("an access to memory without a memory slot has its address, width and value")
  func memory() throws {
    // mov byte [0xd0000001], 0x7f; movzx eax, word [0xd0000002]
    var code: [UInt8] = [0xC6, 0x05] + TinyGuest.bytes(0xD000_0001) + [0x7F]
    code += [0x0F, 0xB7, 0x05] + TinyGuest.bytes(0xD000_0002) + TinyGuest.out(0x10)
    let guest = try TinyGuest(code)
    guard case .memory(let write) = guest.cpu.run() else { throw OperationError("no access") }
    let value = write.value() & 0xFF
    #expect(TinyGuest.Seen(write) == .init(0xD000_0001, width: 1, isWrite: true) && value == 0x7F)
    guard case .memory(let read) = guest.cpu.run() else { throw OperationError("no access") }
    #expect(TinyGuest.Seen(read) == .init(0xD000_0002, width: 2, isWrite: false))
    read.complete(0xABCD)
    #expect(try guest.run() == [Output(port: 0x10, value: 0xABCD)])
  }

  @Test("a vCPU that is to pause completes its instruction and begins no other one")
  func pause() throws {
    let guest = try TinyGuest(TinyGuest.load(0xD000_0000) + TinyGuest.out(0x10))
    guard case .memory(let read) = guest.cpu.run() else { throw OperationError("no access") }
    read.complete(0x1234)
    guard case .interrupted = guest.cpu.run(isPausing: true) else { throw OperationError("not interrupted") }
    guard case .pausable = guest.cpu.run(isPausing: true) else { throw OperationError("inside instruction") }
    var isPaused = false
    guard case .success(true) = guest.cpu.duringPause({ isPaused = true }) else {
      throw OperationError("the pause fails")
    }
    #expect(isPaused)
    #expect(try guest.run() == [Output(port: 0x10, value: 0x1234)])
  }

  @Test("an interrupted vCPU returns once, and then continues")
  func interrupt() throws {
    let guest = try TinyGuest(TinyGuest.set(7) + TinyGuest.out(0x10))
    guest.cpu.interrupt()
    guard case .interrupted = guest.cpu.run() else { throw OperationError("not interrupted") }
    #expect(try guest.run() == [Output(port: 0x10, value: 7)])
  }

  @Test("an interrupt kicks a vCPU out of a guest that does not exit by itself")
  func kick() throws {
    try Linux.Thread.installKick()
    let guest = try TinyGuest([0xEB, 0xFE])  // jmp $
    let cpu = guest.cpu
    let thread = try Linux.Thread(name: "vcpu") {
      cpu.adopt()
      do throws(KernelError) { try Linux.Thread.acceptKick() } catch { return }
      if case .interrupted = cpu.run() {}
      cpu.retire()
    }
    // KVM_RUN returns if the interrupt comes before it, at its start or inside it.
    cpu.interrupt()
    thread.join()
    #expect(cpu.timeStampFrequency ?? 0 > 0)
  }

  @Test("a refused instruction raises #UD, and a guest that cannot handle #UD shuts its processor down")
  func shutdown() throws {
    let other = try TinyGuest(TinyGuest.set(7)) { $0.idt = .init(base: 0, limit: 0) }
    try other.cpu.injectUndefinedInstruction()
    #expect(throws: OperationError("triple fault")) { try other.run() }
  }
}

/// The CPUID leaves for different numbers of vCPUs.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct TopologyTests {
  @Test(
    "CPUID has the number of cores and the number of their APIC ID bits",
    arguments: [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (255, 8)] as [(UInt32, UInt32)])
  func cores(_ cpus: UInt32, _ bits: UInt32) throws {
    let system = try KVMSystem()
    let features = try CPUFeatures(system, cpus: Int(cpus))
    let first = try #require(features.leaf(1))
    #expect(first.ebx >> 16 & 0xFF == cpus)
    #expect(first.edx >> 28 & 1 == (cpus > 1 ? 1 : 0), "HTT")
    #expect(first.ecx >> 24 & 1 == (system.hasDeadlineTimer ? 1 : 0), "TSC deadline")
    #expect(first.ecx >> 21 & 1 == 1 && first.ecx >> 31 == 1, "x2APIC, hypervisor")
    #expect(first.ecx >> 5 & 1 == 0, "VMX")
    if let size = features.leaf(0x8000_0008) {
      #expect(size.ecx & 0xFF == cpus - 1 && size.ecx >> 12 & 0xF == bits)
    }
    if let cache = features.leaf(4), cache.eax & 0x1F != 0 {
      #expect(cache.eax >> 26 == min((1 << bits) - 1, 63))
    }
    if let extended = features.leaf(0x8000_0001) {
      #expect(extended.ecx >> 1 & 1 == (cpus > 1 ? 1 : 0), "CmpLegacy")
      #expect(extended.ecx >> 2 & 1 == 0, "SVM")
    }
    let nested = try CPUFeatures(system, cpus: Int(cpus), isNested: true)
    #expect(nested.leaf(1)?.ecx ?? 0 >= first.ecx)
  }

  @Test("leaf 0BH has a thread level, a core level and an end", arguments: [1, 3, 8])
  func levels(_ cpus: Int) throws {
    guard try CPUFeatures(try KVMSystem(), cpus: cpus).leaf(0xB) != nil else { return }
    var code: [UInt8] = []
    for level in 0..<3 as Range<UInt32> {
      code += TinyGuest.set(0xB) + TinyGuest.count(level) + [0x0F, 0xA2] + TinyGuest.out(0x10)
      code += [0x89, 0xD8] + TinyGuest.out(0x11) + [0x89, 0xC8] + TinyGuest.out(0x12)  // ebx; ecx
    }
    let values = try TinyGuest(code, cpus: cpus).run().map(\.value)
    let bits: UInt64 = [1: 0, 3: 2, 8: 3][cpus] ?? 0
    #expect(values == [0, 1, 0x100, bits, UInt64(cpus), 0x201, 0, 0, 2])
  }
}
