// SPDX-License-Identifier: Apache-2.0

import Foundation
import KVM
import Linux
import PCI
import Testing

@testable import Gate
@testable import Passthrough

/// The kernel's answer to every VFIO request is ENOTTY here, so that each attempt is one warning. Skipped if this
/// machine has no KVM.
@Suite(.enabled(if: FileDevice.hasKVM, "/dev/kvm is not usable here"))
struct AssignedFunctionTests {
  private static let refused = "Inappropriate ioctl for device"

  @Test("MSI and MSI-X that are enabled in D3hot are turned on in D0, not before", arguments: [false, true])
  func enableInD3hot(_ isMSIX: Bool) throws {
    let device = try FileDevice()
    device.dma.finishPinning(nil)
    try device.command(0x0400)
    try device.setPower(3)
    try isMSIX ? device.setMSIX(true) : device.setMSI(true)
    #expect(device.seen.warnings == ["no reset"], "nothing is asked of the device in D3hot")
    try device.setPower(0)
    let kind = isMSIX ? "msix" : "msi"
    #expect(
      device.seen.warnings.last
        == "it has no interrupts: VFIO_DEVICE_SET_IRQS \(kind), 1 vectors: \(Self.refused)")
  }

  @Test("FLR in D3hot of a device without a reset leaves it in D3hot, with what the guest has set")
  func resetInD3hot() throws {
    let device = try FileDevice()
    device.dma.finishPinning(nil)
    try device.setMSIX(true)
    try device.setPower(3)
    let before = device.seen.warnings.count
    try device.reset()
    #expect(try device.function.readConfig(FileDevice.power + 4, width: 2) == 3)
    #expect(try device.function.readConfig(FileDevice.msix + 2, width: 2) == 0x8003)
    #expect(device.seen.warnings.count == before + 1, "one that there is no reset")
    #expect(device.seen.warnings.last?.contains("none that reaches it alone") == true)
  }

  /// Every kind of warning once, and what is said at the start.
  private static let most = 20

  @Test(
    "every sequence of guest writes in every state leaves the VM alive, with each warning once",
    arguments: [false, true], [MappingPolicy.onFault, .eager])
  func sequences(_ hasReset: Bool, _ policy: MappingPolicy) throws {
    let steps = FileDevice.Step.allCases
    let device = try FileDevice(hasReset: hasReset, policy: policy)
    device.dma.finishPinning(nil)
    for first in steps {
      for second in steps {
        for third in steps { for step in [first, second, third] { try device.take(step) } }
      }
    }
    let warnings = device.seen.warnings
    #expect(warnings.count <= Self.most && Set(warnings).count == warnings.count, "\(warnings)")
    #expect(device.routes.count <= 4, "no route is leaked")
  }

  @Test("every sequence of guest writes to a function that has left reads all-ones and warns no more")
  func gone() throws {
    let device = try FileDevice()
    device.dma.finishPinning(nil)
    try device.command(6)
    try device.setMSIX(true)
    let cause = KernelError("KVM_SET_USER_MEMORY_REGION slot 1, remove", errno: KernelError.noMemory)
    try device.function.isolate(cause)
    let warnings = device.seen.warnings
    #expect(
      warnings.last
        == "KVM_SET_USER_MEMORY_REGION slot 1, remove: Cannot allocate memory: the guest does not reach it any more"
    )
    for first in FileDevice.Step.allCases {
      for second in FileDevice.Step.allCases { for step in [first, second] { try device.take(step) } }
    }
    #expect(device.seen.warnings == warnings)
    #expect(try device.function.readConfig(0, width: 4) == .max)
    #expect(try device.function.readMemory(bar: 0, offset: 0, width: 4) == .max)
  }

  @Test("routes of vectors that are off are free again")
  func noLeak() throws {
    let device = try FileDevice()
    device.dma.finishPinning(nil)
    try device.command(6)
    for _ in 0..<100 {
      try device.setMSIX(true)
      for vector in 0..<4 as Range<UInt64> { try device.maskMSIX(vector, false) }
      try device.setMSIX(false)
      try device.setMSI(true)
      try device.reset()
      try device.setMSI(false)
    }
    #expect(device.routes.count == 0)
    #expect(device.seen.warnings.count <= Self.most)
  }

  @Test("reads beyond the end of a 256-byte configuration space are all-ones and log nothing")
  func shortConfig() throws {
    let device = try FileDevice(size: 256)
    let before = device.seen.warnings
    for (width, ones) in [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFF_FFFF)] as [(Int, UInt32)] {
      for offset in stride(from: 0x100, to: 0x1000, by: width) {
        #expect(try device.function.readConfig(offset, width: width) == ones)
        try device.function.writeConfig(offset, width: width, 0)
      }
    }
    #expect(device.seen.warnings == before)
  }

  @Test("a BAR that cannot be mapped is trapped, with one warning")
  func unmappable() throws {
    let device = try FileDevice(barOffset: 0x10010)
    #expect(device.seen.warnings.count == 2)
    #expect(device.seen.warnings.last == "BAR 0 stays trapped: mmap 4096 bytes: Invalid argument")
    device.dma.finishPinning(nil)
    try device.command(2)
    try device.function.writeMemory(bar: 0, offset: 8, width: 4, 0x1234_5678)
    #expect(try device.function.readMemory(bar: 0, offset: 8, width: 4) == 0x1234_5678)
    #expect(device.function.statistics.windows == 0)
    #expect(device.seen.warnings.count == 3, "the third one is about the interrupt pin")
  }

  @Test("a vCPU that waits for pinned RAM holds no lock, and lets go when the device leaves")
  func waitsWithoutLock() async throws {
    let device = try FileDevice()
    let function = device.function
    let waiting = Task.detached { try function.writeConfig(Register.command, width: 2, 6) }
    // Other accesses are answered meanwhile, whenever that is.
    for _ in 0..<100 { #expect(try function.readConfig(0, width: 4) == 0x1111_2222) }
    #expect(try function.readConfig(Register.command, width: 2) == 0, "bus mastering waits")
    try function.writeConfig(Register.command, width: 2, 2)
    #expect(try function.readConfig(Register.command, width: 2) == 2, "the rest does not")
    try function.isolate(KernelError("gone", errno: KernelError.io))
    try await waiting.value
    #expect(try function.readConfig(0, width: 4) == .max)
  }

  @Test("a vCPU that waits for pinned RAM lets go when the VM ends, and the write is dropped")
  func stopsWaiting() async throws {
    let device = try FileDevice()
    let function = device.function
    let waiting = Task.detached { try function.writeConfig(Register.command, width: 4, 6) }
    function.stopWaiting()
    try await waiting.value
    #expect(try function.readConfig(Register.command, width: 2) == 0)
  }

  @Test(
    "a write that sets Bus Master Enable takes effect when RAM is pinned",
    arguments: [
      (4, 1, 4), (4, 2, 4), (4, 4, 4),
    ] as [(Int, Int, UInt32)])
  func pinned(_ offset: Int, _ width: Int, _ value: UInt32) async throws {
    let device = try FileDevice()
    let function = device.function
    let waiting = Task.detached { try function.writeConfig(offset, width: width, value) }
    #expect(try function.readConfig(Register.command, width: 2) == 0)
    device.dma.finishPinning(nil)
    try await waiting.value
    #expect(try function.readConfig(Register.command, width: 2) == 4)
  }

  @Test("RAM of which only a part was pinned when the VM ended lets no device be a bus master")
  func partlyPinned() throws {
    let device = try FileDevice()
    device.dma.finishPinning(nil, isComplete: false)
    try device.command(4)
    #expect(try device.function.readConfig(Register.command, width: 2) == 0)
  }

  @Test("why RAM could not be pinned ends the VM, with the device and the cause")
  func notPinned() throws {
    let device = try FileDevice()
    device.dma.finishPinning(KernelError("guest RAM cannot be pinned", errno: KernelError.noMemory))
    let error = #expect(throws: FunctionError.self) { try device.command(4) }
    #expect(error?.description == "device 0000:00:05.0: guest RAM cannot be pinned: Cannot allocate memory")
  }
}

extension FileDevice {
  /// True if this machine's KVM can be used.
  static let hasKVM: Bool = {
    do throws(SystemError) {
      _ = try System()
      return true
    } catch { return false }
  }()
}
