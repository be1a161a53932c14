// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import KVM
import Linux
import Synchronization

@testable import PCI
@testable import Gate
@testable import Passthrough
@testable import VFIO

/// A function whose device is a file: configuration space and BARs are read, written and mapped, and the kernel
/// refuses every VFIO request (ENOTTY). The machine is a real one of KVM, without a vCPU.
final class FileDevice {
  /// Where things are in configuration space.
  static let power = 0x40
  static let message = 0x50
  static let msix = 0x70
  static let express = 0x80
  /// The BAR has the MSI-X table in its second page and the pending bits in its third.
  static let barSize: UInt64 = 0x4000

  let function: AssignedFunction
  let dma: DMAMapper
  let routes: InterruptRoutes
  /// What was observed: warnings, and interrupt events.
  let seen = Log()
  private let memory: GuestMemory

  final class Log: Sendable {
    private let texts = Mutex<[String]>([])
    var warnings: [String] { texts.withLock { $0 } }
    func add(_ text: String) { texts.withLock { $0.append(text) } }
  }

  /// - Parameters:
  ///   - size: Bytes of configuration space, 256 or 4096.
  ///   - hasReset: False for a device without any.
  ///   - barOffset: Where the BAR is in the file; an odd one cannot be mapped.
  ///   - policy: Of its windows.
  init(
    size: Int = 4096, hasReset: Bool = false, barOffset: UInt64 = 0x10000, policy: MappingPolicy = .onFault
  ) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "sluice-device-\(UUID().uuidString)")
      .path
    var content = Data(count: 0x20000)
    content.replaceSubrange(0..<size, with: Self.config(size))
    try content.write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }  // it stays open
    var regions = [Device.Region?](repeating: nil, count: 8)
    regions[0] = Device.Region(offset: barOffset, size: Self.barSize, mappable: [0..<Self.barSize])
    regions[Device.configRegion] = Device.Region(offset: 0, size: UInt64(size), mappable: [])
    let none = Device.InterruptInfo(count: 0, isFixed: false)
    let device = Device(
      address: "0000:00:05.0", regions: regions, hasReset: hasReset,
      interrupts: [Device.InterruptInfo](repeating: none, count: 5),
      descriptor: try OwnedDescriptor(opening: path, .readWrite))
    let system = try System()
    let machine = try VirtualMachine(system)
    memory = try GuestMemory(size: 1 << 20)
    dma = try DMAMapper([], memory: memory)
    routes = InterruptRoutes(machine, limit: system.routeCount)
    let host = Host(
      machine: machine, slots: MemorySlots(machine, limit: system.memorySlotCount, reserved: 1),
      routes: routes,
      dma: dma)
    var policies = DevicePolicies()
    policies.barMap = policy
    let assignment = Assignment(
      policies: policies, peers: [], reset: hasReset ? .function : .none("no reset"),
      budget: WindowBudget(most: 8))
    let log = seen
    function = try AssignedFunction(device, host: host, assignment: assignment) { event, _ in
      if case .warning(let text) = event { log.add(text) }
    }
    try function.place([0xD000_0000], isMultifunction: false, gsi: 16)
  }

  private static func config(_ size: Int) -> [UInt8] {
    var config = [UInt8](repeating: 0, count: size)
    func set(_ offset: Int, _ width: Int, _ value: UInt32) { config.set(value, at: offset, width: width) }
    set(Register.vendor, 4, 0x1111_2222)
    set(Register.status, 2, 0x10)
    set(Register.bar0, 4, 0)
    set(Register.capabilities, 1, UInt32(power))
    set(Register.interruptPin, 1, 1)
    set(power, 4, 0x0003_0000 | UInt32(message) << 8 | 1)
    set(message, 4, 0x0184_0000 | UInt32(msix) << 8 | 5)  // 4 vectors, 64-bit, maskable
    set(msix, 4, 0x0003_0000 | UInt32(express) << 8 | 0x11)  // 4 vectors
    set(msix + 4, 4, 0x1000)
    set(msix + 8, 4, 0x2000)
    set(express, 4, 0x0002_0010)
    set(express + 4, 4, 0x1000_8000)  // FLR
    return config
  }

  // What a guest does.
  func command(_ value: UInt32) throws { try function.writeConfig(Register.command, width: 2, value) }
  func setPower(_ state: UInt32) throws { try function.writeConfig(Self.power + 4, width: 2, state) }
  func setMSI(_ on: Bool) throws { try function.writeConfig(Self.message + 2, width: 2, on ? 1 : 0) }
  func setMSIX(_ on: Bool, masked: Bool = false) throws {
    try function.writeConfig(Self.msix + 2, width: 2, (on ? 0x8000 : 0) | (masked ? 0x4000 : 0))
  }
  func maskMSI(_ bits: UInt32) throws { try function.writeConfig(Self.message + 16, width: 4, bits) }
  func maskMSIX(_ vector: UInt64, _ masked: Bool) throws {
    try function.writeMemory(bar: 0, offset: 0x1000 + vector * 16 + 12, width: 4, masked ? 1 : 0)
  }
  func reset() throws { try function.writeConfig(Self.express + 8, width: 2, 0x8000) }
  func move(_ address: UInt32) throws { try function.writeConfig(Register.bar0, width: 4, address) }
}

extension FileDevice {
  /// One write of a guest, or something that happens to the device.
  enum Step: CaseIterable {
    case d3hot, d0, msiOn, msiOff, msixOn, msixOff, msixMasked, maskMSI, unmaskMSI, maskVector, unmaskVector
    case pinOff, memoryOn, memoryOff, reset, moveToRAM, moveToEnd, moveAway, touch
  }

  func take(_ step: Step) throws {
    switch step {
    case .d3hot: try setPower(3)
    case .d0: try setPower(0)
    case .msiOn: try setMSI(true)
    case .msiOff: try setMSI(false)
    case .msixOn: try setMSIX(true)
    case .msixOff: try setMSIX(false)
    case .msixMasked: try setMSIX(true, masked: true)
    case .maskMSI: try maskMSI(0xF)
    case .unmaskMSI: try maskMSI(0)
    case .maskVector: try maskMSIX(2, true)
    case .unmaskVector: try maskMSIX(2, false)
    case .pinOff: try command(0x0406)
    case .memoryOn: try command(0x0006)
    case .memoryOff: try command(0)
    case .reset: try reset()
    case .moveToRAM: try move(0)
    case .moveToEnd: try move(0xFFFF_C000)
    case .moveAway: try move(0xD000_0000)
    case .touch:
      _ = try function.readMemory(bar: 0, offset: 0x3000, width: 4)
      _ = try function.readMemory(bar: 0, offset: 0x2000, width: 8)
      _ = try function.readConfig(Self.message + 20, width: 4)
    }
  }
}
